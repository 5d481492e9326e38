//! The module `mark` of systems without marks. On macOS fcntl and flock exclude each other. On Windows the kernel grants
//! byte ranges in the order of the requests, and this process polls without waiting.

#![expect(clippy::unnecessary_wraps, reason = "all systems have the same functions")]

use std::fs::File;
use std::io;

pub(crate) fn set(_file: &File) -> io::Result<()> {
    Ok(())
}

pub(crate) fn clear(_file: &File) -> io::Result<()> {
    Ok(())
}

/// Unknown.
pub(crate) fn is_set_elsewhere(_file: &File) -> io::Result<bool> {
    Ok(true)
}
