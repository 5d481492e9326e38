//! NT calls that open an entry and change it through its handle. A name is resolved relative to an open directory, or
//! is an absolute path.

use std::io;
use std::mem::offset_of;
use std::os::windows::io::{AsRawHandle as _, BorrowedHandle, FromRawHandle as _, OwnedHandle};
use std::path::{Path, PathBuf};
use std::ptr;
use std::time::{Duration, Instant};

use windows_sys::Wdk::Foundation::OBJECT_ATTRIBUTES;
use windows_sys::Wdk::Storage::FileSystem::{
    FILE_DISPOSITION_DELETE, FILE_DISPOSITION_IGNORE_READONLY_ATTRIBUTE, FILE_DISPOSITION_INFORMATION,
    FILE_DISPOSITION_INFORMATION_EX, FILE_DISPOSITION_POSIX_SEMANTICS, FILE_INFORMATION_CLASS, FILE_OPEN,
    FILE_OPEN_FOR_BACKUP_INTENT, FILE_RENAME_INFORMATION, FILE_SYNCHRONOUS_IO_NONALERT,
    FileDispositionInformation, FileDispositionInformationEx, NtCreateFile, NtSetInformationFile,
};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_DELETE_PENDING, ERROR_DIRECTORY_NOT_SUPPORTED, ERROR_LOCK_VIOLATION,
    ERROR_SHARING_VIOLATION, HANDLE, NTSTATUS, OBJ_CASE_INSENSITIVE, RtlNtStatusToDosError,
    STATUS_DELETE_PENDING, STATUS_FILE_IS_A_DIRECTORY, STATUS_INVALID_INFO_CLASS, STATUS_INVALID_PARAMETER,
    STATUS_NOT_IMPLEMENTED, STATUS_NOT_SUPPORTED, UNICODE_STRING,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_NORMAL, FILE_SHARE_DELETE, FILE_SHARE_READ, FILE_SHARE_WRITE, SYNCHRONIZE,
};
use windows_sys::Win32::System::IO::{IO_STATUS_BLOCK, IO_STATUS_BLOCK_0};

use super::{errno, path};

/// Time for which an operation is repeated while a virus scanner or an indexer has the entry open. npm and graceful-fs
/// wait up to 60 s.
const PATIENCE: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Others may do everything with an open entry.
const SHARED: u32 = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;

/// Directory that a name is resolved from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Base<'a> {
    /// No directory: the path is absolute.
    Current,
    Open(BorrowedHandle<'a>),
}

/// Base of absolute paths.
pub(crate) const CURRENT: Base<'static> = Base::Current;

/// How an entry is opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) access: u32,
    pub(super) disposition: u32,
    pub(super) options: u32,
    pub(super) attributes: u32,
}

impl Request {
    /// An existing entry of any kind.
    pub(super) const fn existing(access: u32, options: u32) -> Self {
        Self {
            access,
            disposition: FILE_OPEN,
            options,
            attributes: FILE_ATTRIBUTE_NORMAL,
        }
    }
}

/// A name, and the directory that it is resolved from.
struct Name {
    root: HANDLE,
    units: Vec<u16>,
}

impl Name {
    fn new(base: Base<'_>, name: &Path) -> io::Result<Self> {
        match base {
            Base::Current => Ok(Self {
                root: ptr::null_mut(),
                units: path::to_nt(name)?,
            }),
            Base::Open(directory) => Ok(Self {
                root: directory.as_raw_handle(),
                units: path::to_part(name)?,
            }),
        }
    }
}

/// Opens an entry. Child programs do not inherit the handle, and it blocks no other program.
pub(super) fn open(base: Base<'_>, name: &Path, request: Request) -> io::Result<OwnedHandle> {
    if let Base::Open(directory) = base {
        if name == Path::new(".") {
            return reopen(directory, request);
        }
        if name == Path::new("..") {
            let own = path::of_handle(directory)?;
            let above = own.parent().map_or_else(|| own.clone(), Path::to_path_buf);
            return open(Base::Current, &above, request);
        }
    }
    let name = Name::new(base, name)?;
    while_in_use(&[ERROR_SHARING_VIOLATION, ERROR_DELETE_PENDING], || {
        create(&name, request, SHARED)
    })
}

/// As [`open`], for an entry that another process may keep open for long: fails then.
pub(super) fn open_without_retry(path: &Path, request: Request) -> io::Result<OwnedHandle> {
    create(&Name::new(Base::Current, path)?, request, SHARED)
}

/// Opens an entry that nobody else can open until this handle and its copies are closed.
pub(super) fn open_unshared(path: &Path, request: Request) -> io::Result<OwnedHandle> {
    create(&Name::new(Base::Current, path)?, request, 0)
}

/// Opens the entry of a handle a second time.
pub(super) fn reopen(handle: BorrowedHandle<'_>, request: Request) -> io::Result<OwnedHandle> {
    let itself = Name {
        root: handle.as_raw_handle(),
        units: Vec::new(),
    };
    create(&itself, request, SHARED).or_else(|_| {
        let own: PathBuf = path::of_handle(handle)?;
        create(&Name::new(Base::Current, &own)?, request, SHARED)
    })
}

fn create(name: &Name, request: Request, share: u32) -> io::Result<OwnedHandle> {
    let length = path::byte_length(&name.units)?;
    let text = UNICODE_STRING {
        Length: length,
        MaximumLength: length,
        Buffer: name.units.as_ptr().cast_mut(),
    };
    let attributes = OBJECT_ATTRIBUTES {
        #[expect(clippy::cast_possible_truncation, reason = "48 bytes")]
        Length: size_of::<OBJECT_ATTRIBUTES>() as u32,
        RootDirectory: name.root,
        ObjectName: &raw const text,
        Attributes: OBJ_CASE_INSENSITIVE,
        SecurityDescriptor: ptr::null(),
        SecurityQualityOfService: ptr::null(),
    };
    let mut handle: HANDLE = ptr::null_mut();
    let mut status = empty_status();
    // SAFETY: all pointers refer to values that outlive the call, and the root is an open handle or null.
    check(unsafe {
        NtCreateFile(
            &raw mut handle,
            request.access | SYNCHRONIZE,
            &raw const attributes,
            &raw mut status,
            ptr::null(),
            request.attributes,
            share,
            request.disposition,
            request.options | FILE_SYNCHRONOUS_IO_NONALERT | FILE_OPEN_FOR_BACKUP_INTENT,
            ptr::null(),
            0,
        )
    })?;
    // SAFETY: the call has succeeded, and no other value owns this handle.
    Ok(unsafe { OwnedHandle::from_raw_handle(handle) })
}

fn empty_status() -> IO_STATUS_BLOCK {
    IO_STATUS_BLOCK {
        Anonymous: IO_STATUS_BLOCK_0 { Status: 0 },
        Information: 0,
    }
}

/// Converts a status to an error.
pub(super) fn check(status: NTSTATUS) -> io::Result<()> {
    match status {
        0.. => Ok(()),
        STATUS_FILE_IS_A_DIRECTORY => Err(errno::of(ERROR_DIRECTORY_NOT_SUPPORTED)),
        STATUS_DELETE_PENDING => Err(errno::of(ERROR_DELETE_PENDING)),
        // SAFETY: a conversion of numbers.
        _ => Err(errno::of(unsafe { RtlNtStatusToDosError(status) })),
    }
}

fn set_information(
    handle: BorrowedHandle<'_>,
    class: FILE_INFORMATION_CLASS,
    information: *const core::ffi::c_void,
    length: usize,
) -> NTSTATUS {
    let mut status = empty_status();
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    // SAFETY: the callers pass a structure of this class with its length, which outlives the call.
    unsafe {
        NtSetInformationFile(
            handle.as_raw_handle(),
            &raw mut status,
            information,
            length,
            class,
        )
    }
}

/// Sets a name of an open entry with FileRenameInformation, FileLinkInformation or one of the newer classes, which
/// share one structure.
pub(super) fn set_name(
    handle: BorrowedHandle<'_>,
    class: FILE_INFORMATION_CLASS,
    flags: u32,
    base: Base<'_>,
    name: &Path,
) -> io::Result<()> {
    let name = Name::new(base, name)?;
    let text = offset_of!(FILE_RENAME_INFORMATION, FileName);
    let length = text + name.units.len() * 2;
    let root = name.root as usize;
    let mut buffer = vec![0_u64; length.max(size_of::<FILE_RENAME_INFORMATION>()).div_ceil(8)];
    let start: *mut u8 = buffer.as_mut_ptr().cast();
    let put = |at: usize, bytes: &[u8]| {
        // SAFETY: the buffer has `length` bytes, and each part ends within it.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start.add(at), bytes.len()) };
    };
    put(0, &flags.to_ne_bytes());
    put(
        offset_of!(FILE_RENAME_INFORMATION, RootDirectory),
        &root.to_ne_bytes(),
    );
    put(
        offset_of!(FILE_RENAME_INFORMATION, FileNameLength),
        &u32::from(path::byte_length(&name.units)?).to_ne_bytes(),
    );
    for (index, unit) in name.units.iter().enumerate() {
        put(text + index * 2, &unit.to_ne_bytes());
    }
    check(set_information(
        handle,
        class,
        buffer.as_ptr().cast(),
        buffer.len() * 8,
    ))
}

/// Removes the name of an open entry immediately, even if other processes have it open. Returns `false` if the
/// filesystem does not support that, such as Wine's. Then use [`delete_at_last_close`].
pub(super) fn delete(handle: BorrowedHandle<'_>) -> io::Result<bool> {
    let posix = FILE_DISPOSITION_INFORMATION_EX {
        Flags: FILE_DISPOSITION_DELETE
            | FILE_DISPOSITION_POSIX_SEMANTICS
            | FILE_DISPOSITION_IGNORE_READONLY_ATTRIBUTE,
    };
    let status = set_information(
        handle,
        FileDispositionInformationEx,
        (&raw const posix).cast(),
        size_of_val(&posix),
    );
    match status {
        STATUS_INVALID_PARAMETER
        | STATUS_INVALID_INFO_CLASS
        | STATUS_NOT_SUPPORTED
        | STATUS_NOT_IMPLEMENTED => Ok(false),
        status => check(status).map(|()| true),
    }
}

/// Removes the name of an open entry when its last handle is closed.
pub(super) fn delete_at_last_close(handle: BorrowedHandle<'_>) -> io::Result<()> {
    let plain = FILE_DISPOSITION_INFORMATION { DeleteFile: true };
    check(set_information(
        handle,
        FileDispositionInformation,
        (&raw const plain).cast(),
        size_of_val(&plain),
    ))
}

/// Repeats a call while it fails because another program briefly has the entry open.
pub(super) fn while_in_use<T>(codes: &[u32], mut system: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match system() {
            Err(error) if errno::is_one_of(&error, codes) && begun.elapsed() + pause < PATIENCE => {
                std::thread::sleep(pause);
                pause *= 2;
            }
            result => return result,
        }
    }
}

/// Codes of an entry whose name cannot be changed because another program has it open.
pub(super) const IN_USE: [u32; 4] = [
    ERROR_ACCESS_DENIED,
    ERROR_SHARING_VIOLATION,
    ERROR_LOCK_VIOLATION,
    ERROR_DELETE_PENDING,
];
