//! Who has a lock, told without taking anything: a query by flock would be a taking, and one on the holder's
//! own descriptor a release.

use std::time::Duration;

use super::heirs::Heirs;
use super::liveness::{self, Liveness, Standing};
use super::lock_directory::{self, Extra, Found};
use super::path::LockPath;
use super::record::{Holder, Record};
use super::record_log::Numbered;
use crate::core::error::{Optional as _, Result};
use crate::core::sys::{clock, filesystem};

/// What stands at a lock's path.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// Alive or unknown.
    pub is_held: bool,
    /// Also of a dead holder.
    pub holder: Option<Holder>,
    /// Of the holder.
    pub liveness: Option<Liveness>,
    /// Since it was taken, by the wall clock.
    pub age: Option<Duration>,
    /// Why the path cannot be locked, or why what is there is never taken over.
    pub warning: Option<String>,
}

/// Looks, takes nothing, deletes nothing.
///
/// # Errors
/// `ERR_INVALID_ARGUMENT` where a file or a link is in the place of the lock directory.
pub fn inspect(lock: &LockPath) -> Result<Inspection> {
    let (mut inspection, found) = survey(lock, &mut Heirs::for_one_look())?;
    let Some(found) = found else {
        return Ok(inspection);
    };
    match found.extra()? {
        // Ours is waited for, whatever else is in its directory.
        Extra::Folder(names) if !found.is_ours() => {
            return Ok(Inspection {
                warning: Some(found.is_a_folder(&names).message),
                ..Inspection::FREE
            });
        }
        Extra::Folder(names) | Extra::Files(names) => inspection.warning = Some(found.note(&names)),
        Extra::Nothing if found.is_unreadable() => inspection.warning = Some(found.note(&[])),
        Extra::Nothing => {}
    }
    Ok(inspection)
}

/// Who has the lock, and what is at its path. `heirs` is kept by a caller that inspects again and again.
pub(super) fn survey(lock: &LockPath, heirs: &mut Heirs) -> Result<(Inspection, Option<Found>)> {
    let (_, highest) = Numbered::look(lock, None)?;
    let top = highest.top;
    let found = lock_directory::look(lock, None)?;
    // Another program's directory keeps also him out whose record stands.
    let is_foreign = found.as_ref().is_some_and(|found| !found.is_ours());
    if let Some(top) = top.as_ref().filter(|top| !top.is_free && !is_foreign) {
        let record = top.record.as_deref();
        let holder = record.map_or_else(Holder::ownerless, Record::holder);
        let inspection = Inspection::new(liveness::of_record(record, None), holder);
        return Ok((heirs.refine(lock, record, inspection), found));
    }
    let Some(found) = found else {
        return Ok((Inspection::FREE, None));
    };
    let is_local = filesystem::of(lock.parent())
        .optional()?
        .is_some_and(|found| found.trusted);
    // One of ours is of a holder that came after the look at the records, or whose records were deleted, if it is not
    // one that could not be removed.
    let follows = |record: &Record| top.as_ref().is_some_and(|top| top.reaches(record));
    // What is left of a window does not matter: nothing is taken over here.
    let is_orphan = top.as_ref().is_some_and(|top| !top.is_free);
    let (standing, holder) =
        liveness::of_directory(&found, follows, is_orphan, None, is_local, Duration::ZERO);
    Ok((Inspection::new(standing, holder), Some(found)))
}

impl Inspection {
    const FREE: Self = Self {
        is_held: false,
        holder: None,
        liveness: None,
        age: None,
        warning: None,
    };

    /// Held by somebody else than the process of its record.
    pub(super) fn held_by(self, holder: Holder, liveness: Liveness) -> Self {
        Self {
            is_held: true,
            holder: Some(holder),
            liveness: Some(liveness),
            ..self
        }
    }

    /// Left by a dead holder.
    pub(super) fn freed(self, holder: Holder) -> Self {
        Self {
            is_held: false,
            holder: Some(holder),
            liveness: Some(Liveness::Dead),
            ..self
        }
    }

    fn new(standing: Standing, holder: Holder) -> Self {
        let liveness = match standing {
            Standing::Dead => Liveness::Dead,
            Standing::Held { liveness, .. } => liveness,
        };
        let since = holder.since.as_deref().and_then(clock::parse_iso8601);
        let now = i64::try_from(clock::wall_millis()).unwrap_or(i64::MAX);
        Self {
            is_held: liveness != Liveness::Dead,
            age: since.map(|since| Duration::from_millis(u64::try_from(now - since).unwrap_or(0))),
            holder: Some(holder),
            liveness: Some(liveness),
            warning: None,
        }
    }
}
