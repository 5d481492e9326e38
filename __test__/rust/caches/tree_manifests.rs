//! caches/unchanged-sends-nothing: an unchanged tree is detected, and an edited file never counts as the restored one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use warmswap::core::archives::exclude::Excludes;
use warmswap::core::archives::tree::Tree;
use warmswap::core::archives::{self, ExtractOptions, ExtractSummary};
use warmswap::core::caches::tree_manifest;
use warmswap::core::error::Code;
use warmswap::core::sys::cancel::Cancel;

use super::support::Raw;
use super::support::machine::{IMPOSTORS, Machine, STRANGER, impersonate, own, unblocked};
use super::support::seeded_bugs::is_killed_by;

/// A target that was just restored, and the time of its commit.
fn restored(target: &Path) -> (ExtractSummary, i64) {
    fs::create_dir(target).expect("mkdir");
    let bytes = (0..50).fold(Raw::default(), |raw, number| {
        raw.file(&format!("d/{number}.js"), b"export default 1")
    });
    let options = ExtractOptions {
        hash: true,
        ..ExtractOptions::default()
    };
    let summary =
        archives::extract(bytes.symlink("l", "d").end().as_slice(), target, &options).expect("extracted");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    (summary, i64::try_from(now.as_nanos()).expect("before 2262"))
}

/// Whether the target is detected as unchanged after `edit` has changed it once the call has returned.
fn is_found_unchanged(edit: impl FnOnce(&Path)) -> bool {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let target = root.path().join("target");
    let (summary, committed_ns) = restored(&target);
    edit(&target);
    let cancel = Cancel::new();
    tree_manifest::write_restored(&target, "g1", &summary.tree, committed_ns, &cancel).expect("a stamp");
    let found = tree_manifest::read(&target).expect("readable").expect("a stamp");
    assert_eq!(found.generation, "g1");
    found
        .find_unchanged(&target, &Excludes::default(), &cancel)
        .expect("walked")
        .is_some()
}

#[test]
fn a_tree_that_was_just_restored_is_unchanged() {
    assert!(is_found_unchanged(|_| {}));
}

#[test]
fn an_edit_before_the_tree_manifest_never_counts_as_restored() {
    // The same size, so only the bytes differ.
    assert!(!is_found_unchanged(|target| {
        fs::write(target.join("d/7.js"), "export default 2").expect("write");
    }));
    assert!(!is_found_unchanged(|target| {
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(target.join("d/7.js"), mode).expect("chmod");
    }));
    assert!(!is_found_unchanged(|target| {
        fs::remove_file(target.join("l")).expect("rm");
        std::os::unix::fs::symlink("x", target.join("l")).expect("symlink");
    }));
    assert!(!is_found_unchanged(|target| fs::remove_file(
        target.join("d/7.js")
    )
    .expect("rm")));
    assert!(!is_found_unchanged(|target| fs::write(
        target.join("d/new.js"),
        ""
    )
    .expect("write")));
}

#[test]
fn a_damaged_tree_manifest_counts_as_missing() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let target = root.path().join("target");
    let (summary, committed_ns) = restored(&target);
    let cancel = Cancel::new();
    tree_manifest::write_restored(&target, "g1", &summary.tree, committed_ns, &cancel).expect("a stamp");
    let path = tree_manifest::path_of(&target).expect("a path");
    let whole = fs::read(&path).expect("read");
    let is_unchanged = || {
        let stamp = tree_manifest::read(&target).expect("readable")?;
        stamp
            .find_unchanged(&target, &Excludes::default(), &cancel)
            .expect("walked")
    };
    assert!(is_unchanged().is_some());
    for at in [0, 20, whole.len() / 2, whole.len() - 40, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&path, &damaged).expect("write");
        assert_eq!(is_unchanged(), None, "byte {at}");
        fs::write(&path, &whole[..at]).expect("write");
        assert_eq!(is_unchanged(), None, "cut at {at}");
    }
    fs::write(&path, [whole.as_slice(), b"x"].concat()).expect("write");
    assert_eq!(is_unchanged(), None, "a byte more");
}

#[test]
fn the_tree_manifest_of_an_untrusted_user_is_ignored() {
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
        tree_manifest::write(&target, "g1", &Tree::new()).expect("a stamp");
        let path = tree_manifest::path_of(&target).expect("a path");
        own(&path, owner);
        let found = tree_manifest::read(&target).expect("readable");
        assert_eq!(found.is_some(), is_believed, "{what}");
        let before = fs::read(&path).expect("read");
        let written = tree_manifest::write(&target, "g2", &Tree::new());
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
fn no_entry_in_place_of_a_tree_manifest_is_followed_or_blocks() {
    let Some(machine) = Machine::new() else { return };
    let outside = machine.path("outside");
    fs::write(&outside, "outside").expect("write");
    let parent = machine.directory("b4-stamp", 0, 0o755);
    let target = parent.join("target");
    fs::create_dir(&target).expect("mkdir");
    let stamp_path = tree_manifest::path_of(&target).expect("a path");
    let new_stamp = PathBuf::from(format!("{}.new", stamp_path.display()));
    for path in [&stamp_path, &new_stamp] {
        for how in IMPOSTORS {
            impersonate(path, how, &outside);
            let target = target.clone();
            let (read, written) = unblocked(how, move || {
                (
                    tree_manifest::read(&target).map(|stamp| stamp.is_some()),
                    tree_manifest::write(&target, "g1", &Tree::new()),
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
    // Another hard link to a user's file.
    fs::hard_link(&outside, &new_stamp).expect("link");
    tree_manifest::write(&target, "g1", &Tree::new()).expect_err("a hard link");
    assert_eq!(fs::read(&outside).expect("read"), b"outside");
}

#[test]
fn a_restore_that_trusts_every_tree_manifest_is_detected() {
    is_killed_by(
        "trust-strangers",
        "caches::tree_manifests::the_tree_manifest_of_an_untrusted_user_is_ignored",
    );
}
