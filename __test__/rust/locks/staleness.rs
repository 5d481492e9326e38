//! A holder that nobody can verify is followed once it has not changed for long enough.

use std::time::Duration;

use crate::arena::{Arena, Process, SOON};

/// locks/waits-are-bounded: the observation is kept; waiters that give up early heal an orphan that nobody can verify.
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

/// locks/two-kernels-one-directory: the holder of one kernel is not robbed by a waiter of another, and is followed when it is dead.
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

/// Two machines on one directory: each has a clock of its own, and what the one has seen is not undone by the other.
#[test]
fn i20a_waiters_of_two_boots_follow_a_dead_lease() {
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
            "they throw each other's first sight away"
        );
    }
}
