//! Not needed: a child keeps a lock of flock(2) through the descriptor of the locked file.

#![expect(clippy::unnecessary_wraps, reason = "all systems have the same functions")]

use std::io;
use std::path::Path;

/// Whether a lock needs such a file for children.
pub(crate) const IS_NEEDED: bool = false;

/// There is none.
#[derive(Debug)]
pub enum ChildFile {}

impl ChildFile {
    pub(crate) fn descriptor(&self) -> io::Result<i32> {
        match *self {}
    }
}

/// Always an error.
pub(crate) fn create(_path: &Path) -> io::Result<ChildFile> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Never.
pub(crate) fn is_open(_path: &Path) -> io::Result<bool> {
    Ok(false)
}
