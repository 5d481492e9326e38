//! Other users of the machine: entries that they put next to a target are not acted on, and none of them blocks a call.
//! Also the legitimate cases: users who share a directory.

// guarantee: archives/strangers-are-contained

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use warmswap::core::archives::ExtractOptions;
use warmswap::core::archives::commit::{CommitMethod, TargetMode};
use warmswap::core::failure::Cause;

use super::support::machine::{
    IMPOSTORS, Machine, NOBODY, STRANGER, archive, impersonate, own, own_all, said, set_mode, stage_of,
    unblocked,
};
use super::support::{describe, replace};

fn unpack(target: &Path, mode: TargetMode) -> Result<CommitMethod, String> {
    let target = target.to_path_buf();
    unblocked("unpack", move || {
        replace(&archive(), &target, mode, &ExtractOptions::default())
            .map(|unpacked| unpacked.method)
            .map_err(|failure| format!("{:?}: {failure}", failure.error.code))
    })
}

/// A stage whose process was killed after the old children had been moved out of the target. `mine.txt` was created
/// since, and the old children are in `old/`.
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
fn a_stage_of_an_untrusted_user_is_ignored() {
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

/// In a directory that only its owner can write to, a stage is trusted, even by root. It still cannot lead out of the
/// target.
#[test]
fn names_of_a_journal_are_single_components() {
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
        let refused = unpack(&target, TargetMode::IfEmpty).expect_err("full");
        assert!(refused.contains("is not empty"), "{names:?}: {refused}");
        assert_eq!(describe(&target), before, "{names:?}");
        assert_eq!(describe(&stage), planted, "{names:?}");
        assert_eq!(
            unpack(&target, TargetMode::Replace),
            Ok(CommitMethod::Exchange),
            "{names:?}"
        );
        assert!(parent.join("outside.txt").exists(), "{names:?}");
    }
}

#[test]
fn a_trusted_stage_is_rolled_back() {
    let Some(machine) = Machine::new() else { return };
    for (parent_mode, owner) in [(0o755, STRANGER), (0o2775, STRANGER), (0o1777, 0)] {
        let parent = machine.directory(&format!("{parent_mode:o}"), owner, parent_mode);
        let target = parent.join("target");
        fs::create_dir(&target).expect("mkdir");
        fs::write(target.join("mine.txt"), "new").expect("write");
        let stage = plant(&target, "mine.txt\0");
        own_all(&stage, owner);
        let refused = unpack(&target, TargetMode::IfEmpty).expect_err("full");
        assert!(refused.contains("is not empty"), "{parent_mode:o}: {refused}");
        assert!(
            target.join("evil.js").exists() && !target.join("mine.txt").exists(),
            "{parent_mode:o}"
        );
        assert!(!stage.exists(), "{parent_mode:o}");
    }
}

/// A stage that the owner of a project plants there must not change directories of other users.
#[test]
fn a_stage_opens_and_fills_no_directory_of_another_user() {
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
    let refused = unpack(&target, TargetMode::IfEmpty).expect_err("full");
    assert!(refused.contains("is not empty"), "{refused}");
    assert!(
        target.join("open/evil.js").exists(),
        "the user's own directory is filled"
    );
    let private = fs::metadata(target.join("private")).expect("stat");
    assert_eq!((private.mode() & 0o7777, private.uid()), (0o700, 0));
    assert!(!target.join("private/evil.js").exists());
    let mut kept = fs::read_dir(&parent)
        .expect("readdir")
        .map(|entry| entry.expect("entry").path());
    assert!(
        kept.any(|path| path.join("private/evil.js").exists()),
        "entries that were not moved back are kept"
    );
}

/// Deeper than any stack.
#[test]
fn a_stage_of_20_000_levels_neither_crashes_nor_blocks() {
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
        replace(
            &archive(),
            &target_path,
            TargetMode::IfEmpty,
            &ExtractOptions::default(),
        )
        .map_err(|failure| failure.cause)
    });
    assert_eq!(result.expect_err("full"), Cause::TargetNotEmpty);
    // rm is used, because the test's own removal is recursive.
    let removed = Command::new("rm").arg("-rf").arg(&parent).status();
    assert!(removed.expect("started").success());
}

#[test]
fn a_stage_with_a_link_in_place_of_a_directory_is_ignored() {
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
        assert_eq!(
            unpack(&target, TargetMode::Replace),
            Ok(CommitMethod::Exchange),
            "{name}"
        );
        assert_eq!(fs::read_dir(&outside).expect("readdir").count(), 1, "{name}");
        assert!(
            outside.join("kept").exists() && stage.join(name).is_symlink(),
            "{name}"
        );
    }
}

#[test]
fn no_entry_in_place_of_a_stage_blocks_a_restore() {
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
        let method = unpack(&target, TargetMode::Replace);
        assert!(method.is_ok(), "a {how} in place of '{place}': {method:?}");
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

#[test]
fn a_link_of_an_untrusted_user_is_not_a_target() {
    let Some(machine) = Machine::new() else { return };
    let parent = machine.directory("links", 0, 0o1777);
    let real = machine.directory("real", 0, 0o755);
    fs::write(real.join("kept"), "kept").expect("write");
    let link = parent.join("target");
    std::os::unix::fs::symlink(&real, &link).expect("symlink");
    own(&link, STRANGER);
    let refused = unpack(&link, TargetMode::Replace).expect_err("a stranger's link");
    assert!(
        refused.starts_with("Untrusted") && refused.contains("uid 12345"),
        "{refused}"
    );
    assert!(real.join("kept").exists());
    own(&link, 0);
    assert_eq!(unpack(&link, TargetMode::Replace), Ok(CommitMethod::Exchange));
    assert!(link.is_symlink() && real.join("new.txt").exists());
}

/// The mode of a target is kept, but an untrusted user must not make the tree writable for everybody.
#[test]
fn the_directory_of_an_untrusted_user_does_not_open_the_tree() {
    let Some(machine) = Machine::new() else { return };
    for (parent_mode, kept) in [(0o1777, 0o755), (0o755, 0o777)] {
        let parent = machine.directory(&format!("modes-{parent_mode:o}"), 0, parent_mode);
        let target = parent.join("target");
        fs::create_dir(&target).expect("mkdir");
        own(&target, STRANGER);
        set_mode(&target, 0o777);
        unpack(&target, TargetMode::Replace).expect("restored");
        let stat = fs::metadata(&target).expect("stat");
        assert_eq!((stat.mode() & 0o7777, stat.uid()), (kept, 0), "{parent_mode:o}");
    }
}

#[test]
fn root_and_a_user_alternate_in_the_users_project() {
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

/// Two users of one group with umask 002, as in a shared project directory.
#[test]
fn a_setgid_directory_is_shared_by_its_group() {
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
    // The old tree contains directories of another user. It stays until that user sweeps it, and disturbs no call.
    let key = [Path::new("snapshot"), &shared.join("store"), &target];
    assert_eq!(machine.child(0, &key), "uploaded\n");
}

/// A user namespace shows users that it does not map as 65534.
#[test]
fn unmapped_owners_are_supported() {
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

/// Mounts one directory at another path so that uid 1000 of the first one is uid 0 there, and runs a command. Exits
/// with 9 if the kernel or the filesystem does not support such mounts. mount(8) supports them since 2.39.
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

/// The mount shifts owners: uid 1000 on the disk is uid 0 here.
#[test]
fn mapped_bind_mounts_are_supported() {
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
