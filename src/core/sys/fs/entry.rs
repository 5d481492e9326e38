//! Entries of directories: their stats and names.

use std::path::{Path, PathBuf};

use crate::core::error::{Code, Error, Result};
use crate::core::sys::call::call;
use crate::core::sys::platform::errno;
use crate::core::sys::platform::files::{self, AsHandle, CURRENT};
use crate::core::sys::platform::{Kind, LinkUse, Stat, Times, pointer};

/// Stat of an entry. Links are not followed.
pub fn stat(path: &Path) -> Result<Stat> {
    call("lstat", path, || files::stat(CURRENT, path, false))
}

/// Stat of an entry. Links are followed.
pub fn stat_followed(path: &Path) -> Result<Stat> {
    call("stat", path, || files::stat(CURRENT, path, true))
}

/// Birth time of an entry in nanoseconds since the epoch. `None` if the filesystem does not record it. Together with
/// device and inode it identifies an entry, even after the inode number was reused.
pub fn born_ns(path: &Path) -> Result<Option<u64>> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let metadata = call("statx", path, || std::fs::symlink_metadata(path))?;
    let born = metadata.created().ok();
    let since_epoch = born.and_then(|born| born.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(since_epoch.and_then(|duration| u64::try_from(duration.as_nanos()).ok()))
}

/// Stat of an open file.
pub fn stat_file(file: impl AsHandle, path: &Path) -> Result<Stat> {
    call("fstat", path, || files::stat_handle(&file))
}

/// Text of a link.
pub fn read_link(path: &Path) -> Result<PathBuf> {
    call("readlink", path, || files::read_link(CURRENT, path))
}

/// Path with all links resolved.
pub fn canonicalize(path: &Path) -> Result<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    call("realpath", path, || std::fs::canonicalize(path)).map(files::simplify)
}

/// Creates a symbolic link.
///
/// # Errors
/// Errors of the system call, and `ERR_UNSUPPORTED` if this user may not create links.
pub fn symlink(target: &Path, path: &Path) -> Result<()> {
    create_link(target, path, LinkUse::default())
}

/// Creates a link to a directory that may not exist yet. The link must not be moved to another directory: Windows creates
/// a junction if this user may not create symbolic links.
///
/// # Errors
/// Errors of the system call, and `ERR_UNSUPPORTED` if this user may not create links.
pub fn link_directory(target: &Path, path: &Path) -> Result<()> {
    let link_use = LinkUse {
        home: path.parent(),
        to_directory: true,
    };
    create_link(target, path, link_use)
}

fn create_link(target: &Path, path: &Path, link_use: LinkUse<'_>) -> Result<()> {
    call("symlink", path, || {
        files::symlink(target, CURRENT, path, link_use)
    })
    .map_err(explain_symlink)
}

/// Adds advice if the system does not allow this user to create links.
pub(in super::super) fn explain_symlink(error: Error) -> Error {
    let Some(way_out) = error.source.as_ref().and_then(errno::symlinks_refused) else {
        return error;
    };
    Error {
        code: Code::Unsupported,
        message: format!("{}. {way_out}", error.message),
        ..error
    }
}

/// Description of a pointer on this system.
pub use pointer::POINTER;

/// Text of a pointer: a symbolic link, or a file with the same purpose.
pub fn read_pointer(path: &Path) -> Result<PathBuf> {
    call("readlink", path, || pointer::read_pointer(path))
}

/// Creates a pointer. [`rename`] replaces one atomically.
pub fn make_pointer(target: &Path, path: &Path) -> Result<()> {
    call("symlink", path, || pointer::make_pointer(target, path))
}

/// Creates a hard link. Fails with `AlreadyExists` if the name is in use.
pub fn link(existing: &Path, path: &Path) -> Result<()> {
    call("link", path, || files::link(CURRENT, existing, CURRENT, path))
}

/// Creates one directory. The umask applies to the mode.
pub fn create_directory(path: &Path, mode: u32) -> Result<()> {
    call("mkdir", path, || files::make_directory(CURRENT, path, mode))
}

/// Creates a directory and its missing parents.
pub fn create_directories(path: &Path) -> Result<()> {
    let mut missing = Vec::new();
    let mut present = path;
    loop {
        match create_directory(present, 0o777) {
            Ok(()) => break,
            Err(error) if error.is_not_found() => {
                missing.push(present);
                present = present.parent().ok_or(error)?;
            }
            Err(error) if error.is_exists() && stat_followed(present)?.kind == Kind::Directory => break,
            Err(error) => return Err(error),
        }
    }
    for path in missing.into_iter().rev() {
        match create_directory(path, 0o777) {
            Err(error) if error.is_exists() => {}
            made => made?,
        }
    }
    Ok(())
}

/// Renames an entry. Replaces a file, link or empty directory with the new name.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    call("rename", to, || files::rename(CURRENT, from, CURRENT, to))
}

/// Renames an entry. Fails if the new name is in use.
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    call("renameat2", to, || files::rename_new(CURRENT, from, CURRENT, to))
}

/// Exchanges two entries atomically.
pub fn exchange(one: &Path, other: &Path) -> Result<()> {
    call("renameat2", other, || {
        files::exchange(CURRENT, one, CURRENT, other)
    })
}

/// Removes a file or a link.
pub fn remove_file(path: &Path) -> Result<()> {
    call("unlink", path, || files::remove_file(CURRENT, path))
}

/// Removes an empty directory.
pub fn remove_directory(path: &Path) -> Result<()> {
    call("rmdir", path, || files::remove_directory(CURRENT, path))
}

/// Sets the permission bits of an entry that is not a link.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    call("chmod", path, || files::set_mode_at(path, mode))
}

/// Sets both times of an entry to now. Links are not followed.
pub fn touch(path: &Path) -> Result<()> {
    call("utimensat", path, || {
        files::set_times_at(CURRENT, path, Times::Now)
    })
}

/// Sets the modification time of an entry. Links are not followed.
pub fn set_modified(path: &Path, modified_ns: i128) -> Result<()> {
    call("utimensat", path, || {
        files::set_times_at(CURRENT, path, Times::Modified(modified_ns))
    })
}
