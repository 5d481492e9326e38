//! What all users of a directory must be able to use, whatever the umask of the first of them: it gets its mode
//! under a name of its own and appears finished, or a kill in between would shut the others out for ever.

use std::path::Path;

use crate::core::error::{Code, Error, Optional as _, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::{errno, fs};

/// Makes a directory with the permissions of the one it is in. Fine if it is there already.
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

/// Makes a directory under a name that only we use, with the permissions of the one it is in. The mode is set through a
/// descriptor, and only while the directory is empty: another user who may rename it could have put one with files in
/// its place.
pub(super) fn make_private_directory(path: &Path) -> Result<Directory> {
    fs::create_directory(path, 0o777)?;
    let made = Directory::open(path).and_then(|directory| {
        if directory.some_entries(1, path)?.is_empty() {
            directory.set_own_mode(mode_of_parent(path)?, path)?;
            return Ok(directory);
        }
        let message = format!("another process has replaced '{}': try again", path.display());
        Err(Error::new(Code::Io, message).at(path))
    });
    made.inspect_err(|_| drop(fs::remove_directory(path)))
}

/// Without the sticky bit: whoever may use the lock follows other users' dead holders, and removes what they left.
fn mode_of_parent(path: &Path) -> Result<u32> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    Ok(fs::stat_followed(parent)?.mode & 0o2777)
}

/// Makes an empty file that everybody may open who may use the directory. Fine if it is there already.
pub(super) fn make_file(path: &Path, temporary: &Path) -> Result<()> {
    let made = fs::write_new(temporary, b"", 0o666).and_then(|()| fs::link(temporary, path));
    drop(fs::remove_file(temporary));
    or_exists(made)
}

/// Renames without replacing anything, as well as the filesystem can: NFS and some FUSE have no rename that refuses to
/// replace.
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
