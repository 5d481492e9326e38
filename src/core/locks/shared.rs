//! Entries that all users of a directory must be able to use, independent of the umask of their creator. They get their
//! mode under a temporary name and appear complete. Otherwise a kill in between would block the other users forever.

use std::path::Path;

use crate::core::error::{Code, Error, Optional as _, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::{errno, fs};

/// Creates a directory with the permissions of its parent. Succeeds if it already exists.
pub(super) fn make_directory(path: &Path, temporary: &Path) -> Result<()> {
    make_private_directory(temporary)?;
    let Err(error) = fs::rename_new(temporary, path) else {
        return Ok(());
    };
    drop(fs::remove_directory(temporary));
    if errno::is_unsupported(&error) {
        return or_exists(make_private_directory(path).map(drop));
    }
    or_exists(Err(error))
}

fn or_exists(made: Result<()>) -> Result<()> {
    match made {
        Err(error) if error.is_exists() => Ok(()),
        made => made,
    }
}

/// Creates a directory under a name that only this process uses, with the permissions of its parent. The mode is set
/// through a descriptor, and only while the directory is empty. Another user with rename permission could have replaced
/// it with a directory that contains files.
pub(super) fn make_private_directory(path: &Path) -> Result<Directory> {
    fs::create_directory(path, 0o777)?;
    let made = Directory::open(path).and_then(|directory| {
        if directory.some_entries(1, path)?.is_empty() {
            directory.set_own_mode(mode_of_parent(path)?, path)?;
            return Ok(directory);
        }
        let message = format!("Another process has replaced '{}'. Try again", path.display());
        Err(Error::new(Code::Io, message).at(path))
    });
    made.inspect_err(|_| drop(fs::remove_directory(path)))
}

/// Mode of the parent, without the sticky bit. Every user of the lock must be able to remove what other users' dead
/// holders left.
fn mode_of_parent(path: &Path) -> Result<u32> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    Ok(fs::stat_followed(parent)?.mode & 0o2777)
}

/// Creates an empty file that all users of the directory may open. Succeeds if it already exists.
pub(super) fn make_file(path: &Path, temporary: &Path) -> Result<()> {
    let made = fs::write_new(temporary, b"", 0o666).and_then(|()| fs::link(temporary, path));
    drop(fs::remove_file(temporary));
    or_exists(made)
}

/// Renames without replacing an existing entry, as far as the filesystem supports it. NFS and some FUSE filesystems
/// have no such rename.
pub(super) fn rename_new(from: &Path, to: &Path) -> Result<()> {
    match fs::rename_new(from, to) {
        Err(error) if errno::is_unsupported(&error) => {
            if fs::stat(to).optional()?.is_some() {
                return Err(Error::io("rename", to, errno::already_exists()));
            }
            fs::rename(from, to)
        }
        result => result,
    }
}
