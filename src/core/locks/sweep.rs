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
            // One that cannot be swept is left; the others are not.
            Some(Neighbour::Temporary) => drop(sweep_litter(&root.join(name), &mut swept)),
            None if is_lock_directory(&root.join(name)).unwrap_or(false) => {
                locks.insert(name.to_owned());
            }
            None => {}
        }
    }
    for name in locks {
        let Ok(lock) = LockPath::from_path(&root.join(name)) else {
            continue;
        };
        if sweep_lock(&lock, &mut swept).is_err() {
            // Whose format is newer, or whose directory is closed to us: not ours to clear.
            swept.held.push(lock.directory().to_path_buf());
        }
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
    // A tombstone names whom it buries, not who is at it.
    let names_its_maker = path.extension().is_none_or(|extension| extension != "tomb");
    let Some(before) = Litter::look(path, names_its_maker)? else {
        return Ok(());
    };
    if !before.may_go() {
        return Ok(());
    }
    // Out of the way first: whose it is may be about to give it the name of the lock.
    let aside = path.with_file_name(format!(".swept.{}.tomb", uuid::Uuid::new_v4()));
    if fs::rename(path, &aside).optional()?.is_none() {
        return Ok(());
    }
    if Litter::look(&aside, names_its_maker)?.is_some_and(|now| now != before) {
        // Somebody is at it after all.
        drop(fs::rename_new(&aside, path));
        return Ok(());
    }
    fs::remove_tree(&aside)?;
    swept.removed.push(path.to_path_buf());
    Ok(())
}

/// What may be litter.
#[derive(PartialEq)]
struct Litter {
    inode: u64,
    modified_ns: i128,
    /// Of the process that it names; `None` where it names none.
    liveness: Option<Liveness>,
}

impl Litter {
    fn look(path: &Path, names_its_maker: bool) -> Result<Option<Self>> {
        let Some(stat) = fs::stat(path).optional()? else {
            return Ok(None);
        };
        let record = if stat.kind == fs::Kind::Directory {
            path.join("owner.json")
        } else {
            path.to_path_buf()
        };
        let liveness = match record::read(&record) {
            Ok(Some((_, Contents::Record(record)))) if names_its_maker => Some(record.process.liveness()),
            _ => None,
        };
        Ok(Some(Self {
            inode: stat.inode,
            modified_ns: stat.modified_ns,
            liveness,
        }))
    }

    fn may_go(&self) -> bool {
        let age = i128::from(clock::wall_millis()) - self.modified_ns / 1_000_000;
        let is_old = age >= i128::try_from(LITTER_AGE.as_millis()).unwrap_or(i128::MAX);
        match self.liveness {
            Some(Liveness::Alive) => false,
            Some(Liveness::Dead) => true,
            Some(Liveness::Unknown) | None => is_old,
        }
    }
}
