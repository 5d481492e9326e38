//! Which process has a file under flock, as far as /proc shows it. Nothing is locked to find out. `None` and `false` on
//! platforms without /proc.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::core::sys::fs;

/// A file that may be locked.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its name, by which most descriptors are ruled out without a stat.
    pub name: &'a OsStr,
    /// Of its filesystem.
    pub device: u64,
    /// Of the file.
    pub inode: u64,
}

/// The first process found that has the file locked, in at most `limit`: processes with a pid above `after` are looked at
/// first. Processes of other users are seen by root only.
pub fn find(wanted: Wanted<'_>, after: u32, limit: Duration) -> Option<u32> {
    let begun = Instant::now();
    let entries = fs::read_directory(Path::new("/proc")).ok()?;
    let mut pids: Vec<u32> = entries
        .iter()
        .filter_map(|entry| entry.name.to_str()?.parse().ok())
        .collect();
    pids.sort_by_key(|pid| (*pid <= after, *pid));
    pids.into_iter()
        .take_while(|_| begun.elapsed() < limit)
        .find(|pid| has_locked(*pid, wanted))
}

/// Whether a descriptor of this process has the file locked.
pub fn has_locked(pid: u32, wanted: Wanted<'_>) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let Ok(entries) = fs::read_directory(&process.join("fd")) else {
        return false;
    };
    entries.iter().any(|entry| {
        is_file(&process.join("fd").join(&entry.name), wanted)
            && is_locked(&process.join("fdinfo").join(&entry.name))
    })
}

fn is_file(descriptor: &Path, wanted: Wanted<'_>) -> bool {
    fs::read_link(descriptor).is_ok_and(|target| target.file_name() == Some(wanted.name))
        && fs::stat_followed(descriptor)
            .is_ok_and(|stat| (stat.device, stat.inode) == (wanted.device, wanted.inode))
}

/// Locks belong to open files: one that only waits has the file open without.
fn is_locked(facts: &Path) -> bool {
    fs::read_capped(facts, 1 << 16).is_ok_and(|text| text.windows(5).any(|window| window == b"FLOCK"))
}
