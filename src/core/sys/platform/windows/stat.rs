//! Facts about entries.

use std::io;
use std::os::windows::io::{AsHandle as _, AsRawHandle as _, BorrowedHandle};
use std::path::Path;

use windows_sys::Wdk::Storage::FileSystem::FILE_OPEN_REPARSE_POINT;
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_REPARSE_POINT, FILE_ATTRIBUTE_TAG_INFO, FILE_BASIC_INFO, FILE_ID_INFO,
    FILE_INFO_BY_HANDLE_CLASS, FILE_READ_ATTRIBUTES, FILE_STANDARD_INFO, FILE_TYPE_DISK,
    FileAttributeTagInfo, FileBasicInfo, FileIdInfo, FileStandardInfo, GetFileInformationByHandle,
    GetFileInformationByHandleEx, GetFileType, READ_CONTROL,
};
use windows_sys::Win32::System::SystemServices::{IO_REPARSE_TAG_MOUNT_POINT, IO_REPARSE_TAG_SYMLINK};

use super::super::types::{Kind, Stat};
use super::nt::{self, Base, Request};
use super::{errno, security};

/// Time from 1601 to 1970, in units of 100 ns.
const EPOCH: i128 = 116_444_736_000_000_000;
/// Set in the tags of reparse points that lead to another entry.
const NAME_SURROGATE: u32 = 0x2000_0000;

/// Reads one structure about an open entry.
///
/// # Safety
/// `T` must be the structure of this class, and all its bit patterns must be valid.
unsafe fn query<T>(handle: BorrowedHandle<'_>, class: FILE_INFO_BY_HANDLE_CLASS) -> io::Result<T> {
    let mut found = std::mem::MaybeUninit::<T>::zeroed();
    let size = u32::try_from(size_of::<T>()).unwrap_or(u32::MAX);
    // SAFETY: the handle is open, and the system writes at most `size` bytes.
    let is_read = unsafe {
        GetFileInformationByHandleEx(handle.as_raw_handle(), class, found.as_mut_ptr().cast(), size)
    };
    if is_read == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all bytes are initialised.
    Ok(unsafe { found.assume_init() })
}

/// Stat of an open entry. Access rights are not part of the mode: the owner may do everything except write to a
/// read-only file.
pub(super) fn of(handle: BorrowedHandle<'_>) -> io::Result<Stat> {
    // SAFETY: the structures belong to these classes and contain numbers.
    let (basic, standard) = unsafe {
        (
            query::<FILE_BASIC_INFO>(handle, FileBasicInfo)?,
            query::<FILE_STANDARD_INFO>(handle, FileStandardInfo)?,
        )
    };
    let (device, inode) = match long_id(handle) {
        Err(error) if errno::is_unsupported(&error) => short_id(handle)?,
        id => id?,
    };
    let kind = if is_disk(handle) {
        kind(basic.FileAttributes, tag(handle, basic.FileAttributes)?)
    } else {
        Kind::Other
    };
    let owner = security::of(handle, kind == Kind::Directory);
    let is_read_only = basic.FileAttributes & FILE_ATTRIBUTE_READONLY != 0;
    Ok(Stat {
        kind,
        mode: match kind {
            Kind::Directory => 0o755,
            Kind::Symlink => 0o777,
            Kind::File | Kind::Other if is_read_only => 0o444,
            Kind::File | Kind::Other => 0o644,
        },
        size: u64::try_from(standard.EndOfFile).unwrap_or(0),
        device,
        inode,
        links: if standard.DeletePending {
            0
        } else {
            standard.NumberOfLinks.into()
        },
        uid: owner.uid,
        others_may_write: owner.others_may_write,
        modified_ns: nanoseconds(basic.LastWriteTime),
        changed_ns: nanoseconds(basic.ChangeTime),
    })
}

/// Stat of an entry. `follow` decides whether links are followed.
pub(super) fn at(base: Base<'_>, name: &Path, follow: bool) -> io::Result<Stat> {
    let options = if follow { 0 } else { FILE_OPEN_REPARSE_POINT };
    let open = |access| nt::open(base, name, Request::existing(access, options));
    let entry = match open(FILE_READ_ATTRIBUTES | READ_CONTROL) {
        // The owner is then unknown.
        Err(error) if errno::is_access_denied(&error) => open(FILE_READ_ATTRIBUTES),
        opened => opened,
    }?;
    of(entry.as_handle())
}

/// Volume and file id.
fn long_id(handle: BorrowedHandle<'_>) -> io::Result<(u64, u64)> {
    // SAFETY: the structure belongs to this class and contains numbers.
    let id = unsafe { query::<FILE_ID_INFO>(handle, FileIdInfo)? };
    let inode = fold(u128::from_le_bytes(id.FileId.Identifier));
    Ok((id.VolumeSerialNumber, inode))
}

/// Volume and file id on filesystems that have no long ids, such as FAT, exFAT and those of some file servers.
fn short_id(handle: BorrowedHandle<'_>) -> io::Result<(u64, u64)> {
    let mut found = std::mem::MaybeUninit::<BY_HANDLE_FILE_INFORMATION>::zeroed();
    // SAFETY: the handle is open, and the structure outlives the call.
    if unsafe { GetFileInformationByHandle(handle.as_raw_handle(), found.as_mut_ptr()) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all bytes are initialised.
    let found = unsafe { found.assume_init() };
    let inode = u64::from(found.nFileIndexHigh) << 32 | u64::from(found.nFileIndexLow);
    Ok((found.dwVolumeSerialNumber.into(), inode))
}

/// Folds a file id to 64 bits. NTFS ids have 64 bits. ReFS uses all 128, with the number of the directory in the high
/// half.
#[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
fn fold(id: u128) -> u64 {
    (id as u64) ^ ((id >> 64) as u64).rotate_left(32)
}

fn is_disk(handle: BorrowedHandle<'_>) -> bool {
    // SAFETY: the handle is open.
    unsafe { GetFileType(handle.as_raw_handle()) == FILE_TYPE_DISK }
}

/// Tag of a reparse point, or 0 for any other entry.
fn tag(handle: BorrowedHandle<'_>, attributes: u32) -> io::Result<u32> {
    if attributes & FILE_ATTRIBUTE_REPARSE_POINT == 0 {
        return Ok(0);
    }
    // SAFETY: the structure belongs to this class and contains numbers.
    unsafe { query::<FILE_ATTRIBUTE_TAG_INFO>(handle, FileAttributeTagInfo) }.map(|found| found.ReparseTag)
}

/// Kind of an entry with these attributes and this tag. Reparse points that do not lead to another entry, such as those
/// of deduplicated or offline files, have the kind of their content.
pub(super) fn kind(attributes: u32, tag: u32) -> Kind {
    let is_reparse_point = attributes & FILE_ATTRIBUTE_REPARSE_POINT != 0;
    match tag {
        IO_REPARSE_TAG_SYMLINK | IO_REPARSE_TAG_MOUNT_POINT if is_reparse_point => Kind::Symlink,
        _ if is_reparse_point && tag & NAME_SURROGATE != 0 => Kind::Other,
        _ if attributes & FILE_ATTRIBUTE_DIRECTORY != 0 => Kind::Directory,
        _ => Kind::File,
    }
}

/// Kind of an open entry, if it is a reparse point.
pub(super) fn reparse_kind(handle: BorrowedHandle<'_>) -> io::Result<Option<Kind>> {
    // SAFETY: the structure belongs to this class and contains numbers.
    let found = unsafe { query::<FILE_ATTRIBUTE_TAG_INFO>(handle, FileAttributeTagInfo)? };
    let is_reparse_point = found.FileAttributes & FILE_ATTRIBUTE_REPARSE_POINT != 0;
    Ok(is_reparse_point.then(|| kind(found.FileAttributes, found.ReparseTag)))
}

/// Attributes of an open entry.
pub(super) fn attributes(handle: BorrowedHandle<'_>) -> io::Result<u32> {
    // SAFETY: the structure belongs to this class and contains numbers.
    unsafe { query::<FILE_BASIC_INFO>(handle, FileBasicInfo) }.map(|found| found.FileAttributes)
}

fn nanoseconds(time: i64) -> i128 {
    (i128::from(time) - EPOCH) * 100
}

/// Converts nanoseconds since 1970 to units of 100 ns since 1601. 0 and negative numbers would mean that the time stays
/// unchanged.
pub(super) fn file_time(nanoseconds: i128) -> i64 {
    i64::try_from(nanoseconds.div_euclid(100) + EPOCH).map_or(i64::MAX, |time| time.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_round_trip_to_100_nanoseconds() {
        assert_eq!(
            nanoseconds(file_time(1_700_000_000_123_456_789)),
            1_700_000_000_123_456_700
        );
        assert_eq!(nanoseconds(file_time(-1)), -100);
        assert_eq!(file_time(-20_000_000_000_000_000_000), 1);
    }

    #[test]
    fn short_ids_distinguish_files() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let id = |name: &str| {
            let file = std::fs::File::options()
                .create(true)
                .append(true)
                .open(root.path().join(name))
                .expect("opened");
            short_id(file.as_handle()).expect("an id")
        };
        let (one, other) = (id("one"), id("other"));
        assert_eq!(id("one"), one);
        assert_eq!(one.0, other.0);
        assert_ne!(one.1, other.1);
    }

    #[test]
    fn only_name_surrogates_lead_elsewhere() {
        let reparse = FILE_ATTRIBUTE_REPARSE_POINT;
        assert_eq!(kind(reparse, IO_REPARSE_TAG_SYMLINK), Kind::Symlink);
        assert_eq!(
            kind(reparse | FILE_ATTRIBUTE_DIRECTORY, IO_REPARSE_TAG_MOUNT_POINT),
            Kind::Symlink
        );
        // IO_REPARSE_TAG_DEDUP and IO_REPARSE_TAG_CLOUD.
        assert_eq!(kind(reparse, 0x8000_0013), Kind::File);
        assert_eq!(
            kind(reparse | FILE_ATTRIBUTE_DIRECTORY, 0x9000_001a),
            Kind::Directory
        );
    }
}
