//! Limits of the kernel and of control groups.

use std::path::{Path, PathBuf};

use crate::core::sys::fs;

/// Human-readable limits other than `RLIMIT_NPROC` that can refuse a thread.
pub(crate) fn of_threads() -> Vec<String> {
    let of_kernel = number(Path::new("/proc/sys/kernel/threads-max"));
    let of_kernel = of_kernel.map(|most| format!("kernel.threads-max is {most}"));
    control_group().into_iter().chain(of_kernel).collect()
}

/// `pids.max` of the control group with the least space left, among the group of this process and its parents.
fn control_group() -> Option<String> {
    let known = text(Path::new("/proc/self/cgroup"))?;
    known
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            match (fields.next()?, fields.next()?) {
                ("", below) => Some((Path::new("/sys/fs/cgroup"), below)),
                ("pids", below) => Some((Path::new("/sys/fs/cgroup/pids"), below)),
                _ => None,
            }
        })
        .flat_map(|(root, below)| {
            let below = PathBuf::from(below.trim_start_matches('/'));
            let groups: Vec<PathBuf> = below.ancestors().map(|group| root.join(group)).collect();
            groups
        })
        .filter_map(|group| {
            let most = number(&group.join("pids.max"))?;
            let used = number(&group.join("pids.current"))?;
            Some((most.saturating_sub(used), most, used, group))
        })
        .min()
        .map(|(_, most, used, group)| {
            format!(
                "pids.max of the control group '{}' is {most}, with {used} in use",
                group.display()
            )
        })
}

fn text(path: &Path) -> Option<String> {
    String::from_utf8(fs::read_capped(path, 1 << 16).ok()?).ok()
}

/// Returns `None` also for `max`.
fn number(path: &Path) -> Option<u64> {
    text(path)?.trim().parse().ok()
}
