//! Hostile entries at the paths of a lock's files.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use warmswap::core::locks::{self, LockPath};
use warmswap::core::sys::cancel::Cancel;
use warmswap::core::sys::deadline::Deadline;

use crate::arena::{Arena, MODES, SOON, request};

const MOMENT: Duration = Duration::from_millis(100);

fn code(arena: &Arena, mode: &str, within: Duration) -> Option<&'static str> {
    match arena.acquire(mode, within) {
        Ok(acquired) => {
            acquired.handle.release(None);
            None
        }
        Err(error) => Some(error.code.as_str()),
    }
}

#[test]
fn an_owner_of_a_gibibyte_is_not_read() {
    for mode in MODES {
        let arena = Arena::new();
        std::fs::create_dir_all(arena.lock()).expect("mkdir");
        let owner = File::create(Path::new(&arena.lock()).join("owner.json")).expect("an owner");
        owner.set_len(1 << 30).expect("a gibibyte");
        let begun = Instant::now();
        assert_eq!(
            code(&arena, mode, MOMENT),
            Some("ERR_LOCK_TIMEOUT"),
            "{mode}: its owner is unknown"
        );
        assert!(begun.elapsed() < SOON, "{mode}: it took {:?}", begun.elapsed());
        assert_eq!(owner.metadata().expect("stat").len(), 1 << 30, "untouched");
    }
}

#[test]
fn a_record_of_a_gibibyte_is_not_read() {
    for mode in MODES {
        let arena = Arena::new();
        let records = arena.locks().join(".key.lock.lease");
        std::fs::create_dir_all(&records).expect("mkdir");
        let record = File::create(records.join("7.json")).expect("a record");
        record.set_len(1 << 30).expect("a gibibyte");
        assert_eq!(
            code(&arena, mode, MOMENT),
            Some("ERR_LOCK_TIMEOUT"),
            "{mode}: its owner is unknown"
        );
        std::fs::rename(records.join("7.json"), records.join("7.free")).expect("released");
        assert_eq!(
            code(&arena, mode, SOON),
            None,
            "{mode}: its content no longer matters"
        );
    }
}

#[test]
fn links_are_not_followed() {
    for mode in MODES {
        let arena = Arena::new();
        let outside = arena.path().join("outside");
        std::fs::create_dir(&outside).expect("mkdir");
        // An owner that would be provably dead if the link were followed.
        let owner = outside.join("owner.json");
        std::fs::write(
            &owner,
            "{\"createdAt\":\"2020-01-01T00:00:00.000Z\",\"pid\":4194304}",
        )
        .expect("an owner");
        std::fs::create_dir_all(arena.lock()).expect("mkdir");
        let inside = Path::new(&arena.lock()).join("owner.json");
        symlink(&owner, &inside).expect("a link");
        assert_eq!(
            code(&arena, mode, MOMENT),
            Some("ERR_INVALID_ARGUMENT"),
            "{mode}: a linked owner file proves nothing"
        );
        std::fs::remove_dir_all(arena.lock()).expect("removed");

        symlink(&outside, arena.lock()).expect("a link");
        assert_eq!(
            code(&arena, mode, MOMENT),
            Some("ERR_INVALID_ARGUMENT"),
            "{mode}: a lock directory that is a link"
        );
        std::fs::remove_file(arena.lock()).expect("removed");

        let spare = arena.locks().join(".key.lock.spare");
        drop(std::fs::remove_dir_all(&spare));
        symlink(&outside, &spare).expect("a link");
        assert_eq!(
            code(&arena, mode, SOON),
            None,
            "{mode}: a planted spare is not changed"
        );
        assert_eq!(std::fs::read_dir(&outside).expect("outside").count(), 1);
        assert!(owner.exists(), "{mode}: a file was removed through a link");
    }
}

/// Kinds of entries in place of a file of the protocol.
pub(crate) const STRANGE: [&str; 4] = ["pipe", "link", "directory", "device"];

/// Returns `false` if only root can create one.
pub(crate) fn plant(kind: &str, path: &Path, outside: &Path) -> bool {
    drop(std::fs::remove_dir_all(path));
    drop(std::fs::remove_file(path));
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).expect("mkdir");
    }
    let node = |kind, device| {
        let mode = rustix::fs::Mode::from_raw_mode(0o666);
        rustix::fs::mknodat(rustix::fs::CWD, path, kind, mode, device)
    };
    match kind {
        "pipe" => node(rustix::fs::FileType::Fifo, 0).is_ok(),
        "link" => symlink(outside, path).is_ok(),
        "directory" => std::fs::create_dir(path).is_ok(),
        // /dev/zero, which has no end.
        _ => node(rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(1, 5)).is_ok(),
    }
}

/// locks/wrong-kinds-are-errors: every file of the protocol, replaced by an entry of another kind. `None` is the lock.
#[test]
fn no_entry_of_a_wrong_kind_blocks_a_caller() {
    // The name, and the error code for an acquirer: `None` if the entry is ignored.
    let cases = [
        (".key.lock.guard", Some("ERR_INVALID_ARGUMENT")),
        (".key.lock.lease", Some("ERR_INVALID_ARGUMENT")),
        (".key.lock.lease/7.json", None),
        (".key.lock.lease/7.free", None),
        (".key.lock.spare", None),
        (".key.lock.observed", None),
        ("key.lock", Some("ERR_INVALID_ARGUMENT")),
        ("key.lock/owner.json", Some("ERR_INVALID_ARGUMENT")),
    ];
    for mode in MODES {
        for (name, expected) in cases {
            for kind in STRANGE {
                let when = format!("{mode}: {name} is a {kind}");
                // An empty directory is valid in its place, and a lease acquires no guard.
                let is_right = kind == "directory" && [".key.lock.lease", "key.lock"].contains(&name);
                if is_right || (mode == "lease" && name.ends_with("guard")) {
                    continue;
                }
                let arena = Arena::new();
                let outside = arena.path().join("outside");
                std::fs::create_dir(&outside).expect("mkdir");
                std::fs::write(outside.join("owner.json"), "{}").expect("a file");
                if !plant(kind, &arena.locks().join(name), &outside) {
                    eprintln!("SKIPPED: only root can make a {kind}");
                    continue;
                }
                let begun = Instant::now();
                let lock = warmswap::core::locks::LockPath::parse(&arena.lock()).expect("a path");
                drop(warmswap::core::locks::inspect(&lock));
                drop(warmswap::core::locks::sweep(&arena.locks(), Some(Duration::ZERO)));
                for _ in 0..2 {
                    assert_eq!(code(&arena, mode, SOON), expected, "{when}");
                }
                assert!(
                    begun.elapsed() < MOMENT * 20,
                    "{when}: it took {:?}",
                    begun.elapsed()
                );
                assert!(
                    arena.locks().join(name).symlink_metadata().is_ok(),
                    "{when}: removed"
                );
                let left = std::fs::read(outside.join("owner.json")).expect("untouched");
                assert_eq!(left, b"{}", "{when}");
            }
        }
    }
}

/// locks/wrong-kinds-are-errors: the same for the file that is only read for a holder that cannot be verified.
#[test]
fn an_observation_of_a_wrong_kind_is_ignored() {
    for kind in STRANGE {
        let arena = Arena::new();
        std::fs::create_dir_all(arena.lock()).expect("an ownerless directory");
        if !plant(kind, &arena.locks().join(".key.lock.observed"), arena.path()) {
            continue;
        }
        let taken = crate::folders::take(&arena, "auto", SOON);
        assert!(taken.is_ok(), "{kind}: {taken:?}");
    }
}

#[test]
fn a_guard_that_is_a_link_or_a_pipe_is_refused_and_named() {
    let arena = Arena::new();
    let guard = arena.locks().join(".key.lock.guard");
    for (kind, what) in [
        ("link", "a symbolic link"),
        ("pipe", "a pipe"),
        ("directory", "a directory"),
    ] {
        assert!(plant(kind, &guard, arena.path()));
        let error = arena.acquire("auto", SOON).map(drop).expect_err(kind);
        assert!(
            error.message.contains(what) && error.message.contains(".key.lock.guard"),
            "{error}"
        );
    }
}

#[test]
fn records_with_invalid_numbers_are_ignored() {
    for name in [
        "01.json",
        "+1.json",
        "0.json",
        "18446744073709551615.json",
        "1.json.json",
        "-1.free",
    ] {
        let arena = Arena::new();
        let records = arena.locks().join(".key.lock.lease");
        std::fs::create_dir_all(&records).expect("mkdir");
        std::fs::write(records.join(name), "{}").expect("a record");
        for mode in MODES {
            let acquired = arena.acquire(mode, SOON).expect(name);
            acquired.handle.release(None);
        }
    }
}

/// After the highest number: the call fails, and no thread retries forever.
#[test]
fn there_is_no_number_after_the_last() {
    for mode in MODES {
        let arena = Arena::new();
        let records = arena.locks().join(".key.lock.lease");
        std::fs::create_dir_all(&records).expect("mkdir");
        std::fs::write(records.join(format!("{}.free", 1_u64 << 52)), "{}").expect("a record");
        let refused = arena
            .acquire(mode, SOON)
            .map(drop)
            .expect_err("no number is left");
        assert_eq!(refused.code.as_str(), "ERR_FORMAT", "{mode}: {refused}");
        let other = LockPath::parse(&arena.locks().join("other.lock").to_string_lossy()).expect("a path");
        let cancel = Cancel::new();
        let taken = locks::acquire(other, request(mode), Deadline::after(SOON), cancel, None);
        let taken = futures::executor::block_on(taken).expect("a lock next to it");
        taken.handle.release(None);
    }
}
