//! What a filesystem offers besides files.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::AtFlags;

use super::super::types::Entry;
use super::super::unix::files::{self, Base, Entries, Handle};

/// Whether [`sync_filesystem`] is possible.
pub(crate) const HAS_SYNC_FILESYSTEM: bool = false;

/// Not possible.
pub(crate) fn sync_filesystem(_file: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not possible.
pub(crate) fn open_anonymous(_directory: &Path) -> io::Result<Handle> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not offered.
pub(crate) fn clone_blocks(_copy: &File, _source: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not offered.
pub(crate) fn can_clone_blocks(_directory: &Path) -> bool {
    false
}

/// The system does not say.
pub(crate) fn is_mount_root(_base: Base<'_>, _name: &Path) -> io::Result<Option<bool>> {
    Ok(None)
}

/// The entries of an open directory.
pub(crate) fn fresh_entries(directory: Base<'_>) -> io::Result<Vec<Entry>> {
    Entries::of_open(directory)?.collect()
}

/// Makes a directory readable that cannot be opened; a link in its place is not followed.
pub(crate) fn make_accessible(parent: Base<'_>, name: &Path) -> io::Result<()> {
    Ok(rustix::fs::chmodat(
        parent,
        name,
        files::mode(0o700),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}
