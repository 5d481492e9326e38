//! Mutual exclusion and take-over while processes are killed at random.

// guarantee: locks/mutual-exclusion, locks/killed-holder-blocks-nobody

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use warmswap::core::locks;

use crate::arena::{Arena, MODES, NOBODY, Process, can_run_as_others, program, seconds};

/// Result of a storm.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) acquisitions: usize,
    pub(crate) kills: usize,
    pub(crate) overlaps: usize,
    /// Number of acquisitions whose generation was not larger than all earlier ones.
    pub(crate) backwards: usize,
    pub(crate) stuck: bool,
}

/// Eight processes acquire the lock in turn. One of them is killed every 40 ms, six times in ten the holder.
pub(crate) fn storm(modes: &[&str], seconds: f64, environment: &[(&str, &str)]) -> Outcome {
    storm_in(&Arena::new(), modes, seconds, &|_, arguments| {
        Process::start(arguments, environment)
    })
}

/// `start_child` receives the mode and the arguments.
pub(crate) fn storm_in(
    arena: &Arena,
    modes: &[&str],
    seconds: f64,
    start_child: &dyn Fn(&str, &[&str]) -> Process,
) -> Outcome {
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let root = arena.path().to_string_lossy().into_owned();
    let lock = arena.lock();
    let start = |index: usize| {
        let mode = modes[index % modes.len()];
        let left = until
            .saturating_duration_since(Instant::now())
            .as_secs_f64()
            .to_string();
        // A lease of 600 ms: a waiter of another mode waits for a dead holder, and the storm continues.
        start_child(mode, &["storm", &lock, &root, mode, &left, "8", "600"])
    };
    let mut processes: Vec<Process> = (0..8).map(start).collect();
    let mut kills = 0;
    let mut turn = 0_usize;
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(40));
        turn += 1;
        let holder = last_pid(arena);
        let target = processes
            .iter()
            .position(|process| turn % 10 < 6 && Some(process.pid()) == holder)
            .unwrap_or(turn * 7 % processes.len());
        processes[target].kill();
        processes[target].reap();
        kills += 1;
        processes[target] = start(target);
    }
    drop(processes);
    let stuck = arena.acquire(modes[0], Duration::from_secs(5)).is_err();
    let log = arena.log("log");
    Outcome {
        acquisitions: log.len(),
        kills,
        overlaps: arena.log("overlaps").len(),
        backwards: log.windows(2).filter(|pair| pair[1] <= pair[0]).count(),
        stuck,
    }
}

fn last_pid(arena: &Arena) -> Option<u32> {
    let text = std::fs::read_to_string(arena.path().join("log")).ok()?;
    text.lines().last()?.split(' ').nth(1)?.parse().ok()
}

pub(crate) fn assert_exclusive(name: &str, outcome: &Outcome) {
    eprintln!("{name}: {outcome:?}");
    assert_eq!(
        (outcome.overlaps, outcome.backwards, outcome.stuck),
        (0, 0, false),
        "{name}: {outcome:?}"
    );
}

#[test]
fn mutual_exclusion_under_kills_in_kernel_mode() {
    let outcome = storm(&["auto"], seconds(20.0, 60.0), &[]);
    assert_exclusive("kernel", &outcome);
    assert!(
        outcome.acquisitions >= 1000 && outcome.kills >= 200,
        "{outcome:?}"
    );
}

#[test]
fn mutual_exclusion_under_kills_in_lease_mode() {
    let outcome = storm(&["lease"], seconds(20.0, 60.0), &[]);
    assert_exclusive("lease", &outcome);
    assert!(
        outcome.acquisitions >= 1000 && outcome.kills >= 200,
        "{outcome:?}"
    );
}

#[test]
fn mutual_exclusion_with_both_modes_on_one_directory() {
    let outcome = storm(&["auto", "lease"], seconds(20.0, 60.0), &[]);
    assert_exclusive("both", &outcome);
    assert!(
        outcome.acquisitions >= 1000 && outcome.kills >= 200,
        "{outcome:?}"
    );
}

/// On a disk, at the usual path of temporary files.
#[test]
fn mutual_exclusion_on_a_disk() {
    let arena = Arena::below(&std::env::temp_dir());
    let outcome = storm_in(&arena, &["auto"], seconds(5.0, 60.0), &|_, arguments| {
        Process::start(arguments, &[])
    });
    assert_exclusive("kernel, on a disk", &outcome);
    assert!(outcome.acquisitions > 50 && outcome.kills > 20, "{outcome:?}");
}

/// Two sweeps run all the time. They must remove no file of a process that is alive, and the files of killed processes
/// must not accumulate. Every other sweep also removes all files of a lock that is free at that moment.
#[test]
fn mutual_exclusion_with_sweeps_in_a_loop() {
    let arena = Arena::new();
    let is_over = AtomicBool::new(false);
    let sweep = || {
        let (mut sweeps, mut whole_locks) = (0, 0);
        while !is_over.load(Ordering::SeqCst) {
            let unused = (sweeps % 2 == 0).then_some(Duration::ZERO);
            // The first acquirer creates the directory.
            let Ok(swept) = locks::sweep(&arena.locks(), unused) else {
                continue;
            };
            sweeps += 1;
            let is_guard = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "guard");
            whole_locks += usize::from(swept.removed.iter().any(is_guard));
        }
        (sweeps, whole_locks)
    };
    let outcome = std::thread::scope(|scope| {
        let sweepers = [scope.spawn(sweep), scope.spawn(sweep)];
        let outcome = storm_in(&arena, &["auto", "lease"], seconds(8.0, 60.0), &|_, arguments| {
            Process::start(arguments, &[])
        });
        is_over.store(true, Ordering::SeqCst);
        let swept = sweepers.map(|sweeper| sweeper.join().expect("swept"));
        eprintln!("sweeps, and how many of them removed a whole lock: {swept:?}");
        assert!(swept.iter().all(|(sweeps, _)| *sweeps > 50), "{swept:?}");
        outcome
    });
    assert_exclusive("both modes, with concurrent sweeps", &outcome);
    assert!(outcome.acquisitions > 50 && outcome.kills > 20, "{outcome:?}");
}

#[test]
fn mutual_exclusion_as_nobody() {
    // The other storms run as the user of the test.
    if !can_run_as_others() {
        return;
    }
    let arena = Arena::new();
    std::os::unix::fs::chown(arena.path(), Some(NOBODY), Some(NOBODY)).expect("its folder");
    let outcome = storm_in(&arena, &["auto"], seconds(5.0, 60.0), &|_, arguments| {
        Process::spawn(Command::new(program()).args(arguments).uid(NOBODY).gid(NOBODY))
    });
    assert_exclusive("kernel, as nobody", &outcome);
    assert!(outcome.acquisitions > 50 && outcome.kills > 20, "{outcome:?}");
}

/// locks/two-kernels-one-directory: the processes in lease mode appear to run on another kernel, which knows neither
/// the processes nor the guard of the first one.
#[test]
fn mutual_exclusion_of_two_kernels_on_one_directory() {
    let outcome = storm_in(
        &Arena::new(),
        &["auto", "lease"],
        seconds(8.0, 60.0),
        &|mode, arguments| {
            let is_other = mode == "lease";
            Process::start(
                arguments,
                if is_other {
                    &[("WARMSWAP_BOOT_ID", "another")]
                } else {
                    &[]
                },
            )
        },
    );
    assert_exclusive("two kernels", &outcome);
    assert!(outcome.acquisitions > 20 && outcome.kills > 20, "{outcome:?}");
}

/// locks/mkdir-locks-are-respected: one process with a mkdir lock among four with warmswap.
#[test]
fn no_overlap_with_a_process_of_a_mkdir_lock() {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/__test__/programs/mkdir-locks.js");
    for version in ["v0", "liveness", "intents"] {
        let arena = Arena::new();
        let (root, time) = (arena.path().to_string_lossy().into_owned(), seconds(3.0, 30.0));
        let options = serde_json::json!({ "seconds": time, "arena": root }).to_string();
        let theirs =
            Process::spawn(Command::new("node").args([program, version, "storm", &arena.lock(), &options]));
        let time = time.to_string();
        let ours = (0..4)
            .map(|_| Process::start(&["storm", &arena.lock(), &root, "auto", &time, "4", "30000"], &[]));
        let mut all: Vec<Process> = ours.chain([theirs]).collect();
        all.iter_mut().for_each(Process::reap);
        let turns = (arena.log("log").len(), arena.log("mkdir-log").len());
        eprintln!("{version}: {turns:?} turns");
        assert_eq!(
            arena.log("overlaps"),
            Vec::<u64>::new(),
            "{version}: {turns:?} turns"
        );
        assert!(turns.0 > 20 && turns.1 > 0, "{version}: {turns:?} turns");
    }
}

#[test]
fn four_waiters_on_one_orphan_get_it_one_after_the_other() {
    for mode in MODES {
        let rounds = orphan_rounds(mode, 200);
        assert_eq!(rounds, 0, "{mode}: rounds with two holders");
    }
}

/// Number of rounds in which four processes that were released on one orphan overlapped.
fn orphan_rounds(mode: &str, rounds: usize) -> usize {
    let mut overlapping = 0;
    for _ in 0..rounds {
        let arena = Arena::new();
        let mut orphan = Process::start(&["hold", &arena.lock(), mode], &[]);
        orphan.line().expect("held");
        orphan.kill();
        orphan.reap();
        let root = arena.path().to_string_lossy().into_owned();
        // One turn each, as fast as possible.
        let turns =
            (0..4).map(|_| Process::start(&["storm", &arena.lock(), &root, mode, "0.03", "4", "600"], &[]));
        let mut turns: Vec<_> = turns.collect();
        turns.iter_mut().for_each(Process::reap);
        overlapping += usize::from(!arena.log("overlaps").is_empty());
    }
    overlapping
}

#[test]
fn the_next_waiter_acquires_after_a_kill_of_the_holder() {
    for mode in MODES {
        let mut took = Vec::new();
        for _ in 0..100 {
            let arena = Arena::new();
            let mut holder = Process::start(&["hold", &arena.lock(), mode], &[]);
            holder.line().expect("held");
            let mut waiter = Process::start(&["once", &arena.lock(), mode], &[("TELL", "1")]);
            assert_eq!(waiter.line().as_deref(), Some("waiting"));
            let killed = Instant::now();
            holder.kill();
            let line = waiter.line().expect("held");
            took.push(killed.elapsed());
            assert!(line.starts_with("held"), "{line}");
        }
        took.sort();
        eprintln!(
            "{mode}: p50 {:?}, p99 {:?}, max {:?}",
            took[50], took[98], took[99]
        );
        assert!(took[50] < Duration::from_millis(50), "{mode}: p50 {:?}", took[50]);
        assert!(took[98] < Duration::from_secs(1), "{mode}: p99 {:?}", took[98]);
        assert!(took[99] < Duration::from_secs(10), "{mode}: max {:?}", took[99]);
    }
}
