//! The list of mounts, by getfsstat(2).

use std::ffi::{CStr, OsStr, c_int};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::ptr;

use super::super::types::Mount;

/// Set for filesystems on this machine (sys/mount.h).
const LOCAL: u32 = libc::MNT_LOCAL as u32;

/// Mounts that this process sees. Empty if the list cannot be read.
pub(crate) fn list() -> Vec<Mount> {
    /// Space for mounts that are added between the two calls.
    const SPARE: usize = 8;
    // SAFETY: without a buffer the kernel only returns the number of mounts.
    let count = unsafe { libc::getfsstat(ptr::null_mut(), 0, libc::MNT_NOWAIT) };
    let mut found = Vec::new();
    found.resize_with(
        usize::try_from(count).unwrap_or(0) + SPARE,
        MaybeUninit::<libc::statfs>::uninit,
    );
    let Ok(size) = c_int::try_from(size_of_val(found.as_slice())) else {
        return Vec::new();
    };
    // SAFETY: the kernel writes at most `size` bytes. MNT_NOWAIT returns cached data without contacting a server.
    let count = unsafe { libc::getfsstat(found.as_mut_ptr().cast(), size, libc::MNT_NOWAIT) };
    found.truncate(usize::try_from(count).unwrap_or(0));
    found.iter().map(mount).collect()
}

fn mount(found: &MaybeUninit<libc::statfs>) -> Mount {
    // SAFETY: the kernel has written this entry, and ends the path with a zero byte.
    let (found, path) = unsafe {
        let found = found.assume_init_ref();
        (found, CStr::from_ptr(found.f_mntonname.as_ptr()))
    };
    Mount {
        path: PathBuf::from(OsStr::from_bytes(path.to_bytes())),
        is_remote: found.f_flags & LOCAL == 0,
    }
}
