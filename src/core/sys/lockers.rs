//! Which process has a file under flock, as far as the system shows it. Nothing is locked to find out. `None` and `false`
//! on systems that do not list the open files of processes.

use std::time::{Duration, Instant};

use crate::core::sys::platform::process;

pub use crate::core::sys::platform::LockedEntry;
pub use process::has_locked;

/// The first process found that has the file locked, in at most `limit`: processes with a pid above `after` are looked at
/// first. Processes of other users are seen by root only.
pub fn find(file: LockedEntry<'_>, after: u32, limit: Duration) -> Option<u32> {
    let begun = Instant::now();
    let mut pids = process::all()?;
    pids.sort_by_key(|pid| (*pid <= after, *pid));
    pids.into_iter()
        .take_while(|_| begun.elapsed() < limit)
        .find(|pid| has_locked(*pid, file))
}
