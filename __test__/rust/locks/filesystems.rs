//! Other real filesystems: layers of a container, and a full disk.

use crate::storms::{assert_exclusive, storm_in};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use warmswap::core::locks::{self, LockPath};

use crate::arena::{A_WHILE, Arena, MODES, Process, SOON, is_root, seconds};

/// A mount. Dropping this value unmounts it.
struct Mount(PathBuf);

impl Mount {
    fn new(arguments: &[&str], at: &Path) -> Self {
        std::fs::create_dir_all(at).expect("a mount point");
        let status = Command::new("mount").args(arguments).arg(at).status();
        assert!(status.is_ok_and(|status| status.success()), "mount {arguments:?}");
        Self(at.to_path_buf())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

fn lacks_mounts(what: &str) -> bool {
    if !is_root() {
        eprintln!("SKIPPED: only root can mount {what}");
    }
    !is_root()
}

/// A lock in a container: its files come from an existing lower layer.
#[test]
fn locks_work_on_overlayfs() {
    if lacks_mounts("an overlay") {
        return;
    }
    let base = Arena::below(&std::env::temp_dir());
    let part = |name: &str| {
        let path = base.path().join(name);
        std::fs::create_dir_all(&path).expect("a layer");
        path.to_string_lossy().into_owned()
    };
    let lower = part("lower");
    // The lock was acquired and released when the image was built, so guard, record and spare are in a lower layer.
    let baked = format!("{lower}/arena/locks/key.lock");
    Process::start(&["once", &baked, "auto"], &[]).reap();
    let options = format!(
        "lowerdir={lower},upperdir={},workdir={}",
        part("upper"),
        part("work")
    );
    let merged = base.path().join("merged");
    let _mounted = Mount::new(&["-t", "overlay", "overlay", "-o", &options], &merged);
    let arena = Arena::at(&merged.join("arena"));
    let before = arena.acquire("auto", SOON).expect("the lock of a lower layer");
    before.handle.release(None);
    let record = std::fs::read_to_string(arena.locks().join(".key.lock.lease/2.free")).expect("its record");
    assert!(
        record.contains("\"fsType\":\"overlayfs\"") && record.contains("\"mode\":\"kernel\""),
        "{record}"
    );
    for mode in MODES {
        let mut holder = Process::start(&["hold", &arena.lock(), mode], &[]);
        holder.line().expect("held");
        let mut waiter = Process::start(&["once", &arena.lock(), mode], &[]);
        assert!(
            waiter.line_within(Duration::from_millis(200)).is_none(),
            "{mode}: the lock of a live holder was stolen"
        );
        holder.kill();
        assert!(
            waiter.line_within(SOON).is_some(),
            "{mode}: a killed holder blocks others"
        );
        waiter.reap();
    }
    let outcome = storm_in(&arena, &["auto", "lease"], seconds(5.0, 60.0), &|_, arguments| {
        Process::start(arguments, &[])
    });
    assert_exclusive("both modes, on overlayfs", &outcome);
    assert!(outcome.acquisitions > 50 && outcome.kills > 20, "{outcome:?}");
}

/// locks/hostile-input: a full disk, and one that became read-only.
#[test]
fn full_and_read_only_disks_are_handled() {
    if lacks_mounts("a small disk") {
        return;
    }
    for mode in MODES {
        let base = Arena::new();
        let disk = base.path().join("disk");
        let _mounted = Mount::new(&["-t", "tmpfs", "tmpfs", "-o", "size=64k,nr_inodes=64"], &disk);
        let arena = Arena::at(&disk);
        let holder = arena.acquire(mode, SOON).expect("the lock");
        let other = disk.join("locks/other.lock");
        fill(&disk.join("filler"));
        let refused = once(&other, mode);
        assert_eq!(refused, "ERR_IO after", "{mode}");
        let left: Vec<_> = std::fs::read_dir(arena.locks())
            .expect("the locks")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .filter(|name| name.contains("other") && name != ".other.lock.guard")
            .collect();
        assert_eq!(
            left,
            Vec::<String>::new(),
            "{mode}: a failed acquisition left files"
        );
        holder.handle.assert_held().expect("the holder is unaffected");
        assert_eq!(
            holder.handle.release(None),
            warmswap::core::locks::Release::Released,
            "{mode}: also released on a full disk"
        );
        std::fs::remove_file(disk.join("filler")).expect("room");
        arena
            .acquire(mode, SOON)
            .expect("the lock again")
            .handle
            .release(None);

        let remounted = Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(&disk)
            .status();
        assert!(remounted.is_ok_and(|status| status.success()));
        assert_eq!(once(&other, mode), "ERR_IO after", "{mode}, read-only");
    }
}

/// The first words of the result of an acquirer with a timeout of 2 s.
fn once(lock: &Path, mode: &str) -> String {
    let mut taker = Process::start(
        &["once", &lock.to_string_lossy(), mode],
        &[("TIMEOUT_MS", "2000")],
    );
    let answer = taker.line().expect("a result");
    answer
        .rsplit_once(' ')
        .map_or(answer.clone(), |(words, _)| words.to_owned())
}

fn fill(path: &Path) {
    use std::io::Write as _;
    let mut filler = std::fs::File::create(path).expect("a filler");
    while filler.write_all(&[0; 4096]).is_ok() {}
}

/// locks/untrusted-filesystems-use-leases: where kernel locks are not trusted, none is requested.
#[test]
fn no_flock_is_issued_on_an_untrusted_filesystem() {
    let arena = Arena::new();
    let trace = arena.path().join("trace");
    let traced = std::process::Command::new("strace")
        .args(["-f", "-e", "trace=flock,fcntl", "-o"])
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_locks-child"))
        .args(["once", &arena.lock(), "auto"])
        .env("WARMSWAP_FILESYSTEM", "nfs")
        .output();
    let Ok(output) = traced else {
        eprintln!("SKIPPED: strace is not installed");
        return;
    };
    assert!(String::from_utf8_lossy(&output.stdout).contains("released"));
    let trace = std::fs::read_to_string(trace).expect("the trace");
    assert!(!trace.contains("flock(") && !trace.contains("F_SETLK"), "{trace}");
}

/// If the kernel reports that there is no flock, the lock is a real lease, not a pretended kernel lock.
#[test]
fn a_filesystem_without_flock_is_locked_with_a_lease() {
    for errno in ["EINVAL", "ENOLCK", "ENOTSUP"] {
        let arena = Arena::new();
        let fault = format!("1:{errno}:flock");
        let environment = [("WARMSWAP_FAULT", &*fault), ("HOLD_MS", "60000")];
        let mut holder = Process::start(&["once", &arena.lock(), "auto"], &environment);
        assert!(
            holder.line().is_some_and(|line| line.starts_with("held")),
            "{errno}"
        );
        let owner = std::fs::read(Path::new(&arena.lock()).join("owner.json")).expect("its owner");
        let owner: serde_json::Value = serde_json::from_slice(&owner).expect("a record");
        assert_eq!(owner["mode"], "lease", "{errno}");
        assert!(
            arena.acquire("lease", A_WHILE).is_err(),
            "{errno}: two processes hold the lock"
        );
    }
}

#[test]
fn a_filesystem_without_hard_links_is_reported() {
    for errno in ["EPERM", "ENOTSUP"] {
        let arena = Arena::new();
        let fault = format!("1:{errno}:linkat");
        let mut taker = Process::start(&["once", &arena.lock(), "lease"], &[("WARMSWAP_FAULT", &fault)]);
        let answer = taker.line().expect("a result");
        assert!(answer.starts_with("ERR_UNSUPPORTED"), "{errno}: {answer}");
    }
}

/// NFS and some FUSE filesystems have no rename that refuses to replace.
#[test]
fn a_directory_is_published_in_two_steps_if_necessary() {
    for errno in ["EINVAL", "ENOTSUP"] {
        for mode in MODES {
            let arena = Arena::new();
            let fault = format!("1:{errno}:renameat2:key.lock");
            let environment = [("WARMSWAP_FAULT", &*fault), ("HOLD_MS", "60000")];
            let mut holder = Process::start(&["once", &arena.lock(), mode], &environment);
            assert!(
                holder.line().is_some_and(|line| line.starts_with("held")),
                "{errno}"
            );
            let found = locks::inspect(&LockPath::parse(&arena.lock()).expect("a path")).expect("a look");
            assert_eq!(found.holder.and_then(|holder| holder.pid), Some(holder.pid()));
            assert!(
                Path::new(&arena.lock()).join("owner.json").exists(),
                "{errno}, {mode}"
            );
        }
    }
}
