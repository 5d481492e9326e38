//! Tests of the core of state.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use warmswap::core::error::Code;
use warmswap::core::state::{Cell, Snapshot, Swap, cell};
use warmswap::core::sys::cancel::Cancel;
use warmswap::core::sys::deadline::Deadline;

fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("two threads")
}

/// Waits until this number of waits is pending on the cell: a state, not a time.
fn until_waiting(cell: &Cell, count: usize) {
    while cell.waiting() != count {
        thread::yield_now();
    }
}

#[test]
fn a_cell_is_the_same_for_the_same_key_and_keys_are_opaque() {
    assert!(std::ptr::eq(cell(b"same"), cell(b"same")));
    for (index, key) in [&b""[..], b"\0", b"a\0b", b"\xff\xfe", b"__proto__"]
        .into_iter()
        .enumerate()
    {
        let value = [u8::try_from(index).expect("few keys")];
        assert_eq!(cell(key).read(), Snapshot::default());
        cell(key).write(&value);
        assert_eq!(cell(key).read().bytes.as_deref(), Some(&value[..]));
    }
}

#[test]
fn versions_grow_by_one_and_the_word_shows_them() {
    let cell = cell(b"versions");
    assert_eq!(cell.version(), 0);
    assert_eq!(cell.write(b"one"), 1);
    assert_eq!(cell.compare_and_set(1, b"two"), Swap::Written(2));
    assert_eq!(cell.compare_and_set(1, b"late"), Swap::Refused(2));
    assert_eq!(cell.word().load(Ordering::Acquire), 2);
    assert_eq!(cell.read().bytes.as_deref(), Some(&b"two"[..]));
}

#[test]
fn eight_threads_with_compare_and_set_lose_no_increment() {
    let counter = cell(b"r9");
    counter.write(&0_u64.to_le_bytes());
    let together = Arc::new(Barrier::new(8));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let together = Arc::clone(&together);
            thread::spawn(move || {
                together.wait();
                (0..10_000).for_each(|_| increment(counter));
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("an incrementing thread");
    }
    assert_eq!(number(&counter.read()), 80_000);
    assert_eq!(counter.version(), 80_001);
}

fn increment(counter: &Cell) {
    loop {
        let snapshot = counter.read();
        let next = (number(&snapshot) + 1).to_le_bytes();
        if snapshot.version.is_multiple_of(32) {
            // The others run between the read and the write. Otherwise each would finish before the next one begins.
            thread::yield_now();
        }
        if let Swap::Written(_) = counter.compare_and_set(snapshot.version, &next) {
            return;
        }
    }
}

fn number(snapshot: &Snapshot) -> u64 {
    let bytes = snapshot.bytes.as_deref().expect("a value was written");
    u64::from_le_bytes(bytes.try_into().expect("eight bytes"))
}

#[test]
fn a_reader_that_sees_a_version_reads_that_value_or_a_later_one() {
    let cell = cell(b"order");
    let writer = thread::spawn(move || {
        for version in 1..=20_000_u64 {
            cell.write(&version.to_le_bytes());
        }
    });
    loop {
        let seen = cell.version();
        if seen == 0 {
            continue;
        }
        let snapshot = cell.read();
        assert_eq!(
            number(&snapshot),
            snapshot.version,
            "value and version are read atomically"
        );
        assert!(snapshot.version >= seen, "{} after {seen}", snapshot.version);
        if snapshot.version == 20_000 {
            break;
        }
    }
    writer.join().expect("the writer");
}

#[test]
fn a_write_wakes_every_waiter() {
    let cell = cell(b"wake");
    let runtime = runtime();
    let waits: Vec<_> = (0..50)
        .map(|_| runtime.spawn(async move { cell.changed(0, Deadline::NEVER, &Cancel::new()).await }))
        .collect();
    until_waiting(cell, 50);
    cell.write(b"value");
    for wait in waits {
        let version = runtime.block_on(wait).expect("no panic").expect("a change");
        assert_eq!(version, 1);
    }
    until_waiting(cell, 0);
}

#[test]
fn a_wait_for_an_earlier_change_resolves_immediately() {
    let cell = cell(b"past");
    cell.write(b"value");
    let changed = runtime().block_on(cell.changed(0, Deadline::NEVER, &Cancel::new()));
    assert_eq!(changed.expect("the change"), 1);
}

#[test]
fn a_wait_ends_at_its_deadline_or_when_cancelled_and_leaves_nothing() {
    let cell = cell(b"ends");
    let runtime = runtime();
    let late = runtime.block_on(cell.changed(0, Deadline::after(Duration::from_millis(5)), &Cancel::new()));
    assert_eq!(late.expect_err("no write happened").code, Code::Timeout);

    let cancel = Arc::new(Cancel::new());
    let token = Arc::clone(&cancel);
    let wait = runtime.spawn(async move { cell.changed(0, Deadline::NEVER, &token).await });
    until_waiting(cell, 1);
    cancel.cancel();
    let stopped = runtime.block_on(wait).expect("no panic");
    assert_eq!(stopped.expect_err("it was cancelled").code, Code::Aborted);
    until_waiting(cell, 0);
}
