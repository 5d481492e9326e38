//! Finds the process that has locked a file with flock, as far as the system shows it. Acquires no lock for that.
//! Returns `None` and `false` on systems that do not list the open files of processes.

use std::time::{Duration, Instant};

use crate::core::sys::platform::process;

pub use crate::core::sys::platform::LockedEntry;
pub use process::has_locked;

/// Returns the first process found that has locked the file, within `limit`. Processes with a pid above `after` are
/// checked first. Only root can see processes of other users.
pub fn find(file: LockedEntry<'_>, after: u32, limit: Duration) -> Option<u32> {
    let begun = Instant::now();
    let mut pids = process::all()?;
    pids.sort_by_key(|pid| (*pid <= after, *pid));
    pids.into_iter()
        .take_while(|_| begun.elapsed() < limit)
        .find(|pid| has_locked(*pid, file))
}
