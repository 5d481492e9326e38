//! Identity of a holder: reused pids, other pid namespaces, other users, other boots.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use crate::arena::{
    A_WHILE, Arena, NOBODY, Process, SOON, assert_kills, can_run_as_others, ensure, eventually, program,
    start,
};

const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";

/// Kills and reaps a process that `hold` has started, so that its pid is free.
fn killed(mut holder: Process) -> u32 {
    holder.kill();
    holder.reap();
    holder.pid()
}

/// Starts a process with this pid. Other programs on this machine start processes too, so it takes several attempts.
fn reuse(pid: u32) -> Option<Process> {
    for _ in 0..1000 {
        std::fs::write(LAST_PID, (pid - 1).to_string()).ok()?;
        let process = Process::spawn(Command::new("sleep").arg("60"));
        if process.pid() == pid {
            return Some(process);
        }
    }
    None
}

/// locks/identity-beyond-the-pid: another process with the holder's pid is not the holder.
fn reused_pid_is_dead(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    let mut holder = Process::start(&["hold", &arena.lock(), "lease"], &[]);
    holder.line().expect("held");
    let _reused = reuse(killed(holder)).expect("a process with the pid of the dead holder");
    let mut waiter = Process::start(&["once", &arena.lock(), "lease"], environment);
    ensure(
        waiter.line_within(SOON).is_some(),
        "another process with the pid of the dead holder kept the lock",
    )
}

#[test]
fn a_reused_pid_is_not_the_holder() {
    let last = std::fs::read_to_string(LAST_PID).unwrap_or_default();
    if std::fs::write(LAST_PID, last).is_err() {
        eprintln!("SKIPPED: {LAST_PID} cannot be written, so that no pid can be chosen (needs root)");
        return;
    }
    assert_kills(reused_pid_is_dead, "lock-pid-only-liveness");
}

/// `locks-child` in a separate pid namespace, with the hostname of this one.
fn in_other_namespace(arguments: &[&str], environment: &[(&str, &str)]) -> Process {
    let mut command = Command::new("unshare");
    command.args(["-p", "-f", "--mount-proc", "--kill-child"]);
    Process::spawn(
        command
            .arg(program())
            .args(arguments)
            .envs(environment.iter().copied()),
    )
}

fn lacks_namespaces() -> bool {
    let unshared = Command::new("unshare")
        .args(["-p", "-f", "--mount-proc", "true"])
        .status();
    let lacks = !unshared.is_ok_and(|status| status.success());
    if lacks {
        eprintln!("SKIPPED: cannot create a pid namespace here (needs unshare and root)");
    }
    lacks
}

/// locks/identity-beyond-the-pid: a missing pid proves nothing if the holder is in another pid namespace.
fn other_namespace_robs_nobody(
    environment: &[(&str, &str)],
    holder_mode: &str,
    waiter_mode: &str,
) -> Result<(), String> {
    const LEASE: &str = "1500";
    let arena = Arena::new();
    let mut holder = Process::start(&["hold", &arena.lock(), holder_mode, LEASE], &[]);
    holder.line().expect("held");
    let mut waiter = in_other_namespace(&["once", &arena.lock(), waiter_mode, LEASE], environment);
    // Longer than the window of 2.25 s after which a silent holder is taken over.
    ensure(
        waiter.line_within(Duration::from_secs(3)).is_none(),
        "the lock of a live holder in another pid namespace was stolen",
    )?;
    eventually("its observation of a holder that it cannot verify", || {
        arena.locks().join(".key.lock.observed").exists()
    });
    killed(holder);
    ensure(
        waiter.line_within(Duration::from_secs(23)).is_some(),
        "the holder was not taken over within ten times the window after its end",
    )
}

#[test]
fn a_waiter_in_another_pid_namespace_steals_no_lock() {
    if lacks_namespaces() {
        return;
    }
    // If both use the kernel lock, the kernel decides. In these pairs only the record is available.
    std::thread::scope(|scope| {
        for (holder, waiter) in [("lease", "auto"), ("auto", "lease")] {
            scope.spawn(move || other_namespace_robs_nobody(&[], holder, waiter).expect(waiter));
        }
        let check = |environment: &[(&str, &str)]| other_namespace_robs_nobody(environment, "lease", "lease");
        assert_kills(check, "lock-blind-to-pid-namespaces");
    });
}

#[test]
fn a_restarted_container_takes_over_from_itself() {
    if lacks_namespaces() {
        return;
    }
    let arena = Arena::new();
    for _ in 0..3 {
        // Each of them is pid 1 of its namespace.
        let mut container = in_other_namespace(&["hold", &arena.lock(), "auto"], &[]);
        assert!(container.line_within(SOON).is_some(), "its own pid kept the lock");
        killed(container);
    }
}

/// locks/identity-beyond-the-pid: a process that may not be signalled exists.
fn another_users_holder_is_alive(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    let mut holder = Process::start(&["hold", &arena.lock(), "lease"], &[]);
    holder.line().expect("held");
    for directory in [
        arena.path(),
        &arena.locks(),
        &arena.locks().join(".key.lock.lease"),
    ] {
        let open_to_all = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(directory, open_to_all).expect("open to all");
    }
    let mut command = Command::new(program());
    command
        .args(["once", &arena.lock(), "lease"])
        .uid(NOBODY)
        .gid(NOBODY);
    let mut waiter = Process::spawn(command.envs(environment.iter().copied()));
    ensure(
        waiter.line_within(A_WHILE).is_none(),
        "the lock of a live holder of another user was stolen",
    )?;
    killed(holder);
    ensure(
        waiter.line_within(SOON).is_some(),
        "a dead holder of another user kept the lock",
    )
}

#[test]
fn a_holder_that_may_not_be_signalled_is_alive() {
    if can_run_as_others() {
        assert_kills(another_users_holder_is_alive, "lock-pid-only-liveness");
    }
}

/// locks/identity-beyond-the-pid: a process that held the guard before a reboot is dead, even if the device number of
/// the disk has changed since.
#[test]
fn a_reboot_ends_a_kernel_lock() {
    let arena = Arena::new();
    let before = [("WARMSWAP_BOOT_ID", "before")];
    let mut holder = Process::start(&["hold", &arena.lock(), "auto"], &before);
    holder.line().expect("held");
    killed(holder);
    for path in ["key.lock/owner.json", ".key.lock.lease/1.json"] {
        let path = arena.locks().join(path);
        let text = std::fs::read_to_string(&path).expect("the record");
        let mut record: serde_json::Value = serde_json::from_str(&text).expect("the record");
        assert!(record["guard"]["device"].is_u64(), "{record}");
        record["guard"]["device"] = 1.into();
        std::fs::write(path, format!("{record}\n")).expect("the record of another disk number");
    }
    let next = arena
        .acquire("auto", SOON)
        .expect("the lock of a rebooted machine");
    next.handle.release(None);
}

/// locks/identity-beyond-the-pid: a holder that has ended but was not reaped is dead.
fn zombie_is_dead(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    let mut zombie = Process::start(&["hold", &arena.lock(), "lease"], &[]);
    zombie.line().expect("held");
    zombie.kill();
    let mut waiter = start(&["once", &arena.lock(), "lease"], environment, &[]);
    ensure(waiter.line_within(SOON).is_some(), "a zombie kept the lock")
}

#[test]
fn detects_liveness_by_pid_alone() {
    assert_kills(zombie_is_dead, "lock-pid-only-liveness");
}
