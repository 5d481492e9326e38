//! A live holder keeps its lease.

use std::time::Duration;

use warmswap::core::locks::{self, LockHandle, LockPath, Request};
use warmswap::core::sys::cancel::Cancel;
use warmswap::core::sys::deadline::Deadline;

use crate::arena::{Arena, Process, SOON, assert_kills, ensure, eventually, fifo, request, start};

/// locks/live-holder-keeps-it: a native thread renews a lease, whatever the rest of the process does.
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
        "the lock of a live holder was stolen after its lease",
    )
}

#[test]
fn detects_a_heartbeat_that_is_not_from_a_native_thread() {
    assert_kills(heartbeat_keeps_the_lease, "lock-no-native-heartbeat");
}

/// While the renewal of one lock hangs, a lock on another filesystem is renewed.
#[test]
fn a_filesystem_that_hangs_stops_no_renewal_elsewhere() {
    let arena = Arena::new();
    let elsewhere = Arena::below(&std::env::temp_dir());
    let fifo = fifo(&arena);
    let environment = [
        ("WARMSWAP_FAULT", "1:HOLD:rename"),
        ("WARMSWAP_FAULT_FIFO", &*fifo),
    ];
    let lock = elsewhere.lock();
    let mut holder = Process::start(&["beside", &arena.lock(), &lock, "2000"], &environment);
    holder.line().expect("held");
    let mut waiter = Process::start(
        &["once", &lock, "lease", "2000"],
        &[("WARMSWAP_BOOT_ID", "another")],
    );
    // One and a half times the window after which a silent holder is taken over.
    assert!(
        waiter.line_within(Duration::from_millis(4500)).is_none(),
        "the healthy lock was not renewed"
    );
}

fn progress_is_written(arena: &Arena, held: &LockHandle, phase: &str) {
    held.progress(phase);
    eventually("the progress", || {
        let owner = std::fs::read_to_string(arena.locks().join(".key.lock.lease/1.json")).unwrap_or_default();
        owner.contains("\"progress\"")
    });
}

#[test]
fn long_texts_never_cost_a_holder_its_lock() {
    let arena = Arena::new();
    let room = Request {
        metadata: Some(serde_json::json!("x".repeat(32_000))),
        ..request("lease")
    };
    let acquire = |request: &Request| {
        let lock = LockPath::parse(&arena.lock()).expect("a path");
        futures::executor::block_on(locks::acquire(
            lock,
            request.clone(),
            Deadline::after(SOON),
            Cancel::new(),
            None,
        ))
    };
    let acquired = acquire(&room).expect("the lock");
    progress_is_written(&arena, &acquired.handle, &"\u{1}".repeat(5000));
    let message = "\u{1}".repeat(200_000);
    acquired.handle.release(Some(locks::FailedRun {
        generation: 1,
        message,
    }));
    let next = acquire(&room).expect("the lock");
    let inherited = next.handle.inherited_failure().expect("the failure is shared");
    assert_eq!(inherited.message.len(), 2048);
    next.handle.release(None);
    let too_much = Request {
        metadata: Some(serde_json::json!("x".repeat(33_000))),
        ..request("lease")
    };
    let refused = acquire(&too_much).map(drop).expect_err("too large");
    assert_eq!(refused.code.as_str(), "ERR_TOO_LARGE");
}

/// Other processes count a lease from the time at which they see its record. The holder must not count it from later.
#[test]
fn a_lease_counts_from_before_its_record() {
    let arena = Arena::new();
    let fifo = fifo(&arena);
    // The check after the link: before that, the records had no directory.
    let environment = [
        ("WARMSWAP_FAULT", "1:HOLD:getdents:.key.lock.lease"),
        ("WARMSWAP_FAULT_FIFO", &*fifo),
    ];
    let mut holder = Process::start(&["lose", &arena.lock(), "lease", "600"], &environment);
    eventually("its record", || {
        arena.locks().join(".key.lock.lease/1.json").exists()
    });
    std::thread::sleep(Duration::from_millis(600));
    drop(
        std::fs::OpenOptions::new()
            .write(true)
            .open(fifo)
            .expect("answered"),
    );
    assert_eq!(holder.line().as_deref(), Some("held"));
    let told = holder.line_within(SOON).expect("its lease is over");
    assert!(told.starts_with("lost"), "{told}");
}
