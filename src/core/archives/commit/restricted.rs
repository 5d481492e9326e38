//! Targets whose mode or owner prevents a commit.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;

use crate::core::archives::commit::stage_directory::TREE;
use crate::core::archives::commit::target_state::TargetState;
use crate::core::archives::shared_directory::Target;
use crate::core::error::{Error, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::errno;
use crate::core::sys::fs::Stat;

/// Mode that the owner needs to fill a directory and to move it.
pub(super) const WHILE_FILLED: u32 = 0o700;
/// Write permission of the group and of all others.
const SHARED_WRITE: u32 = 0o022;

/// Mode of an existing target, for the new tree. The directory of an untrusted user must not allow others to write to
/// the tree.
pub(super) fn mode_for_tree(target: &Target, state: &TargetState) -> Option<u32> {
    match state {
        TargetState::Empty(stat) | TargetState::Full(stat) => {
            let is_trusted = target.parent.trusts(stat);
            Some(stat.mode & !if is_trusted { 0 } else { SHARED_WRITE })
        }
        TargetState::Absent => None,
    }
}

/// Exchanges the tree with the target. A target without write permission (0555) gets it during the exchange, because
/// its own user cannot move it otherwise.
pub(super) fn exchange(
    from: &Directory,
    to: &Directory,
    name: &OsStr,
    path: &Path,
    stat: &Stat,
) -> Result<()> {
    let tree = OsStr::new(TREE);
    let moved = from.exchange(tree, to, name, path);
    if stat.mode & 0o200 != 0 || !moved.as_ref().is_err_and(errno::is_access_denied) {
        return moved;
    }
    let Ok(old) = to.open_own_directory(name, path) else {
        return moved;
    };
    old.set_own_mode(stat.mode | WHILE_FILLED, path)?;
    let moved = from.exchange(tree, to, name, path);
    if moved.is_err() {
        old.set_own_mode(stat.mode, path)?;
    }
    moved
}

/// Names the directory that prevents the commit if neither the target nor its parent is writable.
pub(super) fn explain_stage(mut error: Error, target: &Target, state: &TargetState) -> Error {
    if let TargetState::Empty(stat) | TargetState::Full(stat) = state
        && cannot_be_written(&error)
    {
        error.message = format!(
            "this user can write neither to '{}' (mode {:04o}, uid {}) nor to its parent directory ({}). Change the mode or the owner of one of them, or restore to another directory",
            target.path.display(),
            stat.mode & 0o7777,
            stat.uid,
            error.message
        );
    }
    error
}

pub(super) fn cannot_be_written(error: &Error) -> bool {
    matches!(
        error.kind(),
        Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
    )
}
