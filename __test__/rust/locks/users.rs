//! One directory with several users: files that the first user creates must work for the others, whatever its umask
//! (locks/users-share-directories).

use crate::hostile::{STRANGE, plant};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};
use warmswap::core::locks;

use crate::arena::{
    Arena, MODES, NOBODY, Process, SOON, assert_kills, can_run_as_others, ensure, eventually, is_root,
    program,
};

/// A user without an entry in the user database.
const STRANGER: u32 = 12345;

/// Starts a child with a restrictive umask.
fn start_as(user: u32, arguments: &[&str]) -> Process {
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$0\" \"$@\"", program()]);
    Process::spawn(command.args(arguments).uid(user).gid(user))
}

#[test]
fn users_alternate_whatever_their_umask() {
    if !can_run_as_others() {
        return;
    }
    for mode in MODES {
        let arena = Arena::new();
        std::fs::create_dir(arena.locks()).expect("the directory of the locks");
        for directory in [arena.path(), &arena.locks()] {
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777)).expect("open to all");
        }
        for (round, user) in [0, NOBODY, 0, NOBODY, NOBODY, 0].into_iter().enumerate() {
            let when = format!("{mode}, round {round}, user {user}");
            let mut once = start_as(user, &["once", &arena.lock(), mode]);
            assert!(
                once.line_within(SOON).is_some(),
                "{when}: not acquired after a release"
            );
            assert_eq!(once.line().as_deref(), Some("released"), "{when}");
            let mut killed = start_as(user, &["hold", &arena.lock(), mode, "600"]);
            assert!(
                killed.line_within(SOON).is_some(),
                "{when}: not acquired a second time"
            );
            killed.kill();
            killed.reap();
        }
        let names = std::fs::read_dir(arena.locks()).expect("the locks");
        let names: Vec<_> = names.map(|entry| entry.expect("an entry").file_name()).collect();
        assert!(names.len() <= 6, "{mode}: leftovers: {names:?}");
    }
}

/// A directory like `/tmp`.
fn sticky() -> Arena {
    let arena = Arena::new();
    std::fs::create_dir(arena.locks()).expect("the directory of the locks");
    for (directory, mode) in [(arena.path(), 0o755), (&*arena.locks(), 0o1777)] {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode)).expect("open to all");
    }
    arena
}

fn own_by_stranger(path: &Path) {
    std::os::unix::fs::lchown(path, Some(STRANGER), Some(STRANGER)).expect("chown");
}

/// Locks between users are supported: each user, root included, takes over from another's dead holder, and removes
/// nothing of it.
#[test]
fn users_and_root_take_over_from_each_other_in_a_sticky_directory() {
    if !can_run_as_others() {
        return;
    }
    for mode in MODES {
        let arena = sticky();
        for user in [STRANGER, 0, NOBODY, 0, STRANGER] {
            let when = format!("{mode}, user {user}");
            let mut once = start_as(user, &["once", &arena.lock(), mode]);
            assert!(once.line_within(SOON).is_some(), "{when}: not taken over");
            assert_eq!(once.line().as_deref(), Some("released"), "{when}");
            let mut killed = start_as(user, &["hold", &arena.lock(), mode, "600"]);
            assert!(killed.line_within(SOON).is_some(), "{when}: not acquired again");
            let mut waiter = start_as(NOBODY, &["once", &arena.lock(), mode, "600"]);
            assert!(
                waiter.line_within(Duration::from_millis(150)).is_none(),
                "{when}: the lock of a live holder was stolen"
            );
            killed.kill();
            killed.reap();
            assert!(waiter.line_within(SOON).is_some(), "{when}: the waiter");
            assert_eq!(waiter.line().as_deref(), Some("released"), "{when}");
        }
    }
}

/// Entries that an untrusted user has put next to a lock are neither used, removed nor moved, and stop no caller.
#[test]
fn entries_of_an_untrusted_user_are_not_changed() {
    const TOKEN: &str = "ba4c63ce-d572-4434-843e-e874296731e2";
    if !is_root() {
        eprintln!("SKIPPED: only root can make files of other users");
        return;
    }
    for mode in MODES {
        let arena = sticky();
        let locks = arena.locks();
        let spare = locks.join(".key.lock.spare");
        let litter = [
            locks.join(format!(".key.lock.{TOKEN}.tmp")),
            locks.join(format!(".key.lock.{TOKEN}.tomb")),
        ];
        let file = locks.join(format!(".key.lock.{TOKEN}.next.tmp"));
        let observed = locks.join(".key.lock.observed");
        for directory in litter.iter().chain([&spare]) {
            std::fs::create_dir(directory).expect("mkdir");
        }
        std::fs::write(spare.join("owner.json"), "{}").expect("a file");
        std::fs::write(&file, "").expect("a file");
        std::fs::write(&observed, "[]").expect("a file");
        let all: Vec<_> = litter.iter().chain([&spare, &file, &observed]).collect();
        let two_minutes_ago = SystemTime::now() - Duration::from_mins(2);
        for path in &all {
            own_by_stranger(path);
            let opened = std::fs::File::open(path).expect("an entry");
            opened.set_modified(two_minutes_ago).expect("back-dated");
        }
        let inodes = || -> Vec<_> {
            let inode =
                |path: &&std::path::PathBuf| std::fs::symlink_metadata(path).ok().map(|stat| stat.ino());
            all.iter().map(inode).collect()
        };
        let before = inodes();
        // Observations are made for an ownerless directory.
        std::fs::create_dir(&*arena.lock()).expect("mkdir");
        for _ in 0..2 {
            crate::folders::take(&arena, mode, SOON).expect("acquired despite them");
        }
        locks::sweep(&locks, Some(Duration::ZERO)).expect("swept");
        assert_eq!(inodes(), before, "{mode}");
        assert!(spare.join("owner.json").exists(), "{mode}");
        assert_eq!(std::fs::read(&observed).expect("a file"), b"[]", "{mode}");
        assert!(!Path::new(&*arena.lock()).exists(), "{mode}: released");
    }
}

/// If an untrusted user's entry has a required name, the error names its owner.
#[test]
fn an_untrusted_entry_with_a_required_name_is_reported() {
    if !is_root() {
        eprintln!("SKIPPED: only root can make files of other users");
        return;
    }
    let refused = |arena: &Arena, mode: &str, name: &str, when: &str| {
        let error = crate::folders::take(arena, mode, Duration::from_secs(2)).expect_err(when);
        assert!(
            error.starts_with("ERR_UNTRUSTED") && error.contains("uid 12345") && error.contains(name),
            "{when}: {error}"
        );
    };
    for mode in MODES {
        for name in [".key.lock.lease", "key.lock", ".key.lock.guard"] {
            for kind in STRANGE {
                let when = format!("{mode}: {name} is a stranger's {kind}");
                if mode == "lease" && name.ends_with("guard") {
                    continue;
                }
                let arena = sticky();
                let path = arena.locks().join(name);
                assert!(plant(kind, &path, arena.path()), "{when}");
                own_by_stranger(&path);
                refused(&arena, mode, name, &when);
                let stat = path.symlink_metadata().expect("unchanged");
                assert_eq!(stat.uid(), STRANGER, "{when}");
            }
        }
        // A dead mkdir lock of an untrusted user is respected, and not removed.
        let arena = sticky();
        crate::arena::write_legacy_lock(&arena.lock(), 4_194_303);
        own_by_stranger(Path::new(&*arena.lock()));
        refused(&arena, mode, "key.lock", mode);
        assert!(Path::new(&*arena.lock()).join("owner.json").exists(), "{mode}");
    }
}

/// locks/strangers-are-contained: an untrusted user owns the directory of the records, and replaces it with a link
/// while root holds the lock.
fn records_are_not_followed(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = sticky();
    let records = arena.locks().join(".key.lock.lease");
    std::fs::create_dir(&records).expect("mkdir");
    std::fs::set_permissions(&records, std::fs::Permissions::from_mode(0o777)).expect("open to all");
    chown(&records, Some(STRANGER), Some(STRANGER)).expect("owned by the untrusted user");
    let outside = arena.path().join("outside");
    std::fs::create_dir(&outside).expect("mkdir");
    std::fs::write(outside.join("1.json"), "precious").expect("a file");
    let mut holder = Process::start(&["lose", &arena.lock(), "lease", "600"], environment);
    holder.line().expect("held");
    std::fs::rename(&records, arena.locks().join("away")).expect("moved away");
    symlink(&outside, &records).expect("a link");
    // A lock whose records no longer exist is lost.
    let told = holder.line_within(Duration::from_secs(2));
    let file = std::fs::read_to_string(outside.join("1.json")).unwrap_or_default();
    ensure(file == "precious", "a file was overwritten through the link")?;
    ensure(
        told.is_some_and(|told| told.starts_with("lost")),
        "the holder was not notified",
    )
}

#[test]
fn detects_renaming_records_by_their_path() {
    if !is_root() {
        eprintln!("SKIPPED: only root can make files of other users");
        return;
    }
    assert_kills(records_are_not_followed, "lock-records-by-path");
}

/// A release uses the same descriptor.
#[test]
fn a_release_does_not_follow_a_replaced_directory_of_records() {
    for mode in MODES {
        let arena = Arena::new();
        let held = arena.acquire(mode, SOON).expect("the lock").handle;
        let outside = arena.path().join("outside");
        std::fs::create_dir(&outside).expect("mkdir");
        std::fs::write(outside.join("1.json"), "precious").expect("a file");
        let records = arena.locks().join(".key.lock.lease");
        std::fs::rename(&records, arena.locks().join("away")).expect("moved away");
        symlink(&outside, &records).expect("a link");
        eventually("the loss", || held.assert_held().is_err());
        assert_eq!(held.release(None), locks::Release::Lost, "{mode}");
        assert_eq!(
            std::fs::read(outside.join("1.json")).expect("there"),
            b"precious",
            "{mode}"
        );
        assert!(!outside.join("1.free").exists(), "{mode}");
    }
}

/// umask 002 and setgid: a directory of a group is not a directory of untrusted users.
#[test]
fn a_group_shares_a_setgid_directory() {
    if !can_run_as_others() {
        return;
    }
    for mode in MODES {
        let arena = sticky();
        chown(arena.locks(), Some(1), Some(777)).expect("a group's");
        let setgid = std::fs::Permissions::from_mode(0o2775);
        std::fs::set_permissions(arena.locks(), setgid).expect("setgid");
        for user in [STRANGER, NOBODY, 0, STRANGER] {
            let mut command = Command::new("setpriv");
            let user = user.to_string();
            command.args(["--reuid", &user, "--regid", &user, "--groups", "777"]);
            command.args(["sh", "-c", "umask 002; exec \"$0\" \"$@\"", program()]);
            command.args(["hold", &arena.lock(), mode, "600"]);
            let mut killed = Process::spawn(&mut command);
            assert!(killed.line_within(SOON).is_some(), "{mode}, user {user}");
            assert!(Path::new(&*arena.lock()).join("owner.json").exists(), "{mode}");
            killed.kill();
            killed.reap();
        }
    }
}

/// In a sticky directory no user removes what another user's dead holder has left.
#[test]
fn users_take_over_from_each_other_in_a_sticky_directory() {
    if !can_run_as_others() {
        return;
    }
    for mode in MODES {
        let arena = Arena::new();
        std::fs::create_dir(arena.locks()).expect("the directory of the locks");
        for (directory, bits) in [(arena.path().to_path_buf(), 0o777), (arena.locks(), 0o1777)] {
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(bits);
            std::fs::set_permissions(directory, permissions).expect("open to all");
        }
        let start = |user: u32, verb: &str| {
            let mut command = Command::new("sh");
            command.args([
                "-c",
                "umask 077; exec \"$0\" \"$@\"",
                program(),
                verb,
                &arena.lock(),
                mode,
                "600",
            ]);
            Process::spawn(command.uid(user).gid(user))
        };
        for user in [1, NOBODY, 1] {
            let mut once = start(user, "once");
            assert!(
                once.line_within(SOON).is_some(),
                "{mode}, user {user}: not taken over"
            );
            assert_eq!(once.line().as_deref(), Some("released"));
            let mut killed = start(user, "hold");
            assert!(
                killed.line_within(SOON).is_some(),
                "{mode}, user {user}: not acquired again"
            );
            killed.kill();
            killed.reap();
        }
    }
}
