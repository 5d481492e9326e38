//! A holder that cannot be verified is taken over after it has not changed for long enough.

use std::time::Duration;

use crate::arena::{Arena, Process, SOON};

/// locks/waits-are-bounded: the observation is stored, so waiters with short timeouts together take over from an
/// unverifiable orphan.
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
            "no waiter with a timeout of 50 ms acquired the lock"
        );
    }
    assert!(
        begun.elapsed() > Duration::from_millis(500),
        "acquired before its window was over"
    );
}

/// locks/two-kernels-one-directory: a waiter on one kernel does not steal the lock of a live holder on another, and
/// takes over when it is dead.
#[test]
fn two_kernels_share_a_directory() {
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
            "{holder_mode}: the lock of a live holder on another kernel was stolen"
        );
        holder.kill();
        assert!(
            waiter.line_within(Duration::from_secs(9)).is_some(),
            "{waiter_mode}: ten times 1.5 leases are over"
        );
    }
}

/// Two machines on one directory: each has its own clock, and neither removes the observation of the other.
#[test]
fn waiters_of_two_boots_follow_a_dead_lease() {
    let arena = Arena::new();
    let mut dead = Process::start(
        &["hold", &arena.lock(), "lease", "600"],
        &[("WARMSWAP_BOOT_ID", "third")],
    );
    dead.line().expect("held");
    let start = |boot| {
        Process::start(
            &["once", &arena.lock(), "lease", "600"],
            &[("WARMSWAP_BOOT_ID", boot)],
        )
    };
    let mut waiters = [start("one"), start("two")];
    dead.kill();
    for waiter in &mut waiters {
        assert!(
            waiter.line_within(SOON).is_some(),
            "they remove each other's first observation"
        );
    }
}
