//! Features of a filesystem: shared blocks, files without a name, mount points.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, StatxAttributes, StatxFlags};

use super::super::types::{Access, Entry, OpenOptions};
use super::super::unix::files::{self, Base, Handle};

/// Whether [`sync_filesystem`] is supported.
pub(crate) const HAS_SYNC_FILESYSTEM: bool = true;

/// Flushes a whole filesystem.
pub(crate) fn sync_filesystem(file: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(file)?)
}

/// Flushes the data and metadata of an open entry to the medium.
pub(crate) fn sync_to_medium(file: &File) -> io::Result<()> {
    files::sync(file)
}

/// Creates a file without a name, for reading and writing. Fails with `Unsupported` or `IsADirectory` if the filesystem
/// does not support it (overlayfs before 6.1, FUSE, NFS).
pub(crate) fn open_anonymous(directory: &Path) -> io::Result<Handle> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    Ok(rustix::fs::open(directory, flags, files::mode(0o600))?)
}

/// Creates a file that shares the blocks of another one. Leaves no file if that is not supported.
pub(crate) fn clone_file(source: &File, copy: &Path, mode: u32) -> io::Result<File> {
    let file = File::from(files::open(
        files::CURRENT,
        copy,
        OpenOptions::new(Access::ReadWrite, mode),
    )?);
    match rustix::fs::ioctl_ficlone(&file, source) {
        Ok(()) => Ok(file),
        Err(error) => {
            files::remove_file(files::CURRENT, copy)?;
            Err(error.into())
        }
    }
}

/// Whether files in this directory can share blocks. Tested with unnamed files, which leave nothing behind.
pub(crate) fn can_clone_blocks(directory: &Path) -> bool {
    match (open_anonymous(directory), open_anonymous(directory)) {
        (Ok(one), Ok(other)) => rustix::fs::ioctl_ficlone(&other, &one).is_ok(),
        _ => false,
    }
}

/// Whether this entry is a mount point, including a bind mount of the same filesystem. `None` if the kernel cannot
/// report that.
pub(crate) fn is_mount_root(base: Base<'_>, name: &Path) -> io::Result<Option<bool>> {
    let stat = rustix::fs::statx(base, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE)?;
    let root = StatxAttributes::MOUNT_ROOT;
    Ok(stat
        .stx_attributes_mask
        .contains(root)
        .then(|| stat.stx_attributes.contains(root)))
}

/// Lists a directory that was just opened and not listed through this handle yet. Saves opening it a second time.
pub(crate) fn fresh_entries(directory: Base<'_>) -> io::Result<Vec<Entry>> {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut listing = RawDir::new(directory, &mut buffer);
    let mut entries = Vec::new();
    while let Some(found) = listing.next() {
        let found = found?;
        entries.extend(files::entry(found.file_name().to_bytes(), found.file_type()));
    }
    Ok(entries)
}

/// Makes a directory accessible that cannot be opened. Uses a handle of exactly that directory: a call by name could
/// follow a link that another process puts there.
pub(crate) fn make_accessible(parent: Base<'_>, name: &Path) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let itself = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
    files::set_mode_at(Path::new(&itself), 0o700)
}
