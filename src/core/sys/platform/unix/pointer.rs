//! Pointers are symbolic links.

use std::io;
use std::path::{Path, PathBuf};

use super::files::{self, CURRENT};

/// What a pointer is, in words.
pub const POINTER: &str = "a symbolic link";

/// The text of a pointer.
pub(crate) fn read_pointer(path: &Path) -> io::Result<PathBuf> {
    files::read_link(CURRENT, path)
}

/// Makes a pointer, which [`files::rename`] can replace in one step while others read it.
pub(crate) fn make_pointer(target: &Path, path: &Path) -> io::Result<()> {
    files::symlink(target, CURRENT, path)
}
