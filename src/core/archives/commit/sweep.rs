//! Removes what dead processes left next to a target and in it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::error::Optional as _;
use crate::core::sys::dir::DirectoryLock;
use crate::core::sys::fs::Kind;

use crate::core::archives::commit::children;
use crate::core::archives::commit::stage_directory::StageDirectory;
use crate::core::archives::shared_directory::{SharedDirectory, Target};
use crate::core::failure::{Cause, Failure, Result};

/// Interval at which a commit that waits for another one tries again.
const COMMIT_POLL: Duration = Duration::from_millis(5);

/// Holder of the target's lock during the rollback of an unfinished commit.
#[derive(Clone, Copy)]
pub(super) enum TargetLock {
    /// The caller holds it.
    Ours,
    /// The sweep acquires it, if it is free.
    Free,
}

/// Removes the stages of this target whose processes are dead, and rolls back their unfinished commits. Returns the
/// number of stages.
pub fn sweep(target: &Path) -> Result<usize> {
    match Target::open(target, false).optional()? {
        Some(target) => sweep_while(&target, TargetLock::Free),
        None => Ok(0),
    }
}

pub(super) fn sweep_while(target: &Target, lock: TargetLock) -> Result<usize> {
    let mut swept = sweep_in(&target.parent, target, lock)?;
    if target.stat()?.is_some_and(|stat| stat.kind == Kind::Directory)
        && let Some(inside) = target.open_directory().optional()?
    {
        swept += sweep_in(&Arc::new(inside), target, lock)?;
    }
    Ok(swept)
}

fn sweep_in(parent: &Arc<SharedDirectory>, target: &Target, lock: TargetLock) -> Result<usize> {
    let mut swept = 0;
    for name in StageDirectory::names(parent, &target.name)? {
        if let Some(dead) = StageDirectory::open_dead(parent, name)? {
            swept += usize::from(sweep_one(&dead, target, lock)?);
        }
    }
    Ok(swept)
}

fn sweep_one(dead: &StageDirectory, target: &Target, target_lock: TargetLock) -> Result<bool> {
    if children::is_unfinished(dead)? {
        let _others = match target_lock {
            TargetLock::Ours => None,
            TargetLock::Free => match exclude_others(target, Duration::ZERO) {
                Ok(others) => others,
                // A running commit holds the lock of the target.
                Err(_) => return Ok(false),
            },
        };
        if !children::roll_back_unfinished(dead, target)? {
            return Ok(false);
        }
        // Otherwise the next sweep would roll back what the caller is about to commit.
        dead.forget_journal()?;
    }
    // This user may not be allowed to remove an old tree of another user. Such a tree disturbs no call.
    Ok(dead.remove().is_ok())
}

/// Locks this target against other commits child by child and rollbacks, because two at the same time would mix their
/// trees. The lock is on the directory itself. Returns `None` if the directory no longer exists, or if the filesystem
/// has no such lock.
pub(super) fn exclude_others(target: &Target, patience: Duration) -> Result<Option<DirectoryLock>> {
    let Some(opened) = target.open_directory().optional()? else {
        return Ok(None);
    };
    let directory = opened.directory;
    let since = Instant::now();
    loop {
        match directory.try_lock(&target.path) {
            Ok(Some(lock)) => return Ok(Some(lock)),
            Err(_) => return Ok(None),
            Ok(None) if since.elapsed() >= patience => {
                return Err(Failure::new(
                    Cause::Busy,
                    format!("another call is committing to '{}'", target.path.display()),
                ));
            }
            Ok(None) => std::thread::sleep(COMMIT_POLL),
        }
    }
}
