//! Moves of entries between open directories.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;

use crate::core::error::Result;
use crate::core::sys::dir::Directory;
use crate::core::sys::errno;
use crate::core::sys::fs::Kind;

/// How deep directories are merged or moved child by child, two descriptors a level. Archives are not deeper.
const MAX_LEVELS: usize = 256;

/// What a directory is moved to whose name is taken by another one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OnConflict {
    /// Nothing: another process has made that one.
    Fail,
    /// Into it: its own move may have been cut off between two of its children. Then it belongs to the owner of the
    /// one that is moved, or to the user whose commit it was.
    Fill { committer: u32 },
}

/// Moves an entry. A directory of an overlay's lower layer cannot be renamed (EXDEV): its children are moved
/// one by one. Names that are taken are told at the end.
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

/// Moves an entry to another directory. One that is itself a directory and forbids writing (0555: Go's module
/// cache, Nix) cannot be moved by its own user, because its `..` changes: it is opened up for that moment.
pub(super) fn rename_new(from: &Directory, to: &Directory, name: &OsStr, path: &Path) -> Result<()> {
    let moved = from.rename_new(name, to, name, path);
    if !moved.as_ref().is_err_and(errno::is_access_denied) {
        return moved;
    }
    let stat = from.stat(name, path)?;
    if stat.kind != Kind::Directory || stat.mode & 0o200 != 0 {
        return moved;
    }
    // A directory of another user stays as it is.
    let Ok(directory) = from.open_own_directory(name, path) else {
        return moved;
    };
    directory.set_own_mode(stat.mode | 0o700, path)?;
    let moved = from.rename_new(name, to, name, path);
    directory.set_own_mode(stat.mode, path)?;
    moved
}
