//! Marks on open files. A mark is a shared lock of the open file description, which is independent of flock on the
//! local filesystems of Linux (flock(2)). On other systems the two exclude each other, so no marks are set there.

use std::fs::File;
use std::path::Path;

use crate::core::error::Result;
use crate::core::sys::call::call;
use crate::core::sys::platform::mark as system;

/// Marks a file for [`is_marked`] while this descriptor or a copy of it is open. A killed process therefore leaves no
/// mark.
pub fn mark(file: &File, path: &Path) -> Result<()> {
    call("fcntl", path, || system::set(file))
}

/// Removes the mark.
pub fn unmark(file: &File, path: &Path) -> Result<()> {
    call("fcntl", path, || system::clear(file))
}

/// Whether this file is marked through another descriptor. Returns `true` on systems without marks. The check acquires
/// no lock, so it does not affect the checks of other processes.
pub fn is_marked(file: &File, path: &Path) -> Result<bool> {
    call("fcntl", path, || system::is_set_elsewhere(file))
}
