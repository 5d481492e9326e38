//! Files and directories. A name is resolved relative to an open directory, or is an absolute path.

use std::fs::File;
use std::io;
use std::os::windows::fs::FileExt as _;
use std::os::windows::io::{AsRawHandle as _, BorrowedHandle, OwnedHandle};
use std::path::Path;
use std::time::SystemTime;

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_CREATE, FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE, FILE_OPEN, FILE_OPEN_IF,
    FILE_OPEN_REPARSE_POINT,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_READONLY, FILE_BASIC_INFO,
    FILE_GENERIC_READ, FILE_GENERIC_WRITE, FILE_READ_ATTRIBUTES, FILE_WRITE_ATTRIBUTES, FileBasicInfo,
    FlushFileBuffers, SetFileInformationByHandle,
};

use super::super::types::{Access, Create, Entry, Kind, OpenOptions, Stat, Times};
use super::nt::{self, Request};
use super::{errno, listing, stat as stats};

pub(crate) use std::os::windows::io::AsHandle;

pub(crate) use super::links::{read_link, symlink};
pub(crate) use super::listing::Entries;
pub(crate) use super::names::{exchange, link, remove_directory, remove_file, rename, rename_new};
pub(crate) use super::nt::{Base, CURRENT};
pub(crate) use super::path::simplify;

/// An open file or directory.
pub(crate) type Handle = OwnedHandle;

const OWNER_MAY_WRITE: u32 = 0o200;

/// Uses an open directory to resolve names.
pub(crate) fn base(directory: &Handle) -> Base<'_> {
    Base::Open(directory.as_handle())
}

/// Number of the handle, which has 32 significant bits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "32 significant bits"
)]
pub(crate) fn descriptor(file: &File) -> i32 {
    file.as_raw_handle() as usize as i32
}

/// Opens an entry. Child programs do not inherit it.
pub(crate) fn open(base: Base<'_>, name: &Path, options: OpenOptions) -> io::Result<Handle> {
    let access = match options.access {
        Access::Read => FILE_GENERIC_READ,
        Access::Write => FILE_GENERIC_WRITE | FILE_READ_ATTRIBUTES,
        Access::ReadWrite => FILE_GENERIC_READ | FILE_GENERIC_WRITE,
    };
    let (disposition, mode) = match options.create {
        Create::Never => (FILE_OPEN, OWNER_MAY_WRITE),
        Create::IfMissing(mode) => (FILE_OPEN_IF, mode),
        Create::New(mode) => (FILE_CREATE, mode),
    };
    let kind = if options.directory {
        FILE_DIRECTORY_FILE
    } else if options.access == Access::Read && options.create == Create::Never {
        0
    } else {
        FILE_NON_DIRECTORY_FILE
    };
    let request = Request {
        access,
        disposition,
        options: kind,
        attributes: if mode & OWNER_MAY_WRITE == 0 {
            FILE_ATTRIBUTE_READONLY
        } else {
            FILE_ATTRIBUTE_NORMAL
        },
    };
    if options.follow {
        return nt::open(base, name, request);
    }
    let itself = Request {
        options: kind | FILE_OPEN_REPARSE_POINT,
        ..request
    };
    let opened = nt::open(base, name, itself)?;
    match stats::reparse_kind(opened.as_handle())? {
        None => Ok(opened),
        Some(kind @ (Kind::Symlink | Kind::Other)) => Err(errno::wrong_kind(kind)),
        // A reparse point that does not lead to another entry: its filter has to handle the open. It must still be the
        // same entry.
        Some(Kind::File | Kind::Directory) => {
            let filtered = nt::open(base, name, request)?;
            let (own, found) = (stats::of(opened.as_handle())?, stats::of(filtered.as_handle())?);
            if (own.device, own.inode) == (found.device, found.inode) {
                Ok(filtered)
            } else {
                Err(errno::wrong_kind(Kind::Symlink))
            }
        }
    }
}

/// Stat of an entry. `follow` decides whether links are followed.
pub(crate) fn stat(base: Base<'_>, name: &Path, follow: bool) -> io::Result<Stat> {
    stats::at(base, name, follow)
}

/// Stat of an open entry.
pub(crate) fn stat_handle(handle: impl AsHandle) -> io::Result<Stat> {
    stats::of(handle.as_handle())
}

/// Creates a directory. It has no mode.
pub(crate) fn make_directory(base: Base<'_>, name: &Path, _bits: u32) -> io::Result<()> {
    let request = Request {
        access: FILE_READ_ATTRIBUTES,
        disposition: FILE_CREATE,
        options: FILE_DIRECTORY_FILE,
        attributes: FILE_ATTRIBUTE_NORMAL,
    };
    nt::open(base, name, request).map(drop)
}

/// Sets the only permission bit of an open entry that exists on Windows: whether a file is read-only.
pub(crate) fn set_mode(handle: impl AsHandle, bits: u32) -> io::Result<()> {
    let attributes = stats::attributes(handle.as_handle())?;
    let wanted = if bits & OWNER_MAY_WRITE == 0 {
        attributes | FILE_ATTRIBUTE_READONLY
    } else {
        attributes & !FILE_ATTRIBUTE_READONLY
    };
    // On a directory, this attribute only means that its icon is customised.
    if wanted == attributes || attributes & FILE_ATTRIBUTE_DIRECTORY != 0 {
        return Ok(());
    }
    let info = FILE_BASIC_INFO {
        // 0 would leave the attributes unchanged.
        FileAttributes: if wanted == 0 {
            FILE_ATTRIBUTE_NORMAL
        } else {
            wanted
        },
        ..unchanged()
    };
    set_basic(handle.as_handle(), info)
}

/// Sets the permission bits of the entry at a path. Links are followed.
pub(crate) fn set_mode_at(path: &Path, bits: u32) -> io::Result<()> {
    let access = FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES;
    set_mode(nt::open(CURRENT, path, Request::existing(access, 0))?, bits)
}

/// Sets the times of an open entry.
pub(crate) fn set_times(handle: impl AsHandle, times: Times) -> io::Result<()> {
    let now = || {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        i128::try_from(since_epoch.unwrap_or_default().as_nanos()).unwrap_or(0)
    };
    let (accessed, modified) = match times {
        Times::Now => (stats::file_time(now()), stats::file_time(now())),
        Times::Both(nanoseconds) => (stats::file_time(nanoseconds), stats::file_time(nanoseconds)),
        Times::Modified(nanoseconds) => (0, stats::file_time(nanoseconds)),
    };
    let info = FILE_BASIC_INFO {
        LastAccessTime: accessed,
        LastWriteTime: modified,
        ..unchanged()
    };
    set_basic(handle.as_handle(), info)
}

/// Sets the times of an entry. Links are not followed.
pub(crate) fn set_times_at(base: Base<'_>, name: &Path, times: Times) -> io::Result<()> {
    let request = Request::existing(FILE_WRITE_ATTRIBUTES, FILE_OPEN_REPARSE_POINT);
    set_times(nt::open(base, name, request)?, times)
}

/// 0 leaves a field unchanged.
const fn unchanged() -> FILE_BASIC_INFO {
    FILE_BASIC_INFO {
        CreationTime: 0,
        LastAccessTime: 0,
        LastWriteTime: 0,
        ChangeTime: 0,
        FileAttributes: 0,
    }
}

/// Sets attributes and times. A handle that is only for reading may not do that, so a second handle is opened.
fn set_basic(handle: BorrowedHandle<'_>, info: FILE_BASIC_INFO) -> io::Result<()> {
    with_access(handle, FILE_WRITE_ATTRIBUTES, |handle| {
        let size = u32::try_from(size_of_val(&info)).unwrap_or(u32::MAX);
        // SAFETY: the handle is open, and the structure belongs to this class.
        let is_set = unsafe {
            SetFileInformationByHandle(
                handle.as_raw_handle(),
                FileBasicInfo,
                (&raw const info).cast(),
                size,
            )
        };
        if is_set == 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    })
}

fn with_access(
    handle: BorrowedHandle<'_>,
    access: u32,
    call: impl Fn(BorrowedHandle<'_>) -> io::Result<()>,
) -> io::Result<()> {
    match call(handle) {
        Err(error) if errno::is_access_denied(&error) => {
            let request = Request::existing(access, FILE_OPEN_REPARSE_POINT);
            let other = nt::reopen(handle, request).map_err(|_| error)?;
            call(other.as_handle())
        }
        done => done,
    }
}

/// Sets the length of an open file.
pub(crate) fn set_length(file: &File, length: u64) -> io::Result<()> {
    file.set_len(length)
}

/// Sets the position of an open file.
pub(crate) fn seek(mut file: &File, position: u64) -> io::Result<()> {
    io::Seek::seek(&mut file, io::SeekFrom::Start(position)).map(drop)
}

/// Reads at this offset. Returns 0 at the end of the file. Changes the position of the file.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.seek_read(buffer, offset)
}

/// Fills the buffer from this offset.
pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    let mut filled = 0;
    while filled < buffer.len() {
        match read_at(file, &mut buffer[filled..], offset + filled as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => filled += count,
        }
    }
    Ok(())
}

/// Reads at this offset into the spare capacity of `bytes`. Returns 0 at the end of the file.
pub(crate) fn append_at(file: &File, bytes: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
    let start = bytes.len();
    bytes.resize(bytes.capacity(), 0);
    let read = read_at(file, &mut bytes[start..], offset);
    bytes.truncate(start + read.as_ref().map_or(0, |count| *count));
    read
}

pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        match file.seek_write(&bytes[written..], offset + written as u64)? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            count => written += count,
        }
    }
    Ok(())
}

/// Flushes the data and metadata of an open entry. That needs a handle for writing, which nobody gets for a read-only
/// file. So such a file is writable while it is opened.
pub(crate) fn sync(handle: impl AsHandle) -> io::Result<()> {
    let handle = handle.as_handle();
    let denied = match with_access(handle, FILE_GENERIC_WRITE, flush) {
        Err(error) if errno::is_access_denied(&error) => error,
        done => return done,
    };
    let attributes = stats::attributes(handle)?;
    if attributes & FILE_ATTRIBUTE_READONLY == 0 || attributes & FILE_ATTRIBUTE_DIRECTORY != 0 {
        return Err(denied);
    }
    set_mode(handle, OWNER_MAY_WRITE)?;
    let writable = nt::reopen(
        handle,
        Request::existing(FILE_GENERIC_WRITE, FILE_OPEN_REPARSE_POINT),
    );
    set_mode(handle, 0)?;
    flush(writable?.as_handle())
}

fn flush(handle: BorrowedHandle<'_>) -> io::Result<()> {
    // SAFETY: the handle is open.
    if unsafe { FlushFileBuffers(handle.as_raw_handle()) } == 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Lists the entries of a directory. Works only once, right after it was opened.
pub(super) fn fresh_entries(directory: Base<'_>) -> io::Result<Vec<Entry>> {
    match directory {
        Base::Open(directory) => listing::all(directory),
        Base::Current => Entries::of_open(directory)?.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_file_is_flushed_and_stays_read_only() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = root.path().join("file");
        drop(open(CURRENT, &path, OpenOptions::new(Access::Write, 0o444)).expect("created"));
        let file = open(CURRENT, &path, OpenOptions::unknown(Access::Read)).expect("opened");
        sync(&file).expect("flushed");
        assert_eq!(stat_handle(&file).expect("stat").mode, 0o444);
    }

    #[test]
    fn a_read_only_file_is_removed_or_keeps_its_name() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = root.path().join("file");
        drop(open(CURRENT, &path, OpenOptions::new(Access::Write, 0o444)).expect("created"));
        // Wine refuses, like filesystems without POSIX semantics.
        let is_kept = remove_file(CURRENT, &path).is_err();
        assert_eq!(path.exists(), is_kept);
    }
}
