//! A staged tree: an empty directory on the target's filesystem, and its commit to the target.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::core::archives::commit::gate::Gate;
use crate::core::archives::commit::restricted::{
    WHILE_FILLED, cannot_be_written, exchange, explain_stage, mode_for_tree,
};
use crate::core::archives::commit::stage_directory::{StageDirectory, TREE};
use crate::core::archives::commit::sweep::{TargetLock, exclude_others, sweep_while};
use crate::core::archives::commit::target_state::{TargetState, not_empty, refuse_home};
use crate::core::archives::commit::{children, merge};
use crate::core::archives::shared_directory::Target;
use crate::core::error::{self, Error};
use crate::core::failure::{Cause, Failure, Result};
use crate::core::sys::dir::{Directory, DirectoryLock};
use crate::core::sys::{errno, fault, filesystem};

/// Time that a commit child by child waits for another one on the same target.
const COMMIT_PATIENCE: Duration = Duration::from_secs(2);
/// How a target that already contains entries is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetMode {
    /// It is not changed. The outcome is 'target-not-empty'.
    #[default]
    IfEmpty,
    /// The target is replaced as a whole.
    Replace,
    /// Missing entries are added, and existing ones are kept.
    Merge,
}

/// Method of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitMethod {
    /// One rename.
    Rename,
    /// One exchange.
    Exchange,
    /// Child by child.
    Children,
    /// File by file.
    Merge,
}

impl CommitMethod {
    /// Name of the method in JavaScript.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rename => "rename",
            Self::Exchange => "exchange",
            Self::Children => "children",
            Self::Merge => "merge",
        }
    }
}

/// Result of a commit.
#[derive(Debug)]
pub struct Committed {
    /// Method of the commit.
    pub method: CommitMethod,
    /// Entries of the archive that were skipped because the target had them ('merge').
    pub kept: u64,
    /// Old tree, to be removed after the call has returned.
    pub leftovers: Leftovers,
}

/// Leftovers of a stage. Dropping them removes them, which takes as long as removing the old tree. Until then, the lock
/// marks the stage as in use.
#[derive(Debug)]
pub struct Leftovers {
    stage_directory: StageDirectory,
    /// Whether a rollback failed because of a disk error. The stage then contains the old tree, and the next call tries
    /// again.
    is_needed: bool,
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        if !self.is_needed {
            // The next call on this target sweeps what cannot be removed now.
            drop(self.stage_directory.remove());
        }
    }
}

/// An empty directory on the target's filesystem, and its commit to the target.
#[derive(Debug)]
pub struct StagedTree {
    target: Target,
    mode: TargetMode,
    is_inside: bool,
    /// Whether a commit child by child may be necessary, for a mount point or a directory in a lower layer of
    /// overlayfs.
    is_shared: bool,
    tree: PathBuf,
    /// Mode of the target. The tree gets it last, because it may lack write permission (0555).
    target_mode: Option<u32>,
    remains: Leftovers,
}

/// The state of the target. It is locked if it may be changed child by child and its filesystem has locks.
struct ReservedTarget {
    state: TargetState,
    others: Option<DirectoryLock>,
}

impl StagedTree {
    /// Sweeps the stages of dead processes, inspects the target, and creates a stage. The target is an absolute path.
    /// Links at its end are followed.
    pub fn beside(path: &Path, mode: TargetMode) -> Result<Self> {
        let target = Target::open(path, true)?;
        if target.path != path {
            refuse_home(&target)?;
        }
        sweep_while(&target, TargetLock::Free)?;
        let state = TargetState::of(&target)?;
        if matches!((&state, mode), (TargetState::Full(_), TargetMode::IfEmpty)) {
            return Err(not_empty(&target.path));
        }
        let (exists, is_mount) = match &state {
            TargetState::Absent => (false, false),
            TargetState::Empty(_) | TargetState::Full(_) => (true, target.is_mount()?),
        };
        let made = if is_mount {
            None
        } else {
            Some(StageDirectory::create(&target.parent, &target.name))
        };
        let (stage_directory, is_inside) = match made {
            Some(Ok(stage_directory)) => (stage_directory, false),
            Some(Err(error)) if !exists || !cannot_be_written(&error) => return Err(error.into()),
            Some(Err(_)) | None => {
                let made = target
                    .open_directory()
                    .and_then(|opened| StageDirectory::create(&Arc::new(opened), &target.name));
                (made.map_err(|error| explain_stage(error, &target, &state))?, true)
            }
        };
        let tree = stage_directory.path(TREE);
        let target_mode = mode_for_tree(&target, &state);
        let stage = Self {
            target_mode,
            is_shared: is_inside || (exists && filesystem::of(&target.path)?.name == "overlayfs"),
            target,
            mode,
            is_inside,
            tree,
            remains: Leftovers {
                stage_directory,
                is_needed: false,
            },
        };
        stage.make_tree()?;
        Ok(stage)
    }

    fn make_tree(&self) -> Result<()> {
        let directory = &self.remains.stage_directory.opened.directory;
        directory.make_directory(TREE.as_ref(), 0o777, &self.tree)?;
        if let Some(mode) = self.target_mode {
            self.open()?.set_own_mode(mode | WHILE_FILLED, &self.tree)?;
        }
        Ok(())
    }

    /// Path of the target, after following the links at its end.
    pub fn target(&self) -> &Path {
        &self.target.path
    }

    /// Opens the directory in which the tree is built.
    pub fn open(&self) -> Result<Directory> {
        let directory = &self.remains.stage_directory.opened.directory;
        Ok(directory.open_directory(TREE.as_ref(), &self.tree)?)
    }

    /// Directory in which the tree is built.
    pub fn path(&self) -> &Path {
        &self.tree
    }

    /// Commits the staged tree to the target, unless the gate was closed. An error leaves the target unchanged.
    pub fn commit(mut self, gate: &Gate) -> Result<Committed> {
        let mut reserved = self.reserve(COMMIT_PATIENCE)?;
        if !gate.pass() && !fault::is_seeded("commit-after-deadline") {
            return Err(Failure::new(Cause::Timeout, "the call ended before its commit"));
        }
        // Another process may create, fill or remove the target between the check and the rename.
        for _ in 0..3 {
            match self.attempt(&reserved) {
                // A part of the new tree is in the target.
                Err(failure) if self.remains.is_needed => return Err(failure),
                Err(failure) if failure.cause == Cause::TargetNotEmpty || failure.error.is_not_found() => {
                    if self.mode == TargetMode::IfEmpty && failure.cause == Cause::TargetNotEmpty {
                        return Err(failure);
                    }
                    drop(reserved.others.take());
                    reserved = self.reserve(Duration::ZERO)?;
                }
                Ok((method, kept)) => {
                    return Ok(Committed {
                        method,
                        kept,
                        leftovers: self.remains,
                    });
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::new(
            Cause::Busy,
            format!(
                "another process is changing '{}'. Try again",
                self.target.path.display()
            ),
        ))
    }

    /// Locks the target against other commits and reads its state. A commit that was waited for may have filled it.
    fn reserve(&self, patience: Duration) -> Result<ReservedTarget> {
        let others = match TargetState::of(&self.target)? {
            TargetState::Empty(_) | TargetState::Full(_) if self.is_shared => self.lock(patience)?,
            _ => None,
        };
        let state = TargetState::of(&self.target)?;
        if matches!((&state, self.mode), (TargetState::Full(_), TargetMode::IfEmpty)) {
            return Err(not_empty(&self.target.path));
        }
        Ok(ReservedTarget { state, others })
    }

    /// Locks the target, and rolls back the unfinished commit of a dead process.
    fn lock(&self, patience: Duration) -> Result<Option<DirectoryLock>> {
        let others = exclude_others(&self.target, patience)?;
        if others.is_some() {
            sweep_while(&self.target, TargetLock::Ours)?;
        }
        Ok(others)
    }

    fn attempt(&mut self, reserved: &ReservedTarget) -> Result<(CommitMethod, u64)> {
        let state = &reserved.state;
        if let (TargetState::Full(_), TargetMode::Merge) = (state, self.mode) {
            let here = self.target.open_directory()?;
            return merge::merge(&self.open()?, &here.directory).map(|kept| (CommitMethod::Merge, kept));
        }
        if self.is_inside {
            return self.children(reserved);
        }
        let (from, to) = (
            &self.remains.stage_directory.opened.directory,
            &self.target.parent.directory,
        );
        let (tree, name, path) = (OsStr::new(TREE), &*self.target.name, &*self.target.path);
        let restricted = match self.target_mode {
            Some(mode) if mode & WHILE_FILLED != WHILE_FILLED => Some((self.open()?, mode)),
            _ => None,
        };
        let result = match state {
            TargetState::Absent => rename_absent(from, to, name, path).map(|()| CommitMethod::Rename),
            TargetState::Empty(_) => from.rename(tree, to, name, path).map(|()| CommitMethod::Rename),
            TargetState::Full(stat) => exchange(from, to, name, path, stat).map(|()| CommitMethod::Exchange),
        };
        match result {
            Ok(method) => {
                // A directory without write permission cannot be moved by its own user. By now the new tree is in
                // place.
                if let Some((directory, mode)) = restricted {
                    drop(directory.set_own_mode(mode, path));
                }
                Ok((method, 0))
            }
            Err(error) if error.is_exists() || error.kind() == Some(ErrorKind::DirectoryNotEmpty) => {
                match (state, TargetState::of(&self.target)?) {
                    // Its only entry is not content (the lost+found of a volume), and stays.
                    (TargetState::Empty(_), TargetState::Empty(_)) => self.children(reserved),
                    _ => Err(not_empty(path)),
                }
            }
            Err(error) if needs_children(&error) && !matches!(state, TargetState::Absent) => {
                self.children(reserved)
            }
            Err(error) => Err(self.explain(error, state).into()),
        }
    }

    /// Explains why a target that another user restored cannot be replaced.
    fn explain(&self, mut error: Error, state: &TargetState) -> Error {
        if let TargetState::Empty(stat) | TargetState::Full(stat) = state
            && cannot_be_written(&error)
        {
            error.message = format!(
                "'{}' belongs to uid {}, and this user must not move it ({}). Restore as that user, remove it, or restore to another directory",
                self.target.path.display(),
                stat.uid,
                error.message
            );
        }
        error
    }

    fn children(&mut self, reserved: &ReservedTarget) -> Result<(CommitMethod, u64)> {
        // Unexpected, and already past the commit gate: do not wait.
        let _others = match &reserved.others {
            Some(_) => None,
            None => self.lock(Duration::ZERO)?,
        };
        // A rollback under that lock may have filled the target.
        if self.mode != TargetMode::Replace && matches!(TargetState::of(&self.target)?, TargetState::Full(_))
        {
            return Err(not_empty(&self.target.path));
        }
        let stage_directory = &self.remains.stage_directory;
        let Err(failure) = children::commit(stage_directory, &self.target, self.mode == TargetMode::Replace)
        else {
            return Ok((CommitMethod::Children, 0));
        };
        // The journal is removed after everything was rolled back.
        self.remains.is_needed = children::is_unfinished(stage_directory).unwrap_or(true);
        if self.mode != TargetMode::Replace && failure.error.is_exists() && !self.remains.is_needed {
            return Err(not_empty(&self.target.path));
        }
        Err(failure)
    }
}

/// Moves the tree to a path that does not exist.
fn rename_absent(from: &Directory, to: &Directory, name: &OsStr, path: &Path) -> error::Result<()> {
    let tree = OsStr::new(TREE);
    match from.rename_new(tree, to, name, path) {
        // Filesystems without flags for rename.
        Err(error) if errno::is_unsupported(&error) => from.rename(tree, to, name, path),
        renamed => renamed,
    }
}

/// Whether the target is a mount point, is on another layer or mount, or is on a filesystem without exchange.
fn needs_children(error: &Error) -> bool {
    errno::is_unsupported(error)
        || matches!(
            error.kind(),
            Some(ErrorKind::ResourceBusy | ErrorKind::CrossesDevices)
        )
}
