//! Kills after every system call, and errors at every system call.

// guarantee: locks/no-fatal-instruction

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::arena::{Arena, MODES, Process, can_run_as_others, program};

/// More points than any of the runs below has.
const LAST_POINT: u32 = 400;

/// Leaves an orphan in the child's mode, so that the next caller has to take over.
fn leave_orphan(arena: &Arena, mode: &str) {
    let mut orphan = Process::start(&["hold", &arena.lock(), mode], &[]);
    orphan.line().expect("held");
    orphan.kill();
    orphan.reap();
}

fn assert_owner_is_whole(arena: &Arena, when: &str) {
    let directory = arena.lock();
    if Path::new(&directory).exists() {
        let owner = std::fs::read(Path::new(&directory).join("owner.json"));
        let owner =
            owner.unwrap_or_else(|error| panic!("{when}: a lock directory without an owner: {error}"));
        let owner: serde_json::Value = serde_json::from_slice(&owner).expect(when);
        assert!(owner["token"].is_string(), "{when}: {owner}");
    }
}

fn litter(arena: &Arena) -> Vec<String> {
    std::fs::read_dir(arena.locks())
        .expect("the locks")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| [".tmp", ".tomb"].iter().any(|ending| name.ends_with(ending)) || name == "key.lock")
        .collect()
}

#[test]
fn a_kill_at_any_call_of_acquire_heartbeat_and_release_blocks_nobody() {
    for mode in MODES {
        let mut points = 0;
        for point in 1..LAST_POINT {
            let when = format!("{mode}, killed at point {point}");
            let arena = Arena::new();
            leave_orphan(&arena, mode);
            let fault = format!("{point}:KILL");
            // With a lease of 90 ms there is a heartbeat every 30 ms, so at least one happens while the lock is held.
            let environment = [("WARMSWAP_FAULT", fault.as_str()), ("HOLD_MS", "45")];
            let mut child = Process::start(&["once", &arena.lock(), mode, "90"], &environment);
            let mut last = None;
            while let Some(line) = child.line() {
                last = Some(line);
            }
            child.reap();
            if last.as_deref() == Some("released") {
                break;
            }
            points = point;
            assert_owner_is_whole(&arena, &when);
            let next = arena.acquire(mode, Duration::from_secs(5));
            let next = next.unwrap_or_else(|error| panic!("{when}: {error}"));
            next.handle.release(None);
        }
        assert!((30..LAST_POINT - 1).contains(&points), "{mode}: {points} points");
    }
}

#[test]
fn a_kill_at_any_call_of_a_sweep_blocks_nobody() {
    for point in 1..LAST_POINT {
        let arena = Arena::new();
        leave_orphan(&arena, "auto");
        let fault = format!("{point}:KILL");
        let mut child = Process::start(
            // The sweep takes over the orphan, and then removes all files of the lock.
            &["sweep", &arena.locks().to_string_lossy(), "0"],
            &[("WARMSWAP_FAULT", &fault)],
        );
        let ended = child.line();
        child.reap();
        assert_owner_is_whole(&arena, &fault);
        let next = arena.acquire("auto", Duration::from_secs(5)).expect(&fault);
        next.handle.release(None);
        if ended.is_some() {
            assert!(point > 40, "{point} points");
            return;
        }
    }
    panic!("the sweep has more points than {LAST_POINT}");
}

/// Number of calls of an acquisition and release without faults.
fn points_of_once(mode: &str) -> usize {
    let arena = Arena::new();
    let log = arena.path().join("points").to_string_lossy().into_owned();
    Process::start(&["once", &arena.lock(), mode], &[("WARMSWAP_FAULT_LOG", &log)]).reap();
    std::fs::read_to_string(log).expect("the points").lines().count()
}

#[test]
fn a_full_or_read_only_disk_leaves_nothing_behind() {
    for (mode, failure) in [("auto", "ENOSPC"), ("lease", "ENOSPC"), ("auto", "EROFS")] {
        let mut refused = 0;
        for point in 1..=points_of_once(mode) {
            let arena = Arena::new();
            let fault = format!("{point}:{failure}");
            let mut child = Process::start(&["once", &arena.lock(), mode], &[("WARMSWAP_FAULT", &fault)]);
            let said = child.line().expect(&fault);
            child.reap();
            // The other points come after the acquisition, or belong to a call that has a fallback.
            if said.starts_with("ERR_") {
                refused += 1;
                if arena.locks().exists() {
                    assert_eq!(litter(&arena), Vec::<String>::new(), "{mode} {fault}: {said}");
                }
            }
            let next = arena.acquire(mode, Duration::from_secs(5)).expect(&fault);
            next.handle.release(None);
        }
        assert!(refused >= 20, "{mode} {failure}: {refused} refusals");
    }
}

#[test]
fn a_sweep_leaves_no_leftovers_and_changes_no_live_holder() {
    let arena = Arena::new();
    for point in 1..40 {
        let fault = format!("{point}:KILL");
        Process::start(&["once", &arena.lock(), "auto"], &[("WARMSWAP_FAULT", &fault)]).reap();
    }
    let held = arena.acquire("auto", Duration::from_secs(5)).expect("the lock");
    let two_minutes_ago = std::time::SystemTime::now() - Duration::from_mins(2);
    for name in litter(&arena) {
        let file = std::fs::File::open(arena.locks().join(name)).expect("litter");
        file.set_modified(two_minutes_ago).expect("back-dated");
    }
    warmswap::core::locks::sweep(&arena.locks(), None).expect("swept");
    held.handle
        .assert_held()
        .expect("a sweep changes nothing of a live holder");
    assert_eq!(litter(&arena), ["key.lock"], "the files of the live holder");
    held.handle.release(None);
    assert_eq!(litter(&arena), Vec::<String>::new());
}

/// A user without other processes.
const SOMEBODY: &str = "54321";

/// If the system provides no more threads, the call fails and leaves nothing behind.
#[test]
fn a_process_without_threads_gets_an_error() {
    if !can_run_as_others() {
        return;
    }
    let arena = Arena::new();
    let open_to_all = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(arena.path(), open_to_all).expect("open to all");
    let once = |threads: &str| {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid",
            SOMEBODY,
            "--regid",
            SOMEBODY,
            "--clear-groups",
            "prlimit",
        ]);
        command.args([
            &format!("--nproc={threads}"),
            program(),
            "once",
            &arena.lock(),
            "auto",
        ]);
        let mut child = Process::spawn(&mut command);
        let line = child.line();
        child.reap();
        line.unwrap_or_default()
    };
    // The first thread is the program's own. The next are those of the reactor, the heartbeat and the alarm.
    assert!(once("1").starts_with("ERR_IO"), "no reactor");
    assert!(once("2").starts_with("ERR_IO"), "no heartbeat");
    assert!(once("3").starts_with("ERR_IO"), "no alarm");
    assert!(
        !arena.locks().join(".key.lock.lease/1.json").exists(),
        "acquired without a heartbeat"
    );
    assert!(once("4").starts_with("held"), "enough");
}
