//! A release affects nothing but the lock of its holder.

use std::os::unix::fs::MetadataExt as _;

use rustix::process::Signal;

use crate::arena::{Arena, assert_kills, ensure, holder, start};

/// locks/release-only-your-own: who was followed does not give back what is another's.
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
