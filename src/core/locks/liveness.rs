//! Decides whether a record or lock directory still blocks others. `Dead` requires proof. An unverifiable holder counts
//! as alive until nothing has changed for a window (see [`super::staleness`]).

use std::time::Duration;

use super::lock_directory::LockDirectory;
use super::record::{Contents, ForeignOwner, GuardId, Holder, LockMode, Record};
use crate::core::sys::{clock, identity};

pub(super) use crate::core::sys::identity::Liveness;

/// Window for a lock directory without a readable owner: a mkdir lock between its two steps, or one killed there.
const OWNERLESS_WINDOW: Duration = Duration::from_secs(30);
/// Assumed lease of an unreadable record.
const DEFAULT_LEASE: Duration = Duration::from_secs(30);

/// State of a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HolderStatus {
    /// The holder has provably ended.
    Dead,
    /// The holder blocks others.
    Held {
        liveness: Liveness,
        /// Time without change after which it is taken over. `None` means never.
        window: Option<Duration>,
    },
}

impl HolderStatus {
    /// The owner cannot be determined, so it blocks others forever.
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

/// A lease may be taken over after one and a half times its duration without a renewal. Its holder gives it up earlier.
fn lease_window(ttl: Duration) -> Duration {
    ttl + ttl / 2
}

/// State of an unreleased record, for a caller that has locked `guard` or no guard.
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

/// Whether the kernel has given us the lock of this record's holder, which proves that the holder has ended.
fn is_freed_by_kernel(record: &Record, guard: Option<GuardId>) -> bool {
    let (LockMode::Kernel, Some(its), Some(ours)) = (record.mode, record.guard, guard) else {
        return false;
    };
    // Device numbers may change with a reboot.
    its == ours || (record.process.is_of_another_boot() && its.inode == ours.inode)
}

/// State of a lock directory, and its holder. `supersedes` returns whether a record belongs to an earlier holder of
/// this lock, which no longer counts. An unverifiable owner counts as alive for `window`, the window of foreign locks.
/// `is_local` is whether the filesystem belongs to this machine only. `is_orphan` is whether an unreleased record of
/// this lock exists or was taken over: an empty owner file then belongs to that holder, and power loss erased its
/// content.
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

/// State of a mkdir lock's owner. Its file names no boot, no pid namespace and no start time. Death is proven only if
/// the directory is on a filesystem of this machine, the hostname is ours, and no process of this machine has that pid
/// in any pid namespace.
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

/// Whether the process with this pid existed when the owner file was written. A later start suggests that the pid was
/// reused, but a stepped clock or a paused machine looks the same, so it is no proof.
fn is_plausible(owner: &ForeignOwner) -> bool {
    let written = owner.created_at.as_deref().and_then(clock::parse_iso8601);
    match (identity::started_at_wall_millis(owner.pid), written) {
        // Both times are rounded, so one second is allowed.
        (Some(started), Some(written)) => started <= written + 1000,
        (Some(_), None) => true,
        (None, _) => false,
    }
}
