//! Removes what killed processes leave: their locks, prepared and retired directories, and incomplete files. It also removes the
//! files of locks that no process has used for a given time ([`disused`]). It removes no file of a process that is alive.

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

/// A file that names no dead process is somebody's who is at it, unless it is this old.
const LITTER_AGE: Duration = Duration::from_mins(1);

/// What a sweep found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Paths that are gone: lock directories of dead holders, litter, and files of locks that are not used any more.
    pub removed: Vec<PathBuf>,
    /// Lock directories whose holders are alive or unknown.
    pub held: Vec<PathBuf>,
}

/// Sweeps all locks whose directories are in this one. Only what is proven to be of this library is removed: by what it
/// holds, not by its name, and by its owner where other users may make entries here. The guard, the records and the spare of a
/// lock go with `unused`: if nobody has used it for that time, and its filesystem has locks that can be trusted.
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
            // One that cannot be swept is left; the others are not.
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
            // Whose format is newer, or whose directory is closed to us: not ours to clear.
            swept.held.push(lock.directory().to_path_buf());
        } else if let Some(unused) = unused {
            // One whose files cannot be removed is left.
            let removed = disused::remove(&lock, &neighbours, unused);
            swept.removed.extend(removed.into_iter().flatten());
        }
    }
    Ok(swept)
}

/// A directory of a user's own must not be taken for a lock: only an owner with a pid makes it one.
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
            // Somebody was faster.
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
    // Out of the way first: whose it is may be about to give it the name of the lock.
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
        // Somebody is at it after all.
        drop(shared::rename_new(&aside, path));
    }
    Ok(())
}

/// What may be litter of this library.
#[derive(PartialEq)]
struct Litter {
    inode: u64,
    modified_ns: i128,
    is_directory: bool,
    /// It is a buried directory of records.
    holds_records: bool,
    /// Of the process that it names; `None` where it names none.
    liveness: Option<Liveness>,
}

impl Litter {
    fn examine(path: &Path, neighbours: &Neighbours) -> Result<Option<Self>> {
        Self::examine_as(path, path, neighbours)
    }

    /// `None` where it is not proven to be of this library. `named` is the path whose name says what it was made for.
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
            // A tombstone names whom it buries, not who is at it.
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

/// The owner in a prepared or buried lock directory of this library; one that is empty counts as blank.
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

/// A half-made guard, record or observation.
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
