//! Mutual exclusion: one holder at a time.

use std::os::unix::fs::MetadataExt as _;

use rustix::process::Signal;

use crate::arena::{A_WHILE, Arena, Process, assert_kills, ensure, eventually, holder, is_stopped, start};
use crate::storms::storm;

/// locks/mutual-exclusion: exactly one of several acquirers gets a number.
fn one_taker_a_number(environment: &[(&str, &str)]) -> Result<(), String> {
    let outcome = storm(&["lease"], 4.0, environment);
    ensure(
        outcome.overlaps == 0 && outcome.backwards == 0,
        &format!("{outcome:?}"),
    )
}

#[test]
fn detects_acquiring_by_rename_instead_of_link() {
    assert_kills(one_taker_a_number, "lock-take-by-rename");
}

/// locks/mutual-exclusion: an acquirer that was stopped between its check and its link does not get the lock in
/// addition to the faster one.
fn slow_taker_stays_out(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    holder(&arena).handle.release(None);
    let mut slow = start(
        &["once", &arena.lock(), "lease"],
        environment,
        &[("WARMSWAP_FAULT", "1:STOP:linkat")],
    );
    eventually("the stop at its link", || is_stopped(slow.pid()));
    holder(&arena).handle.release(None);
    let mut current = Process::start(&["hold", &arena.lock(), "lease"], &[]);
    current.line().expect("held");
    // The lock directory would be a second barrier, so it is removed. The holder is stopped, so that it does not create
    // it again.
    current.signal(Signal::STOP);
    eventually("the stop of the holder", || is_stopped(current.pid()));
    std::fs::remove_dir_all(arena.lock()).expect("removed by a mkdir lock");
    slow.signal(Signal::CONT);
    ensure(
        slow.line_within(A_WHILE).is_none(),
        "the slow acquirer's number counts in addition to the holder's",
    )
}

/// A number that was released while the slow acquirer was stopped is linked once more, next to the released one.
#[test]
fn a_released_number_is_not_acquired_again() {
    let arena = Arena::new();
    let first = holder(&arena);
    let generation = first.handle.generation();
    first.handle.release(None);
    let mut slow = start(
        &["once", &arena.lock(), "lease"],
        &[],
        &[("WARMSWAP_FAULT", "1:STOP:linkat")],
    );
    eventually("the stop at its link", || is_stopped(slow.pid()));
    holder(&arena).handle.release(None);
    slow.signal(Signal::CONT);
    assert_eq!(slow.line(), Some(format!("held {}", generation + 2)));
    assert_eq!(slow.line().as_deref(), Some("released"));
    let names = std::fs::read_dir(arena.locks().join(".key.lock.lease")).expect("the records");
    let names: Vec<_> = names.map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["3.free"]);
}

#[test]
fn detects_a_missing_check_after_the_link() {
    assert_kills(slow_taker_stays_out, "lock-no-check-after-link");
}

/// The guard is always the same file.
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
    // Kept open, so that its inode number is not reused.
    let _kept = std::fs::File::open(arena.locks().join(".key.lock.guard"));
    run();
    ensure(first.is_some() && inode() == first, "the guard was unlinked")
}

#[test]
fn detects_unlinking_the_guard() {
    assert_kills(guard_stays, "lock-unlink-guard");
}
