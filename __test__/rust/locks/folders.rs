//! The path of a lock may be an ordinary directory: nothing in it is ever removed, moved or overwritten.

use std::path::Path;
use std::time::{Duration, Instant};

use warmswap::core::locks::{self, LockPath, Request};
use warmswap::core::sys::cancel::Cancel;
use warmswap::core::sys::deadline::Deadline;

use crate::arena::{Arena, MODES, Process, SOON, assert_kills, ensure, request, write_legacy_lock};

const A_MOMENT: Duration = Duration::from_millis(300);

/// Acquires and releases the lock with the shortest window for other programs' locks. Returns the error as text.
pub(crate) fn take(arena: &Arena, mode: &str, within: Duration) -> Result<(), String> {
    let request = Request {
        foreign_stale: Duration::from_millis(50),
        ..request(mode)
    };
    let lock = LockPath::parse(&arena.lock()).expect("a path");
    let taken = locks::acquire(lock, request, Deadline::after(within), Cancel::new(), None);
    futures::executor::block_on(taken)
        .map(|acquired| {
            acquired.handle.release(None);
        })
        .map_err(|error| format!("{}: {}", error.code.as_str(), error.message))
}

/// Creates entries below the lock. A name that ends in a slash is a directory.
fn fill(arena: &Arena, names: &[&str]) {
    let root = Path::new(&*arena.lock()).to_path_buf();
    std::fs::create_dir_all(&root).expect("mkdir");
    for name in names {
        match name.strip_suffix('/') {
            Some(name) => std::fs::create_dir_all(root.join(name)).expect("mkdir"),
            None => std::fs::write(root.join(name), "precious").expect("a file"),
        }
    }
}

fn assert_untouched(arena: &Arena, names: &[&str], when: &str) {
    for name in names {
        assert!(
            Path::new(&*arena.lock()).join(name).exists(),
            "{when}: {name} is no longer there"
        );
    }
    let beside = std::fs::read_dir(arena.locks()).expect("the locks");
    let beside: Vec<_> = beside.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(
        beside
            .iter()
            .all(|name| !name.to_string_lossy().ends_with(".tomb")),
        "{when}: {beside:?}"
    );
}

#[test]
fn an_ordinary_directory_is_refused_immediately_and_keeps_its_files() {
    let folders: [&[&str]; 4] = [
        &["src/", "package.json"],
        &["a", "b", "c", "d"],
        &["owner.json", "a", "b", "c"],
        &["node_modules/"],
    ];
    for mode in MODES {
        for names in folders {
            let arena = Arena::new();
            fill(&arena, names);
            let begun = Instant::now();
            let refused = take(&arena, mode, Duration::from_mins(5)).expect_err("refused");
            assert!(begun.elapsed() < SOON, "{mode}: waited {:?}", begun.elapsed());
            assert!(
                refused.starts_with("ERR_INVALID_ARGUMENT")
                    && refused.contains(&format!("Use '{}.lock' instead", arena.lock())),
                "{mode} {names:?}: {refused}"
            );
            assert_untouched(&arena, names, mode);
            // A guard file next to the user's directory would also be a leftover.
            assert!(!arena.locks().join(".key.lock.guard").exists(), "{mode}");
            let found = locks::inspect(&LockPath::parse(&arena.lock()).expect("a path")).expect("inspected");
            assert!(
                found.warning.is_some() && found.holder.is_none(),
                "{mode}: {found:?}"
            );
        }
    }
}

#[test]
fn a_possible_lock_of_another_program_is_awaited_and_never_removed() {
    let directories: [&[&str]; 4] = [
        &["lock", "pid", "host"],
        &["owner.json"],
        &["owner.json", "notes"],
        &["x.pid"],
    ];
    for mode in MODES {
        for names in directories {
            let arena = Arena::new();
            fill(&arena, names);
            let refused = take(&arena, mode, A_MOMENT).expect_err("blocked");
            assert!(
                refused.starts_with("ERR_LOCK_TIMEOUT") && refused.contains("never removes it"),
                "{mode} {names:?}: {refused}"
            );
            assert_untouched(&arena, names, mode);
            // When its program removes it, the lock is free.
            std::fs::remove_dir_all(&*arena.lock()).expect("released");
            take(&arena, mode, SOON).expect("free");
        }
    }
}

#[test]
fn a_dead_holder_next_to_a_users_file_is_not_removed() {
    for mode in MODES {
        let arena = Arena::new();
        let mut dead = Process::start(&["hold", &arena.lock(), mode], &[]);
        dead.line().expect("held");
        dead.kill();
        dead.reap();
        fill(&arena, &["notes"]);
        let refused = take(&arena, mode, A_MOMENT).expect_err("blocked");
        assert!(refused.contains("'notes'"), "{mode}: {refused}");
        assert_untouched(&arena, &["notes", "owner.json"], mode);
        let found = locks::inspect(&LockPath::parse(&arena.lock()).expect("a path")).expect("inspected");
        assert!(
            found.warning.is_some_and(|text| text.contains("'notes'")),
            "{mode}"
        );
        std::fs::remove_file(Path::new(&*arena.lock()).join("notes")).expect("moved away");
        // Files that Finder and NFS leave.
        for name in [".DS_Store", ".nfs00012", "owner.json.17.tmp"] {
            std::fs::write(Path::new(&*arena.lock()).join(name), "").expect("a file");
        }
        take(&arena, mode, SOON).expect("taken over");
    }
}

/// A possible result of power loss: an owner file whose bytes were never written.
#[test]
fn a_blank_owner_of_a_dead_holder_is_taken_over() {
    for mode in MODES {
        let arena = Arena::new();
        let mut dead = Process::start(&["hold", &arena.lock(), mode, "300"], &[]);
        dead.line().expect("held");
        dead.kill();
        dead.reap();
        let owner = Path::new(&*arena.lock()).join("owner.json");
        std::fs::remove_file(&owner).expect("another file than the record");
        std::fs::write(&owner, [0; 16]).expect("a blank one");
        take(&arena, mode, SOON).expect("taken over");
        // Without a record of this lock, it may belong to any program.
        let arena = Arena::new();
        fill(&arena, &[]);
        std::fs::write(Path::new(&*arena.lock()).join("owner.json"), "").expect("a blank one");
        assert!(take(&arena, mode, A_MOMENT).is_err(), "{mode}");
    }
}

/// locks/user-files-are-kept: only entries that warmswap or a mkdir lock has created are removed.
fn a_folder_keeps_its_files(environment: &[(&str, &str)]) -> Result<(), String> {
    let arena = Arena::new();
    fill(&arena, &["src/", "package.json"]);
    let more = [("STALE_MS", "50"), ("TIMEOUT_MS", "3000")];
    let environment = [environment, &more].concat();
    let mut taker = Process::start(&["once", &arena.lock(), "auto"], &environment);
    let said = taker.line().unwrap_or_default();
    ensure(
        Path::new(&*arena.lock()).join("package.json").exists(),
        &format!("files of the directory no longer exist: {said}"),
    )
}

#[test]
fn detects_removing_any_directory() {
    assert_kills(a_folder_keeps_its_files, "lock-remove-any-directory");
}

/// A holder that was killed. Its record is copied to `directory`.
fn killed_holder(arena: &Arena, directory: &Path) -> Process {
    let mut holder = Process::start(&["hold", &arena.lock(), "auto"], &[]);
    holder.line().expect("held");
    let record = Path::new(&*arena.lock()).join("owner.json");
    std::fs::copy(record, directory.join("owner.json")).expect("a record");
    holder.kill();
    holder.reap();
    holder
}

/// locks/user-files-are-kept: names that look like those of warmswap are not enough.
#[test]
fn a_sweep_removes_only_entries_of_warmswap() {
    const TOKEN: &str = "ba4c63ce-d572-4434-843e-e874296731e2";
    let arena = Arena::new();
    let locks = arena.locks();
    let [cache, half, whole, empty] =
        ["cache", "half", "whole", "empty"].map(|name| locks.join(format!(".{name}.{TOKEN}.tmp")));
    let tomb = locks.join(format!(".web.{TOKEN}.tomb"));
    let download = locks.join(format!(".download.{TOKEN}.next.tmp"));
    for directory in [&cache, &half, &whole, &empty, &tomb] {
        std::fs::create_dir_all(directory).expect("mkdir");
    }
    std::fs::create_dir_all(cache.join("deep/deeper")).expect("mkdir");
    for file in [
        &cache.join("deep/deeper/file"),
        &half.join("owner.json"),
        &tomb.join("index.html"),
        &download,
    ] {
        std::fs::write(file, "precious").expect("a file");
    }
    let dead = killed_holder(&arena, &whole);
    // Directories with the names of a lock's files, and a directory with the owner file of a process that has ended.
    for name in [".app.guard", ".app.lease", ".app.spare", "app", "folder"] {
        std::fs::create_dir(locks.join(name)).expect("mkdir");
        std::fs::write(locks.join(name).join("file"), "precious").expect("a file");
    }
    write_legacy_lock(&locks.join("folder").to_string_lossy(), dead.pid());
    write_legacy_lock(&locks.join("mkdir.lock").to_string_lossy(), dead.pid());
    let two_minutes_ago = std::time::SystemTime::now() - Duration::from_mins(2);
    for path in [&cache, &half, &whole, &empty, &tomb, &download] {
        let file = std::fs::File::open(path).expect("litter");
        file.set_modified(two_minutes_ago).expect("back-dated");
    }
    // Through a link: the path that the caller passes.
    let link = arena.path().join("link");
    std::os::unix::fs::symlink(&locks, &link).expect("a link");
    let mut removed = locks::sweep(&link, None).expect("swept").removed;
    removed.sort();
    let here = |path: &Path| link.join(path.file_name().expect("a name"));
    let mut expected = vec![here(&empty), here(&whole), link.join("key.lock")];
    expected.sort();
    assert_eq!(removed, expected);
    for file in [
        cache.join("deep/deeper/file"),
        half.join("owner.json"),
        tomb.join("index.html"),
        download,
        locks.join(".app.guard/file"),
        locks.join(".app.lease/file"),
        locks.join(".app.spare/file"),
        locks.join("app/file"),
        locks.join("folder/file"),
        locks.join("folder/owner.json"),
        locks.join("mkdir.lock/owner.json"),
    ] {
        assert!(file.exists(), "{} was removed", file.display());
    }
}
