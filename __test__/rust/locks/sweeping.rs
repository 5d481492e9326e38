//! A sweep removes only what dead processes have left, and the files of locks that are not used.

// guarantee: locks/no-litter

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use warmswap::core::locks::{self, LockPath};

use crate::arena::{
    A_WHILE, Arena, MODES, Process, SOON, assert_kills, ensure, eventually, holder, is_stopped, start,
    wait_for_vacancy, write_legacy_lock,
};

const DAY: Duration = Duration::from_hours(24);

/// The names in the directory of the locks.
fn names(arena: &Arena) -> BTreeSet<String> {
    let entries = std::fs::read_dir(arena.locks()).expect("the locks");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name();
    entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect()
}

/// Sets the age of the lock's kept files to two days.
fn back_date(arena: &Arena) {
    let two_days_ago = std::time::SystemTime::now() - 2 * DAY;
    for kept in ["guard", "lease", "spare"] {
        let file = std::fs::File::open(arena.locks().join(format!(".key.lock.{kept}"))).expect("a file");
        file.set_modified(two_days_ago).expect("back-dated");
    }
}

/// Acquires and releases the lock. Returns its generation.
fn used(arena: &Arena, mode: &str) -> u64 {
    let taken = arena.acquire(mode, SOON).expect("the lock");
    let generation = taken.handle.generation();
    taken.handle.release(None);
    generation
}

#[test]
fn a_sweep_keeps_files_of_live_processes_and_skips_odd_entries() {
    let arena = Arena::new();
    let held = arena.acquire("auto", SOON).expect("the lock");
    let owner = std::fs::read(Path::new(&arena.lock()).join("owner.json")).expect("its owner");
    let prepared = |token: &str| arena.locks().join(format!(".other.{token}.tmp"));
    let [living, nobodys] = [
        "ba4c63ce-d572-4434-843e-e874296731e2",
        "00000000-d572-4434-843e-e874296731e2",
    ]
    .map(prepared);
    for directory in [&living, &nobodys] {
        std::fs::create_dir(directory).expect("mkdir");
    }
    std::fs::write(living.join("owner.json"), owner).expect("its owner");
    let two_minutes_ago = std::time::SystemTime::now() - Duration::from_mins(2);
    for directory in [&living, &nobodys] {
        let file = std::fs::File::open(directory).expect("a directory");
        file.set_modified(two_minutes_ago).expect("back-dated");
    }
    // The guard of a lock whose path is a file.
    std::fs::write(arena.locks().join(".a file.guard"), "").expect("a guard");
    std::fs::write(arena.locks().join("a file"), "").expect("a file");
    let swept = locks::sweep(&arena.locks(), None).expect("swept");
    assert_eq!(swept.removed, std::slice::from_ref(&nobodys));
    assert!(living.exists() && !nobodys.exists());
    held.handle.assert_held().expect("held");
    held.handle.release(None);
}

#[test]
fn the_files_of_a_lock_unused_for_a_day_are_removed() {
    let arena = Arena::new();
    let generation = used(&arena, "auto");
    let sweep = || locks::sweep(&arena.locks(), Some(DAY)).expect("swept");
    assert_eq!(sweep(), locks::Swept::default(), "it was used just now");
    back_date(&arena);
    // One young file is enough.
    let guard = std::fs::File::open(arena.locks().join(".key.lock.guard")).expect("the guard");
    guard.set_modified(std::time::SystemTime::now()).expect("touched");
    assert_eq!(sweep(), locks::Swept::default(), "its guard is young");
    back_date(&arena);
    assert_eq!(
        locks::sweep(&arena.locks(), None).expect("swept").removed,
        Vec::<PathBuf>::new()
    );
    let kept = ["lease", "spare", "guard"].map(|kept| arena.locks().join(format!(".key.lock.{kept}")));
    assert_eq!(sweep().removed, kept);
    assert_eq!(names(&arena), BTreeSet::new());
    assert!(used(&arena, "auto") > generation, "the fencing token grows");
}

type Plant<'a> = &'a dyn Fn(&Path);

/// In each state, no file of the lock may be removed, however old.
#[test]
fn the_files_of_a_used_or_foreign_lock_are_kept() {
    let keeps = |what: &str, arena: &Arena| {
        let before = names(arena);
        let swept = locks::sweep(&arena.locks(), Some(Duration::ZERO)).expect("swept");
        assert_eq!((names(arena), swept.removed), (before, Vec::new()), "{what}");
    };
    for mode in MODES {
        let arena = Arena::new();
        let held = arena.acquire(mode, SOON).expect("the lock");
        keeps(&format!("held, {mode}"), &arena);
        held.handle.assert_held().expect("held");
    }
    let kept = |kept: &str| format!(".key.lock.{kept}");
    let strangers: [(&str, Plant<'_>); 6] = [
        ("a mkdir lock", &|root| {
            write_legacy_lock(&root.join("key.lock").to_string_lossy(), 1);
        }),
        ("a file at the path", &|root| {
            std::fs::write(root.join("key.lock"), "").expect("a file");
        }),
        ("a guard with bytes", &|root| {
            std::fs::write(root.join(kept("guard")), "mine").expect("a file");
        }),
        ("a foreign file among the records", &|root| {
            std::fs::write(root.join(kept("lease")).join("notes"), "mine").expect("a file");
        }),
        ("an invalid record", &|root| {
            std::fs::write(root.join(kept("lease")).join("1.free"), "mine").expect("a file");
        }),
        ("a foreign file in the spare", &|root| {
            std::fs::write(root.join(kept("spare")).join("notes"), "mine").expect("a file");
        }),
    ];
    for (what, plant) in strangers {
        let arena = Arena::new();
        used(&arena, "auto");
        plant(&arena.locks());
        keeps(what, &arena);
    }
    let arena = Arena::new();
    std::fs::create_dir_all(arena.locks()).expect("mkdir");
    std::fs::write(arena.locks().join(kept("guard")), "").expect("an empty file");
    keeps("a guard without records", &arena);
}

/// A waiter has the guard open without locking it: another program's lock blocks it.
#[test]
fn a_waiter_with_an_open_guard_acquires_the_lock_after_a_sweep() {
    let arena = Arena::new();
    used(&arena, "auto");
    write_legacy_lock(&arena.lock(), 1);
    let mut waiter = start(&["once", &arena.lock(), "auto"], &[("TELL", "1")], &[]);
    assert_eq!(waiter.line().as_deref(), Some("waiting"));
    let vacancy = wait_for_vacancy(&arena, &crate::arena::request("auto"));
    assert_eq!(
        locks::sweep(&arena.locks(), Some(Duration::ZERO))
            .expect("swept")
            .removed,
        Vec::<PathBuf>::new()
    );
    std::fs::remove_dir_all(arena.lock()).expect("released");
    assert!(waiter.line().expect("held").starts_with("held"));
    assert_eq!(waiter.line().as_deref(), Some("released"));
    vacancy.recv_timeout(SOON).expect("a result").expect("vacant");
}

/// A directory of records that was moved away belongs to a killed sweep.
#[test]
fn records_that_a_killed_sweep_moved_are_removed() {
    let arena = Arena::new();
    used(&arena, "auto");
    let tomb = arena
        .locks()
        .join(".key.lock.ba4c63ce-d572-4434-843e-e874296731e2.tomb");
    std::fs::rename(arena.locks().join(".key.lock.lease"), &tomb).expect("moved");
    let sweep = || locks::sweep(&arena.locks(), None).expect("swept").removed;
    let modified = |ago: Duration| {
        let file = std::fs::File::open(&tomb).expect("the records");
        file.set_modified(std::time::SystemTime::now() - ago)
            .expect("back-dated");
    };
    assert_eq!(sweep(), Vec::<PathBuf>::new(), "a sweep may be using it");
    std::fs::write(tomb.join("notes"), "mine").expect("a stranger's file");
    modified(2 * DAY);
    assert_eq!(sweep(), Vec::<PathBuf>::new(), "it contains a foreign file");
    std::fs::remove_file(tomb.join("notes")).expect("removed");
    modified(2 * DAY);
    assert_eq!(sweep(), std::slice::from_ref(&tomb));
    used(&arena, "auto");
}

/// locks/mutual-exclusion: while a sweep works on the files no caller acquires the lock, and afterwards the next one
/// does.
fn nobody_gets_in_during_a_sweep(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    used(&arena, "auto");
    let stop = [("WARMSWAP_FAULT", "1:STOP:rename:.tomb")];
    let mut sweeper = start(
        &["sweep", &arena.locks().to_string_lossy(), "0"],
        environment,
        &stop,
    );
    eventually("the stop at the records", || is_stopped(sweeper.pid()));
    let mut next = Process::start(&["hold", &arena.lock(), "auto"], &[]);
    let is_in = next.line_within(A_WHILE).is_some();
    sweeper.signal(Signal::CONT);
    sweeper.line().expect("swept");
    ensure(
        !is_in,
        "a caller holds the lock while its files are being removed",
    )?;
    let line = next.line().expect("held");
    ensure(line.starts_with("held"), &line)?;
    let lock = LockPath::parse(&arena.lock()).expect("a path");
    let found = locks::inspect(&lock).expect("inspected");
    ensure(found.is_held, "the lock is not reported as held")
}

#[test]
fn detects_a_sweep_that_does_not_hold_the_lock() {
    assert_kills(nobody_gets_in_during_a_sweep, "lock-sweep-unheld");
}

/// locks/mutual-exclusion: a caller that was stopped between its check and its link during a whole sweep does not
/// acquire the lock in addition to the next holder.
fn slow_taker_stays_out(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    used(&arena, "lease");
    let stop = [("WARMSWAP_FAULT", "1:STOP:linkat")];
    let mut slow = start(&["once", &arena.lock(), "lease"], &stop, &[]);
    eventually("the stop at its link", || is_stopped(slow.pid()));
    start(
        &["sweep", &arena.locks().to_string_lossy(), "0"],
        environment,
        &[],
    )
    .reap();
    let current = holder(&arena);
    slow.signal(Signal::CONT);
    let is_in = slow.line_within(A_WHILE).is_some();
    ensure(!is_in, "two holders")?;
    ensure(
        current.handle.assert_held().is_ok(),
        "the lock of the holder was stolen",
    )?;
    current.handle.release(None);
    let line = slow.line().expect("held");
    ensure(line.starts_with("held"), &line)
}

#[test]
fn detects_a_sweep_that_removes_records_one_by_one() {
    assert_kills(slow_taker_stays_out, "lock-sweep-in-place");
}
