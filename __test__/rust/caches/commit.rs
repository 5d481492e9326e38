//! I4, I7, I8: a commit is all or nothing, fits its mount, and never comes late.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use warmswap::core::caches::archive::{ExtractOptions, Limits};
use warmswap::core::caches::commit::{self, CommitWay, Gate, Mode, Stage};
use warmswap::core::caches::failure::{Outcome, Result};
use warmswap::core::caches::unpack::{self, Stopped, Unpacked};

use super::support::{Random, Raw, describe};

fn archive() -> Vec<u8> {
    Raw::default()
        .directory("d")
        .file("d/new", b"new")
        .file("kept", b"new")
        .symlink("l", "d/new")
        .end()
}

fn unpack(target: &Path, mode: Mode) -> std::result::Result<Unpacked, Stopped> {
    unpack::unpack(
        archive().as_slice(),
        target,
        mode,
        &ExtractOptions::default(),
        &Gate::new(),
    )
}

fn fill(target: &Path) {
    fs::create_dir_all(target.join("d/deep")).expect("mkdir");
    fs::create_dir_all(target.join("old")).expect("mkdir");
    fs::write(target.join("d/deep/file"), "old").expect("write");
    fs::write(target.join("old/file"), "old").expect("write");
    fs::write(target.join("kept"), "old").expect("write");
}

fn is_new(target: &Path) -> bool {
    fs::read(target.join("kept")).is_ok_and(|bytes| bytes == b"new")
        && fs::read(target.join("d/new")).is_ok()
        && !target.join("old").exists()
}

/// Names of ours in a directory.
fn litter(directory: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(directory)
        .expect("readdir")
        .map(|entry| entry.expect("entry").path());
    all.filter(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(".warmswap-"))
    })
    .collect()
}

/// The old tree is removed on a thread of its own.
fn wait_until_clean(directory: &Path) {
    for _ in 0..500 {
        if litter(directory).is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("litter stays: {:?}", litter(directory));
}

/// Runs with mounts of its own; they end with the thread.
fn with_own_mounts(test: impl FnOnce(&Path) + Send + 'static) {
    let root = tempfile::tempdir().expect("a temporary directory");
    let path = root.path().to_path_buf();
    let ended = std::thread::spawn(move || {
        // SAFETY: a new mount namespace of this thread shares nothing that another thread relies on.
        if unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.is_err() {
            eprintln!("SKIPPED: no right to a mount namespace of one's own");
            return;
        }
        run("mount", &["--make-rprivate", "/"]);
        test(&path);
    });
    ended
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().expect("started");
    assert!(status.success(), "{program} {arguments:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn i8_absent_empty_and_full_targets() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let target = root.path().join("below/target");
    assert_eq!(
        unpack(&target, Mode::IfEmpty).expect("restored").way,
        CommitWay::Rename
    );
    assert!(is_new(&target));

    let target = root.path().join("empty");
    fs::create_dir(&target).expect("mkdir");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o710)).expect("chmod");
    assert_eq!(
        unpack(&target, Mode::IfEmpty).expect("restored").way,
        CommitWay::Rename
    );
    assert_eq!(
        fs::metadata(&target).expect("stat").permissions().mode() & 0o7777,
        0o710,
        "the target's own mode stays"
    );

    let target = root.path().join("full");
    fill(&target);
    let before = describe(&target);
    assert_eq!(
        unpack(&target, Mode::IfEmpty).expect_err("full").1.outcome,
        Outcome::TargetNotEmpty
    );
    assert_eq!(describe(&target), before);
    assert_eq!(
        unpack(&target, Mode::Replace).expect("restored").way,
        CommitWay::Exchange
    );
    assert!(is_new(&target));
    wait_until_clean(root.path());
}

#[test]
fn i8_merge_never_overwrites() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let target = root.path().join("target");
    fill(&target);
    std::os::unix::fs::symlink("nowhere", target.join("l")).expect("symlink");
    let merged = unpack(&target, Mode::Merge).expect("merged");
    assert_eq!((merged.way, merged.kept), (CommitWay::Merge, 2));
    assert_eq!(fs::read(target.join("kept")).ok().as_deref(), Some(&b"old"[..]));
    assert_eq!(fs::read(target.join("d/new")).ok().as_deref(), Some(&b"new"[..]));
    assert_eq!(
        fs::read(target.join("d/deep/file")).ok().as_deref(),
        Some(&b"old"[..])
    );
    assert_eq!(
        fs::read_link(target.join("l")).ok().as_deref(),
        Some(Path::new("nowhere"))
    );
    wait_until_clean(root.path());
}

#[test]
fn i8_a_link_and_a_file_as_target_are_refused() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let real = root.path().join("real");
    fill(&real);
    let before = describe(root.path());
    std::os::unix::fs::symlink("real", root.path().join("link")).expect("symlink");
    assert_eq!(
        unpack(&root.path().join("link"), Mode::Replace)
            .expect_err("a link")
            .1
            .outcome,
        Outcome::Refused
    );
    fs::remove_file(root.path().join("link")).expect("unlink");
    let failure = unpack(&real.join("kept"), Mode::Replace).expect_err("a file").1;
    assert_eq!(failure.error.code, warmswap::core::error::Code::InvalidArgument);
    assert_eq!(describe(&real), describe(&real));
    assert_eq!(before.lines().count(), describe(root.path()).lines().count());
}

#[test]
fn i8_a_mount_point_is_filled_child_by_child() {
    with_own_mounts(|root| {
        let target = root.join("mounted");
        fs::create_dir(&target).expect("mkdir");
        run("mount", &["-t", "tmpfs", "tmpfs", text(&target)]);
        assert_eq!(
            unpack(&target, Mode::IfEmpty).expect("restored").way,
            CommitWay::Children
        );
        assert!(is_new(&target));
        fs::write(target.join("old"), "old").expect("write");
        assert_eq!(
            unpack(&target, Mode::Replace).expect("restored").way,
            CommitWay::Children
        );
        assert!(is_new(&target));
        wait_until_clean(&target);
        wait_until_clean(root);
    });
}

#[test]
fn i8_a_bind_mount_of_the_same_filesystem_is_a_mount_point_too() {
    with_own_mounts(|root| {
        let (target, real) = (root.join("bound"), root.join("real"));
        fs::create_dir(&target).expect("mkdir");
        fill(&real);
        run("mount", &["--bind", text(&real), text(&target)]);
        assert_eq!(
            unpack(&target, Mode::Replace).expect("restored").way,
            CommitWay::Children
        );
        assert!(is_new(&target));
        wait_until_clean(&target);
    });
}

#[test]
fn i8_a_parent_that_cannot_be_written_is_no_obstacle() {
    with_own_mounts(|root| {
        let (lower, target) = (root.join("ro"), root.join("ro/target"));
        fs::create_dir_all(&target).expect("mkdir");
        let writable = root.join("writable");
        fill(&writable);
        run("mount", &["-t", "tmpfs", "tmpfs", text(&lower)]);
        fs::create_dir(&target).expect("mkdir");
        run("mount", &["--bind", text(&writable), text(&target)]);
        run("mount", &["-o", "remount,ro", text(&lower)]);
        assert_eq!(
            unpack(&target, Mode::Replace).expect("restored").way,
            CommitWay::Children
        );
        assert!(is_new(&target));
    });
}

/// An overlay whose lower layer has the filled target, as a folder of a container image is.
fn overlay(root: &Path) -> PathBuf {
    let layers = root.join("layers");
    fs::create_dir(&layers).expect("mkdir");
    run("mount", &["-t", "tmpfs", "tmpfs", text(&layers)]);
    for name in ["lower", "upper", "work"] {
        fs::create_dir(layers.join(name)).expect("mkdir");
    }
    fill(&layers.join("lower/target"));
    fs::create_dir(layers.join("lower/empty")).expect("mkdir");
    let merged = root.join("merged");
    fs::create_dir(&merged).expect("mkdir");
    let options = format!(
        "lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work,redirect_dir=off",
        layers.display()
    );
    run(
        "mount",
        &["-t", "overlay", "overlay", "-o", &options, text(&merged)],
    );
    merged
}

#[test]
fn i8_overlay_layers() {
    with_own_mounts(|root| {
        let merged = overlay(root);
        assert_eq!(
            unpack(&merged.join("empty"), Mode::IfEmpty)
                .expect("restored")
                .way,
            CommitWay::Rename
        );
        assert_eq!(
            unpack(&merged.join("fresh"), Mode::IfEmpty)
                .expect("restored")
                .way,
            CommitWay::Rename
        );
        assert_eq!(
            unpack(&merged.join("fresh"), Mode::Replace)
                .expect("restored")
                .way,
            CommitWay::Exchange
        );
        assert_eq!(
            unpack(&merged.join("target"), Mode::Replace)
                .expect("restored")
                .way,
            CommitWay::Children
        );
        assert!(is_new(&merged.join("target")));
        wait_until_clean(&merged);
    });
}

#[test]
fn i4_nothing_is_committed_after_the_gate_was_closed() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let target = root.path().join("target");
    fill(&target);
    let before = describe(&target);
    let stage = Stage::beside(&target, Mode::Replace).expect("a stage");
    fs::write(stage.path().join("late"), "late").expect("write");
    let gate = Gate::new();
    assert!(gate.close());
    assert_eq!(
        stage.commit(&gate).expect_err("too late").outcome,
        Outcome::Timeout
    );
    assert_eq!(describe(&target), before);
    assert!(litter(root.path()).is_empty());
    assert!(!gate.pass());
    let passed = Gate::new();
    assert!(passed.pass() && !passed.close());
}

#[test]
fn what_a_living_owner_stages_is_not_swept() -> Result<()> {
    let root = tempfile::tempdir().expect("a temporary directory");
    let target = root.path().join("target");
    let stage = Stage::beside(&target, Mode::IfEmpty)?;
    assert_eq!(commit::sweep(&target)?, 0);
    let other = root.path().join("target2");
    drop(Stage::beside(&other, Mode::IfEmpty)?);
    assert!(stage.path().exists());
    drop(stage);
    assert!(litter(root.path()).is_empty());
    Ok(())
}

fn child() -> Command {
    Command::new(env!("CARGO_BIN_EXE_archive-child"))
}

/// How many system calls an unpack makes.
fn calls(archive: &Path, target: &Path, mode: &str) -> u64 {
    let log = archive.with_extension("log");
    let status = child()
        .args([archive, target, Path::new(mode)])
        .env("WARMSWAP_FAULT_LOG", &log)
        .output()
        .expect("started");
    assert!(status.status.success());
    fs::read_to_string(&log).expect("a log").lines().count() as u64
}

/// Fails or kills an unpack at points of its way; the target must be the old or the new tree, and the next
/// unpack must succeed and leave nothing behind.
fn strike_everywhere(root: &Path, target: &Path, what: &[&str], reset: impl Fn(&Path)) {
    let file = root.join("archive.tar");
    fs::write(&file, archive()).expect("write");
    reset(target);
    let count = calls(&file, target, "replace");
    assert!(is_new(target));
    commit::sweep(target).expect("swept");
    let after = without_times(&describe(target));
    let long = std::env::var("WARMSWAP_LONG").is_ok_and(|value| value == "1");
    let step = if long { 1 } else { 1 + count / 60 };
    for what in what {
        for point in (1..=count).step_by(usize::try_from(step).expect("small")) {
            reset(target);
            let before = describe(target);
            let output = child()
                .args([&file, target, Path::new("replace")])
                .env("WARMSWAP_FAULT", format!("{point}:{what}"))
                .output()
                .expect("started");
            // Whoever comes next takes an unfinished commit back first.
            commit::sweep(target).expect("swept");
            let now = describe(target);
            let is_old = without_times(&now) == without_times(&before);
            assert!(
                is_old || without_times(&now) == after,
                "{what} at {point}: {now}\n{output:?}"
            );
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.success() && said.contains(':') {
                assert!(
                    is_old,
                    "{what} at {point} was told as a failure, but changed the target: {said}"
                );
            }
            let again = child()
                .args([&file, target, Path::new("replace")])
                .output()
                .expect("started");
            assert!(
                again.status.success() && !String::from_utf8_lossy(&again.stdout).contains(':'),
                "{again:?}"
            );
            assert!(is_new(target), "{what} at {point}, then again");
            commit::sweep(target).expect("swept");
            assert_eq!(
                (litter(target), litter(target.parent().expect("a parent"))),
                (vec![], vec![]),
                "{what} at {point}"
            );
        }
    }
}

/// Times of directories change when a commit by children is taken back.
fn without_times(text: &str) -> String {
    text.lines()
        .map(|line| {
            if line.contains("/ ") {
                line.split("/ ").next().unwrap_or(line)
            } else {
                line
            }
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn i7_killed_or_failing_at_any_call_of_an_exchange() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    strike_everywhere(
        root.path(),
        &root.path().join("target"),
        &["KILL", "ENOSPC", "EACCES", "EROFS"],
        |target| {
            drop(fs::remove_dir_all(target));
            fill(target);
        },
    );
}

#[test]
fn i7_killed_or_failing_at_any_call_of_a_commit_by_children() {
    with_own_mounts(|root| {
        let target = root.join("mounted");
        fs::create_dir(&target).expect("mkdir");
        run("mount", &["-t", "tmpfs", "tmpfs", text(&target)]);
        strike_everywhere(root, &target, &["KILL", "EIO"], |target| {
            for entry in fs::read_dir(target).expect("readdir") {
                let path = entry.expect("entry").path();
                if path.is_dir() && !path.is_symlink() {
                    fs::remove_dir_all(path).expect("rm");
                } else {
                    fs::remove_file(path).expect("rm");
                }
            }
            fill(target);
        });
    });
}

#[test]
fn i7_a_full_disk_leaves_the_target_as_it_was() {
    with_own_mounts(|root| {
        let disk = root.join("disk");
        fs::create_dir(&disk).expect("mkdir");
        run("mount", &["-t", "tmpfs", "-o", "size=4m", "tmpfs", text(&disk)]);
        let target = disk.join("target");
        fill(&target);
        let before = describe(&target);
        let mut raw = Raw::default();
        let mut random = Random(3);
        for number in 0..40 {
            let bytes: Vec<u8> = (0..200_000).map(|_| random.next() as u8).collect();
            raw = raw.file(&format!("f{number}"), &bytes);
        }
        let bytes = raw.file("huge", &vec![1; 3 << 20]).end();
        let options = ExtractOptions {
            limits: Limits {
                min_free_bytes: 0,
                ..Limits::default()
            },
            ..ExtractOptions::default()
        };
        let failure = unpack::unpack(bytes.as_slice(), &target, Mode::Replace, &options, &Gate::new())
            .expect_err("full")
            .1;
        assert_eq!(failure.outcome, Outcome::NoSpace, "{failure}");
        assert_eq!(describe(&target), before);
        assert!(litter(&disk).is_empty());
    });
}

#[test]
fn i7_few_file_descriptors_are_enough() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let mut raw = Raw::default();
    for number in 0..300 {
        raw = raw.file(&format!("d{number}/e/f/g/file"), b"x");
    }
    let file = root.path().join("archive.tar");
    fs::write(&file, raw.end()).expect("write");
    let script = format!(
        "ulimit -n 24; exec '{}' '{}' '{}' if-empty",
        env!("CARGO_BIN_EXE_archive-child"),
        file.display(),
        root.path().join("target").display()
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .output()
        .expect("started");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "rename\n", "{output:?}");
}

/// As a user to whom permissions mean something.
#[test]
fn i8_directories_that_forbid_writing_are_merged_too() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can run a child as another user");
        return;
    }
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let (program, file) = (root.path().join("archive-child"), root.path().join("archive.tar"));
    fs::copy(env!("CARGO_BIN_EXE_archive-child"), &program).expect("copied");
    let read_only = |raw: Raw, name: &[u8]| {
        raw.with(b'5', name, b"", b"", |block| {
            block[100..108].copy_from_slice(b"0000555\0");
        })
    };
    let raw = read_only(Raw::default().file("module/f", b"x"), b"module");
    fs::write(&file, raw.end()).expect("write");
    let target = root.path().join("target");
    fill(&target);
    run("chown", &["-R", "65534", text(root.path())]);
    let output = Command::new(&program)
        .args([&file, &target, Path::new("merge")])
        .uid(65534)
        .output()
        .expect("started");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "merge\n", "{output:?}");
    let mode = fs::metadata(target.join("module"))
        .expect("stat")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o555);
}

#[test]
fn i7_two_commits_child_by_child_on_one_target_never_mix() {
    with_own_mounts(|root| {
        let target = root.join("mounted");
        fs::create_dir(&target).expect("mkdir");
        run("mount", &["-t", "tmpfs", "tmpfs", text(&target)]);
        let archive_of = |name: &str| {
            (0..40)
                .fold(Raw::default(), |raw, number| {
                    raw.file(&format!("{number}"), name.as_bytes())
                })
                .file(&format!("only-{name}"), name.as_bytes())
                .end()
        };
        let archives = ["one", "two", "three"].map(archive_of);
        for _ in 0..20 {
            std::thread::scope(|scope| {
                for archive in &archives {
                    scope.spawn(|| {
                        let options = ExtractOptions::default();
                        unpack::unpack(archive.as_slice(), &target, Mode::Replace, &options, &Gate::new())
                            .expect("restored");
                    });
                }
            });
            let whole: Vec<_> = fs::read_dir(&target)
                .expect("readdir")
                .map(|entry| entry.expect("entry").path())
                .filter(|path| path.is_file())
                .map(|path| fs::read_to_string(path).expect("read"))
                .collect();
            assert_eq!(whole.len(), 41, "{whole:?}");
            assert!(whole.iter().all(|text| *text == whole[0]), "mixed: {whole:?}");
        }
    });
}

/// Each state that a removal can be cut off in leaves a stage that the next sweep removes and never takes back.
#[test]
fn i7_a_removal_that_is_cut_off_is_finished_by_the_next_sweep() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let (target, file) = (root.path().join("target"), root.path().join("archive.tar"));
    fs::write(&file, archive()).expect("write");
    fill(&target);
    let count = calls(&file, &target, "replace");
    // The removal of the old tree runs behind the answer, and may be cut off by the end of the process too.
    for point in count.saturating_sub(12)..=count {
        fs::remove_dir_all(&target).expect("rm");
        fill(&target);
        let output = child()
            .args([&file, &target, Path::new("replace")])
            .env("WARMSWAP_FAULT", format!("{point}:KILL"))
            .output()
            .expect("started");
        let is_told = String::from_utf8_lossy(&output.stdout).contains("exchange");
        commit::sweep(&target).expect("swept");
        assert!(
            !is_told || is_new(&target),
            "killed at {point}: the restored tree is gone"
        );
        assert_eq!(litter(root.path()), Vec::<PathBuf>::new(), "killed at {point}");
    }
}
