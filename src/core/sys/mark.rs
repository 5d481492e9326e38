//! Marks on open files: a shared lock of the open file description, which on Linux' local filesystems flock knows nothing
//! of (flock(2)). On other systems the two exclude each other, so nothing is marked there.

use std::fs::File;
use std::path::Path;

use crate::core::error::Result;
use crate::core::sys::call::call;
use crate::core::sys::platform::mark as system;

/// Marks a file for [`is_marked`] as long as this descriptor, or a copy of it, is open: also a killed process marks
/// nothing.
pub fn mark(file: &File, path: &Path) -> Result<()> {
    call("fcntl", path, || system::set(file))
}

/// Removes the mark.
pub fn unmark(file: &File, path: &Path) -> Result<()> {
    call("fcntl", path, || system::clear(file))
}

/// Whether this file is marked through another descriptor; `true` where there are no marks. A question that locks
/// nothing, so that nobody else's answer depends on it.
pub fn is_marked(file: &File, path: &Path) -> Result<bool> {
    call("fcntl", path, || system::is_set_elsewhere(file))
}
