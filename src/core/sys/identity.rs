//! Identity of a process beyond its pid. A pid alone is reused, means another process in another pid namespace, and
//! remains as a zombie after the process has ended.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::core::sys::fault;
use crate::core::sys::platform::process::{self, Opened, Process};
use crate::core::sys::platform::{host, name};

/// Inode of the initial pid namespace (PROC_PID_INIT_INO of linux/proc_ns.h).
pub const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;

/// Identity of a process, as a record on disk contains it. Facts that a platform does not provide are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Pid in its own pid namespace.
    pub pid: u32,
    /// Boot in which it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Inode of its pid namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_ns: Option<u64>,
    /// Inode of its pidfd, unique within a boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pidfd_ino: Option<u64>,
    /// Start time: on Linux in ticks of 10 ms since boot, on macOS in microseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ticks: Option<u64>,
}

/// Whether the process that a record names is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Exactly that process is running.
    Alive,
    /// It has provably ended.
    Dead,
    /// Neither is proven.
    Unknown,
}

impl Liveness {
    /// Name in JavaScript.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }
}

/// Identity of this process.
pub fn this_process() -> &'static Identity {
    static THIS: LazyLock<Identity> = LazyLock::new(|| {
        let pid = std::process::id();
        let handle = match Process::open(pid) {
            Opened::Process(handle) => Some(handle),
            Opened::None | Opened::Unsupported => None,
        };
        Identity {
            pid,
            boot_id: boot_id(),
            pid_ns: process::pid_namespace(),
            pidfd_ino: handle.as_ref().and_then(Process::unique_id),
            start_ticks: process::started(pid).map(|started| started.ticks),
        }
    });
    &THIS
}

impl Identity {
    /// Whether the process belongs to this boot and this pid namespace, so that its pid is meaningful here.
    pub fn is_near(&self) -> bool {
        let here = this_process();
        self.boot_id.is_some()
            && self.boot_id == here.boot_id
            && self.pid_ns.is_some()
            && (self.pid_ns == here.pid_ns || fault::is_seeded("lock-blind-to-pid-namespaces"))
    }

    /// Whether it ran before this boot of this machine, or on another machine.
    pub fn is_of_another_boot(&self) -> bool {
        match (&self.boot_id, &this_process().boot_id) {
            (Some(its), Some(ours)) => its != ours,
            _ => false,
        }
    }

    /// Whether the process is alive. Returns `Dead` only with proof. A pid of another namespace proves nothing.
    pub fn liveness(&self) -> Liveness {
        if !self.is_near() {
            return Liveness::Unknown;
        }
        if !process::is_pid(self.pid) {
            return Liveness::Unknown;
        }
        if fault::is_seeded("lock-pid-only-liveness") {
            let can_signal = process::can_signal(self.pid);
            return if can_signal {
                Liveness::Alive
            } else {
                Liveness::Dead
            };
        }
        match Process::open(self.pid) {
            Opened::Process(found) if !found.has_ended() => match (self.pidfd_ino, found.unique_id()) {
                (Some(recorded), Some(found)) if recorded == found => Liveness::Alive,
                (Some(_), Some(_)) => Liveness::Dead,
                _ => self.liveness_by_start(),
            },
            Opened::Unsupported if process::has_pid(self.pid) => self.liveness_by_start(),
            // No process has this pid, or the process with this pid has ended.
            _ => Liveness::Dead,
        }
    }

    /// Compares start times, which detects a reused pid, but only with a resolution of 10 ms.
    fn liveness_by_start(&self) -> Liveness {
        match (self.start_ticks, process::started(self.pid)) {
            (_, Some(found)) if found.is_zombie => Liveness::Dead,
            (Some(recorded), Some(found)) if recorded == found.ticks => Liveness::Alive,
            (Some(_), Some(_)) => Liveness::Dead,
            // /proc is hidden: the pid is in use, but the process cannot be identified.
            _ => Liveness::Unknown,
        }
    }
}

/// Start time of a process in this pid namespace, in milliseconds since the epoch. If it is computed from an adjustable
/// clock, it can only raise doubt, not prove anything.
pub fn started_at_wall_millis(pid: u32) -> Option<i64> {
    process::started_at_wall_millis(pid)
}

/// Whether no process of this machine has this pid in any pid namespace. Returns `false` without proof. Proof requires
/// the initial namespace, which shows all processes, and a readable /proc that hides none (hidepid).
pub fn is_pid_unused_in_all_namespaces(pid: u32) -> bool {
    let is_gone_here = process::is_pid(pid) && !process::has_pid(pid);
    if !is_gone_here && !is_zombie(pid) || this_process().pid_ns != Some(FIRST_PID_NAMESPACE) {
        return false;
    }
    let Some(processes) = process::all() else {
        return false;
    };
    // If /proc hides processes of other users, it also hides the first process.
    process::ALWAYS_THERE.is_none_or(|first| processes.contains(&first))
        && processes
            .iter()
            .all(|process| process::has_pid_in_some_namespace(*process, pid) == Some(false))
}

fn is_zombie(pid: u32) -> bool {
    process::started(pid).is_some_and(|found| found.is_zombie)
}

/// The kernel's id of this boot. `None` if the platform has none.
///
/// In builds with the feature `testing`, `WARMSWAP_BOOT_ID` overrides it.
pub fn boot_id() -> Option<String> {
    #[cfg(feature = "testing")]
    if let Ok(pretended) = std::env::var("WARMSWAP_BOOT_ID") {
        return Some(pretended);
    }
    process::boot_id()
}

/// Name of this machine. Outside the initial pid namespace, the namespace is appended: other programs compare only
/// hostname and pid, and would treat a process of another namespace as dead.
pub fn hostname() -> String {
    let name = host::hostname().to_string_lossy().into_owned();
    match this_process().pid_ns {
        Some(inode) if inode != FIRST_PID_NAMESPACE => format!("{name}+pidns-{inode}"),
        _ => name,
    }
}

/// Whether this machine has that name.
pub fn is_hostname(text: &str) -> bool {
    text.as_bytes() == name::as_bytes(&host::hostname())
}

/// Effective user of this process.
pub fn effective_uid() -> u32 {
    host::effective_uid()
}

/// Command line of this process, for users who look for the holder of a lock.
pub fn command() -> String {
    without_options(std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()))
}

/// Command line of another process of this machine. `None` if it cannot be read.
pub fn command_of(pid: u32) -> Option<String> {
    let arguments = process::arguments(pid)?;
    Some(without_options(arguments.into_iter())).filter(|command| !command.is_empty())
}

/// Shortens a command line before the first option after the program's own words, as in `node --inspect server.js dev`.
/// Everybody can read a record, and options may contain tokens.
fn without_options(arguments: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut has_script = false;
    for (index, argument) in arguments.enumerate() {
        let is_option = argument.starts_with('-');
        if has_script && is_option {
            break;
        }
        has_script |= index > 0 && !is_option;
        words.push(argument);
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_without_its_options() {
        let told = |words: &str| without_options(words.split(' ').map(str::to_owned));
        assert_eq!(
            told("node --inspect server.js dev --token=x y"),
            "node --inspect server.js dev"
        );
        assert_eq!(told("node lock run a -- curl -H x"), "node lock run a");
        assert_eq!(told("eve"), "eve");
    }

    /// A process that ends soon.
    fn ending() -> std::process::Child {
        std::process::Command::new(std::env::current_exe().expect("this program"))
            .arg("--help")
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("started")
    }

    #[test]
    fn this_process_is_alive_and_a_reaped_child_is_dead() {
        assert_eq!(this_process().liveness(), Liveness::Alive);
        let mut child = ending();
        let pid = child.id();
        child.wait().expect("reaped");
        let gone = Identity {
            pid,
            pidfd_ino: None,
            start_ticks: None,
            ..this_process().clone()
        };
        assert_eq!(gone.liveness(), Liveness::Dead);
    }

    #[test]
    fn a_zombie_is_dead_and_a_reused_pid_is_another_process() {
        let mut child = ending();
        let zombie = Identity {
            pid: child.id(),
            ..this_process().clone()
        };
        while zombie.liveness() != Liveness::Dead {
            std::thread::yield_now();
        }
        child.wait().expect("reaped");
        let reused = Identity {
            start_ticks: Some(1),
            pidfd_ino: None,
            ..this_process().clone()
        };
        assert_eq!(reused.liveness(), Liveness::Dead);
        let elsewhere = Identity {
            pid_ns: Some(1),
            ..this_process().clone()
        };
        assert_eq!(elsewhere.liveness(), Liveness::Unknown);
    }
}
