//! Who a process is, beyond its pid: a pid alone is reused, means another process in another pid namespace,
//! and outlives its process as a zombie.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::core::sys::fault;
use crate::core::sys::platform::process::{self, Opened, Process};
use crate::core::sys::platform::{host, name};

/// The inode of the first pid namespace (PROC_PID_INIT_INO of linux/proc_ns.h).
pub const FIRST_PID_NAMESPACE: u64 = 0xefff_fffc;

/// A process, as a record on disk names it. What a platform does not tell is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Its number in its own pid namespace.
    pub pid: u32,
    /// The boot it runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// Inode of its pid namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_ns: Option<u64>,
    /// Inode of its pidfd: unique in a boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pidfd_ino: Option<u64>,
    /// When it started: on Linux in ticks of 10 ms since boot, on macOS in microseconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_ticks: Option<u64>,
}

/// What is known about a process that a record names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It is that very process, and it runs.
    Alive,
    /// Proven: it has ended.
    Dead,
    /// Nothing is proven.
    Unknown,
}

impl Liveness {
    /// The name that JavaScript sees.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }
}

/// This process.
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
    /// Whether this boot and this pid namespace are the process's own, so that its pid means something here.
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

    /// Whether the process lives. `Dead` only on proof; a pid that means nothing here proves nothing.
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
            // No process has this pid, or the one that has it has ended.
            _ => Liveness::Dead,
        }
    }

    /// The start time tells a reused pid, but only to 10 ms.
    fn liveness_by_start(&self) -> Liveness {
        match (self.start_ticks, process::started(self.pid)) {
            (_, Some(found)) if found.is_zombie => Liveness::Dead,
            (Some(recorded), Some(found)) if recorded == found.ticks => Liveness::Alive,
            (Some(_), Some(_)) => Liveness::Dead,
            // Hidden /proc: the pid is taken, by whom is not told.
            _ => Liveness::Unknown,
        }
    }
}

/// When a process of this pid namespace started, in milliseconds since the epoch. Where it is made of two clocks of which
/// one can be set, it is good for doubt, not for proof.
pub fn started_at_wall_millis(pid: u32) -> Option<i64> {
    process::started_at_wall_millis(pid)
}

/// Whether no process of this machine has this pid, in whatever pid namespace it counts. `false` wherever that is not
/// proven: only the first namespace sees them all, and only where /proc hides nothing (hidepid) and can be read.
pub fn is_pid_unused_in_all_namespaces(pid: u32) -> bool {
    let is_gone_here = process::is_pid(pid) && !process::has_pid(pid);
    if !is_gone_here && !is_zombie(pid) || this_process().pid_ns != Some(FIRST_PID_NAMESPACE) {
        return false;
    }
    let Some(processes) = process::all() else {
        return false;
    };
    // Where others' processes are hidden the first one is.
    process::ALWAYS_THERE.is_none_or(|first| processes.contains(&first))
        && processes
            .iter()
            .all(|process| process::has_pid_in_some_namespace(*process, pid) == Some(false))
}

fn is_zombie(pid: u32) -> bool {
    process::started(pid).is_some_and(|found| found.is_zombie)
}

/// The kernel's identity of this boot; `None` where the platform tells none.
///
/// In builds with the feature `testing`, `WARMSWAP_BOOT_ID` pretends to be another kernel.
pub fn boot_id() -> Option<String> {
    #[cfg(feature = "testing")]
    if let Ok(pretended) = std::env::var("WARMSWAP_BOOT_ID") {
        return Some(pretended);
    }
    process::boot_id()
}

/// The name of this machine, with the pid namespace added outside of the first one: other programs compare
/// hostname and pid alone, and would take a process of another namespace for a dead one.
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

/// The user in whose name this process makes its calls.
pub fn effective_uid() -> u32 {
    host::effective_uid()
}

/// The command line of this process, for people who ask who holds something.
pub fn command() -> String {
    without_options(std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()))
}

/// The command line of another process of this machine; `None` where it cannot be read.
pub fn command_of(pid: u32) -> Option<String> {
    let arguments = process::arguments(pid)?;
    Some(without_options(arguments.into_iter())).filter(|command| !command.is_empty())
}

/// Up to the first option behind the program's own words, as `node --inspect server.js dev`: records are for
/// everybody to read, and options carry tokens.
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
    fn a_command_is_told_without_its_options() {
        let told = |words: &str| without_options(words.split(' ').map(str::to_owned));
        assert_eq!(
            told("node --inspect server.js dev --token=x y"),
            "node --inspect server.js dev"
        );
        assert_eq!(told("node lock run a -- curl -H x"), "node lock run a");
        assert_eq!(told("eve"), "eve");
    }

    #[test]
    fn this_process_is_alive_and_a_reaped_child_is_dead() {
        assert_eq!(this_process().liveness(), Liveness::Alive);
        let mut child = std::process::Command::new("true").spawn().expect("true");
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
        let mut child = std::process::Command::new("true").spawn().expect("true");
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
