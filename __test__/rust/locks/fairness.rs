//! Fairness: how often each of many processes acquires the lock.

// guarantee: locks/rough-fairness

use std::collections::HashMap;

use crate::arena::{Arena, MODES, Process, seconds};

/// Results of processes that acquire one lock in a loop.
struct Shares {
    fewest: usize,
    most: usize,
    longest_wait_ms: u64,
}

/// Eight processes that acquire and release as fast as they can.
fn loop_on_one_lock(mode: &str, time: f64) -> Shares {
    const PROCESSES: usize = 8;
    let arena = Arena::new();
    let root = arena.path().to_string_lossy().into_owned();
    let time = time.to_string();
    let start = |_| Process::start(&["storm", &arena.lock(), &root, mode, &time, "2", "30000"], &[]);
    let mut processes: Vec<Process> = (0..PROCESSES).map(start).collect();
    processes.iter_mut().for_each(Process::reap);
    assert_eq!(arena.log("overlaps"), Vec::<u64>::new());
    let text = std::fs::read_to_string(arena.path().join("log")).expect("a log");
    let mut shares = HashMap::<&str, usize>::new();
    let mut longest_wait_ms = 0;
    for line in text.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        *shares.entry(fields[1]).or_default() += 1;
        longest_wait_ms = longest_wait_ms.max(fields[2].parse::<u64>().expect("microseconds") / 1000);
    }
    assert_eq!(shares.len(), PROCESSES, "a process never acquired the lock");
    Shares {
        fewest: *shares.values().min().expect("eight"),
        most: *shares.values().max().expect("eight"),
        longest_wait_ms,
    }
}

#[test]
fn processes_that_loop_get_roughly_equal_shares() {
    for mode in MODES {
        // Ten seconds, as the guarantee states. With four seconds and two other busy processes, the ratio of one of
        // eight runs was 3.1.
        let shares = loop_on_one_lock(mode, seconds(10.0, 20.0));
        let Shares {
            fewest,
            most,
            longest_wait_ms,
        } = shares;
        eprintln!("{mode}: {fewest} to {most} acquisitions, longest wait {longest_wait_ms} ms");
        assert!(most <= 3 * fewest, "{mode}: {fewest} to {most}");
    }
}
