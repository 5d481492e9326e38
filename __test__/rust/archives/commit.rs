//! archives/no-late-commit, archives/all-or-nothing, archives/commit-fits-the-mount: a commit is all or nothing, uses
//! the method that its mount needs, and is never late.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use warmswap::core::archives::commit::{self, CommitMethod, Gate, StagedTree, TargetMode};
use warmswap::core::archives::pipeline::Unpacked;
use warmswap::core::archives::{ExtractOptions, Limits};
use warmswap::core::failure::{Cause, Result};

use super::support::{Held, Random, Raw, describe, replace};

fn archive() -> Vec<u8> {
    Raw::default()
        .directory("d")
        .file("d/new", b"new")
        .file("kept", b"new")
        .symlink("l", "d/new")
        .end()
}

fn unpack(target: &Path, mode: TargetMode) -> Result<Unpacked> {
    replace(&archive(), target, mode, &ExtractOptions::default())
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

/// Paths with warmswap's own names in a directory.
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

/// The old tree is removed on another thread.
fn wait_until_clean(directory: &Path) {
    for _ in 0..500 {
        if litter(directory).is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("leftovers: {:?}", litter(directory));
}

/// Set in a process with its own mount namespace.
const OWN_MOUNTS: &str = "WARMSWAP_TEST_OWN_MOUNTS";

/// Runs the test in a process with its own mount namespace, whose mounts end with it. The background threads of calls
/// are shared by the whole process, so a namespace of one thread is not enough. Without the permission to create a
/// mount namespace, the test is skipped with a message. In CI that is a failure.
fn with_own_mounts(test: impl FnOnce(&Path)) {
    if std::env::var_os(OWN_MOUNTS).is_some() {
        let root = tempfile::tempdir().expect("a temporary directory");
        return test(root.path());
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        command
    };
    if !unshare()
        .arg("true")
        .status()
        .is_ok_and(|status| status.success())
    {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI must be able to create a mount namespace"
        );
        eprintln!("SKIPPED: cannot create a mount namespace");
        return;
    }
    let thread = std::thread::current();
    let name = thread
        .name()
        .filter(|name| *name != "main")
        .expect("tests run with --test-threads=2 or more");
    let output = unshare()
        .arg(std::env::current_exe().expect("this program"))
        .args([name, "--exact", "--nocapture", "--test-threads=2"])
        .env(OWN_MOUNTS, "1")
        .output()
        .expect("started");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().expect("started");
    assert!(status.success(), "{program} {arguments:?}");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn missing_empty_and_filled_targets_are_supported() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let target = root.path().join("below/target");
    assert_eq!(
        unpack(&target, TargetMode::IfEmpty).expect("restored").method,
        CommitMethod::Rename
    );
    assert!(is_new(&target));

    let target = root.path().join("empty");
    fs::create_dir(&target).expect("mkdir");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o710)).expect("chmod");
    assert_eq!(
        unpack(&target, TargetMode::IfEmpty).expect("restored").method,
        CommitMethod::Rename
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
        unpack(&target, TargetMode::IfEmpty).expect_err("full").cause,
        Cause::TargetNotEmpty
    );
    assert_eq!(describe(&target), before);
    assert_eq!(
        unpack(&target, TargetMode::Replace).expect("restored").method,
        CommitMethod::Exchange
    );
    assert!(is_new(&target));
    wait_until_clean(root.path());
}

#[test]
fn merge_never_overwrites() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let target = root.path().join("target");
    fill(&target);
    std::os::unix::fs::symlink("nowhere", target.join("l")).expect("symlink");
    let merged = unpack(&target, TargetMode::Merge).expect("merged");
    assert_eq!((merged.method, merged.kept), (CommitMethod::Merge, 2));
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
fn a_file_as_target_is_refused() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let real = root.path().join("real");
    fill(&real);
    let before = describe(root.path());
    let failure = unpack(&real.join("kept"), TargetMode::Replace).expect_err("a file");
    assert_eq!(failure.error.code, warmswap::core::error::Code::InvalidArgument);
    assert_eq!(describe(root.path()), before);
}

/// A link to a directory, one through a second link, and one to a missing path.
#[test]
fn the_target_can_be_a_link() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| root.path().join(name);
    fs::create_dir(path("disk")).expect("mkdir");
    fill(&path("disk/real"));
    for (text, name) in [
        ("disk/real", "link"),
        ("./link", "second"),
        ("disk/absent", "new"),
    ] {
        std::os::unix::fs::symlink(text, path(name)).expect("symlink");
    }
    for (name, real, method) in [
        ("link", "disk/real", CommitMethod::Exchange),
        ("second", "disk/real", CommitMethod::Exchange),
        ("new", "disk/absent", CommitMethod::Rename),
    ] {
        assert_eq!(
            unpack(&path(name), TargetMode::Replace).expect("restored").method,
            method,
            "{name}"
        );
        assert!(
            path(name).is_symlink() && !path(real).is_symlink() && is_new(&path(real)),
            "{name}"
        );
    }
    assert!(litter(root.path()).is_empty());
    wait_until_clean(&path("disk"));
}

#[test]
fn a_mount_point_is_filled_child_by_child() {
    with_own_mounts(|root| {
        let target = root.join("mounted");
        fs::create_dir(&target).expect("mkdir");
        run("mount", &["-t", "tmpfs", "tmpfs", text(&target)]);
        assert_eq!(
            unpack(&target, TargetMode::IfEmpty).expect("restored").method,
            CommitMethod::Children
        );
        assert!(is_new(&target));
        fs::write(target.join("old"), "old").expect("write");
        assert_eq!(
            unpack(&target, TargetMode::Replace).expect("restored").method,
            CommitMethod::Children
        );
        assert!(is_new(&target));
        wait_until_clean(&target);
        wait_until_clean(root);
    });
}

#[test]
fn a_bind_mount_of_the_same_filesystem_is_a_mount_point_too() {
    with_own_mounts(|root| {
        let (target, real) = (root.join("bound"), root.join("real"));
        fs::create_dir(&target).expect("mkdir");
        fill(&real);
        run("mount", &["--bind", text(&real), text(&target)]);
        assert_eq!(
            unpack(&target, TargetMode::Replace).expect("restored").method,
            CommitMethod::Children
        );
        assert!(is_new(&target));
        wait_until_clean(&target);
    });
}

#[test]
fn a_parent_without_write_permission_is_supported() {
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
            unpack(&target, TargetMode::Replace).expect("restored").method,
            CommitMethod::Children
        );
        assert!(is_new(&target));
    });
}

/// An overlay whose lower layer contains the filled target, like a directory of a container image.
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
fn layers_of_an_overlay_are_supported() {
    with_own_mounts(|root| {
        let merged = overlay(root);
        assert_eq!(
            unpack(&merged.join("empty"), TargetMode::IfEmpty)
                .expect("restored")
                .method,
            CommitMethod::Rename
        );
        assert_eq!(
            unpack(&merged.join("fresh"), TargetMode::IfEmpty)
                .expect("restored")
                .method,
            CommitMethod::Rename
        );
        assert_eq!(
            unpack(&merged.join("fresh"), TargetMode::Replace)
                .expect("restored")
                .method,
            CommitMethod::Exchange
        );
        assert_eq!(
            unpack(&merged.join("target"), TargetMode::Replace)
                .expect("restored")
                .method,
            CommitMethod::Children
        );
        assert!(is_new(&merged.join("target")));
        wait_until_clean(&merged);
    });
}

#[test]
fn nothing_is_committed_after_the_gate_was_closed() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let target = root.path().join("target");
    fill(&target);
    let before = describe(&target);
    let stage = StagedTree::beside(&target, TargetMode::Replace).expect("a stage");
    fs::write(stage.path().join("late"), "late").expect("write");
    let gate = Gate::new();
    assert!(gate.close());
    assert_eq!(stage.commit(&gate).expect_err("too late").cause, Cause::Timeout);
    assert_eq!(describe(&target), before);
    assert!(litter(root.path()).is_empty());
    assert!(!gate.pass());
    let passed = Gate::new();
    assert!(passed.pass() && !passed.close());
}

#[test]
fn the_stage_of_a_live_owner_is_not_swept() -> Result<()> {
    let root = tempfile::tempdir().expect("a temporary directory");
    let target = root.path().join("target");
    let stage = StagedTree::beside(&target, TargetMode::IfEmpty)?;
    assert_eq!(commit::sweep(&target)?, 0);
    let other = root.path().join("target2");
    drop(StagedTree::beside(&other, TargetMode::IfEmpty)?);
    assert!(stage.path().exists());
    drop(stage);
    assert!(litter(root.path()).is_empty());
    Ok(())
}

fn child() -> Command {
    Command::new(env!("CARGO_BIN_EXE_archive-child"))
}

/// Number of system calls of an unpack.
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

/// The target exists when the stage is created, and is removed before the commit. The filesystem has no flags for
/// rename.
#[test]
fn a_plain_rename_keeps_the_mode_of_the_target_too() {
    const TEST: &str = "archives::commit::a_plain_rename_keeps_the_mode_of_the_target_too";
    if std::env::var_os("WARMSWAP_FAULT").is_none() {
        let output = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", TEST])
            .env("WARMSWAP_FAULT", "1:EINVAL:renameat2:/target")
            .output()
            .expect("started");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("running 1 test"), "there is no test {TEST}: {text}");
        assert!(output.status.success(), "{text}");
        return;
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let target = root.path().join("target");
    fs::create_dir(&target).expect("mkdir");
    fs::set_permissions(&target, fs::Permissions::from_mode(0o555)).expect("chmod");
    let stage = StagedTree::beside(&target, TargetMode::IfEmpty).expect("a stage");
    fs::remove_dir(&target).expect("rmdir");
    warmswap::core::sys::fault::arm();
    let committed = stage.commit(&Gate::new()).expect("committed");
    assert_eq!(committed.method, CommitMethod::Rename);
    let mode = fs::metadata(&target).expect("the target").permissions().mode();
    assert_eq!(mode & 0o777, 0o555, "{mode:o}");
}

/// Makes an unpack fail or kills it at many points. The target must be the old or the new tree, and the next unpack
/// must succeed and leave nothing behind.
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
            // The next call rolls back an unfinished commit.
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
                    "{what} at {point} was reported as a failure, but changed the target: {said}"
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

/// The times of directories change when a commit by children is rolled back.
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
fn a_kill_or_error_at_any_call_of_an_exchange_is_safe() {
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
fn a_kill_or_error_at_any_call_of_a_commit_by_children_is_safe() {
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
fn a_full_disk_leaves_the_target_unchanged() {
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
        let failure = replace(&bytes, &target, TargetMode::Replace, &options).expect_err("full");
        assert_eq!(failure.cause, Cause::NoSpace, "{failure}");
        assert_eq!(describe(&target), before);
        assert!(litter(&disk).is_empty());
    });
}

#[test]
fn few_file_descriptors_are_enough() {
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

/// Runs as a user that permissions apply to.
#[test]
fn read_only_directories_are_merged_too() {
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
fn two_commits_child_by_child_on_one_target_never_mix() {
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
                        replace(archive, &target, TargetMode::Replace, &options).expect("restored");
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

/// An empty mount point.
fn mounted(target: PathBuf) -> PathBuf {
    fs::create_dir(&target).expect("mkdir");
    run("mount", &["-t", "tmpfs", "tmpfs", text(&target)]);
    target
}

fn archive_in(root: &Path, bytes: &[u8]) -> PathBuf {
    let file = root.join("archive.tar");
    fs::write(&file, bytes).expect("write");
    file
}

/// Three directories with a file each. Whether they are listed in the order of their creation or in reverse order, 'c'
/// is not the first.
fn three_directories() -> Vec<u8> {
    let mut raw = Raw::default();
    for name in ["d", "c", "e"] {
        raw = raw.directory(name).file(&format!("{name}/new"), b"new");
    }
    raw.end()
}

/// Creates these files in the target, like another process.
fn write_theirs(target: &Path, names: &[&str]) {
    for name in names {
        let path = target.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        fs::write(path, "theirs").expect("write");
    }
}

fn assert_theirs(target: &Path, names: &[&str], what: &str) {
    for name in names {
        let bytes = fs::read(target.join(name)).ok();
        assert_eq!(bytes.as_deref(), Some(&b"theirs"[..]), "{what}: {name}");
    }
}

/// Checks that the three directories exist, except those in whose place another process has created a file.
fn assert_three_directories(target: &Path, theirs: &[&str], what: &str) {
    for name in ["d", "c", "e"] {
        let bytes = fs::read(target.join(name).join("new")).ok();
        let wanted = (!theirs.contains(&name)).then_some(&b"new"[..]);
        assert_eq!(bytes.as_deref(), wanted, "{what}: {name}");
    }
}

/// Checks a sweep. A child that ends leaves the rest of its stage to the next call.
fn assert_swept(target: &Path, what: &str) {
    commit::sweep(target).expect("swept");
    assert_eq!(litter(target), Vec::<PathBuf>::new(), "{what}");
}

/// Whether any file below has this content and a path with this end, including warmswap's own directories.
fn is_somewhere(directory: &Path, end: &str, bytes: &str) -> bool {
    let mut paths = fs::read_dir(directory)
        .expect("readdir")
        .map(|entry| entry.expect("entry").path());
    paths.any(|path| {
        if path.is_dir() && !path.is_symlink() {
            is_somewhere(&path, end, bytes)
        } else {
            path.ends_with(end) && fs::read(&path).is_ok_and(|found| found == bytes.as_bytes())
        }
    })
}

fn assert_nothing_old_is_lost(target: &Path, ends: &[&str], what: &str) {
    for end in ends {
        assert!(is_somewhere(target, end, "old"), "{what}: {end} no longer exists");
    }
}

/// Content of a target without warmswap's own names. The times of directories change when a commit is rolled back.
fn content(target: &Path) -> String {
    let all = without_times(&describe(target));
    let theirs = all.lines().filter(|line| !line.starts_with(".warmswap-"));
    theirs.collect::<Vec<_>>().join("\n")
}

/// Point at which the three old entries of the target were moved out, and no new one was moved in.
const BETWEEN: &str = "4:HOLD:renameat2";
/// Content that [`fill`] creates.
const OLD_FILES: [&str; 3] = ["d/deep/file", "old/file", "kept"];

#[test]
fn an_old_entry_whose_name_is_reused_is_never_deleted() {
    with_own_mounts(|root| {
        let file = archive_in(root, &archive());
        for (name, is_killed) in [("kept", false), ("kept", true), ("d", false), ("d", true)] {
            let what = format!("'{name}', killed: {is_killed}");
            let target = mounted(root.join(format!("{name}-{is_killed}")));
            fill(&target);
            let held = Held::start(&[file.as_path(), &target, Path::new("replace")], BETWEEN);
            write_theirs(&target, &[name]);
            if is_killed {
                held.kill();
                commit::sweep(&target).expect("swept");
            } else {
                let (said, _) = held.release();
                assert!(said.contains(':'), "{what}: {said}");
            }
            assert_theirs(&target, &[name], &what);
            assert_nothing_old_is_lost(&target, &OLD_FILES, &what);
            let again = unpack(&target, TargetMode::Replace).expect("restored");
            assert_eq!(again.method, CommitMethod::Children, "{what}");
            assert!(is_new(&target), "{what}");
        }
    });
}

#[test]
fn nothing_old_is_deleted_if_the_rollback_is_killed_too() {
    with_own_mounts(|root| {
        let (file, target) = (archive_in(root, &archive()), mounted(root.join("mounted")));
        fill(&target);
        let held = Held::start(&[file.as_path(), &target, Path::new("replace")], BETWEEN);
        write_theirs(&target, &["kept"]);
        held.kill();
        // Everything that can be moved back was moved back, but that is not recorded yet.
        let sweeper = child()
            .args([file.as_path(), &target, Path::new("replace")])
            .env("WARMSWAP_FAULT", "1:KILL:unlinkat:/journal")
            .output()
            .expect("started");
        assert!(!sweeper.status.success(), "it was not killed: {sweeper:?}");
        commit::sweep(&target).expect("swept");
        assert_theirs(&target, &["kept"], "killed twice");
        assert_nothing_old_is_lost(&target, &OLD_FILES, "killed twice");
        unpack(&target, TargetMode::Replace).expect("restored");
        assert!(is_new(&target));
    });
}

/// A commit that waited for another one, which was killed in the meantime. Without the rollback, the next sweep would
/// roll the killed one back over its tree.
#[test]
fn a_commit_after_a_killed_commit_rolls_it_back_first() {
    with_own_mounts(|root| {
        let (file, target) = (archive_in(root, &archive()), mounted(root.join("mounted")));
        fill(&target);
        let held = Held::start(&[file.as_path(), &target, Path::new("replace")], BETWEEN);
        let stage = StagedTree::beside(&target, TargetMode::Replace).expect("a stage");
        fs::write(stage.path().join("mine"), "mine").expect("write");
        held.kill();
        drop(stage.commit(&Gate::new()).expect("committed"));
        commit::sweep(&target).expect("swept");
        assert_eq!(describe(&target).lines().count(), 1, "{}", describe(&target));
        assert_eq!(fs::read_to_string(target.join("mine")).expect("mine"), "mine");
    });
}

/// The root of a volume, as an older version or tar has packed it.
#[test]
fn lost_and_found_of_an_archive_is_not_moved_into_a_mount_point() {
    with_own_mounts(|root| {
        let target = mounted(root.join("mounted"));
        fs::create_dir(target.join("lost+found")).expect("mkdir");
        for mode in [TargetMode::IfEmpty, TargetMode::Replace, TargetMode::Replace] {
            let stage = StagedTree::beside(&target, mode).expect("a stage");
            fs::create_dir(stage.path().join("lost+found")).expect("mkdir");
            fs::write(stage.path().join("mine"), "mine").expect("write");
            drop(stage.commit(&Gate::new()).expect("committed"));
            assert!(target.join("lost+found").is_dir() && target.join("mine").is_file());
        }
    });
}

/// An entry that another process creates in place of a new child must survive the rollback.
#[test]
fn a_failed_commit_by_children_rolls_back_only_its_own_entries() {
    with_own_mounts(|root| {
        let (file, target) = (
            archive_in(root, &three_directories()),
            mounted(root.join("mounted")),
        );
        for name in ["d", "c", "e"] {
            fs::create_dir(target.join(name)).expect("mkdir");
            fs::write(target.join(name).join("file"), "old").expect("write");
        }
        let held = Held::start(&[file.as_path(), &target, Path::new("replace")], BETWEEN);
        let theirs = ["d/mine", "c", "e/mine"];
        write_theirs(&target, &theirs);
        let (said, _) = held.release();
        assert!(said.contains(':'), "{said}");
        assert_theirs(&target, &theirs, &said);
        assert_nothing_old_is_lost(&target, &["d/file", "c/file", "e/file"], &said);
    });
}

/// Times at which another process creates files in an empty mount point after a commit has inspected it, and the files:
/// without a journal, and before the first entry is moved in.
fn meanwhile() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    const MOMENTS: [&str; 2] = ["1:HOLD:mkdirat:/old", "1:HOLD:renameat2"];
    const FILES: [&[&str]; 2] = [&["mine"], &["d/mine", "c", "e/mine"]];
    MOMENTS
        .into_iter()
        .flat_map(|moment| FILES.map(|files| (moment, files)))
}

#[test]
fn a_merge_into_an_empty_mount_point_keeps_concurrently_created_entries() {
    with_own_mounts(|root| {
        let file = archive_in(root, &three_directories());
        for (round, (moment, theirs)) in meanwhile().enumerate() {
            let what = format!("{theirs:?} at {moment}");
            let target = mounted(root.join(round.to_string()));
            let held = Held::start(&[file.as_path(), &target, Path::new("merge")], moment);
            write_theirs(&target, theirs);
            let (said, _) = held.release();
            assert!(!said.contains(':'), "{what}: {said}");
            assert_theirs(&target, theirs, &what);
            assert_three_directories(&target, theirs, &what);
            assert_swept(&target, &what);
        }
    });
}

#[test]
fn a_restore_into_an_empty_mount_point_keeps_concurrently_created_entries() {
    with_own_mounts(|root| {
        let file = archive_in(root, &three_directories());
        for (round, (moment, theirs)) in meanwhile().enumerate() {
            let what = format!("{theirs:?} at {moment}");
            let target = mounted(root.join(round.to_string()));
            let held = Held::start(&[file.as_path(), &target, Path::new("if-empty")], moment);
            write_theirs(&target, theirs);
            let before = content(&target);
            let (said, _) = held.release();
            assert_theirs(&target, theirs, &what);
            if said.starts_with("target-not-empty:") {
                assert_eq!(content(&target), before, "{what}");
            } else {
                assert_eq!(said, "children\n", "{what}");
                assert!(!theirs.contains(&"c"), "{what}: 'c' is not from the archive");
                assert_three_directories(&target, theirs, &what);
            }
            assert_swept(&target, &what);
        }
    });
}

#[test]
fn a_commit_that_waits_for_another_one_can_still_be_cancelled() {
    with_own_mounts(|root| {
        let target = mounted(root.join("mounted"));
        let stage = StagedTree::beside(&target, TargetMode::Replace).expect("a stage");
        let other = fs::File::open(&target).expect("open");
        other.lock().expect("locked");
        let gate = Gate::new();
        let failure = stage.commit(&gate).expect_err("another one commits");
        assert_eq!(failure.cause, Cause::Busy);
        assert!(gate.close(), "it passed the gate before it could commit");
    });
}

/// Each state in which a removal can be interrupted leaves a stage that the next sweep removes and never rolls back.
#[test]
fn an_interrupted_removal_is_finished_by_the_next_sweep() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let (target, file) = (root.path().join("target"), root.path().join("archive.tar"));
    fs::write(&file, archive()).expect("write");
    fill(&target);
    let count = calls(&file, &target, "replace");
    // The old tree is removed after the call has returned. The end of the process can interrupt that too.
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
            "killed at {point}: the restored tree no longer exists"
        );
        assert_eq!(litter(root.path()), Vec::<PathBuf>::new(), "killed at {point}");
    }
}
