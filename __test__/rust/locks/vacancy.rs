//! Waits that end when the lock is free.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use warmswap::core::locks::{self, LockHandle, LockPath, Request};
use warmswap::core::sys::cancel::Cancel;
use warmswap::core::sys::deadline::Deadline;

use crate::arena::{
    A_WHILE, Arena, MODES, NOBODY, Process, SOON, can_run_as_others, program, request, wait_for_vacancy,
};

#[test]
fn a_wait_for_vacancy_does_not_wait_for_itself() {
    for mode in MODES {
        let arena = Arena::new();
        std::fs::create_dir_all(arena.lock()).expect("an ownerless directory");
        let vacant = wait_for_vacancy(&arena, &request(mode));
        assert!(
            vacant.recv_timeout(A_WHILE).is_err(),
            "{mode}: it waits for the directory"
        );
        let found = locks::inspect(&LockPath::parse(&arena.lock()).expect("a path")).expect("a look");
        assert_eq!(
            found.holder.and_then(|holder| holder.pid),
            None,
            "{mode}: a waiter for vacancy is not a holder"
        );
        std::fs::remove_dir(arena.lock()).expect("released");
        assert_eq!(vacant.recv_timeout(SOON), Ok(Ok(false)), "{mode}");
        arena.acquire(mode, SOON).expect("the lock").handle.release(None);

        std::fs::create_dir(arena.lock()).expect("an ownerless directory");
        let quick = Request {
            foreign_stale: Duration::from_millis(300),
            ..request(mode)
        };
        assert_eq!(
            wait_for_vacancy(&arena, &quick).recv_timeout(SOON),
            Ok(Ok(true)),
            "{mode}: its window is over"
        );
        assert!(!Path::new(&arena.lock()).exists());
    }
}

/// A wait until the lock is free takes no longer than a wait that acquires it.
#[test]
fn a_wait_for_vacancy_ends_when_an_acquirer_would_succeed() {
    for mode in MODES {
        let arena = Arena::new();
        let mut silent = Process::start(&["hold", &arena.lock(), "lease", "600"], &[]);
        silent.line().expect("held");
        silent.signal(rustix::process::Signal::STOP);
        let vacant = wait_for_vacancy(&arena, &request(mode));
        assert_eq!(
            vacant.recv_timeout(SOON),
            Ok(Ok(true)),
            "{mode}: its lease was not renewed, but its process is alive"
        );
    }
}

/// A caller without write permission cannot create a guard and acquire the lock, but can wait for its end.
#[test]
fn a_reader_waits_for_a_live_holder() {
    if !can_run_as_others() {
        return;
    }
    let arena = Arena::new();
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(arena.path(), readable).expect("readable to all");
    let held = arena.acquire("lease", SOON).expect("the lock").handle;
    let mut reader = Command::new(program());
    reader.args(["vacant", &arena.lock(), "auto"]).env("TELL", "1");
    let mut reader = Process::spawn(reader.uid(NOBODY).gid(NOBODY));
    assert_eq!(reader.line().as_deref(), Some("waiting"));
    held.release(None);
    assert_eq!(reader.line_within(SOON).as_deref(), Some("vacant"));
}

/// Leaves a lock to children that do not exist. The process continues, like that of a worker thread that has ended.
fn leave_to_no_child(arena: &Arena) -> Arc<LockHandle> {
    let covering = Request {
        covers_children: true,
        ..request("auto")
    };
    let lock = LockPath::parse(&arena.lock()).expect("a path");
    let cancel = Cancel::new();
    let taken = locks::acquire(lock, covering, Deadline::after(SOON), cancel, None);
    let held = futures::executor::block_on(taken).expect("the lock").handle;
    held.child_fd().expect("a descriptor for a child");
    held.leave();
    held
}

#[test]
fn a_lock_is_free_when_its_children_have_ended() {
    for mode in MODES {
        let arena = Arena::new();
        let _left = leave_to_no_child(&arena);
        let vacant = wait_for_vacancy(&arena, &request(mode));
        assert_eq!(vacant.recv_timeout(SOON), Ok(Ok(true)), "{mode}");
        let _left = leave_to_no_child(&arena);
        let taken = arena.acquire(mode, SOON).expect("the lock");
        assert!(taken.handle.took_over_from().is_some(), "{mode}");
        taken.handle.release(None);
    }
}
