//! Other users of the machine: what they put next to a target or into a store is not acted on, and nothing that they
//! can put there blocks a call. Also the honest side: what users who share a directory can do.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, makedev, mknodat};
use warmswap::core::archives::ExtractOptions;
use warmswap::core::archives::commit::{CommitWay, Gate, Mode};
use warmswap::core::archives::failure::Outcome;
use warmswap::core::archives::pipeline;
use warmswap::core::archives::tree::Tree;
use warmswap::core::caches::stamp;
use warmswap::core::error::Code;

use super::support::{Raw, describe};

const STRANGER: u32 = 12345;
const NOBODY: u32 = 65534;
/// A call that waits for a stranger's pipe never ends; one that does not is done in milliseconds.
const BLOCKED: Duration = Duration::from_secs(20);

fn archive() -> Vec<u8> {
    Raw::default()
        .file("new.txt", b"new")
        .file("d/new.txt", b"new")
        .end()
}

/// A directory of one test with the program for other users in it. Only root can play several users.
struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "CI must run as root");
            eprintln!("SKIPPED: only root can run a child as another user");
            return None;
        }
        let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
        // By cp: a child that another test starts in the meantime would inherit this process's descriptor of the copy,
        // which cannot be run while anybody may write to it (ETXTBSY).
        let copied = Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_archive-child"))
            .arg(root.path())
            .status();
        assert!(copied.expect("started").success());
        fs::write(root.path().join("archive.tar"), archive()).expect("write");
        set_mode(root.path(), 0o755);
        Some(Self { root })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A directory of this owner.
    fn directory(&self, name: &str, owner: u32, mode: u32) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("mkdir");
        own(&path, owner);
        set_mode(&path, mode);
        path
    }

    /// Runs the program as this user.
    fn child(&self, user: u32, arguments: &[&Path]) -> String {
        said(
            Command::new(self.path("archive-child"))
                .args(arguments)
                .env("TMPDIR", "/dev/shm")
                .uid(user)
                .gid(user),
        )
    }

    fn unpack_as(&self, user: u32, target: &Path, mode: &str) -> String {
        self.child(user, &[&self.path("archive.tar"), target, Path::new(mode)])
    }
}

/// What a program prints. It must end by itself.
fn said(command: &mut Command) -> String {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("started");
    let since = Instant::now();
    while child.try_wait().expect("a child of ours").is_none() {
        if since.elapsed() > BLOCKED {
            child.kill().expect("a child of ours");
            panic!("{command:?} blocks");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let output = child.wait_with_output().expect("a child of ours");
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

fn own(path: &Path, owner: u32) {
    std::os::unix::fs::lchown(path, Some(owner), Some(owner)).expect("chown");
}

fn own_all(path: &Path, owner: u32) {
    own(path, owner);
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).expect("readdir") {
            own_all(&entry.expect("entry").path(), owner);
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// Runs a call that a pipe could block without end.
fn unblocked<T: Send + 'static>(what: &str, call: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || drop(sender.send(call())));
    receiver
        .recv_timeout(BLOCKED)
        .unwrap_or_else(|_| panic!("{what}: it blocks or panics"))
}

fn unpack(target: &Path, mode: Mode) -> Result<CommitWay, String> {
    let target = target.to_path_buf();
    unblocked("unpack", move || {
        pipeline::unpack(
            archive().as_slice(),
            &target,
            mode,
            &ExtractOptions::default(),
            &Gate::new(),
        )
        .map(|unpacked| unpacked.way)
        .map_err(|(_, failure)| format!("{:?}: {failure}", failure.error.code))
    })
}

/// The name of a stage of this target, as a process makes it.
fn stage_of(target: &Path) -> PathBuf {
    let name = target.file_name().expect("a name");
    let hash = blake3::hash(name.as_encoded_bytes()).to_hex();
    target.with_file_name(format!(".warmswap-stage-{}-ffffffffffff", &hash[..16]))
}

/// A stage whose process was killed after the old children had left the target: `mine.txt` came in since, and the old
/// ones are in `old/`.
fn plant(target: &Path, names: &str) -> PathBuf {
    let stage = stage_of(target);
    fs::create_dir_all(stage.join("old/.bin")).expect("mkdir");
    fs::create_dir(stage.join("tree")).expect("mkdir");
    fs::write(stage.join("old/evil.js"), "evil").expect("write");
    fs::write(stage.join("old/.bin/tsc"), "evil").expect("write");
    fs::write(stage.join("owner"), "").expect("write");
    fs::write(stage.join("journal"), format!("warmswap-children 1\n{names}")).expect("write");
    stage
}

#[test]
fn b1_a_strangers_stage_is_left_alone() {
    let Some(machine) = Machine::new() else { return };
    for user in [0, NOBODY] {
        for mode in ["if-empty", "replace", "merge"] {
            let parent = machine.directory(&format!("{user}-{mode}"), 0, 0o1777);
            let target = parent.join("target");
            fs::create_dir(&target).expect("mkdir");
            fs::write(target.join("mine.txt"), "mine").expect("write");
            own_all(&target, user);
            let stage = plant(&target, "mine.txt\0");
            own_all(&stage, STRANGER);
            set_mode(&stage, 0o777);
            let before = describe(&stage);
            let said = machine.unpack_as(user, &target, mode);
            let what = format!("{mode} as {user}: {said}");
            assert!(
                !target.join("evil.js").exists() && !target.join(".bin").exists(),
                "{what}"
            );
            assert_eq!(target.join("mine.txt").exists(), mode != "replace", "{what}");
            assert_eq!(target.join("new.txt").exists(), mode != "if-empty", "{what}");
            assert_eq!(describe(&stage), before, "{what}");
        }
    }
}

/// In a directory that only its owner can write to, a stage is the owner's own affair, also for root. It still cannot
/// lead out of the target.
#[test]
fn b1_names_of_a_journal_are_single_components() {
    let Some(machine) = Machine::new() else { return };
    for (round, names) in [
        "../outside.txt\0",
        "d/mine.txt\0",
        "/etc/hostname\0",
        "..\0",
        ".\0",
        "mine.txt\0\0",
        "mine.txt\0cut",
    ]
    .into_iter()
    .enumerate()
    {
        let parent = machine.directory(&format!("project-{round}"), STRANGER, 0o755);
        let target = parent.join("target");
        fs::create_dir_all(target.join("d")).expect("mkdir");
        fs::write(target.join("d/mine.txt"), "mine").expect("write");
        fs::write(target.join("mine.txt"), "mine").expect("write");
        fs::write(parent.join("outside.txt"), "outside").expect("write");
        let stage = plant(&target, names);
        own_all(&parent, STRANGER);
        let (before, planted) = (describe(&target), describe(&stage));
        let refused = unpack(&target, Mode::IfEmpty).expect_err("full");
        assert!(refused.contains("is not empty"), "{names:?}: {refused}");
        assert_eq!(describe(&target), before, "{names:?}");
        assert_eq!(describe(&stage), planted, "{names:?}");
        assert_eq!(
            unpack(&target, Mode::Replace),
            Ok(CommitWay::Exchange),
            "{names:?}"
        );
        assert!(parent.join("outside.txt").exists(), "{names:?}");
    }
}

#[test]
fn b1_a_trusted_stage_is_taken_back() {
    let Some(machine) = Machine::new() else { return };
    for (parent_mode, owner) in [(0o755, STRANGER), (0o2775, STRANGER), (0o1777, 0)] {
        let parent = machine.directory(&format!("{parent_mode:o}"), owner, parent_mode);
        let target = parent.join("target");
        fs::create_dir(&target).expect("mkdir");
        fs::write(target.join("mine.txt"), "new").expect("write");
        let stage = plant(&target, "mine.txt\0");
        own_all(&stage, owner);
        let refused = unpack(&target, Mode::IfEmpty).expect_err("full");
        assert!(refused.contains("is not empty"), "{parent_mode:o}: {refused}");
        assert!(
            target.join("evil.js").exists() && !target.join("mine.txt").exists(),
            "{parent_mode:o}"
        );
        assert!(!stage.exists(), "{parent_mode:o}");
    }
}

/// What the owner of a project plants in it must not change directories of others there.
#[test]
fn b1_a_stage_opens_and_fills_no_directory_of_another_user() {
    let Some(machine) = Machine::new() else { return };
    let parent = machine.directory("project", STRANGER, 0o755);
    let target = parent.join("target");
    fs::create_dir(&target).expect("mkdir");
    let stage = plant(&target, "");
    for (name, mode) in [("private", 0o777), ("open", 0o755)] {
        fs::create_dir(stage.join("old").join(name)).expect("mkdir");
        fs::write(stage.join("old").join(name).join("evil.js"), "evil").expect("write");
        set_mode(&stage.join("old").join(name), mode);
        fs::create_dir(target.join(name)).expect("mkdir");
    }
    own_all(&parent, STRANGER);
    own(&target.join("private"), 0);
    set_mode(&target.join("private"), 0o700);
    let refused = unpack(&target, Mode::IfEmpty).expect_err("full");
    assert!(refused.contains("is not empty"), "{refused}");
    assert!(
        target.join("open/evil.js").exists(),
        "its own directory is filled"
    );
    let private = fs::metadata(target.join("private")).expect("stat");
    assert_eq!((private.mode() & 0o7777, private.uid()), (0o700, 0));
    assert!(!target.join("private/evil.js").exists());
    let mut kept = fs::read_dir(&parent)
        .expect("readdir")
        .map(|entry| entry.expect("entry").path());
    assert!(
        kept.any(|path| path.join("private/evil.js").exists()),
        "what was not put back is kept"
    );
}

/// Deeper than a stack is.
#[test]
fn b1_a_stage_of_20_000_levels_neither_crashes_nor_blocks() {
    let Some(machine) = Machine::new() else { return };
    let parent = machine.directory("project", 0, 0o755);
    let target = parent.join("target");
    fs::create_dir(&target).expect("mkdir");
    let stage = plant(&target, "");
    let script = "import os, sys\nfor path in sys.argv[1:]:\n    os.chdir(path)\n    for _ in range(20000):\n        os.mkdir('d')\n        os.chdir('d')\n";
    let made = Command::new("python3")
        .args(["-c", script])
        .args([&target, &stage.join("old")])
        .status();
    assert!(made.expect("started").success());
    let target_path = target.clone();
    let result = unblocked("unpack", move || {
        pipeline::unpack(
            archive().as_slice(),
            &target_path,
            Mode::IfEmpty,
            &ExtractOptions::default(),
            &Gate::new(),
        )
        .map_err(|(_, failure)| failure.outcome)
    });
    assert_eq!(result.expect_err("full"), Outcome::TargetNotEmpty);
    // Not this test's own recursion.
    let removed = Command::new("rm").arg("-rf").arg(&parent).status();
    assert!(removed.expect("started").success());
}

#[test]
fn b4_a_stage_with_a_link_in_place_of_one_of_its_directories_is_left_alone() {
    let Some(machine) = Machine::new() else { return };
    for name in ["old", "tree"] {
        let parent = machine.directory(name, 0, 0o755);
        let (target, outside) = (parent.join("target"), parent.join("outside"));
        fs::create_dir(&target).expect("mkdir");
        fs::write(target.join("mine.txt"), "mine").expect("write");
        fs::create_dir(&outside).expect("mkdir");
        fs::write(outside.join("kept"), "kept").expect("write");
        let stage = plant(&target, "mine.txt\0");
        fs::remove_dir_all(stage.join(name)).expect("rm");
        std::os::unix::fs::symlink(&outside, stage.join(name)).expect("symlink");
        assert_eq!(unpack(&target, Mode::Replace), Ok(CommitWay::Exchange), "{name}");
        assert_eq!(fs::read_dir(&outside).expect("readdir").count(), 1, "{name}");
        assert!(
            outside.join("kept").exists() && stage.join(name).is_symlink(),
            "{name}"
        );
    }
}

/// The ways in which a name can be taken by something else.
const IMPOSTORS: [&str; 6] = ["pipe", "directory", "link", "dangling link", "device", "socket"];

/// Puts something that is no file of ours at a path.
fn impersonate(path: &Path, how: &str, outside: &Path) {
    drop(fs::remove_dir_all(path));
    drop(fs::remove_file(path));
    let node = |kind, device| {
        mknodat(CWD, path, kind, rustix::fs::Mode::from_raw_mode(0o666), device).expect("mknod");
    };
    match how {
        "pipe" => node(FileType::Fifo, 0),
        "device" => node(FileType::CharacterDevice, makedev(1, 3)),
        "socket" => node(FileType::Socket, 0),
        "directory" => fs::create_dir(path).expect("mkdir"),
        "link" => std::os::unix::fs::symlink(outside, path).expect("symlink"),
        _ => std::os::unix::fs::symlink(outside.with_extension("absent"), path).expect("symlink"),
    }
}

#[test]
fn b4_nothing_in_place_of_a_stage_or_a_part_of_it_blocks_a_restore() {
    let Some(machine) = Machine::new() else { return };
    let outside = machine.path("outside");
    fs::write(&outside, "outside").expect("write");
    let places = ["", "owner", "journal", "journal.new", "old", "tree", "done"];
    for (round, (place, how)) in places
        .iter()
        .flat_map(|place| IMPOSTORS.map(|how| (place, how)))
        .enumerate()
    {
        let parent = machine.directory(&format!("b4-{round}"), 0, 0o755);
        let target = parent.join("target");
        fs::create_dir(&target).expect("mkdir");
        fs::write(target.join("mine.txt"), "mine").expect("write");
        let stage = plant(&target, "mine.txt\0");
        let path = if place.is_empty() {
            stage.clone()
        } else {
            stage.join(place)
        };
        impersonate(&path, how, &outside);
        let way = unpack(&target, Mode::Replace);
        assert!(way.is_ok(), "a {how} in place of '{place}': {way:?}");
        assert_eq!(
            fs::read(target.join("new.txt")).ok().as_deref(),
            Some(&b"new"[..])
        );
        assert_eq!(
            fs::read(&outside).expect("read"),
            b"outside",
            "a {how} in place of '{place}'"
        );
        assert!(
            !outside.with_extension("absent").exists(),
            "a {how} in place of '{place}'"
        );
    }
}

/// What every user can do in a directory like `/tmp`.
#[test]
fn b3_nothing_of_a_strangers_keeps_a_restore_from_its_target() {
    let Some(machine) = Machine::new() else { return };
    let outside = machine.path("outside");
    fs::write(&outside, "outside").expect("write");
    for (round, how) in IMPOSTORS.into_iter().chain(["file", "locked"]).enumerate() {
        let parent = machine.directory(&format!("b3-{round}"), 0, 0o1777);
        let target = parent.join("target");
        let stamp = stamp::path_of(&target).expect("a path");
        let mut new_stamp = stamp.clone().into_os_string();
        new_stamp.push(".new");
        for path in [stage_of(&target), stamp, PathBuf::from(new_stamp)] {
            match how {
                "file" => fs::write(&path, "file").expect("write"),
                "locked" => {
                    fs::create_dir(&path).expect("mkdir");
                    set_mode(&path, 0);
                }
                how => impersonate(&path, how, &outside),
            }
            own(&path, STRANGER);
        }
        let before = describe_names(&parent);
        for user in [NOBODY, 0] {
            drop(fs::remove_dir_all(&target));
            let said = machine.unpack_as(user, &target, "if-empty");
            assert_eq!(said, "rename\n", "a stranger's {how}, as {user}");
        }
        fs::remove_dir_all(&target).expect("rm");
        assert_eq!(describe_names(&parent), before, "a stranger's {how}");
    }
}

/// The stranger's own entries. A child that ends leaves the rest of its stage to the next call.
fn describe_names(directory: &Path) -> Vec<(PathBuf, u64)> {
    let entries = fs::read_dir(directory).expect("readdir");
    let mut all: Vec<_> = entries
        .map(|entry| entry.expect("entry").path())
        .filter_map(|path| {
            let stat = fs::symlink_metadata(&path).expect("stat");
            (stat.uid() == STRANGER).then(|| (path, stat.ino()))
        })
        .collect();
    all.sort();
    all
}

#[test]
fn b3_a_strangers_stamp_is_not_believed() {
    let Some(machine) = Machine::new() else { return };
    for (mode, owner, is_believed) in [
        (0o1777, STRANGER, false),
        (0o777, STRANGER, false),
        (0o1777, 0, true),
        (0o755, STRANGER, true),
        (0o2775, STRANGER, true),
    ] {
        let what = format!("of {owner} in a directory with mode {mode:o}");
        let parent = machine.directory(&format!("{owner}-{mode:o}"), 0, mode);
        let target = parent.join("target");
        fs::create_dir(&target).expect("mkdir");
        stamp::write(&target, "g1", &Tree::new()).expect("a stamp");
        let path = stamp::path_of(&target).expect("a path");
        own(&path, owner);
        let found = stamp::read(&target).expect("readable");
        assert_eq!(found.is_some(), is_believed, "{what}");
        let before = fs::read(&path).expect("read");
        let written = stamp::write(&target, "g2", &Tree::new());
        if is_believed {
            written.expect("replaced");
            continue;
        }
        let error = written.expect_err("a stranger's");
        assert_eq!(error.code, Code::Untrusted, "{what}");
        assert!(
            error.message.contains("12345") && error.message.contains(".warmswap-stamp-"),
            "{error}"
        );
        assert_eq!(fs::read(&path).expect("read"), before, "{what}");
    }
}

#[test]
fn b4_nothing_in_place_of_a_stamp_is_followed_or_blocks() {
    let Some(machine) = Machine::new() else { return };
    let outside = machine.path("outside");
    fs::write(&outside, "outside").expect("write");
    let parent = machine.directory("b4-stamp", 0, 0o755);
    let target = parent.join("target");
    fs::create_dir(&target).expect("mkdir");
    let stamp_path = stamp::path_of(&target).expect("a path");
    let new_stamp = PathBuf::from(format!("{}.new", stamp_path.display()));
    for path in [&stamp_path, &new_stamp] {
        for how in IMPOSTORS {
            impersonate(path, how, &outside);
            let target = target.clone();
            let (read, written) = unblocked(how, move || {
                (
                    stamp::read(&target).map(|stamp| stamp.is_some()),
                    stamp::write(&target, "g1", &Tree::new()),
                )
            });
            assert!(!matches!(read, Ok(true)), "a {how} at {path:?}");
            assert!(written.is_err(), "a {how} at {path:?}");
            assert_eq!(
                fs::read(&outside).expect("read"),
                b"outside",
                "a {how} at {path:?}"
            );
            assert!(!outside.with_extension("absent").exists(), "a {how} at {path:?}");
        }
        drop(fs::remove_file(path));
    }
    // A further name of somebody's file.
    fs::hard_link(&outside, &new_stamp).expect("link");
    stamp::write(&target, "g1", &Tree::new()).expect_err("a hard link");
    assert_eq!(fs::read(&outside).expect("read"), b"outside");
}

#[test]
fn b1_a_link_of_a_strangers_is_no_target() {
    let Some(machine) = Machine::new() else { return };
    let parent = machine.directory("links", 0, 0o1777);
    let real = machine.directory("real", 0, 0o755);
    fs::write(real.join("kept"), "kept").expect("write");
    let link = parent.join("target");
    std::os::unix::fs::symlink(&real, &link).expect("symlink");
    own(&link, STRANGER);
    let refused = unpack(&link, Mode::Replace).expect_err("a stranger's link");
    assert!(
        refused.starts_with("Untrusted") && refused.contains("uid 12345"),
        "{refused}"
    );
    assert!(real.join("kept").exists());
    own(&link, 0);
    assert_eq!(unpack(&link, Mode::Replace), Ok(CommitWay::Exchange));
    assert!(link.is_symlink() && real.join("new.txt").exists());
}

/// The mode of a target is kept, but a stranger must not choose that everybody may write to a tree of ours.
#[test]
fn b1_a_strangers_directory_does_not_open_the_tree_to_others() {
    let Some(machine) = Machine::new() else { return };
    for (parent_mode, kept) in [(0o1777, 0o755), (0o755, 0o777)] {
        let parent = machine.directory(&format!("modes-{parent_mode:o}"), 0, parent_mode);
        let target = parent.join("target");
        fs::create_dir(&target).expect("mkdir");
        own(&target, STRANGER);
        set_mode(&target, 0o777);
        unpack(&target, Mode::Replace).expect("restored");
        let stat = fs::metadata(&target).expect("stat");
        assert_eq!((stat.mode() & 0o7777, stat.uid()), (kept, 0), "{parent_mode:o}");
    }
}

#[test]
fn honest_root_and_a_user_take_turns_in_the_users_project() {
    let Some(machine) = Machine::new() else { return };
    let project = machine.directory("project", 1000, 0o755);
    let (target, fresh) = (project.join("target"), project.join("fresh"));
    assert_eq!(machine.unpack_as(1000, &target, "if-empty"), "rename\n");
    assert_eq!(machine.unpack_as(0, &target, "replace"), "exchange\n");
    assert_eq!(fs::metadata(&target).expect("stat").uid(), 0);
    let said = machine.unpack_as(1000, &target, "replace");
    assert!(
        said.starts_with("denied:") && said.contains("belongs to uid 0"),
        "{said}"
    );
    assert!(target.join("new.txt").exists());
    assert_eq!(machine.unpack_as(1000, &fresh, "if-empty"), "rename\n");
    // The owner of the directory may always remove an empty one.
    fs::remove_dir_all(&target).expect("rm");
    fs::create_dir(&target).expect("mkdir");
    assert_eq!(machine.unpack_as(1000, &target, "if-empty"), "rename\n");
}

#[test]
fn honest_a_cache_restored_by_root_is_unchanged_for_its_user() {
    let Some(machine) = Machine::new() else { return };
    let (store, tree) = (
        machine.directory("store", 0, 0o755),
        machine.directory("tree", 0, 0o755),
    );
    fs::write(tree.join("file"), "x".repeat(3000)).expect("write");
    let (snapshot, restore) = (Path::new("snapshot"), Path::new("restore"));
    assert_eq!(machine.child(0, &[snapshot, &store, &tree]), "uploaded\n");
    for parent_mode in [0o755, 0o1777] {
        let parent = machine.directory(&format!("app-{parent_mode:o}"), 1000, parent_mode);
        let target = parent.join("target");
        assert_eq!(machine.child(0, &[restore, &store, &target]), "restored\n");
        assert_eq!(machine.child(1000, &[restore, &store, &target]), "unchanged\n");
        fs::write(target.join("file"), "edited").expect("write");
        let said = machine.child(1000, &[restore, &store, &target]);
        assert!(
            said.starts_with("denied: ") && said.contains("belongs to uid 0"),
            "{said}"
        );
        assert_eq!(machine.child(0, &[restore, &store, &target]), "restored\n");
    }
}

/// Two users of one group with umask 002, as in a shared project folder.
#[test]
fn honest_a_setgid_directory_is_shared_by_its_group() {
    const GROUP: u32 = 4242;
    let Some(machine) = Machine::new() else { return };
    let shared = machine.directory("shared", 0, 0o755);
    std::os::unix::fs::chown(&shared, Some(0), Some(GROUP)).expect("chown");
    set_mode(&shared, 0o2775);
    let target = shared.join("target");
    let mut ways = Vec::new();
    for user in ["1001", "1002", "1001", "1002"] {
        let mut setpriv = Command::new("setpriv");
        setpriv.args([
            &format!("--reuid={user}"),
            "--regid=4242",
            "--clear-groups",
            "sh",
            "-c",
        ]);
        setpriv.args(["umask 002; exec \"$@\"", "sh"]);
        setpriv.args([
            machine.path("archive-child"),
            machine.path("archive.tar"),
            target.clone(),
        ]);
        ways.push(said(setpriv.arg("replace")));
        let stat = fs::metadata(&target).expect("stat");
        assert_eq!(stat.gid(), GROUP, "{user}");
        assert_eq!(stat.mode() & 0o7777, 0o2775, "{user}");
    }
    assert_eq!(ways, ["rename\n", "exchange\n", "exchange\n", "exchange\n"]);
    // A tree of a user's own directories stays until that user sweeps it, and hinders nobody.
    let key = [Path::new("snapshot"), &shared.join("store"), &target];
    assert_eq!(machine.child(0, &key), "uploaded\n");
}

/// A user namespace shows users that it does not map as 65534.
#[test]
fn honest_owners_that_are_shown_as_65534() {
    let Some(machine) = Machine::new() else { return };
    let home = machine.directory("home", 1000, 0o755);
    let sticky = machine.directory("sticky", 0, 0o1777);
    let stage = plant(&sticky.join("target"), "mine.txt\0");
    own_all(&stage, STRANGER);
    set_mode(&stage, 0o777);
    let before = describe(&stage);
    for (flags, parent) in [("-Ur", &home), ("-U", &home), ("-Ur", &sticky)] {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--reuid=1000", "--regid=1000", "--clear-groups", "unshare", flags]);
        if !setpriv.arg("true").status().expect("started").success() {
            eprintln!("SKIPPED: no right to a user namespace");
            return;
        }
        for way in ["rename\n", "exchange\n"] {
            let mut setpriv = Command::new("setpriv");
            setpriv.args(["--reuid=1000", "--regid=1000", "--clear-groups", "unshare", flags]);
            setpriv.args([
                machine.path("archive-child"),
                machine.path("archive.tar"),
                parent.join("target"),
            ]);
            assert_eq!(
                said(setpriv.arg("replace")),
                way,
                "{flags} in {}",
                parent.display()
            );
        }
        fs::remove_dir_all(parent.join("target")).expect("rm");
    }
    assert_eq!(describe(&stage), before);
}

/// Mounts one directory at another one so that uid 1000 of the first is uid 0 there, and runs a command. Exits with 9
/// where the kernel or the filesystem has no such mounts; mount(8) has had them only since 2.39.
const MAPPED: &str = r"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result < 0:
        sys.stderr.write(os.strerror(ctypes.get_errno()))
        os._exit(9)
    return result
source, seen, *command = sys.argv[1:]
ready, go = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    check(libc.unshare(0x10000000))  # CLONE_NEWUSER
    os.write(ready[1], b'x')
    os.read(go[0], 1)
    os._exit(0)
os.read(ready[0], 1)
for name in ('uid_map', 'gid_map'):
    with open(f'/proc/{child}/{name}', 'w') as file:
        file.write('1000 0 1')
users = os.open(f'/proc/{child}/ns/user', os.O_RDONLY)
tree = check(libc.syscall(428, -100, source.encode(), 0x80001))  # open_tree(OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC)
attributes = (ctypes.c_uint64 * 4)(0x00100000, 0, 0, users)  # MOUNT_ATTR_IDMAP
check(libc.syscall(442, tree, b'', 0x1000, attributes, 32))  # mount_setattr(AT_EMPTY_PATH)
check(libc.syscall(429, tree, b'', -100, seen.encode(), 4))  # move_mount(MOVE_MOUNT_F_EMPTY_PATH)
os.write(go[1], b'x')
os.waitpid(child, 0)
os.execvp(command[0], command)
";

/// Owners are shifted by the mount: uid 1000 of the disk is uid 0 here.
#[test]
fn honest_a_mapped_bind_mount() {
    let Some(machine) = Machine::new() else { return };
    let disk = machine.directory("disk", 1000, 0o1777);
    let seen = machine.directory("seen", 0, 0o755);
    let stage = plant(&disk.join("target"), "mine.txt\0");
    own_all(&stage, STRANGER);
    let target = seen.join("target");
    let output = Command::new("unshare")
        .args(["--mount", "python3", "-c", MAPPED])
        .args([&disk, &seen, Path::new("sh"), Path::new("-c")])
        .arg("\"$@\" && \"$@\"")
        .args([Path::new("sh"), &machine.path("archive-child")])
        .args([&machine.path("archive.tar"), &target, Path::new("replace")])
        .output()
        .expect("started");
    if output.status.code() == Some(9) {
        eprintln!(
            "SKIPPED: no mapped mounts here: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "rename\nexchange\n",
        "{output:?}"
    );
    assert_eq!(fs::metadata(disk.join("target")).expect("stat").uid(), 1000);
    assert!(stage.join("old/evil.js").exists());
}

/// A store that everybody may write to: what one user made is read by all, and replaced by none of the others.
#[test]
fn b3_a_strangers_part_of_a_folder_store_is_read_and_never_written() {
    let Some(machine) = Machine::new() else { return };
    let (store, tree) = (
        machine.directory("store", 0, 0o1777),
        machine.directory("tree", 0, 0o755),
    );
    fs::write(tree.join("file"), "x".repeat(3000)).expect("write");
    let (snapshot, restore) = (Path::new("snapshot"), Path::new("restore"));
    assert_eq!(machine.child(STRANGER, &[snapshot, &store, &tree]), "uploaded\n");
    let before = describe(&store.join("site"));
    fs::write(tree.join("file"), "y".repeat(4000)).expect("write");
    for user in [0, NOBODY] {
        let into = machine
            .directory(&format!("into-{user}"), user, 0o755)
            .join("target");
        assert_eq!(
            machine.child(user, &[restore, &store, &into]),
            "restored\n",
            "as {user}"
        );
        let said = machine.child(user, &[snapshot, &store, &tree]);
        assert!(
            said.starts_with("denied: ") && said.contains("uid 12345"),
            "as {user}: {said}"
        );
        assert_eq!(describe(&store.join("site")), before, "as {user}");
    }
    // Only the key is the stranger's: its lock file and its temporary directory hinder nobody.
    fs::remove_dir_all(store.join("site")).expect("rm");
    assert_eq!(machine.child(NOBODY, &[snapshot, &store, &tree]), "uploaded\n");
    assert_eq!(
        fs::metadata(store.join(".warmswap-tmp")).expect("stat").uid(),
        STRANGER
    );
}

#[test]
fn b4_nothing_in_place_of_a_file_of_a_store_is_followed_or_blocks() {
    let Some(machine) = Machine::new() else { return };
    let (outside, tree) = (machine.path("outside"), machine.directory("tree", 0, 0o755));
    fs::write(&outside, "outside").expect("write");
    fs::write(tree.join("file"), "x".repeat(3000)).expect("write");
    let (snapshot, restore) = (Path::new("snapshot"), Path::new("restore"));
    let store = machine.directory("store", 0, 0o755);
    for place in [
        ".warmswap-writers",
        ".warmswap-tmp",
        "site",
        "site/current.json",
        "site/blobs",
        "blob",
    ] {
        for how in IMPOSTORS {
            let what = format!("a {how} in place of {place}");
            fs::remove_dir_all(&store).expect("rm");
            fs::create_dir(&store).expect("mkdir");
            assert_eq!(
                machine.child(0, &[snapshot, &store, &tree]),
                "uploaded\n",
                "{what}"
            );
            let path = match place {
                "blob" => {
                    let mut blobs = fs::read_dir(store.join("site/blobs")).expect("readdir");
                    blobs.next().expect("a blob").expect("entry").path()
                }
                place => store.join(place),
            };
            impersonate(&path, how, &outside);
            fs::write(tree.join("file"), format!("{what:>3000}")).expect("write");
            let wrote = machine.child(0, &[snapshot, &store, &tree]);
            let read = machine.child(0, &[restore, &store, &machine.path("into")]);
            drop(fs::remove_dir_all(machine.path("into")));
            if place == ".warmswap-tmp" {
                assert_eq!((&*wrote, &*read), ("uploaded\n", "restored\n"), "{what}");
            }
            if place == ".warmswap-writers" {
                assert!(
                    wrote.starts_with("error: ") && wrote.contains(place),
                    "{what}: {wrote}"
                );
            }
            assert_eq!(
                fs::read(&outside).expect("read"),
                b"outside",
                "{what}: {wrote} {read}"
            );
            assert!(
                !outside.with_extension("absent").exists(),
                "{what}: {wrote} {read}"
            );
        }
    }
}
