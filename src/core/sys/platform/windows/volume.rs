//! Features of a filesystem.

use std::fs::File;
use std::io;
use std::path::Path;

use super::super::types::Entry;
use super::files::{self, Base, Handle};
use super::filesystem;

/// Whether [`sync_filesystem`] is supported.
pub(crate) const HAS_SYNC_FILESYSTEM: bool = false;

/// Only administrators may do that.
pub(crate) fn sync_filesystem(_file: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not supported. A file can be removed while it is open instead.
pub(crate) fn open_anonymous(_directory: &Path) -> io::Result<Handle> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) use super::clone::clone_file;

/// Whether files in this directory can share blocks.
pub(crate) fn can_clone_blocks(directory: &Path) -> bool {
    filesystem::can_share_blocks(directory).unwrap_or(false)
}

/// Flushes the data and metadata of an open entry to the medium.
pub(crate) fn sync_to_medium(file: &File) -> io::Result<()> {
    files::sync(file)
}

/// Volumes are mounted by reparse points, which count as links.
pub(crate) fn is_mount_root(_base: Base<'_>, _name: &Path) -> io::Result<Option<bool>> {
    Ok(None)
}

/// Lists the entries of an open directory.
pub(crate) fn fresh_entries(directory: Base<'_>) -> io::Result<Vec<Entry>> {
    files::fresh_entries(directory)
}

/// Windows modes never refuse access. Access rights are not changed, and the next call reports their error.
pub(crate) fn make_accessible(_parent: Base<'_>, _name: &Path) -> io::Result<()> {
    Ok(())
}
