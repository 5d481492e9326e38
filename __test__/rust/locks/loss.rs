//! A holder detects the loss of its lock.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use warmswap::core::locks;
use warmswap::core::sys::flock;

use crate::arena::{
    A_WHILE, Arena, MODES, Process, SOON, assert_kills, ensure, eventually, fifo, said_while_it_hangs, start,
    write_legacy_lock,
};

fn has_open(pid: u32, ending: &str) -> bool {
    let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    entries
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .any(|target| target.to_string_lossy().ends_with(ending))
}

/// locks/loss-is-noticed: a guard that a user deletes is created again, and a waiter at the old one acquires the lock.
fn deleted_guard_strands_nobody(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    let held = arena.acquire("auto", SOON).expect("the lock");
    let mut waiter = start(&["once", &arena.lock(), "auto"], environment, &[]);
    // A waiter has the guard open.
    eventually("the wait", || has_open(waiter.pid(), "guard"));
    std::fs::remove_file(arena.locks().join(".key.lock.guard")).expect("deleted");
    let robbed = waiter.line_within(A_WHILE).is_some();
    held.handle.release(None);
    ensure(!robbed, "the lock of the holder was stolen")?;
    ensure(
        waiter.line_within(SOON).is_some(),
        "the waiter is stranded at the deleted guard",
    )
}

#[test]
fn detects_a_missing_inode_check() {
    assert_kills(deleted_guard_strands_nobody, "lock-file-unchecked");
}

/// A filesystem that hangs during a renewal: only the clock shows the loss to the holder.
#[test]
fn a_lease_that_ends_while_its_renewal_hangs_is_reported_in_time() {
    let arena = Arena::new();
    // The rename belongs to the first renewal. An acquisition links its record.
    let fifo = fifo(&arena);
    let environment = [
        ("WARMSWAP_FAULT", "1:HOLD:rename:/1.json"),
        ("WARMSWAP_FAULT_FIFO", &*fifo),
        ("LOOK", "1"),
    ];
    let mut holder = Process::start(&["lose", &arena.lock(), "lease", "900"], &environment);
    holder.line().expect("held");
    let held_since = Instant::now();
    let told = holder
        .line_within(Duration::from_secs(3))
        .expect("notified before the renewal ends");
    assert!(told.starts_with("lost"), "{told}");
    assert!(
        held_since.elapsed() < Duration::from_millis(2500),
        "notified after {:?}",
        held_since.elapsed()
    );
    // Longest duration of assert_held() in milliseconds.
    let longest: u64 = told
        .rsplit(' ')
        .next()
        .and_then(|text| text.parse().ok())
        .expect("milliseconds");
    assert!(longest < 500, "assert_held() blocked for {longest} ms");
}

/// Only the clock shows the loss to the holder. An acquisition lists the records twice. The next list belongs to the
/// thread that checks the held locks.
fn a_lease_ends_while_a_look_hangs(environment: &[(&str, &str)]) -> Result<(), String> {
    let said = said_while_it_hangs("3:HOLD:getdents:.key.lock.lease", &["lose", "900"], environment);
    ensure(
        said.is_some_and(|said| said.starts_with("lost")),
        "the holder was not notified",
    )
}

#[test]
fn detects_an_end_of_a_lease_that_waits_for_a_check() {
    assert_kills(a_lease_ends_while_a_look_hangs, "lock-no-alarm");
}

/// While a filesystem hangs, a lock on another one is checked.
#[test]
fn a_filesystem_that_hangs_stops_no_check_elsewhere() {
    let arena = Arena::new();
    let elsewhere = Arena::below(&std::env::temp_dir());
    let fifo = fifo(&arena);
    let log = arena.path().join("log").to_string_lossy().into_owned();
    let fault = format!("1:HOLD:getdents:{}/.key.lock.lease", arena.locks().display());
    let environment = [
        ("WARMSWAP_FAULT", &*fault),
        ("WARMSWAP_FAULT_FIFO", &*fifo),
        ("WARMSWAP_FAULT_LOG", &*log),
    ];
    // No renewal happens before the check.
    let mut holder = Process::start(
        &["beside", &arena.lock(), &elsewhere.lock(), "60000"],
        &environment,
    );
    assert_eq!(holder.line().as_deref(), Some("held"));
    eventually("the check that hangs", || std::fs::exists(&log).unwrap_or(false));
    std::fs::remove_file(elsewhere.locks().join(".key.lock.lease/1.json")).expect("deleted");
    assert_eq!(holder.line_within(SOON).as_deref(), Some("lost"));
}

/// locks/loss-is-noticed: another program removes the directory and immediately creates its own.
#[test]
fn a_directory_that_another_program_replaced_is_a_lost_lock() {
    for mode in MODES {
        let arena = Arena::new();
        let held = arena.acquire(mode, SOON).expect("the lock").handle;
        let (told, lost) = mpsc::channel();
        held.on_lost(Box::new(move |why| {
            let _nobody_left = told.send(why.to_owned());
        }));
        std::fs::remove_dir_all(arena.lock()).expect("removed");
        write_legacy_lock(&arena.lock(), std::process::id());
        let why = lost.recv_timeout(SOON);
        // Our own directory may have been created in between. Then the other program has failed to create its own.
        let owner = std::fs::read_to_string(Path::new(&arena.lock()).join("owner.json")).expect("an owner");
        assert!(
            why.is_ok() || owner.contains(held.token()),
            "{mode}: not notified"
        );
        if why.is_ok() {
            assert_eq!(held.release(None), locks::Release::Lost, "{mode}");
            assert!(
                Path::new(&arena.lock()).exists(),
                "{mode}: it belongs to another program"
            );
        }
    }
}

/// A caller that is notified of a loss releases immediately, while the thread that detected it still uses the lock's
/// files.
#[test]
fn a_release_after_a_loss_leaves_nothing() {
    for mode in MODES {
        let arena = Arena::new();
        let held = arena.acquire(mode, SOON).expect("the lock").handle;
        let (told, released) = mpsc::channel();
        let lost = Arc::clone(&held);
        held.on_lost(Box::new(move |_| {
            let _nobody_left = told.send(lost.release(None));
        }));
        take_by_another_program(&arena);
        assert_eq!(released.recv_timeout(SOON), Ok(locks::Release::Lost), "{mode}");
        eventually("its record is released", || {
            arena.locks().join(".key.lock.lease/1.free").exists()
        });
        if mode == "auto" {
            let guard = arena.locks().join(".key.lock.guard");
            eventually("the guard is free", || {
                let file = std::fs::File::open(&guard).expect("the guard");
                flock::try_exclusive(&file, &guard).expect("flock")
            });
        }
        assert!(
            Path::new(&arena.lock()).exists(),
            "{mode}: it belongs to another program"
        );
    }
}

/// Atomic, so that the holder cannot create its own directory in between.
fn take_by_another_program(arena: &Arena) {
    let other = arena.path().join("other.lock");
    write_legacy_lock(&other.to_string_lossy(), std::process::id());
    let flags = rustix::fs::RenameFlags::EXCHANGE;
    let here = rustix::fs::CWD;
    rustix::fs::renameat_with(here, other, here, arena.lock(), flags).expect("exchanged");
}
