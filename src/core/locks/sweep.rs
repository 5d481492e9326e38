//! What killed processes leave: locks of the dead, prepared and buried directories, half-made files. Never
//! the guard, and never anything of the living.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Request;
use super::attempt::{Attempt, Step};
use super::directory;
use super::inspect::inspect;
use super::paths::{LockPath, Neighbour};
use super::record::{self, Contents};
use super::verdict::Liveness;
use crate::core::error::{Optional as _, Result};
use crate::core::sys::{clock, fs};

/// A file that names no dead process is somebody's who is at it, unless it is this old.
const LITTER_AGE: Duration = Duration::from_mins(1);

/// What a sweep found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Paths that are gone: lock directories of dead holders, and litter.
    pub removed: Vec<PathBuf>,
    /// Lock directories whose holders are alive or unknown.
    pub held: Vec<PathBuf>,
}

/// Sweeps all locks whose directories are in this one.
pub fn sweep(root: &Path) -> Result<Swept> {
    let mut swept = Swept::default();
    let mut locks = BTreeSet::new();
    for entry in fs::read_directory(root)? {
        let Some(name) = entry.name.to_str() else { continue };
        match Neighbour::parse(name) {
            Some(Neighbour::OfLock(lock)) => {
                locks.insert(lock.to_owned());
            }
            Some(Neighbour::Temporary) => sweep_litter(&root.join(name), &mut swept)?,
            None if is_lock_directory(&root.join(name))? => {
                locks.insert(name.to_owned());
            }
            None => {}
        }
    }
    for name in locks {
        sweep_lock(&LockPath::from_path(&root.join(name))?, &mut swept)?;
    }
    Ok(swept)
}

/// A directory of a user's own must not be taken for a lock: only an owner with a pid makes it one.
fn is_lock_directory(path: &Path) -> Result<bool> {
    let Ok(lock) = LockPath::from_path(path) else {
        return Ok(false);
    };
    if fs::stat(path)
        .optional()?
        .is_none_or(|stat| stat.kind != fs::Kind::Directory)
    {
        return Ok(false);
    }
    let found = directory::look(&lock)?;
    Ok(matches!(
        found.and_then(|found| found.contents),
        Some(Contents::Record(_) | Contents::Foreign(_))
    ))
}

fn sweep_lock(lock: &LockPath, swept: &mut Swept) -> Result<()> {
    let path = lock.directory().to_path_buf();
    let found = inspect(lock)?;
    if found.is_held {
        swept.held.push(path);
    } else if found.liveness == Some(Liveness::Dead) {
        match Attempt::new(lock, Arc::new(Request::default()))?.step()? {
            Step::Taken(held) => {
                held.release(None);
                swept.removed.push(path);
            }
            // Somebody was faster.
            Step::Blocked(_) | Step::Vacant { .. } => swept.held.push(path),
        }
    }
    Ok(())
}

fn sweep_litter(path: &Path, swept: &mut Swept) -> Result<()> {
    let Some(stat) = fs::stat(path).optional()? else {
        return Ok(());
    };
    let record = if stat.kind == fs::Kind::Directory {
        path.join("owner.json")
    } else {
        path.to_path_buf()
    };
    // A tombstone names whom it buries, not who is at it: only its age tells.
    let is_tombstone = path.extension().is_some_and(|extension| extension == "tomb");
    let is_of_the_dead = !is_tombstone
        && matches!(record::read(&record), Ok(Some((_, Contents::Record(record)))) if record.process.liveness() == Liveness::Dead);
    let age = i128::from(clock::wall_millis()) - stat.modified_ns / 1_000_000;
    if is_of_the_dead || age >= i128::try_from(LITTER_AGE.as_millis()).unwrap_or(i128::MAX) {
        fs::remove_tree(path)?;
        swept.removed.push(path.to_path_buf());
    }
    Ok(())
}
