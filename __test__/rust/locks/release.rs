//! A release affects only the lock of its holder.

use std::os::unix::fs::MetadataExt as _;

use rustix::process::Signal;

use crate::arena::{Arena, Process, assert_kills, ensure, holder, start};

/// locks/release-only-your-own: a holder whose lock was taken over does not release the lock of its successor.
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
    stopped.line().expect("it has released its lock");
    let owner = std::fs::read_to_string(format!("{}/owner.json", arena.lock())).unwrap_or_default();
    successor
        .handle
        .assert_held()
        .map_err(|error| error.to_string())?;
    // A holder creates a deleted directory again, so only its inode number shows the deletion.
    ensure(
        its.is_some() && inode() == its && owner.contains(successor.handle.token()),
        "the successor's directory no longer exists",
    )
}

#[test]
fn detects_release_without_token() {
    assert_kills(late_release_touches_nothing, "lock-release-without-token");
}

/// A child that is being started has copies of all descriptors until it executes its program.
fn a_released_lock_is_free_while_a_child_starts(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    let found = Process::start(&["forked", &arena.lock()], environment).line();
    ensure(found.as_deref() == Some("held"), &format!("{found:?}"))
}

#[test]
fn kills_a_release_that_leaves_the_unlocking_to_the_close() {
    assert_kills(a_released_lock_is_free_while_a_child_starts, "unlock-by-close");
}
