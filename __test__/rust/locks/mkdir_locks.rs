//! Locks of other programs, which are directories.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use rustix::process::Signal;
use warmswap::core::error;
use warmswap::core::locks::{self, Acquired, LockPath, LockScope, Request};
use warmswap::core::sys::cancel::Cancel;
use warmswap::core::sys::deadline::Deadline;
use warmswap::core::sys::flock;

use crate::arena::{
    A_WHILE, Arena, MODES, NOBODY, Process, SOON, assert_kills, can_run_as_others, ensure, eventually,
    is_stopped, program, request, start, write_legacy_lock,
};

/// locks/mkdir-locks-are-respected: a dead mkdir lock is moved away, but not a live one that has replaced it in the
/// meantime.
fn reclaim_spares_a_successor(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    let mut dead = std::process::Command::new("true").spawn().expect("true");
    dead.wait().expect("reaped");
    write_legacy_lock(&arena.lock(), dead.id());
    // The call that acts on the path after the check of its owner. The first rename prepares our own directory.
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
        &format!("a live mkdir lock was removed (stolen {robbed}, owner {owner})"),
    )?;
    std::fs::remove_dir_all(arena.lock()).expect("released");
    ensure(
        waiter.line_within(SOON).is_some(),
        "a released mkdir lock blocked the waiter",
    )
}

#[test]
fn detects_check_then_remove() {
    assert_kills(reclaim_spares_a_successor, "lock-check-then-remove");
}

/// Waiters for a record and for a directory write their observations to one file.
#[test]
fn another_waiter_does_not_keep_an_ownerless_directory_alive() {
    let arena = Arena::new();
    std::fs::create_dir_all(arena.lock()).expect("an ownerless directory");
    let acquire = |stale: u64| {
        let request = Request {
            foreign_stale: Duration::from_millis(stale),
            lease_ttl: Duration::from_millis(300),
            ..request("lease")
        };
        let (sender, taken) = mpsc::channel();
        let lock = LockPath::parse(&arena.lock()).expect("a path");
        let answered = move |taken: error::Result<Acquired>| {
            let _nobody_left = sender.send(taken.is_ok());
        };
        LockScope::new().acquire(lock, request, Deadline::NEVER, &Cancel::new(), None, answered);
        taken
    };
    let first = acquire(1500);
    eventually("its first observation", || {
        arena.locks().join(".key.lock.observed").exists()
    });
    // Another process with another window.
    let mut other = Process::start(&["once", &arena.lock(), "lease", "300"], &[]);
    assert_eq!(first.recv_timeout(SOON), Ok(true), "the window never ended");
    assert!(other.line_within(SOON).is_some());
}

/// Callers that time out before an orphan's window is over together take it over.
#[test]
fn short_waits_together_take_over_an_ownerless_directory() {
    for (mode, within) in [("auto", 200), ("lease", 200), ("auto", 0), ("lease", 0)] {
        let arena = Arena::new();
        std::fs::create_dir_all(arena.lock()).expect("an ownerless directory");
        let lock = LockPath::parse(&arena.lock()).expect("a path");
        let request = Request {
            foreign_stale: Duration::from_secs(1),
            ..request(mode)
        };
        let attempt = || {
            let deadline = Deadline::after(Duration::from_millis(within));
            let cancel = Cancel::new();
            let taken = locks::acquire(lock.clone(), request.clone(), deadline, cancel, None);
            futures::executor::block_on(taken).map(|acquired| acquired.handle.release(None))
        };
        let begun = Instant::now();
        eventually("the end of its window", || attempt().is_ok());
        let took = begun.elapsed();
        assert!(
            (900..6000).contains(&took.as_millis()),
            "{mode}, waits of {within} ms: {took:?}"
        );
    }
}

#[test]
fn a_hidden_holder_of_a_mkdir_lock_is_not_dead() {
    let hides = Command::new("unshare")
        .args(["-m", "sh", "-c", "mount -t proc -o hidepid=2 proc /proc"])
        .status();
    if !hides.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: only root can mount a /proc that hides processes");
        return;
    }
    if !can_run_as_others() {
        return;
    }
    for hidepid in ["hidepid=1", "hidepid=2"] {
        let arena = Arena::new();
        std::os::unix::fs::chown(arena.path(), Some(NOBODY), Some(NOBODY)).expect("its folder");
        let holder = Process::spawn(Command::new("sleep").arg("60").uid(1).gid(1));
        write_legacy_lock(&arena.lock(), holder.pid());
        for directory in [arena.lock(), arena.locks().to_string_lossy().into_owned()] {
            std::os::unix::fs::chown(directory, Some(NOBODY), Some(NOBODY)).expect("its folder");
        }
        let script = format!(
            "mount -t proc -o {hidepid} proc /proc && exec setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups \"$0\" \"$@\""
        );
        let mut waiter = Process::spawn(
            Command::new("unshare")
                .args(["-m", "sh", "-c", &script, program(), "once"])
                .args([&*arena.lock(), "auto"])
                .env("TIMEOUT_MS", "500"),
        );
        let answer = waiter.line().expect("a result");
        assert!(answer.starts_with("ERR_LOCK_TIMEOUT"), "{hidepid}: {answer}");
    }
}

/// In the middle of a check, a waiter holds the guard, like any process that is stopped during an acquisition. Such a
/// process does block others.
fn stop_between_looks(waiter: &Process, arena: &Arena) {
    let guard = Path::new(&arena.lock()).with_file_name(".key.lock.guard");
    loop {
        waiter.signal(rustix::process::Signal::STOP);
        eventually("the stop of the waiter", || is_stopped(waiter.pid()));
        let is_free = std::fs::File::open(&guard)
            .map_or(true, |file| flock::try_exclusive(&file, &guard).expect("flock"));
        if is_free {
            return;
        }
        waiter.signal(rustix::process::Signal::CONT);
    }
}

/// A waiter for another program's directory has no record. It neither looks like the holder nor blocks others, even
/// when it is stopped.
#[test]
fn a_waiter_for_a_mkdir_lock_is_not_its_holder() {
    for mode in MODES {
        let arena = Arena::new();
        write_legacy_lock(&arena.lock(), std::process::id());
        let mut waiter = Process::start(&["once", &arena.lock(), mode], &[("TELL", "1")]);
        assert_eq!(waiter.line().as_deref(), Some("waiting"), "{mode}");
        let found = locks::inspect(&LockPath::parse(&arena.lock()).expect("a path")).expect("a look");
        let holder = found.holder.expect("a holder");
        assert_eq!(
            (holder.pid, holder.format),
            (Some(std::process::id()), locks::OwnerFormat::OwnerJson)
        );
        stop_between_looks(&waiter, &arena);
        std::fs::remove_dir_all(arena.lock()).expect("released");
        let next = arena
            .acquire(mode, SOON)
            .expect("the lock, despite a stopped waiter");
        next.handle.release(None);
        waiter.signal(rustix::process::Signal::CONT);
        assert!(
            waiter
                .line_within(SOON)
                .is_some_and(|line| line.starts_with("held"))
        );
    }
}
