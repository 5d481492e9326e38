//! archives/stays-in-the-target, archives/few-system-calls: system calls during the extraction of a hostile archive, as
//! strace reports them. Every name is a single path component, relative to an open directory of the stage.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::support::{Raw, describe, record};

/// Returns `false` with a message if strace is not installed. In CI that is a failure.
fn has_strace() -> bool {
    let is_there = Command::new("strace").arg("-V").output().is_ok();
    assert!(
        is_there || std::env::var_os("CI").is_none(),
        "strace must be installed in CI"
    );
    if !is_there {
        eprintln!("SKIPPED: strace is not installed");
    }
    is_there
}

/// Archives that try to write outside the stage, and one that does not.
fn archives(canary: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let outside = canary.to_str().expect("text");
    vec![
        (
            "innocent",
            Raw::default()
                .directory("d")
                .file("d/f", b"data")
                .file("large", &vec![7; 2 << 20])
                .symlink("l", "d/f")
                .hard_link("h", "d/f")
                .end(),
        ),
        (
            "an absolute path",
            Raw::default().file(&format!("{outside}/x"), b"evil").end(),
        ),
        ("a path up", Raw::default().file("../outside/kept", b"evil").end()),
        (
            "a path up in pax",
            Raw::default()
                .pax(&record("path", "../outside/kept"))
                .file("x", b"evil")
                .end(),
        ),
        (
            "through a link",
            Raw::default().symlink("l", outside).file("l/kept", b"evil").end(),
        ),
        (
            "mode through a link (RUSTSEC-2026-0067)",
            Raw::default().symlink("l", outside).directory("l").end(),
        ),
        (
            "through links to links",
            Raw::default()
                .symlink("a", "..")
                .symlink("b", "a/outside")
                .file("b/kept", b"evil")
                .end(),
        ),
        (
            "a hard link to outside",
            Raw::default().hard_link("h", &format!("{outside}/kept")).end(),
        ),
        (
            "a hard link through a link",
            Raw::default()
                .symlink("l", outside)
                .hard_link("h", "l/kept")
                .file("h", b"evil")
                .end(),
        ),
        (
            "a link in a directory's place",
            Raw::default()
                .directory("d")
                .file("d/f", b"x")
                .symlink("d", outside)
                .file("d/kept", b"evil")
                .end(),
        ),
        (
            "a file, then a child of it",
            Raw::default()
                .symlink("f", outside)
                .file("f", b"x")
                .file("f/kept", b"evil")
                .end(),
        ),
        (
            "links alone",
            Raw::default()
                .symlink("up", "../../../../etc")
                .symlink("kept", outside)
                .directory("d")
                .symlink("d/l", "../../outside/kept")
                .end(),
        ),
        (
            "a device",
            Raw::default().with(b'4', b"disk", b"", b"", |_| {}).end(),
        ),
        (
            "a pipe",
            Raw::default().with(b'6', b"pipe", b"", b"", |_| {}).end(),
        ),
        (
            "a neighbour whose name begins alike (CVE-2025-48387)",
            Raw::default().file("../tree2/x", b"evil").end(),
        ),
    ]
}

/// The quoted names of a traced call, without the text of a new symbolic link, which is data.
fn names(line: &str) -> Vec<&str> {
    let quoted: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
    if line.contains("symlinkat(") || line.contains("readlinkat(") {
        return quoted
            .into_iter()
            .skip(usize::from(line.contains("symlinkat(")))
            .take(1)
            .collect();
    }
    quoted
}

/// Whether an archive can influence the call. It cannot influence the checks of free disk space or of the number of
/// cores.
fn is_of_archive(line: &str) -> bool {
    !["statfs(", "\"/proc/self/", "\"/sys/fs/cgroup", "+++", "---"]
        .iter()
        .any(|other| line.contains(other))
}

#[test]
fn under_strace_every_name_is_one_component_in_an_open_directory() {
    if !has_strace() {
        return;
    }
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let canary = root.path().join("outside");
    fs::create_dir(&canary).expect("mkdir");
    fs::write(canary.join("kept"), "kept").expect("write");
    let before = describe(&canary);
    for (what, bytes) in archives(&canary) {
        let (archive, log) = (root.path().join("archive.tar"), root.path().join("log"));
        fs::write(&archive, bytes).expect("write");
        let target = root.path().join("target");
        drop(fs::remove_dir_all(&target));
        let output = Command::new("strace")
            .args(["-f", "-qq", "-s", "9999", "-e", "trace=%file", "-o"])
            .arg(&log)
            .arg(env!("CARGO_BIN_EXE_archive-child"))
            .args([&archive, &target, Path::new("if-empty")])
            .env("VERBATIM", "1")
            .output()
            .expect("started");
        assert!(output.status.success(), "{what}: {output:?}");
        assert_eq!(describe(&canary), before, "{what}: the canary changed");
        let log = fs::read_to_string(&log).expect("a log");
        // From the opening of the stage to the next call that names it as a whole: its commit or its removal.
        let is_whole = |line: &&str| line.contains("/.warmswap-stage-");
        let extraction: Vec<&str> = log
            .lines()
            .skip_while(|line| !(line.contains("\"tree\"") && line.contains("O_DIRECTORY")))
            .skip(1)
            .filter(|line| is_of_archive(line))
            .take_while(|line| !is_whole(line) && !line.contains(target.to_str().expect("text")))
            .collect();
        assert!(!extraction.is_empty(), "{what}: nothing was traced\n{log}");
        for line in extraction {
            assert!(
                !line.contains("AT_FDCWD"),
                "{what}: not relative to a directory: {line}"
            );
            for name in names(line) {
                assert!(
                    !name.contains('/') && name != "..",
                    "{what}: '{name}' is more than one component: {line}"
                );
            }
        }
        let names_canary = |line: &&str| line.contains("outside") && !line.contains("symlinkat(");
        assert_eq!(log.lines().find(names_canary), None, "{what}");
    }
}

/// Number of traced calls that use files or descriptors.
fn calls(root: &Path, files: u32) -> usize {
    let raw = (0..files).fold(Raw::default(), |raw, number| {
        raw.file(&format!("{number}.js"), b"export default 1")
    });
    let (archive, log, target) = (
        root.join("a.tar"),
        root.join("log"),
        root.join(format!("{files}")),
    );
    fs::write(&archive, raw.end()).expect("write");
    let status = Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=%file,%desc", "-o"])
        .arg(&log)
        .arg(env!("CARGO_BIN_EXE_archive-child"))
        .args([&archive, &target, Path::new("if-empty")])
        .status()
        .expect("started");
    assert!(status.success());
    let log = fs::read_to_string(&log).expect("a log");
    // strace prints a call that another thread interrupts as two lines. In debug builds, std checks descriptors with
    // fcntl.
    let is_ours = |line: &&str| !line.contains(" resumed>") && !line.contains("fcntl(");
    log.lines().filter(is_ours).count()
}

#[test]
fn at_most_four_filesystem_calls_per_file() {
    if !has_strace() {
        return;
    }
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let more = calls(root.path(), 2200) - calls(root.path(), 200);
    // The rest are reads of the archive, 256 KiB each.
    assert!(more < 4 * 2000 + 100, "{more} calls for 2000 files");
}
