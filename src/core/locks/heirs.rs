//! Children that keep a lock (`coverChildren`): its record names the process that acquired it, which may have ended or
//! left the lock to them. Those who ask learn which child it is.

use std::ffi::OsStr;
use std::time::{Duration, Instant};

use super::guard_file;
use super::inspection::Inspection;
use super::liveness::Liveness;
use super::path::LockPath;
use super::record::{Holder, LockMode, Record};
use crate::core::sys::identity;
use crate::core::sys::lockers::{self, LockedEntry};

/// How long a search may take, and how often one asker searches: it reads the descriptors of all processes.
const LIMIT: Duration = Duration::from_millis(200);
const PAUSE: Duration = Duration::from_secs(1);

/// What one asker knows of the children.
#[derive(Debug, Default)]
pub(super) struct Heirs {
    /// Of the record that was searched for last.
    token: String,
    child: Option<u32>,
    searched: Option<Instant>,
    /// Ask the guard where no child is found. It takes a shared lock for a moment: not for those who wait.
    asks_guard: bool,
}

enum GuardKeeper {
    /// The process of the record has the lock, or nothing else is known.
    Itself,
    Child(u32),
    /// A child that cannot be seen from here.
    Hidden,
}

impl Heirs {
    /// For a single question.
    pub(super) fn for_one_inspection() -> Self {
        Self {
            asks_guard: true,
            ..Self::default()
        }
    }

    /// Names the child where the record's process does not have the lock any more.
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
                Some(id) if self.asks_guard && matches!(guard_file::is_busy(lock, id), Ok(Some(false))) => {
                    return found.freed(record.holder());
                }
                _ => Liveness::Unknown,
            },
        };
        found.held_by(self.holder(lock, record), liveness)
    }

    /// The holder to report for a record.
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
