//! Locks on open files, and free disk space.
//!
//! LockFileEx locks bytes for one open file, similar to flock, but other processes cannot read or write these bytes.
//! The locked byte is therefore beyond the end of every file.

use std::fs::File;
use std::io;
use std::os::windows::io::{AsHandle as _, AsRawHandle as _, FromRawHandle as _, OwnedHandle};
use std::path::Path;
use std::ptr;

use windows_sys::Win32::Foundation::{
    ERROR_ALREADY_EXISTS, ERROR_IO_PENDING, ERROR_LOCK_VIOLATION, ERROR_NOT_LOCKED,
};
use windows_sys::Win32::Storage::FileSystem::{
    LOCK_FILE_FLAGS, LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, UnlockFileEx,
};
use windows_sys::Win32::System::IO::{OVERLAPPED, OVERLAPPED_0, OVERLAPPED_0_0};
use windows_sys::Win32::System::Threading::CreateEventW;

use super::{errno, stat};

/// High half of the offset: 2^62.
const BEHIND_THE_END: u32 = 0x4000_0000;

/// Locks a file exclusively if it is free.
pub(crate) fn try_exclusive(file: &File) -> io::Result<bool> {
    try_lock(file, LOCKFILE_EXCLUSIVE_LOCK)
}

/// Acquires a shared lock on a file if possible.
pub(crate) fn try_shared(file: &File) -> io::Result<bool> {
    try_lock(file, 0)
}

fn byte() -> OVERLAPPED {
    OVERLAPPED {
        Internal: 0,
        InternalHigh: 0,
        Anonymous: OVERLAPPED_0 {
            Anonymous: OVERLAPPED_0_0 {
                Offset: 0,
                OffsetHigh: BEHIND_THE_END,
            },
        },
        hEvent: std::ptr::null_mut(),
    }
}

fn try_lock(file: &File, flags: LOCK_FILE_FLAGS) -> io::Result<bool> {
    let mut byte = byte();
    // SAFETY: the handle is open and synchronous, so the structure is not used after the call.
    let is_locked = unsafe {
        LockFileEx(
            file.as_raw_handle(),
            flags | LOCKFILE_FAIL_IMMEDIATELY,
            0,
            1,
            0,
            &raw mut byte,
        )
    };
    if is_locked != 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if errno::is_one_of(&error, &[ERROR_LOCK_VIOLATION, ERROR_IO_PENDING]) {
        Ok(false)
    } else {
        Err(error)
    }
}

pub(crate) fn unlock(file: &File) -> io::Result<()> {
    let mut byte = byte();
    // SAFETY: the handle is open and synchronous, so the structure is not used after the call.
    if unsafe { UnlockFileEx(file.as_raw_handle(), 0, 1, 0, &raw mut byte) } != 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if errno::is_one_of(&error, &[ERROR_NOT_LOCKED]) {
        Ok(())
    } else {
        Err(error)
    }
}

/// A locked directory. The lock ends when this is dropped or the process ends.
#[derive(Debug)]
pub struct DirectoryLock(#[expect(dead_code, reason = "only its existence matters")] OwnedHandle);

/// Locks a directory exclusively if it is free. LockFileEx cannot lock directories, so an event is created whose name
/// represents the directory. It exists for all sessions while a handle of it is open.
pub(crate) fn try_directory(directory: &OwnedHandle) -> io::Result<Option<DirectoryLock>> {
    let found = stat::of(directory.as_handle())?;
    let name = format!(
        "Global\\warmswap-directory-{:x}-{:x}\0",
        found.device, found.inode
    );
    let name: Vec<u16> = name.encode_utf16().collect();
    // SAFETY: the name ends with a NUL and outlives the call. The attributes may be null.
    let event = unsafe { CreateEventW(ptr::null(), 1, 0, name.as_ptr()) };
    let error = io::Error::last_os_error();
    if event.is_null() {
        // The event belongs to another user.
        return if errno::is_access_denied(&error) {
            Ok(None)
        } else {
            Err(error)
        };
    }
    // SAFETY: the call has succeeded, and no other value owns this handle.
    let event = unsafe { OwnedHandle::from_raw_handle(event) };
    let is_new = !errno::is_one_of(&error, &[ERROR_ALREADY_EXISTS]);
    Ok(is_new.then_some(DirectoryLock(event)))
}

/// Number of bytes that this user can still write to the filesystem of `path`.
pub(crate) fn available_space(path: &Path) -> io::Result<u64> {
    fs2::available_space(path)
}

/// Reserves the first `bytes` of a file.
pub(crate) fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    fs2::FileExt::allocate(file, bytes)
}
