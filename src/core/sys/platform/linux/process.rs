//! Other processes, by pidfd and /proc.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, test_kill_process};

use super::super::types::LockedEntry;
use crate::core::sys::{clock, fs};

/// PID_FS_MAGIC. Only with this filesystem (Linux 6.9) is the inode of a pidfd unique for the whole boot.
const PID_FS_MAGIC: u64 = 0x5049_4446;

/// A handle of a process. It never refers to a later process with the same pid.
pub(crate) struct Process(OwnedFd);

/// Result of [`Process::open`].
pub(crate) enum Opened {
    Process(Process),
    /// No process has this pid.
    None,
    /// The kernel has no such handles (before Linux 5.3, gVisor).
    Unsupported,
}

impl Process {
    /// Opens the process that currently has this pid.
    pub(crate) fn open(pid: u32) -> Opened {
        let Some(pid) = pid_of(pid) else {
            return Opened::None;
        };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Opened::Process(Self(pidfd)),
            Err(Errno::SRCH) => Opened::None,
            Err(_) => Opened::Unsupported,
        }
    }

    /// Whether all its threads have ended. Also `true` for a zombie.
    pub(crate) fn has_ended(&self) -> bool {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut polled = [PollFd::new(&self.0, PollFlags::IN)];
        poll(&mut polled, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    /// A number that is unique in this boot. `None` if the kernel has none.
    pub(crate) fn unique_id(&self) -> Option<u64> {
        #[expect(clippy::cast_sign_loss, reason = "magic numbers are 32-bit patterns")]
        let magic = rustix::fs::fstatfs(&self.0).ok()?.f_type as u64;
        let inode = rustix::fs::fstat(&self.0).ok()?.st_ino;
        (magic == PID_FS_MAGIC).then_some(inode)
    }
}

fn pid_of(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Whether this number is a valid pid.
pub(crate) fn is_pid(pid: u32) -> bool {
    pid_of(pid).is_some()
}

/// Whether a process or zombie has this pid, as far as this process may know.
pub(crate) fn has_pid(pid: u32) -> bool {
    pid_of(pid).is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Whether this process may signal the process with this pid.
pub(crate) fn can_signal(pid: u32) -> bool {
    pid_of(pid).is_some_and(|pid| test_kill_process(pid).is_ok())
}

/// Start of a process.
pub(crate) struct Started {
    /// Ticks of 10 ms since boot.
    pub(crate) ticks: u64,
    /// Whether the process has ended and its parent has not reaped it.
    pub(crate) is_zombie: bool,
}

/// Reads fields 3 and 22 of /proc/<pid>/stat. Field 2, the name, may contain spaces and parentheses.
pub(crate) fn started(pid: u32) -> Option<Started> {
    let text = fs::read_capped(&PathBuf::from(format!("/proc/{pid}/stat")), 4096).ok()?;
    let text = String::from_utf8_lossy(&text);
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    Some(Started {
        is_zombie: matches!(fields.next()?.chars().next()?, 'Z' | 'X'),
        ticks: fields.nth(18)?.parse().ok()?,
    })
}

/// Start time of a process in milliseconds since the epoch. It is computed from two clocks, and one of them can be
/// adjusted, so it can only raise doubt.
pub(crate) fn started_at_wall_millis(pid: u32) -> Option<i64> {
    let millis = started(pid)?.ticks * 1000 / rustix::param::clock_ticks_per_second();
    let up = i64::try_from(clock::boot_micros() / 1000).ok()?;
    let now = i64::try_from(clock::wall_millis()).ok()?;
    Some(now - up + i64::try_from(millis).ok()?)
}

/// The kernel's id of this boot.
pub(crate) fn boot_id() -> Option<String> {
    let text = fs::read_capped(Path::new("/proc/sys/kernel/random/boot_id"), 64).ok()?;
    Some(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Inode of this process's pid namespace.
pub(crate) fn pid_namespace() -> Option<u64> {
    let text = fs::read_link(Path::new("/proc/self/ns/pid")).ok()?;
    text.to_str()?
        .strip_prefix("pid:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

/// Arguments of another process of this machine.
pub(crate) fn arguments(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_capped(&PathBuf::from(format!("/proc/{pid}/cmdline")), 1 << 16).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Some(
        text.trim_end_matches('\0')
            .split('\0')
            .map(str::to_owned)
            .collect(),
    )
}

/// A process that always exists. If it is not listed, other processes are hidden too.
pub(crate) const ALWAYS_THERE: Option<u32> = Some(1);

/// Pids of all processes that this process can see. `None` if the system does not list them.
pub(crate) fn all() -> Option<Vec<u32>> {
    let entries = fs::read_directory(Path::new("/proc")).ok()?;
    Some(
        entries
            .iter()
            .filter_map(|entry| entry.name.to_str()?.parse().ok())
            .collect(),
    )
}

/// Whether a process has the number `pid` in its own pid namespace or in a parent namespace. `None` if that is unknown.
pub(crate) fn has_pid_in_some_namespace(process: u32, pid: u32) -> Option<bool> {
    let path = PathBuf::from(format!("/proc/{process}/status"));
    let text = match fs::read_capped(&path, 1 << 16) {
        Ok(text) => text,
        Err(error) => {
            let has_ended = error.is_not_found() || error.errno() == Some(Errno::SRCH.raw_os_error());
            return has_ended.then_some(false);
        }
    };
    let text = String::from_utf8_lossy(&text);
    let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
    let is_zombie = field("State:").is_some_and(|state| state.trim_start().starts_with(['Z', 'X']));
    let pids = field("NSpid:").map_or_else(
        || vec![process],
        |pids| {
            pids.split_ascii_whitespace()
                .filter_map(|each| each.parse().ok())
                .collect()
        },
    );
    Some(!is_zombie && pids.contains(&pid))
}

/// Whether a descriptor of a process has locked the file with flock, as far as this process may know.
pub fn has_locked(pid: u32, file: LockedEntry<'_>) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let Ok(entries) = fs::read_directory(&process.join("fd")) else {
        return false;
    };
    entries.iter().any(|entry| {
        is_file(&process.join("fd").join(&entry.name), file)
            && is_locked(&process.join("fdinfo").join(&entry.name))
    })
}

fn is_file(descriptor: &Path, file: LockedEntry<'_>) -> bool {
    fs::read_link(descriptor).is_ok_and(|target| target.file_name() == Some(file.name))
        && fs::stat_followed(descriptor)
            .is_ok_and(|stat| (stat.device, stat.inode) == (file.device, file.inode))
}

/// Whether this descriptor holds a lock. A process that only waits also has the file open.
fn is_locked(facts: &Path) -> bool {
    fs::read_capped(facts, 1 << 16).is_ok_and(|text| text.windows(5).any(|window| window == b"FLOCK"))
}
