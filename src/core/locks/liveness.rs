//! Whether what stands on disk still keeps others out. `Dead` only on proof; what cannot be verified is left
//! alone until it has not changed for a window (see [`super::staleness`]).

use std::time::Duration;

use super::lock_directory::LockDirectory;
use super::record::{Contents, ForeignOwner, GuardId, Holder, LockMode, Record};
use crate::core::sys::{clock, identity};

pub(super) use crate::core::sys::identity::Liveness;

/// A lock directory without a readable owner: a mkdir lock between its two steps, or killed there.
const OWNERLESS_WINDOW: Duration = Duration::from_secs(30);
/// Of a record that cannot be read, whose own lease is not known.
const DEFAULT_LEASE: Duration = Duration::from_secs(30);

/// What stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HolderStatus {
    /// Its holder has ended, and that is proven.
    Dead,
    /// It keeps others out.
    Held {
        liveness: Liveness,
        /// How long it must not have changed before it is taken over; `None` is never.
        window: Option<Duration>,
    },
}

impl HolderStatus {
    /// Nobody can say whose it is: it keeps others out for ever.
    const UNREADABLE: Self = Self::Held {
        liveness: Liveness::Unknown,
        window: None,
    };

    fn unverifiable(window: Duration) -> Self {
        Self::Held {
            liveness: Liveness::Unknown,
            window: Some(window),
        }
    }
}

/// A lease may be taken over when it was not renewed for one and a half of its time; its holder stops
/// itself earlier.
fn lease_window(ttl: Duration) -> Duration {
    ttl + ttl / 2
}

/// Of a record that was not given back, for one who holds `guard` or none.
pub(super) fn of_record(record: Option<&Record>, guard: Option<GuardId>) -> HolderStatus {
    let Some(record) = record else {
        return HolderStatus::unverifiable(lease_window(DEFAULT_LEASE));
    };
    if is_freed_by_kernel(record, guard) {
        return HolderStatus::Dead;
    }
    let window = Some(lease_window(Duration::from_millis(record.lease.ttl_ms)));
    match record.process.liveness() {
        Liveness::Dead if !record.covers_children => HolderStatus::Dead,
        Liveness::Alive if record.mode == LockMode::Kernel => HolderStatus::Held {
            liveness: Liveness::Alive,
            window: None,
        },
        Liveness::Alive => HolderStatus::Held {
            liveness: Liveness::Alive,
            window,
        },
        _ => HolderStatus::Held {
            liveness: Liveness::Unknown,
            window,
        },
    }
}

/// The kernel has given us the lock that the holder of this record had.
fn is_freed_by_kernel(record: &Record, guard: Option<GuardId>) -> bool {
    let (LockMode::Kernel, Some(its), Some(ours)) = (record.mode, record.guard, guard) else {
        return false;
    };
    // Device numbers may change with a reboot.
    its == ours || (record.process.is_of_another_boot() && its.inode == ours.inode)
}

/// Of a lock directory, and whose it is. `supersedes` says which records are of holders that stand behind nobody any more;
/// what nobody can verify is left for the window of foreign locks, on a filesystem that may be this machine's own.
/// `is_orphan`: a record of this lock stands, or was followed, that was not given back. Then an owner without bytes is that
/// of its holder, lost with the power.
pub(super) fn of_directory(
    found: &LockDirectory,
    supersedes: impl Fn(&Record) -> bool,
    is_orphan: bool,
    guard: Option<GuardId>,
    is_local: bool,
    window: Duration,
) -> (HolderStatus, Holder) {
    match &found.contents {
        Some(Contents::Record(record)) if supersedes(record) => (HolderStatus::Dead, record.holder()),
        Some(Contents::Record(record)) => (of_record(Some(record), guard), record.holder()),
        Some(Contents::Foreign(owner)) => (of_foreign(owner, is_local, window), owner.holder()),
        Some(Contents::Blank) if is_orphan => (HolderStatus::unverifiable(window), Holder::ownerless()),
        Some(Contents::Blank | Contents::Unreadable) => (HolderStatus::UNREADABLE, Holder::ownerless()),
        None => {
            let window = OWNERLESS_WINDOW.min(window);
            (HolderStatus::unverifiable(window), Holder::ownerless())
        }
    }
}

/// Of a mkdir lock's owner. It names no boot, no pid namespace and no start time, so that only this is
/// proof of death: the directory is on a filesystem of this machine, its hostname is ours, and no process
/// of this machine has its pid in any pid namespace.
fn of_foreign(owner: &ForeignOwner, is_local: bool, window: Duration) -> HolderStatus {
    if !is_local || !owner.hostname.as_deref().is_none_or(identity::is_hostname) {
        return HolderStatus::unverifiable(window);
    }
    if identity::is_pid_unused_in_all_namespaces(owner.pid) {
        return HolderStatus::Dead;
    }
    if is_plausible(owner) {
        return HolderStatus::Held {
            liveness: Liveness::Alive,
            window: None,
        };
    }
    HolderStatus::unverifiable(window)
}

/// A process with this pid was there when the owner was written. One that started later suggests reuse, but
/// a stepped clock or a paused machine looks the same: no proof.
fn is_plausible(owner: &ForeignOwner) -> bool {
    let written = owner.created_at.as_deref().and_then(clock::parse_iso8601);
    match (identity::started_at_wall_millis(owner.pid), written) {
        // Both clocks are read with rounding: 1 s.
        (Some(started), Some(written)) => started <= written + 1000,
        (Some(_), None) => true,
        (None, _) => false,
    }
}
