//! A release affects nothing but the lock of its holder.

use std::os::unix::fs::MetadataExt as _;

use rustix::process::Signal;

use crate::arena::{Arena, Process, assert_kills, ensure, holder, start};

/// I7: who was followed does not give back what is another's.
fn late_release_touches_nothing(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    let mut stopped = start(
        &["once", &arena.lock(), "lease", "300"],
        environment,
        &[("HOLD_MS", "300")],
    );
    stopped.line().expect("held");
    stopped.signal(Signal::STOP);
    let successor = holder(&arena);
    let inode = || std::fs::metadata(arena.lock()).map(|stat| stat.ino()).ok();
    let its = inode();
    stopped.signal(Signal::CONT);
    stopped.line().expect("it has released what it had");
    let owner = std::fs::read_to_string(format!("{}/owner.json", arena.lock())).unwrap_or_default();
    successor
        .handle
        .assert_held()
        .map_err(|error| error.to_string())?;
    // A deleted directory is made again by its holder: only its number tells.
    ensure(
        its.is_some() && inode() == its && owner.contains(successor.handle.token()),
        "the successor's directory is gone",
    )
}

#[test]
fn i7_kills_release_without_token() {
    assert_kills(late_release_touches_nothing, "lock-release-without-token");
}

/// A child that is being started has copies of all descriptors until it executes its program.
fn a_released_lock_is_free_while_a_child_starts(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    let found = Process::start(&["forked", &arena.lock()], environment).line();
    ensure(found.as_deref() == Some("held"), &format!("{found:?}"))
}

#[test]
fn i7_kills_a_release_that_leaves_the_unlocking_to_the_close() {
    assert_kills(a_released_lock_is_free_while_a_child_starts, "unlock-by-close");
}
