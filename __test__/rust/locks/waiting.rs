//! Waits end in time and affect no other caller.

// guarantee: locks/waits-are-bounded, locks/cancel-is-clean

use std::time::Duration;

use warmswap::core::locks::{self, LockPath, Request};
use warmswap::core::sys::cancel::Cancel;
use warmswap::core::sys::deadline::Deadline;

use crate::arena::{Arena, Process, SOON, assert_kills, ensure, fifo, request, said_while_it_hangs};

/// The error does not claim that another holder has the lock, because nobody has it.
fn a_wait_ends_while_a_look_hangs(environment: &[(&str, &str)]) -> Result<(), String> {
    for within in ["0", "100"] {
        let environment = [environment, &[("TIMEOUT_MS", within), ("WHY", "1")]].concat();
        let said = said_while_it_hangs("1:HOLD:getdents:.key.lock.lease", &["once"], &environment);
        ensure(
            said.is_some_and(|said| said.starts_with("ERR_LOCK_TIMEOUT") && said.contains("not known")),
            &format!("a wait of {within} ms did not end"),
        )?;
    }
    Ok(())
}

#[test]
fn detects_an_end_of_a_wait_that_waits_for_a_check() {
    assert_kills(a_wait_ends_while_a_look_hangs, "lock-no-alarm");
}

/// A filesystem that does not even report its type costs one thread, whatever the number of callers, and blocks no
/// caller on another filesystem.
#[test]
fn a_filesystem_that_hangs_stops_no_new_lock_elsewhere() {
    let arena = Arena::new();
    let elsewhere = Arena::new();
    let fifo = fifo(&arena);
    let fault = format!("1:HOLD:statfs:{}", arena.locks().display());
    let environment = [("WARMSWAP_FAULT", &*fault), ("WARMSWAP_FAULT_FIFO", &*fifo)];
    std::fs::create_dir(arena.locks()).expect("the directory of the locks");
    let mut child = Process::start(&["apart", &arena.lock(), &elsewhere.lock(), "20"], &environment);
    assert_eq!(child.line().as_deref(), Some("held"));
    let threads = std::fs::read_dir(format!("/proc/{}/task", child.pid()));
    let threads = threads.expect("its threads").count();
    assert!(threads < 10, "{threads} threads");
    for _ in 0..20 {
        assert_eq!(child.line().as_deref(), Some("ERR_LOCK_TIMEOUT"));
    }
}

#[test]
fn a_failed_attempt_with_cover_children_leaves_nothing() {
    let arena = Arena::new();
    std::fs::create_dir_all(arena.lock()).expect("an ownerless directory");
    let covering = Request {
        covers_children: true,
        ..request("auto")
    };
    let lock = LockPath::parse(&arena.lock()).expect("a path");
    let taken = futures::executor::block_on(locks::acquire(
        lock.clone(),
        covering,
        Deadline::after(Duration::ZERO),
        Cancel::new(),
        None,
    ));
    assert!(taken.is_err());
    std::fs::remove_dir(arena.lock()).expect("released");
    assert!(!locks::inspect(&lock).expect("a look").is_held);
    arena
        .acquire("auto", SOON)
        .expect("the lock")
        .handle
        .release(None);
}
