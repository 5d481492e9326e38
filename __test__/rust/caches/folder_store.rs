//! A store in a folder: its writers exclude each other, and entries of other users are neither followed nor written.

// guarantee: caches/no-lost-update, caches/strangers-are-contained

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::support::machine::{IMPOSTORS, Machine, NOBODY, STRANGER, impersonate};
use super::support::seeded_bugs::is_killed_by;
use super::support::{Held, describe};

#[test]
fn a_writer_whose_lock_file_was_replaced_waits_for_the_new_one() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let (store, tree) = (root.path().join("store"), root.path().join("tree"));
    for directory in [&store, &tree] {
        fs::create_dir(directory).expect("mkdir");
    }
    fs::write(tree.join("file"), "x".repeat(3000)).expect("write");
    let (lock, temporary) = (store.join(".warmswap-writers"), store.join(".warmswap-tmp"));
    let snapshot = [Path::new("snapshot"), &store, &tree];
    let mut writer = Held::start(&snapshot, "1:HOLD:flock:.warmswap-writers");
    // It has opened the file and not locked it yet.
    fs::remove_file(&lock).expect("rm");
    let replacement = fs::File::create(&lock).expect("created");
    flock(&replacement, FlockOperation::NonBlockingLockExclusive).expect("free");
    writer.go_on();
    while writer.points() < 5 {
        assert!(
            writer.is_running(),
            "it ended while another process held the lock"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(
        !temporary.exists(),
        "it wrote while another process held the lock"
    );
    drop(replacement);
    assert_eq!(writer.release().0, "uploaded\n");
    assert!(temporary.exists());
}

#[test]
fn a_writer_that_does_not_check_its_lock_file_is_detected() {
    is_killed_by(
        "lock-file-unchecked",
        "caches::folder_store::a_writer_whose_lock_file_was_replaced_waits_for_the_new_one",
    );
}

/// A store that everybody may write to: an object of one user is read by all users, and replaced by no other.
#[test]
fn objects_of_an_untrusted_user_are_read_and_never_written() {
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
    // Only the key belongs to the untrusted user: that user's lock file and temporary directory disturb no writer.
    fs::remove_dir_all(store.join("site")).expect("rm");
    assert_eq!(machine.child(NOBODY, &[snapshot, &store, &tree]), "uploaded\n");
    assert_eq!(
        fs::metadata(store.join(".warmswap-tmp")).expect("stat").uid(),
        STRANGER
    );
}

#[test]
fn no_entry_in_place_of_a_file_of_a_store_is_followed_or_blocks() {
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
