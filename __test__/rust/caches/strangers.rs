//! Other users of the machine: what they put next to a target or into a store is not acted on, and nothing that they
//! can put there blocks a call.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use warmswap::core::archives::tree::Tree;
use warmswap::core::caches::stamp;
use warmswap::core::error::Code;

use super::support::describe;
use super::support::machine::{
    IMPOSTORS, Machine, NOBODY, STRANGER, impersonate, own, set_mode, stage_of, unblocked,
};

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
