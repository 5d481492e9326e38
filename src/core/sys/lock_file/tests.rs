// Windows has no fork.
#[cfg(unix)]
#[path = "../../../../__test__/programs/forked.rs"]
mod forked;

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;
use crate::core::error::Code;
use crate::core::error::Result;
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::dir::Directory;
use crate::core::sys::fs;

const CHECKS: [Check; 2] = [Check::Path, Check::Links];

fn locked(attempt: Result<Attempt>) -> LockedFile {
    match attempt.expect("no error") {
        Attempt::Locked(locked) => locked,
        other => panic!("{other:?} instead of the lock"),
    }
}

fn is_gone(attempt: Result<Attempt>) -> bool {
    matches!(attempt.expect("no error"), Attempt::Gone)
}

fn is_busy(attempt: Result<Attempt>) -> bool {
    matches!(attempt.expect("no error"), Attempt::Busy(_))
}

#[test]
fn a_lock_excludes_others_until_it_is_dropped() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let path = root.path().join("lock");
    let exclusive = LockOptions::at(&path).or_create(0o644);
    let shared = LockOptions::at(&path).shared();
    assert!(is_gone(shared.try_lock()));
    let held = locked(exclusive.try_lock());
    assert!(held.has_lock() && held.is_writable());
    assert!(is_busy(exclusive.try_lock()) && is_busy(shared.try_lock()));
    drop(held);
    let readers = [locked(shared.try_lock()), locked(shared.try_lock())];
    assert!(is_busy(exclusive.try_lock()));
    drop(readers);
    let open = locked(exclusive.try_lock()).unlock(&path).expect("unlocked");
    let directory = Directory::open(root.path()).expect("open");
    let inside = LockOptions::inside(&directory, "lock".as_ref(), &path);
    let held = locked(inside.try_lock());
    assert!(is_busy(exclusive.attempt(open)));
    drop(held);
}

#[test]
fn a_file_that_was_removed_or_replaced_after_it_was_opened_excludes_nobody() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let (path, next) = (root.path().join("lock"), root.path().join("next"));
    for check in CHECKS {
        let options = LockOptions::at(&path).check(check);
        fs::write_new(&path, b"", 0o644).expect("write");
        let removed = options.open().expect("open").expect("there");
        fs::remove_file(&path).expect("remove");
        assert!(is_gone(options.attempt(removed)), "{check:?}");

        fs::write_new(&path, b"", 0o644).expect("write");
        let replaced = options.open().expect("open").expect("there");
        fs::replace(&path, &next, b"new", 0o644).expect("replace");
        assert!(is_gone(options.attempt(replaced)), "{check:?}");
        let held = locked(options.try_lock());
        assert_eq!(held.stat(&path).expect("stat").size, 3, "{check:?}");
        fs::remove_file(&path).expect("remove");
    }
    // A file that was moved away keeps its link count, so only the path check detects it.
    fs::write_new(&path, b"", 0o644).expect("write");
    let moved = LockOptions::at(&path).open().expect("open").expect("there");
    fs::rename(&path, &next).expect("rename");
    assert!(is_gone(LockOptions::at(&path).attempt(moved)));
}

#[test]
fn only_regular_files_are_locked_and_errors_name_the_kind() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let (link, directory) = (root.path().join("link"), root.path().join("directory"));
    fs::write_new(&root.path().join("target"), b"", 0o644).expect("write");
    fs::symlink(Path::new("target"), &link).expect("symlink");
    fs::create_directory(&directory, 0o755).expect("mkdir");
    for (path, found) in [(&link, "a symbolic link"), (&directory, "a directory")] {
        for options in [
            LockOptions::at(path),
            LockOptions::at(path).or_create(0o644),
            LockOptions::at(path).shared().check(Check::Links),
        ] {
            let error = options.try_lock().expect_err(found);
            assert!(error.message.contains(found), "{}", error.message);
        }
    }
}

#[test]
fn a_waiter_follows_a_replaced_file_and_can_be_cancelled() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let (path, next) = (root.path().join("lock"), root.path().join("next"));
    let options = LockOptions::at(&path).or_create(0o644);
    let cancel = Cancel::new();
    let wait = |deadline| Wait {
        deadline,
        cancel: &cancel,
        pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(5),
    };
    let held = locked(options.try_lock());
    assert!(is_busy(
        options.lock(wait(Deadline::after(Duration::from_millis(20))))
    ));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| locked(options.lock(wait(Deadline::NEVER))));
        fs::replace(&path, &next, b"", 0o644).expect("replace");
        drop(waiter.join().expect("the lock of the new file"));
    });
    drop(held);
    let held = locked(options.try_lock());
    cancel.cancel();
    let other = options.open().expect("open").expect("a file");
    let ended = options.lock_open(other, wait(Deadline::NEVER));
    assert_eq!(ended.expect_err("cancelled").code, Code::Aborted);
    drop(held);
}

#[test]
fn a_directory_is_locked_until_its_lock_is_dropped() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let open = || Directory::open(root.path()).expect("open");
    let attempt = || open().try_lock(root.path()).expect("no error");
    let held = attempt().expect("free");
    assert!(attempt().is_none(), "another handle holds it");
    drop(held);
    assert!(attempt().is_some());
}

/// The child has a copy of each descriptor until it executes its program.
#[cfg(unix)]
#[test]
fn a_child_between_fork_and_exec_keeps_no_lock_that_was_dropped() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let paths = ["dropped", "unlocked", "shared", "removed"].map(|name| root.path().join(name));
    let exclusive = paths
        .each_ref()
        .map(|path| LockOptions::at(path).or_create(0o644));
    let directory = || Directory::open(root.path()).expect("open").try_lock(root.path());
    let dropped = locked(exclusive[0].try_lock());
    let unlocked = locked(exclusive[1].try_lock());
    drop(locked(exclusive[2].try_lock()));
    let shared = locked(exclusive[2].shared().try_lock());
    let late = exclusive[3].open().expect("open").expect("a file");
    let in_directory = directory().expect("no error").expect("free");
    fs::rename(&paths[3], &root.path().join("moved")).expect("moved");

    let child = forked::Forked::start();
    drop((dropped, shared, in_directory));
    let still_open = unlocked.unlock(&paths[1]).expect("unlocked");
    assert!(is_gone(exclusive[3].attempt(late)));
    for options in &exclusive[..3] {
        drop(locked(options.try_lock()));
    }
    assert!(directory().expect("no error").is_some());
    fs::rename(&root.path().join("moved"), &paths[3]).expect("moved back");
    drop(locked(exclusive[3].try_lock()));
    drop((still_open, child));
}

/// Runs itself a second time as the other process.
#[test]
fn two_processes_exclude_each_other_and_a_killed_one_frees_the_lock() {
    const PATH: &str = "WARMSWAP_TEST_LOCK_FILE";
    if let Some(path) = std::env::var_os(PATH) {
        let held = locked(LockOptions::at(Path::new(&path)).try_lock());
        std::io::stdout().write_all(b"locked\n").expect("written");
        std::io::stdin().read_to_end(&mut Vec::new()).expect("killed");
        drop(held);
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let path = root.path().join("lock");
    fs::write_new(&path, b"", 0o644).expect("write");
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "--nocapture"])
        .arg("core::sys::lock_file::tests::two_processes_exclude_each_other_and_a_killed_one_frees_the_lock")
        .env(PATH, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut said = Vec::new();
    let output = child.stdout.as_mut().expect("piped");
    while !said.ends_with(b"locked\n") {
        let mut byte = [0];
        output
            .read_exact(&mut byte)
            .expect("it reports that it holds the lock");
        said.extend(byte);
    }
    let options = LockOptions::at(&path);
    assert!(is_busy(options.try_lock()));
    child.kill().expect("killed");
    child.wait().expect("reaped");
    drop(locked(options.try_lock()));
}
