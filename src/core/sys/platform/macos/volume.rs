//! Features of a filesystem.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CloneFlags};
use rustix::io::Errno;

use super::super::types::{Entry, OpenOptions};
use super::super::unix::files::{self, Base, Entries, Handle};

/// Whether [`sync_filesystem`] is supported.
pub(crate) const HAS_SYNC_FILESYSTEM: bool = false;

/// Not supported.
pub(crate) fn sync_filesystem(_file: &File) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Not supported.
pub(crate) fn open_anonymous(_directory: &Path) -> io::Result<Handle> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Flushes the data and metadata of an open entry to the medium. On macOS, fsync(2) only reaches the cache of the
/// drive, so this uses F_FULLFSYNC. Filesystems without it (network, FUSE) get fsync, as in libuv and SQLite. It takes
/// 4 to 5 ms on an internal SSD.
pub(crate) fn sync_to_medium(file: &File) -> io::Result<()> {
    match rustix::fs::fcntl_fullfsync(file) {
        Err(Errno::NOTSUP | Errno::NOTTY | Errno::INVAL) => files::sync(file),
        flushed => Ok(flushed?),
    }
}

/// Creates a file that shares the blocks of another one. Leaves no file if that is not supported.
pub(crate) fn clone_file(source: &File, copy: &Path, _mode: u32) -> io::Result<File> {
    rustix::fs::fclonefileat(source, files::CURRENT, copy, CloneFlags::NOOWNERCOPY)?;
    // The mode is copied too, and may not allow writing.
    Ok(File::from(files::open(files::CURRENT, copy, OpenOptions::READ)?))
}

/// Whether files in this directory can share blocks.
pub(crate) fn can_clone_blocks(directory: &Path) -> bool {
    super::filesystem::of(directory).is_ok_and(|filesystem| filesystem.name == "apfs")
}

/// Whether this entry is a mount point: its device differs from that of its directory. macOS has no bind mounts.
pub(crate) fn is_mount_root(base: Base<'_>, name: &Path) -> io::Result<Option<bool>> {
    let entry = files::stat(base, name, false)?;
    let directory = files::stat(base, Path::new("."), true)?;
    Ok(Some(entry.device != directory.device))
}

/// Lists the entries of an open directory.
pub(crate) fn fresh_entries(directory: Base<'_>) -> io::Result<Vec<Entry>> {
    Entries::of_open(directory)?.collect()
}

/// Makes a directory accessible that cannot be opened. A link in its place is not followed.
pub(crate) fn make_accessible(parent: Base<'_>, name: &Path) -> io::Result<()> {
    Ok(rustix::fs::chmodat(
        parent,
        name,
        files::mode(0o700),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}
