//! Files that share blocks. ReFS supports them, which Dev Drives have.

use std::fs::File;
use std::io;
use std::os::windows::io::{AsHandle as _, AsRawHandle as _};
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Storage::FileSystem::FILE_ATTRIBUTE_SPARSE_FILE;
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::{
    DUPLICATE_EXTENTS_DATA, FSCTL_DUPLICATE_EXTENTS_TO_FILE, FSCTL_GET_INTEGRITY_INFORMATION,
    FSCTL_GET_INTEGRITY_INFORMATION_BUFFER, FSCTL_SET_INTEGRITY_INFORMATION,
    FSCTL_SET_INTEGRITY_INFORMATION_BUFFER, FSCTL_SET_SPARSE,
};

use super::super::types::{Access, OpenOptions};
use super::files;
use super::nt::CURRENT;
use super::stat;

/// Bytes that one call shares: below its limit of 4 GiB, and a multiple of each cluster size.
const MOST: u64 = 1 << 30;

/// Creates a file that shares the blocks of another one. Leaves no file if that is not supported.
pub(crate) fn clone_file(source: &File, copy: &Path, mode: u32) -> io::Result<File> {
    let file = File::from(files::open(
        CURRENT,
        copy,
        OpenOptions::new(Access::ReadWrite, mode),
    )?);
    match share(source, &file) {
        Ok(()) => Ok(file),
        Err(error) => {
            drop(file);
            files::remove_file(CURRENT, copy)?;
            Err(error)
        }
    }
}

fn share(source: &File, copy: &File) -> io::Result<()> {
    let found: FSCTL_GET_INTEGRITY_INFORMATION_BUFFER =
        // SAFETY: the structure belongs to this code and contains numbers.
        unsafe { ask(source, FSCTL_GET_INTEGRITY_INFORMATION)? };
    // Both files must be sparse or not, and must have checksums or not.
    let integrity = FSCTL_SET_INTEGRITY_INFORMATION_BUFFER {
        ChecksumAlgorithm: found.ChecksumAlgorithm,
        Reserved: 0,
        Flags: found.Flags,
    };
    control(copy, FSCTL_SET_INTEGRITY_INFORMATION, Some(&integrity))?;
    if stat::attributes(source.as_handle())? & FILE_ATTRIBUTE_SPARSE_FILE != 0 {
        control::<()>(copy, FSCTL_SET_SPARSE, None)?;
    }
    let length = stat::of(source.as_handle())?.size;
    files::set_length(copy, length)?;
    // The last part ends with a whole cluster, beyond the end of the file.
    let end = length.next_multiple_of(u64::from(found.ClusterSizeInBytes.max(1)));
    let mut at = 0;
    while at < end {
        let bytes = MOST.min(end - at);
        let (offset, count) = (signed(at)?, signed(bytes)?);
        let part = DUPLICATE_EXTENTS_DATA {
            FileHandle: source.as_raw_handle(),
            SourceFileOffset: offset,
            TargetFileOffset: offset,
            ByteCount: count,
        };
        control(copy, FSCTL_DUPLICATE_EXTENTS_TO_FILE, Some(&part))?;
        at += bytes;
    }
    Ok(())
}

fn signed(number: u64) -> io::Result<i64> {
    i64::try_from(number).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

/// Sends a control code with the bytes of a structure.
fn control<T>(file: &File, code: u32, input: Option<&T>) -> io::Result<()> {
    let mut length = 0;
    // SAFETY: the handle is open, and the system reads at most the size of the structure.
    let is_done = unsafe {
        DeviceIoControl(
            file.as_raw_handle(),
            code,
            input.map_or(ptr::null(), |input| ptr::from_ref(input).cast()),
            input.map_or(0, |_| u32::try_from(size_of::<T>()).unwrap_or(0)),
            ptr::null_mut(),
            0,
            &raw mut length,
            ptr::null_mut(),
        )
    };
    if is_done == 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// # Safety
/// `T` is the structure of this code, and all bit patterns of it are valid.
unsafe fn ask<T>(file: &File, code: u32) -> io::Result<T> {
    let mut found = std::mem::MaybeUninit::<T>::zeroed();
    let mut length = 0;
    // SAFETY: the handle is open, and the system writes at most the size of the structure.
    let is_done = unsafe {
        DeviceIoControl(
            file.as_raw_handle(),
            code,
            ptr::null(),
            0,
            found.as_mut_ptr().cast(),
            u32::try_from(size_of::<T>()).unwrap_or(0),
            &raw mut length,
            ptr::null_mut(),
        )
    };
    if is_done == 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all bytes are initialised.
    Ok(unsafe { found.assume_init() })
}
