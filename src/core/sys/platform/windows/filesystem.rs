//! Names of filesystems, as their drivers return them.

use std::io;
use std::os::windows::io::{AsHandle as _, AsRawHandle as _, BorrowedHandle};
use std::path::Path;

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_FS_ATTRIBUTE_INFORMATION, FS_INFORMATION_CLASS, FileFsAttributeInformation, FileFsDeviceInformation,
    NtQueryVolumeInformationFile,
};
use windows_sys::Wdk::System::SystemServices::{FILE_FS_DEVICE_INFORMATION, FILE_REMOTE_DEVICE};
use windows_sys::Win32::Storage::FileSystem::FILE_READ_ATTRIBUTES;
use windows_sys::Win32::System::IO::{IO_STATUS_BLOCK, IO_STATUS_BLOCK_0};
use windows_sys::Win32::System::SystemServices::FILE_SUPPORTS_BLOCK_REFCOUNTING;

use super::super::types::Filesystem;
use super::nt::{self, Base, Request};

/// Length of the longest name in UTF-16 units.
const NAME: usize = 32;

const TABLE: &[(&str, &str, bool)] = &[
    ("NTFS", "ntfs", true),
    ("ReFS", "refs", true),
    ("FAT", "fat", false),
    ("FAT32", "fat32", false),
    ("exFAT", "exfat", false),
];

/// FILE_FS_ATTRIBUTE_INFORMATION with space for a name.
#[repr(C)]
struct Attributes {
    fixed: FILE_FS_ATTRIBUTE_INFORMATION,
    more: [u16; NAME],
}

/// Filesystem of an existing path.
pub(crate) fn of(path: &Path) -> io::Result<Filesystem> {
    let entry = nt::open(Base::Current, path, Request::existing(FILE_READ_ATTRIBUTES, 0))?;
    // SAFETY: the structures belong to these classes and contain numbers.
    let (device, attributes) = unsafe {
        (
            query::<FILE_FS_DEVICE_INFORMATION>(entry.as_handle(), FileFsDeviceInformation)?,
            query::<Attributes>(entry.as_handle(), FileFsAttributeInformation)?,
        )
    };
    let length = (attributes.fixed.FileSystemNameLength as usize / 2).min(NAME);
    let start: *const u16 = (&raw const attributes.fixed.FileSystemName).cast();
    // SAFETY: the name begins there, and the structure has space for that many units.
    let name = String::from_utf16_lossy(unsafe { std::slice::from_raw_parts(start, length) });
    if device.Characteristics & FILE_REMOTE_DEVICE != 0 {
        return Ok(untrusted("remote"));
    }
    Ok(by_name(&name))
}

/// Whether files on the filesystem of an existing path can share blocks.
pub(super) fn can_share_blocks(path: &Path) -> io::Result<bool> {
    let entry = nt::open(Base::Current, path, Request::existing(FILE_READ_ATTRIBUTES, 0))?;
    // SAFETY: the structure belongs to this class and contains numbers.
    let found = unsafe { query::<Attributes>(entry.as_handle(), FileFsAttributeInformation)? };
    Ok(found.fixed.FileSystemAttributes & FILE_SUPPORTS_BLOCK_REFCOUNTING != 0)
}

/// # Safety
/// `T` is the structure of this class, and all bit patterns of it are valid.
unsafe fn query<T>(handle: BorrowedHandle<'_>, class: FS_INFORMATION_CLASS) -> io::Result<T> {
    let mut found = std::mem::MaybeUninit::<T>::zeroed();
    let mut status = IO_STATUS_BLOCK {
        Anonymous: IO_STATUS_BLOCK_0 { Status: 0 },
        Information: 0,
    };
    let size = u32::try_from(size_of::<T>()).unwrap_or(u32::MAX);
    // SAFETY: the handle is open, and the system writes at most `size` bytes.
    nt::check(unsafe {
        NtQueryVolumeInformationFile(
            handle.as_raw_handle(),
            &raw mut status,
            found.as_mut_ptr().cast(),
            size,
            class,
        )
    })?;
    // SAFETY: all bytes are initialised.
    Ok(unsafe { found.assume_init() })
}

fn untrusted(name: &'static str) -> Filesystem {
    Filesystem {
        name,
        magic: 0,
        trusted: false,
    }
}

fn by_name(name: &str) -> Filesystem {
    TABLE
        .iter()
        .find(|row| row.0 == name)
        .map_or(untrusted("unknown"), |row| Filesystem {
            name: row.1,
            magic: 0,
            trusted: row.2,
        })
}

/// Filesystem that a test sets.
#[cfg(feature = "testing")]
pub(crate) fn named(name: &str) -> Option<Filesystem> {
    match name {
        "remote" => Some(untrusted("remote")),
        _ => TABLE.iter().find(|row| row.1 == name).map(|row| by_name(row.0)),
    }
}
