//! Checks that hold, and seeded bugs that each of them must see: a check that cannot fail proves nothing.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::arena::{Arena, Process, eventually, is_stopped};
use crate::storms::storm;

/// Long enough for a loaded machine, far shorter than any window that is not under test.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// How long somebody is watched who must not get in.
pub(crate) const A_WHILE: Duration = Duration::from_millis(700);

pub(crate) fn ensure(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

pub(crate) fn assert_kills(check: impl Fn(&[(&str, &str)]) -> Result<(), String>, mutant: &str) {
    check(&[]).expect("holds without the mutant");
    assert!(
        check(&[("WARMSWAP_MUTANT", mutant)]).is_err(),
        "the mutant {mutant} survives"
    );
}

fn start(arguments: &[&str], environment: &[(&str, &str)], more: &[(&str, &str)]) -> Process {
    Process::start(arguments, &[environment, more].concat())
}

/// A holder in this process, in lease mode with 600 ms.
fn holder(arena: &Arena) -> warmswap::core::locks::Acquired {
    arena.acquire("lease", SOON).expect("the lock")
}

/// I1: of several takers of one number exactly one gets it.
fn one_taker_a_number(environment: &[(&str, &str)]) -> Result<(), String> {
    let outcome = storm(&["lease"], 4.0, environment);
    ensure(
        outcome.overlaps == 0 && outcome.backwards == 0,
        &format!("{outcome:?}"),
    )
}

#[test]
fn i1_kills_taking_by_rename_instead_of_link() {
    assert_kills(one_taker_a_number, "lock-take-by-rename");
}

/// I1: a taker that slept between its look and its link does not get in beside the one that was faster.
fn slow_taker_stays_out(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    holder(&arena).held.release(None);
    let mut slow = start(
        &["once", &arena.lock(), "lease"],
        environment,
        &[("WARMSWAP_FAULT", "1:STOP:linkat")],
    );
    eventually("the stop at its link", || is_stopped(slow.pid()));
    holder(&arena).held.release(None);
    let mut current = Process::start(&["hold", &arena.lock(), "lease"], &[]);
    current.line().expect("held");
    // Without its directory, which would be a second barrier, and stopped, so that it does not make it again.
    current.signal(Signal::STOP);
    eventually("the stop of the holder", || is_stopped(current.pid()));
    std::fs::remove_dir_all(arena.lock()).expect("removed by a mkdir lock");
    slow.signal(Signal::CONT);
    ensure(
        slow.line_within(A_WHILE).is_none(),
        "the slow taker's number counts beside the holder's",
    )
}

/// A number that was given back while the slow taker slept is linked once more, beside the one that is free.
#[test]
fn i1_a_number_that_was_given_back_is_not_taken_again() {
    let arena = Arena::new();
    let first = holder(&arena);
    let generation = first.held.generation();
    first.held.release(None);
    let mut slow = start(
        &["once", &arena.lock(), "lease"],
        &[],
        &[("WARMSWAP_FAULT", "1:STOP:linkat")],
    );
    eventually("the stop at its link", || is_stopped(slow.pid()));
    holder(&arena).held.release(None);
    slow.signal(Signal::CONT);
    assert_eq!(slow.line(), Some(format!("held {}", generation + 2)));
    assert_eq!(slow.line().as_deref(), Some("released"));
    let names = std::fs::read_dir(arena.locks().join(".key.lock.lease")).expect("the records");
    let names: Vec<_> = names.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["3.free"]);
}

#[test]
fn i1_kills_no_check_after_the_link() {
    assert_kills(slow_taker_stays_out, "lock-no-check-after-link");
}

/// I6a: a holder that is dead and not reaped is dead.
fn zombie_is_dead(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    let mut zombie = Process::start(&["hold", &arena.lock(), "lease"], &[]);
    zombie.line().expect("held");
    zombie.kill();
    let mut waiter = start(&["once", &arena.lock(), "lease"], environment, &[]);
    ensure(waiter.line_within(SOON).is_some(), "a zombie kept the lock")
}

#[test]
fn i6_kills_liveness_by_pid_alone() {
    assert_kills(zombie_is_dead, "lock-pid-only-liveness");
}

/// I5b: times on disk and the wall clock decide nothing.
fn backdated_times_rob_nobody(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    // Of another kernel: nobody here can verify it.
    let mut living = Process::start(
        &["hold", &arena.lock(), "lease"],
        &[("WARMSWAP_BOOT_ID", "another")],
    );
    living.line().expect("held");
    let hour_ago = std::time::SystemTime::now() - Duration::from_hours(1);
    for path in [arena.lock(), format!("{}/owner.json", arena.lock())] {
        let file = std::fs::OpenOptions::new()
            .read(true)
            .open(path)
            .expect("the lock");
        file.set_modified(hour_ago).expect("back-dated");
    }
    let mut waiter = start(&["once", &arena.lock(), "lease"], environment, &[]);
    ensure(
        waiter.line_within(A_WHILE).is_none(),
        "a living holder was robbed",
    )
}

#[test]
fn i5_kills_staleness_by_wall_clock() {
    assert_kills(backdated_times_rob_nobody, "lock-wall-clock-staleness");
}

/// I5a: a lease is kept by a native thread, whatever the rest of the process does.
fn heartbeat_keeps_the_lease(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    let mut living = start(
        &["hold", &arena.lock(), "lease", "600"],
        environment,
        &[("WARMSWAP_BOOT_ID", "another")],
    );
    living.line().expect("held");
    let mut waiter = Process::start(&["once", &arena.lock(), "lease", "600"], &[]);
    ensure(
        waiter.line_within(Duration::from_millis(2500)).is_none(),
        "a living holder was robbed after its lease",
    )
}

#[test]
fn i5_kills_a_heartbeat_that_does_not_come_from_a_native_thread() {
    assert_kills(heartbeat_keeps_the_lease, "lock-no-native-heartbeat");
}

/// I7: who was followed does not give back what is another's.
fn late_release_touches_nothing(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    let mut stopped = start(
        &["once", &arena.lock(), "lease", "300"],
        environment,
        &[("HOLD_MS", "300")],
    );
    stopped.line().expect("held");
    stopped.signal(Signal::STOP);
    let successor = holder(&arena);
    let inode = || std::fs::metadata(arena.lock()).map(|stat| stat.ino()).ok();
    let its = inode();
    stopped.signal(Signal::CONT);
    stopped.line().expect("it has released what it had");
    let owner = std::fs::read_to_string(format!("{}/owner.json", arena.lock())).unwrap_or_default();
    successor.held.assert_held().map_err(|error| error.to_string())?;
    // A deleted directory is made again by its holder: only its number tells.
    ensure(
        its.is_some() && inode() == its && owner.contains(successor.held.token()),
        "the successor's directory is gone",
    )
}

#[test]
fn i7_kills_release_without_token() {
    assert_kills(late_release_touches_nothing, "lock-release-without-token");
}

/// I8: a guard that users delete is made anew, and who waited at the old one gets in.
fn deleted_guard_strands_nobody(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    let held = arena.acquire("auto", SOON).expect("the lock");
    let mut waiter = start(&["once", &arena.lock(), "auto"], environment, &[]);
    // It has the guard open once it waits.
    eventually("the wait", || has_open(waiter.pid(), "guard"));
    std::fs::remove_file(arena.locks().join(".key.lock.guard")).expect("deleted");
    let robbed = waiter.line_within(A_WHILE).is_some();
    held.held.release(None);
    ensure(!robbed, "the holder was robbed")?;
    ensure(
        waiter.line_within(SOON).is_some(),
        "the waiter is stranded at the deleted guard",
    )
}

fn has_open(pid: u32, ending: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    entries
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .any(|target| target.to_string_lossy().ends_with(ending))
}

#[test]
fn i8_kills_no_inode_check() {
    assert_kills(deleted_guard_strands_nobody, "lock-no-inode-check");
}

/// The guard is one file for ever.
fn guard_stays(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    let inode = || {
        std::fs::metadata(arena.locks().join(".key.lock.guard"))
            .map(|stat| stat.ino())
            .ok()
    };
    let run = || start(&["once", &arena.lock(), "auto"], environment, &[]).reap();
    run();
    let first = inode();
    // Open, so that its number is not used again.
    let _kept = std::fs::File::open(arena.locks().join(".key.lock.guard"));
    run();
    ensure(first.is_some() && inode() == first, "the guard was unlinked")
}

#[test]
fn i1_kills_unlinking_the_guard() {
    assert_kills(guard_stays, "lock-unlink-guard");
}

/// I19: a dead mkdir lock is moved away, but not the living one that has followed it meanwhile.
fn reclaim_spares_a_successor(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    let mut dead = std::process::Command::new("true").spawn().expect("true");
    dead.wait().expect("reaped");
    write_legacy_lock(&arena.lock(), dead.id());
    // The call that acts on the path after the look at its owner; the first rename prepares our own directory.
    let call = if environment.is_empty() {
        "2:STOP:rename"
    } else {
        "1:STOP:openat:/key.lock"
    };
    let mut waiter = start(
        &["once", &arena.lock(), "auto"],
        environment,
        &[("WARMSWAP_FAULT", call)],
    );
    eventually("the stop at the reclaim", || is_stopped(waiter.pid()));
    std::fs::remove_dir_all(arena.lock()).expect("removed by a mkdir lock");
    write_legacy_lock(&arena.lock(), std::process::id());
    waiter.signal(Signal::CONT);
    let robbed = waiter.line_within(A_WHILE).is_some();
    let owner = std::fs::read_to_string(format!("{}/owner.json", arena.lock())).unwrap_or_default();
    ensure(
        !robbed && owner.contains(&std::process::id().to_string()),
        &format!("a living mkdir lock was removed (robbed {robbed}, owner {owner})"),
    )?;
    std::fs::remove_dir_all(arena.lock()).expect("given back");
    ensure(
        waiter.line_within(SOON).is_some(),
        "a mkdir lock that was given back kept the waiter out",
    )
}

pub(crate) fn write_legacy_lock(path: &str, pid: u32) {
    let hostname = warmswap::core::sys::identity::hostname();
    let created = warmswap::core::sys::clock::iso8601();
    std::fs::create_dir_all(path).expect("mkdir");
    let owner = serde_json::json!({ "createdAt": created, "pid": pid, "hostname": hostname });
    std::fs::write(Path::new(path).join("owner.json"), format!("{owner}\n")).expect("owner.json");
}

#[test]
fn i19_kills_check_then_remove() {
    assert_kills(reclaim_spares_a_successor, "lock-check-then-remove");
}

/// I20: where kernel locks cannot be trusted none is asked for.
#[test]
fn i20_no_flock_is_issued_on_an_untrusted_filesystem() {
    let arena = Arena::new();
    let trace = arena.path().join("trace");
    let traced = std::process::Command::new("strace")
        .args(["-f", "-e", "trace=flock,fcntl", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_locks-child"))
        .args(["once", &arena.lock(), "auto"])
        .env("WARMSWAP_FILESYSTEM", "nfs")
        .output();
    let Ok(output) = traced else {
        eprintln!("SKIPPED: strace is not installed");
        return;
    };
    assert!(String::from_utf8_lossy(&output.stdout).contains("released"));
    let trace = std::fs::read_to_string(trace).expect("the trace");
    assert!(!trace.contains("flock(") && !trace.contains("F_SETLK"), "{trace}");
}

/// I20a: the holder of one kernel is not robbed by a waiter of another, and is followed when it is dead.
#[test]
fn i20a_two_kernels_share_a_directory() {
    for (holder_mode, waiter_mode) in [("auto", "lease"), ("lease", "auto")] {
        let arena = Arena::new();
        let mut holder = Process::start(
            &["hold", &arena.lock(), holder_mode, "600"],
            &[("WARMSWAP_BOOT_ID", "another")],
        );
        holder.line().expect("held");
        let mut waiter = Process::start(&["once", &arena.lock(), waiter_mode, "600"], &[]);
        let early = waiter.line_within(Duration::from_secs(2));
        assert_eq!(
            early, None,
            "{holder_mode}: a living holder of another kernel was robbed"
        );
        holder.kill();
        assert!(
            waiter.line_within(Duration::from_secs(9)).is_some(),
            "{waiter_mode}: ten times 1.5 leases are over"
        );
    }
}

/// I16 and the kept observation: waiters that give up early heal an orphan that nobody can verify.
#[test]
fn observation_outlives_the_waiters() {
    let arena = Arena::new();
    let mut orphan = Process::start(
        &["hold", &arena.lock(), "lease", "600"],
        &[("WARMSWAP_BOOT_ID", "another")],
    );
    orphan.line().expect("held");
    orphan.kill();
    let begun = std::time::Instant::now();
    while arena.acquire("lease", Duration::from_millis(50)).is_err() {
        assert!(
            begun.elapsed() < Duration::from_secs(9),
            "no waiter of 50 ms ever got in"
        );
    }
    assert!(
        begun.elapsed() > Duration::from_millis(500),
        "taken before its window was over"
    );
}
