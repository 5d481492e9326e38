//! Other users of the machine cannot prevent a restore, and users who share a directory share its cache.

// guarantee: archives/strangers-are-contained, caches/strangers-are-contained

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use warmswap::core::caches::tree_manifest;

use super::support::machine::{IMPOSTORS, Machine, NOBODY, STRANGER, impersonate, own, set_mode, stage_of};

/// Everything that any user can do in a directory like `/tmp`.
#[test]
fn no_entry_of_an_untrusted_user_prevents_a_restore() {
    let Some(machine) = Machine::new() else { return };
    let outside = machine.path("outside");
    fs::write(&outside, "outside").expect("write");
    for (round, how) in IMPOSTORS.into_iter().chain(["file", "locked"]).enumerate() {
        let parent = machine.directory(&format!("b3-{round}"), 0, 0o1777);
        let target = parent.join("target");
        let stamp = tree_manifest::path_of(&target).expect("a path");
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

/// The untrusted user's own entries. A child that ends leaves the rest of its stage to the next call.
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
fn a_cache_restored_by_root_is_unchanged_for_its_user() {
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
