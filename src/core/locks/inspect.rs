//! Who has a lock, told without taking anything: a query by flock would be a taking, and one on the holder's
//! own descriptor a release.

use std::time::Duration;

use super::directory;
use super::numbered::Numbered;
use super::paths::LockPath;
use super::record::{Contents, Holder};
use super::verdict::{self, Liveness, OWNERLESS_WINDOW, Standing};
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
}

/// Looks, takes nothing, deletes nothing.
pub fn inspect(lock: &LockPath) -> Result<Inspection> {
    let top = Numbered::of(lock).top()?.filter(|top| !top.is_free);
    let found = directory::look(lock)?;
    // Another program's directory keeps also him out whose record stands.
    let foreign = found.as_ref().filter(|found| !found.is_ours());
    if let Some(top) = top
        && foreign.is_none()
    {
        let standing = verdict::of_record(top.record.as_deref(), None);
        let holder = top
            .record
            .map_or_else(Holder::ownerless, |record| record.holder());
        return Ok(Inspection::new(standing, holder));
    }
    let Some(found) = found else {
        return Ok(Inspection::FREE);
    };
    let is_local = filesystem::of(lock.parent())
        .optional()?
        .is_some_and(|found| found.trusted);
    // The window is not looked at: nothing is taken over here.
    let (standing, holder) = match &found.contents {
        // A release was killed between its two steps.
        Some(Contents::Record(record)) => (Standing::Dead, record.holder()),
        Some(Contents::Foreign(owner)) => (
            verdict::of_foreign(owner, is_local, OWNERLESS_WINDOW),
            owner.holder(),
        ),
        _ => (verdict::of_record(None, None), Holder::ownerless()),
    };
    Ok(Inspection::new(standing, holder))
}

impl Inspection {
    const FREE: Self = Self {
        is_held: false,
        holder: None,
        liveness: None,
        age: None,
    };

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
        }
    }
}
