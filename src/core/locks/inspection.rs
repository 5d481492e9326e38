//! Result of an inspection of a lock.

use std::time::Duration;

use super::liveness::HolderStatus;
use super::record::Holder;
use crate::core::sys::clock;
use crate::core::sys::identity::Liveness;

/// State of a lock path.
#[derive(Debug, Clone, PartialEq)]
pub struct Inspection {
    /// Whether a live or unverifiable holder has the lock.
    pub is_held: bool,
    /// Holder, dead ones included.
    pub holder: Option<Holder>,
    /// Whether the holder is alive.
    pub liveness: Option<Liveness>,
    /// Time since the acquisition, by the wall clock.
    pub age: Option<Duration>,
    /// Why the path cannot be locked, or why its content is never taken over.
    pub warning: Option<String>,
}

impl Inspection {
    pub(super) const FREE: Self = Self {
        is_held: false,
        holder: None,
        liveness: None,
        age: None,
        warning: None,
    };

    /// Held by another process than the one in its record.
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

    pub(super) fn new(status: HolderStatus, holder: Holder) -> Self {
        let liveness = match status {
            HolderStatus::Dead => Liveness::Dead,
            HolderStatus::Held { liveness, .. } => liveness,
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
