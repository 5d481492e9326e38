//! Other processes, as far as a pid alone goes.

use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::super::types::LockedEntry;

/// A handle of a process: there is none.
pub(crate) enum Process {}

/// The result of [`Process::open`].
pub(crate) enum Opened {
    Process(Process),
    /// No process has this pid.
    None,
    /// The system has no such handles.
    Unsupported,
}

impl Process {
    /// The process that has this pid now.
    pub(crate) fn open(pid: u32) -> Opened {
        if has_pid(pid) {
            Opened::Unsupported
        } else {
            Opened::None
        }
    }

    /// Never called.
    pub(crate) fn has_ended(&self) -> bool {
        match *self {}
    }

    /// Never called.
    pub(crate) fn unique_id(&self) -> Option<u64> {
        match *self {}
    }
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Whether a pid of this number can exist.
pub(crate) fn is_pid(pid: u32) -> bool {
    pid_of(pid).is_some()
}

/// Whether a process or zombie has this pid, as far as this process may know.
pub(crate) fn has_pid(pid: u32) -> bool {
    pid_of(pid).is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Whether this process may signal the one of this pid.
pub(crate) fn can_signal(pid: u32) -> bool {
    pid_of(pid).is_some_and(|pid| test_kill_process(pid).is_ok())
}

/// The start of a process.
pub(crate) struct Started {
    /// Ticks of 10 ms since boot.
    pub(crate) ticks: u64,
    /// Whether the process has ended and its parent has not reaped it.
    pub(crate) is_zombie: bool,
}

/// Not read yet.
pub(crate) fn started(_pid: u32) -> Option<Started> {
    None
}

/// Milliseconds of this many ticks.
pub(crate) fn ticks_to_millis(ticks: u64) -> u64 {
    ticks * 10
}

/// The wall time of tick 0: of the boot.
pub(crate) fn first_tick_millis(now: i64, up: i64) -> i64 {
    now - up
}

/// Not read yet.
pub(crate) fn boot_id() -> Option<String> {
    None
}

/// There are no pid namespaces.
pub(crate) fn pid_namespace() -> Option<u64> {
    None
}

/// Not read yet.
pub(crate) fn arguments(_pid: u32) -> Option<Vec<String>> {
    None
}

/// Not read yet.
pub(crate) fn all() -> Option<Vec<u32>> {
    None
}

/// There are no pid namespaces.
pub(crate) fn has_pid_in_some_namespace(_process: u32, _pid: u32) -> Option<bool> {
    None
}

/// Not read yet.
pub fn has_locked(_pid: u32, _file: LockedEntry<'_>) -> bool {
    false
}
