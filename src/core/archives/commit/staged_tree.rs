//! An empty directory on the target's filesystem, and the way from it to the target.

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
use crate::core::error::Error;
use crate::core::failure::{Cause, Failure, Result};
use crate::core::sys::dir::{Directory, DirectoryLock};
use crate::core::sys::{errno, fault, filesystem};

/// How long a commit child by child waits for another one on its target.
const COMMIT_PATIENCE: Duration = Duration::from_secs(2);
/// What may happen to a target that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetMode {
    /// Nothing: the outcome is 'target-not-empty'.
    #[default]
    IfEmpty,
    /// It is replaced as a whole.
    Replace,
    /// What is not there is added; nothing is overwritten.
    Merge,
}

/// How a commit was made.
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
    /// The name that JavaScript sees.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rename => "rename",
            Self::Exchange => "exchange",
            Self::Children => "children",
            Self::Merge => "merge",
        }
    }
}

/// What a commit did.
#[derive(Debug)]
pub struct Committed {
    /// How.
    pub method: CommitMethod,
    /// Entries of the archive that were left out because the target had them ('merge').
    pub kept: u64,
    /// The old tree, to be removed off the critical path.
    pub leftovers: Leftovers,
}

/// What is left of a stage. Dropping it removes it, which takes as long as removing the old tree does; until
/// then its lock says that it is in use.
#[derive(Debug)]
pub struct Leftovers {
    stage_directory: StageDirectory,
    /// A commit could not be taken back (a disk that fails): the old tree is in it, and the next call tries again.
    is_needed: bool,
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        if !self.is_needed {
            // What cannot be removed now is swept by the next call on this target.
            drop(self.stage_directory.remove());
        }
    }
}

/// An empty directory on the target's filesystem, and the way from it to the target.
#[derive(Debug)]
pub struct StagedTree {
    target: Target,
    mode: TargetMode,
    is_inside: bool,
    /// It may have to be changed child by child: a mount point, or a directory of an overlay's lower layer.
    is_shared: bool,
    tree: PathBuf,
    /// The target's mode, which the tree gets at last: it may forbid to write (0555).
    target_mode: Option<u32>,
    remains: Leftovers,
}

/// The target as it stands, under our lock where it may be changed child by child and its filesystem has locks.
struct ReservedTarget {
    state: TargetState,
    others: Option<DirectoryLock>,
}

impl StagedTree {
    /// Sweeps the stages of dead processes, looks at the target, and makes a stage. The target is an absolute path;
    /// links at its end are followed.
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

    /// The target, with the links at the end of the caller's path followed.
    pub fn target(&self) -> &Path {
        &self.target.path
    }

    /// Opens the directory where the tree is built.
    pub fn open(&self) -> Result<Directory> {
        let directory = &self.remains.stage_directory.opened.directory;
        Ok(directory.open_directory(TREE.as_ref(), &self.tree)?)
    }

    /// Where the tree is built.
    pub fn path(&self) -> &Path {
        &self.tree
    }

    /// Makes the staged tree the target's, if the gate still lets it. On an error the target is as it was.
    pub fn commit(mut self, gate: &Gate) -> Result<Committed> {
        let mut reserved = self.reserve(COMMIT_PATIENCE)?;
        if !gate.pass() && !fault::is_seeded("commit-after-deadline") {
            return Err(Failure::new(
                Cause::Timeout,
                "the call was over before its commit",
            ));
        }
        // Another process may make, fill or remove the target between the look and the rename.
        for _ in 0..3 {
            match self.attempt(&reserved) {
                // Part of the new tree is in the target.
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
                "'{}' is changed by another process. Try again",
                self.target.path.display()
            ),
        ))
    }

    /// Keeps other commits off the target and looks at it: the one that was waited for may have filled it.
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

    /// Has the target to itself, and as it was before any commit of a dead process.
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
            TargetState::Absent => from
                .rename_new(tree, to, name, path)
                .map(|()| CommitMethod::Rename),
            TargetState::Empty(_) => from.rename(tree, to, name, path).map(|()| CommitMethod::Rename),
            TargetState::Full(stat) => exchange(from, to, name, path, stat).map(|()| CommitMethod::Exchange),
        };
        match result {
            Ok(method) => {
                // A directory that forbids to write cannot be moved by its own user. The new tree is in place.
                if let Some((directory, mode)) = restricted {
                    drop(directory.set_own_mode(mode, path));
                }
                Ok((method, 0))
            }
            Err(error) if error.is_exists() || error.kind() == Some(ErrorKind::DirectoryNotEmpty) => {
                match (state, TargetState::of(&self.target)?) {
                    // What is in it is no content (a volume's lost+found), and stays.
                    (TargetState::Empty(_), TargetState::Empty(_)) => self.children(reserved),
                    _ => Err(not_empty(path)),
                }
            }
            Err(error) if needs_children(&error) && !matches!(state, TargetState::Absent) => {
                self.children(reserved)
            }
            // Filesystems without flags for rename.
            Err(error) if errno::is_unsupported(&error) && matches!(state, TargetState::Absent) => {
                from.rename(tree, to, name, path)?;
                Ok((CommitMethod::Rename, 0))
            }
            Err(error) => Err(self.explain(error, state).into()),
        }
    }

    /// Says why a target cannot be replaced that another user restored.
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
        // Not foreseen, and the gate is passed: nothing is waited for.
        let _others = match &reserved.others {
            Some(_) => None,
            None => self.lock(Duration::ZERO)?,
        };
        // What was taken back under that lock fills it.
        if self.mode != TargetMode::Replace && matches!(TargetState::of(&self.target)?, TargetState::Full(_))
        {
            return Err(not_empty(&self.target.path));
        }
        let stage_directory = &self.remains.stage_directory;
        let Err(failure) = children::commit(stage_directory, &self.target, self.mode == TargetMode::Replace)
        else {
            return Ok((CommitMethod::Children, 0));
        };
        // Its journal goes when everything is taken back.
        self.remains.is_needed = children::is_unfinished(stage_directory).unwrap_or(true);
        if self.mode != TargetMode::Replace && failure.error.is_exists() && !self.remains.is_needed {
            return Err(not_empty(&self.target.path));
        }
        Err(failure)
    }
}

/// A mount point, another layer or another mount, or a filesystem without exchange.
fn needs_children(error: &Error) -> bool {
    errno::is_unsupported(error)
        || matches!(
            error.kind(),
            Some(ErrorKind::ResourceBusy | ErrorKind::CrossesDevices)
        )
}
