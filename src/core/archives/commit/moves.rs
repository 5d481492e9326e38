//! Moves of entries between open directories.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;

use crate::core::error::Result;
use crate::core::sys::dir::Directory;
use crate::core::sys::errno;
use crate::core::sys::fs::Kind;

/// Maximum depth at which directories are merged or moved child by child. Each level needs two descriptors. Archives
/// are not deeper.
const MAX_LEVELS: usize = 256;

/// What happens if the name of a moved directory is already in use.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OnConflict {
    /// The move fails: another process has created that entry.
    Fail,
    /// The children are moved into the existing directory, because an earlier move may have been interrupted between
    /// two of them. The existing directory must belong to the owner of the moved one, or to the user of that commit.
    Fill { committer: u32 },
}

/// Moves an entry. A directory in a lower layer of overlayfs cannot be renamed (EXDEV), so its children are moved one
/// by one. Names in use are reported at the end.
pub(super) fn move_entry(
    from: &Directory,
    to: &Directory,
    name: &OsStr,
    path: &Path,
    on_conflict: OnConflict,
) -> Result<()> {
    move_at(from, to, name, path, on_conflict, 0)
}

fn move_at(
    from: &Directory,
    to: &Directory,
    name: &OsStr,
    path: &Path,
    on_conflict: OnConflict,
    level: usize,
) -> Result<()> {
    let path = path.join(name);
    let error = match rename_new(from, to, name, &path) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let stat = from.stat(name, &path)?;
    let has_conflict = error.is_exists() || error.kind() == Some(ErrorKind::DirectoryNotEmpty);
    let is_movable = match on_conflict {
        OnConflict::Fill { committer } if has_conflict => {
            let there = to.stat(name, &path)?;
            there.kind == Kind::Directory && [stat.uid, committer].contains(&there.uid)
        }
        _ => error.kind() == Some(ErrorKind::CrossesDevices),
    };
    if stat.kind != Kind::Directory || !is_movable || level == MAX_LEVELS {
        return Err(error);
    }
    match to.make_directory(name, 0o700, &path) {
        Err(error) if has_conflict && error.is_exists() => {}
        made => made?,
    }
    let (source, sink) = (from.open_directory(name, &path)?, to.open_directory(name, &path)?);
    let mut refused = Ok(());
    for entry in source.entries(&path)? {
        match move_at(&source, &sink, &entry.name, &path, on_conflict, level + 1) {
            Err(error) if error.is_exists() => refused = Err(error),
            moved => moved?,
        }
    }
    refused?;
    sink.set_own_mode(stat.mode, &path)?;
    sink.set_own_modified(stat.modified_ns, &path)?;
    from.remove_directory(name, &path)
}

/// Moves an entry to another directory. A directory without write permission (0555: Go's module cache, Nix) cannot be
/// moved by its own user, because its `..` changes. It gets write permission during the move.
pub(super) fn rename_new(from: &Directory, to: &Directory, name: &OsStr, path: &Path) -> Result<()> {
    let moved = from.rename_new(name, to, name, path);
    if !moved.as_ref().is_err_and(errno::is_access_denied) {
        return moved;
    }
    let stat = from.stat(name, path)?;
    if stat.kind != Kind::Directory || stat.mode & 0o200 != 0 {
        return moved;
    }
    // A directory of another user is not changed.
    let Ok(directory) = from.open_own_directory(name, path) else {
        return moved;
    };
    directory.set_own_mode(stat.mode | 0o700, path)?;
    let moved = from.rename_new(name, to, name, path);
    directory.set_own_mode(stat.mode, path)?;
    moved
}
