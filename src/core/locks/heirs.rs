//! Children that keep a lock (`coverChildren`). The record names the process that acquired the lock, which may have
//! ended or left the lock to its children. This module finds the child that has it now.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use super::guard_file;
use super::inspection::Inspection;
use super::liveness::Liveness;
use super::path::LockPath;
use super::record::{GuardId, Holder, LockMode, Record};
use crate::core::sys::lockers::{self, LockedEntry};
use crate::core::sys::{child_file, identity};

/// Longest duration of a search, and shortest interval between searches. A search reads the descriptors of all
/// processes.
const LIMIT: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_secs(1);

/// What one caller knows about the children.
#[derive(Debug, Default)]
pub(super) struct Heirs {
    /// Token of the record that was searched for last.
    token: String,
    child: Option<u32>,
    searched: Option<Instant>,
    /// Whether to test the guard if no child is found. The test holds a shared lock briefly, so waiters do not use it.
    asks_guard: bool,
}

enum GuardKeeper {
    /// The process of the record holds the lock, or nothing else is known.
    Itself,
    Child(u32),
    /// A child that is not visible from this process.
    Hidden,
}

impl Heirs {
    /// State for a single inspection.
    pub(super) fn for_one_inspection() -> Self {
        Self {
            asks_guard: true,
            ..Self::default()
        }
    }

    /// Replaces the holder with the child if the record's process no longer holds the lock.
    pub(super) fn refine(
        &mut self,
        lock: &LockPath,
        record: Option<&Record>,
        found: Inspection,
    ) -> Inspection {
        let Some(record) = record else { return found };
        let liveness = match self.search(lock, record) {
            GuardKeeper::Itself => return found,
            GuardKeeper::Child(_) => Liveness::Alive,
            GuardKeeper::Hidden => match record.guard {
                Some(id) if self.asks_guard && is_freed(lock, record, id) => {
                    return found.freed(record.holder());
                }
                _ => Liveness::Unknown,
            },
        };
        found.held_by(self.holder(lock, record), liveness)
    }

    /// Holder to report for a record.
    pub(super) fn holder(&mut self, lock: &LockPath, record: &Record) -> Holder {
        let inherited = Holder {
            pid: None,
            command: None,
            inherited_from: Some(record.process.pid),
            ..record.holder()
        };
        match self.search(lock, record) {
            GuardKeeper::Itself => record.holder(),
            GuardKeeper::Hidden => inherited,
            GuardKeeper::Child(pid) => Holder {
                pid: Some(pid),
                command: identity::command_of(pid),
                ..inherited
            },
        }
    }

    fn search(&mut self, lock: &LockPath, record: &Record) -> GuardKeeper {
        let (true, LockMode::Kernel, Some(id)) = (
            record.covers_children && record.process.is_near(),
            record.mode,
            record.guard,
        ) else {
            return GuardKeeper::Itself;
        };
        let path = lock.guard();
        let guard = LockedEntry {
            name: path.file_name().unwrap_or_else(|| OsStr::new("")),
            device: id.device,
            inode: id.inode,
        };
        let is_alive = record.process.liveness() == Liveness::Alive;
        if is_alive && lockers::has_locked(record.process.pid, guard) {
            return GuardKeeper::Itself;
        }
        if self.token != record.token {
            self.token.clone_from(&record.token);
            (self.child, self.searched) = (None, None);
        }
        self.child = self.child.filter(|pid| lockers::has_locked(*pid, guard));
        if self.child.is_none() && self.searched.is_none_or(|at| at.elapsed() >= PAUSE) {
            self.child = lockers::find(guard, record.process.pid, LIMIT);
            self.searched = Some(Instant::now());
        }
        match self.child {
            Some(pid) => GuardKeeper::Child(pid),
            None if is_alive => GuardKeeper::Itself,
            None => GuardKeeper::Hidden,
        }
    }
}

/// Whether neither the process of the record nor a child keeps the lock.
fn is_freed(lock: &LockPath, record: &Record, guard: GuardId) -> bool {
    let is_kept =
        || child_file::is_needed() && child_file::is_open(&lock.children(&record.token)).unwrap_or(true);
    matches!(guard_file::is_busy(lock, guard), Ok(Some(false))) && !is_kept()
}
