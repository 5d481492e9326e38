//! Changes inside a store by other programs: altered content is not served, and nothing that a user created is removed.

// guarantee: bundles/damage-is-not-served

use std::path::Path;

use crate::fixture::Fixture;
use crate::support::{expect, kills, overwrite, read, write};

/// A file of the current generation gets other bytes of the same length, in the boot of the publish.
fn altered_bytes_are_not_served(seeded_bug: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let path = fixture.root().join("gens/000002/tree/assets/c.txt");
    overwrite(&path, &"x".repeat(read(&path).len()));
    let seen = fixture
        .child(&["verify"], &[("WARMSWAP_MUTANT", seeded_bug)])
        .output;
    expect("current 1\nproblems 0\ndone\n", &seen)
}

#[test]
fn altered_bytes_are_not_served_by_the_next_open() {
    kills(altered_bytes_are_not_served, "trust-changed-tree");
}

/// A file is added and a mode is changed. Then the machine reboots.
fn what_was_added_deletes_no_build(seeded_bug: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let tree = fixture.root().join("gens/000002/tree");
    write(&tree.join(".nojekyll"), "");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(tree.join("b.txt"), mode).expect("chmod");
    for boot in ["the next boot", "the one after it"] {
        let environment = [("WARMSWAP_BOOT_ID", boot), ("WARMSWAP_MUTANT", seeded_bug)];
        let seen = fixture.child(&["verify"], &environment).output;
        expect("current 2\nproblems 2\ndone\n", &seen)?;
    }
    expect("done\n", &fixture.child(&["pin"], &[]).output)
}

#[test]
fn an_added_file_or_a_changed_mode_deletes_no_build() {
    kills(what_was_added_deletes_no_build, "extra-is-damage");
}

/// Waits until the kernel gives changes a later time than the publish. A change within one tick of its clock looks like
/// the result of power loss at the next boot.
#[expect(clippy::disallowed_methods, reason = "as a user does")]
fn wait_for_the_next_tick(fixture: &Fixture) {
    use std::os::unix::fs::MetadataExt as _;
    let changed = |path: &Path| {
        let stat = std::fs::metadata(path).expect("a file");
        (stat.ctime(), stat.ctime_nsec())
    };
    let published = changed(&fixture.root().join("pins/000001"));
    let probe = fixture.path("probe");
    loop {
        std::fs::write(&probe, "x").expect("written");
        if changed(&probe) > published {
            return;
        }
    }
}

/// If there is no other generation, a changed one stays on disk for its user, and no reader gets it.
#[test]
fn the_only_generation_is_kept_but_refused_after_a_change() {
    for boot in ["", "the next boot"] {
        let fixture = Fixture::in_memory();
        assert!(fixture.child(&["publish"], &[]).succeeded);
        let path = fixture.root().join("gens/000001/tree/a.txt");
        let before = read(&path);
        wait_for_the_next_tick(&fixture);
        overwrite(&path, "my own change");
        let environment = [("WARMSWAP_BOOT_ID", boot)];
        let environment = if boot.is_empty() { &[][..] } else { &environment };
        for _ in 0..2 {
            let seen = fixture.child(&["verify"], environment).output;
            assert_eq!(seen, "current 1\nproblems 1\ndone\n", "{boot}");
        }
        assert_eq!(read(&path), "my own change");
        let refused = fixture.child(&["pin"], environment).output;
        assert!(refused.starts_with("error ERR_GENERATION_CORRUPT"), "{refused}");
        overwrite(&path, &before);
        assert_eq!(
            fixture.child(&["pin"], environment).output,
            "done\n",
            "{boot}: it was undone"
        );
        overwrite(&path, "again");
        assert!(fixture.child(&["publish-and-collect"], environment).succeeded);
        assert_eq!(fixture.assert_current_is_complete("replaced"), 2);
        assert_eq!(fixture.child(&["pin"], environment).output, "done\n");
    }
}

/// A program that runs in a generation can create any name there. It is reported, and the generation is still served.
#[test]
fn a_name_that_is_not_utf8_does_not_prevent_opening_after_a_reboot() {
    use std::os::unix::ffi::OsStrExt as _;
    let fixture = Fixture::with_two_generations();
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let path = fixture.root().join("gens/000002/tree").join(name);
    #[expect(clippy::disallowed_methods, reason = "as a program does")]
    std::fs::write(path, "").expect("a file");
    let seen = fixture.child(&["verify"], &[]).output;
    assert_eq!(seen, "current 2\nproblems 1\ndone\n");
    let seen = fixture
        .child(&["verify"], &[("WARMSWAP_BOOT_ID", "the next boot")])
        .output;
    assert_eq!(seen, "current 2\nproblems 1\ndone\n");
}
