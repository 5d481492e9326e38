//! On Unix, pointers are symbolic links.

use std::io;
use std::path::{Path, PathBuf};

use super::super::types::LinkUse;
use super::files::{self, CURRENT};

/// Description of a pointer.
pub const POINTER: &str = "a symbolic link";

/// Text of a pointer.
pub(crate) fn read_pointer(path: &Path) -> io::Result<PathBuf> {
    files::read_link(CURRENT, path)
}

/// Creates a pointer. [`files::rename`] can replace it atomically while others read it.
pub(crate) fn make_pointer(target: &Path, path: &Path) -> io::Result<()> {
    files::symlink(target, CURRENT, path, LinkUse::default())
}
