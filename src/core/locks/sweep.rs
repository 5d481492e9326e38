//! Removes what killed processes left: their locks, prepared and retired directories, and incomplete files. It also
//! removes the files of locks that were not used for a given time ([`disused`]). It removes no file of a process that
//! is alive.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::attempt::{Attempt, Step};
use super::heirs::Heirs;
use super::inspect::survey;
use super::liveness::Liveness;
use super::lock_directory::{self, Extra};
use super::neighbours::Neighbours;
use super::path::{LockPath, Neighbour};
use super::record::{self, Contents};
use super::removal;
use super::request::Request;
use super::{disused, shared, staleness};
use crate::core::error::{Optional as _, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::Kind;
use crate::core::sys::{clock, fs};

/// Age at which a file that names no dead process counts as left over. A younger file may belong to a running process.
const LITTER_AGE: Duration = Duration::from_mins(1);

/// Result of a sweep.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Removed paths: lock directories of dead holders, leftovers, and files of locks that are no longer used.
    pub removed: Vec<PathBuf>,
    /// Lock directories whose holders are alive or cannot be verified.
    pub held: Vec<PathBuf>,
}

/// Sweeps all locks whose directories are in `root`. Removes only what provably belongs to warmswap, judged by content
/// rather than by name. If other users may create entries here, the owner is checked too. With `unused`, also removes
/// guard, records and spare of each lock that was not used for that time, if flock on its filesystem is trusted.
pub fn sweep(root: &Path, unused: Option<Duration>) -> Result<Swept> {
    let mut swept = Swept::default();
    let mut locks = BTreeSet::new();
    let entries = Directory::open_followed(root)?.fresh_entries(root)?;
    let neighbours = Neighbours::of(root)?;
    for entry in entries {
        let Some(name) = entry.name.to_str() else { continue };
        match Neighbour::parse(name) {
            Some(Neighbour::OfLock(lock)) => {
                locks.insert(lock.to_owned());
            }
            // An entry that cannot be swept is skipped.
            Some(Neighbour::Temporary) => drop(sweep_litter(&root.join(name), &neighbours, &mut swept)),
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
        if sweep_lock(&lock, &neighbours, &mut swept).is_err() {
            // The format is newer, or this process has no access. Such a lock is not removed.
            swept.held.push(lock.directory().to_path_buf());
        } else if let Some(unused) = unused {
            // A lock whose files cannot be removed is skipped.
            let removed = disused::remove(&lock, &neighbours, unused);
            swept.removed.extend(removed.into_iter().flatten());
        }
    }
    Ok(swept)
}

/// Whether a directory is a lock directory. A directory of the user must not count as a lock: only an owner file with a
/// pid makes it one.
fn is_lock_directory(path: &Path) -> Result<bool> {
    let found = lock_directory::read_at(path, None)?;
    Ok(matches!(
        found.and_then(|found| found.contents),
        Some(Contents::Record(_) | Contents::Foreign(_))
    ))
}

fn sweep_lock(lock: &LockPath, neighbours: &Neighbours, swept: &mut Swept) -> Result<()> {
    let path = lock.directory().to_path_buf();
    let (inspection, found) = survey(lock, &mut Heirs::for_one_inspection())?;
    if let Some(found) = &found {
        if matches!(found.extra()?, Extra::Folder(_)) {
            return Ok(());
        }
        let is_removable =
            found.has_record() && found.is_trusted_by(neighbours) && found.extra()? == Extra::Nothing;
        if !inspection.is_held && !is_removable {
            return Ok(());
        }
    }
    if inspection.is_held {
        swept.held.push(path);
    } else if inspection.liveness == Some(Liveness::Dead) {
        match Attempt::new(lock, Arc::new(Request::default()))?.step()? {
            Step::Acquired(held) => {
                held.release(None);
                swept.removed.push(path);
            }
            // Another process acquired it first.
            Step::Blocked(_) | Step::Vacant { .. } => swept.held.push(path),
        }
    }
    Ok(())
}

fn sweep_litter(path: &Path, neighbours: &Neighbours, swept: &mut Swept) -> Result<()> {
    let Some(before) = Litter::examine(path, neighbours)? else {
        return Ok(());
    };
    if !before.may_go() {
        return Ok(());
    }
    // Renamed first, because its owner may be about to rename it to the path of the lock.
    let aside = path.with_file_name(format!(".swept.{}.tomb", uuid::Uuid::new_v4()));
    if fs::rename(path, &aside).optional()?.is_none() {
        return Ok(());
    }
    let is_same = Litter::examine_as(&aside, path, neighbours)?.is_some_and(|now| now == before);
    let is_gone = is_same
        && if before.holds_records {
            removal::discard_records(&aside)?
        } else if before.is_directory {
            removal::discard(&aside)?
        } else {
            fs::remove_file(&aside).optional()?;
            true
        };
    if is_gone {
        swept.removed.push(path.to_path_buf());
    } else {
        // A running process uses it after all, so it is moved back.
        drop(shared::rename_new(&aside, path));
    }
    Ok(())
}

/// An entry that may be a leftover of warmswap.
#[derive(PartialEq)]
struct Litter {
    inode: u64,
    modified_ns: i128,
    is_directory: bool,
    /// Whether it is a directory of records that was moved away.
    holds_records: bool,
    /// Whether the process that it names is alive. `None` if it names none.
    liveness: Option<Liveness>,
}

impl Litter {
    fn examine(path: &Path, neighbours: &Neighbours) -> Result<Option<Self>> {
        Self::examine_as(path, path, neighbours)
    }

    /// Returns `None` unless the entry provably belongs to warmswap. `named` is the path whose name shows its purpose.
    fn examine_as(path: &Path, named: &Path, neighbours: &Neighbours) -> Result<Option<Self>> {
        let Some(stat) = fs::stat(path).optional()? else {
            return Ok(None);
        };
        if !neighbours.trusts(&stat) {
            return Ok(None);
        }
        let name = named.to_string_lossy();
        let holds_records =
            stat.kind == Kind::Directory && name.ends_with(".tomb") && removal::holds_records_only(path)?;
        let contents = match stat.kind {
            Kind::Directory if holds_records => Contents::Blank,
            Kind::Directory => match of_directory(path)? {
                Some(contents) => contents,
                None => return Ok(None),
            },
            Kind::File if name.ends_with(".next.tmp") => match of_file(path)? {
                Some(contents) => contents,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let liveness = match contents {
            // A tombstone names the dead holder, not the process that is removing it.
            Contents::Record(record) if !name.ends_with(".tomb") => Some(record.process.liveness()),
            _ => None,
        };
        Ok(Some(Self {
            inode: stat.inode,
            modified_ns: stat.modified_ns,
            is_directory: stat.kind == Kind::Directory,
            holds_records,
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

/// Owner in a prepared or removed lock directory of warmswap. An empty directory counts as blank.
fn of_directory(path: &Path) -> Result<Option<Contents>> {
    let Some(found) = lock_directory::read_at(path, None)? else {
        return Ok(None);
    };
    if found.extra()? != Extra::Nothing {
        return Ok(None);
    }
    Ok(match found.contents {
        None => Some(Contents::Blank),
        Some(contents @ (Contents::Record(_) | Contents::Blank)) => Some(contents),
        Some(Contents::Foreign(_) | Contents::Unreadable) => None,
    })
}

/// Owner in an incomplete guard, record or observation file.
fn of_file(path: &Path) -> Result<Option<Contents>> {
    let Some((bytes, contents)) = record::read(path)? else {
        return Ok(None);
    };
    Ok(match contents {
        Contents::Record(_) | Contents::Blank => Some(contents),
        Contents::Foreign(_) | Contents::Unreadable => {
            staleness::is_observation(&bytes).then_some(Contents::Unreadable)
        }
    })
}
