//! Trees whose modes do not allow their own user to read, write or enter, restored by a user other than root.

// guarantee: archives/round-trip

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::support::Raw;
use super::support::machine::{Machine, own, set_mode};

const USER: u32 = 1000;

/// A directory of this mode that contains a file and another such directory, and a file next to it.
fn archive(mode: u32) -> Vec<u8> {
    let directory = |raw: Raw, name: &[u8]| {
        raw.with(b'5', name, b"", b"", |block| {
            block[100..108].copy_from_slice(format!("{mode:07o}\0").as_bytes());
        })
    };
    let raw = Raw::default().file("d/e/f", b"1").file("g", b"2");
    directory(directory(raw, b"d/e"), b"d").end()
}

fn mode_of(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("stat").permissions().mode() & 0o7777
}

#[test]
fn directories_without_permissions_are_restored_in_each_mode() {
    let Some(machine) = Machine::new() else { return };
    for mode in [0o000, 0o111, 0o222, 0o555] {
        let bytes = machine.path(&format!("{mode:o}.tar"));
        fs::write(&bytes, archive(mode)).expect("write");
        for (kind, target_mode) in [("absent", 0), ("own", 0o755), ("own", 0o555), ("fixed", 0o755)] {
            let what = format!("{mode:o} in {kind} {target_mode:o}");
            let parent = machine.directory(&what.replace(' ', "-"), USER, 0o755);
            let target = parent.join("target");
            if kind != "absent" {
                fs::create_dir(&target).expect("mkdir");
                own(&target, USER);
                set_mode(&target, target_mode);
            }
            if kind == "fixed" {
                // Its children are moved, because the directory cannot be.
                own(&parent, 0);
            }
            let expected = if kind == "fixed" {
                ["children", "children"]
            } else {
                ["rename", "exchange"]
            };
            for (way, replacing) in expected.iter().zip(["if-empty", "replace"]) {
                let said = machine.child(USER, &[&bytes, &target, Path::new(replacing)]);
                assert_eq!(said, format!("{way}\n"), "{what}, {replacing}");
                assert_eq!(mode_of(&target.join("d")), mode, "{what}");
                assert_eq!(mode_of(&target.join("d/e")), mode, "{what}");
                assert_eq!(fs::read(target.join("d/e/f")).expect("read"), b"1", "{what}");
                if kind != "absent" {
                    assert_eq!(mode_of(&target), target_mode, "{what}");
                }
            }
            let said = machine.child(USER, &[&bytes, &target, Path::new("merge")]);
            let is_named = said.contains("'d'") && said.starts_with("denied");
            assert!(said == "merge\n" || is_named, "{what}: {said}");
        }
    }
}

#[test]
fn the_inaccessible_directory_is_named() {
    let Some(machine) = Machine::new() else { return };
    let parent = machine.directory("fixed", 0, 0o755);
    let target = parent.join("target");
    fs::create_dir(&target).expect("mkdir");
    own(&target, USER);
    set_mode(&target, 0o555);
    let said = machine.unpack_as(USER, &target, "replace");
    assert!(said.starts_with("denied"), "{said}");
    assert!(
        said.contains(&format!("'{}' (mode 0555, uid 1000)", target.display())),
        "{said}"
    );
    assert_eq!(mode_of(&target), 0o555);
}
