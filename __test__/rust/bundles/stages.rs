//! A stage adopts a directory as a whole or not at all, and shares no inode with a generation.

// guarantee: bundles/adopt-takes-one-moment

use crate::fixture::{Fixture, names};
use crate::support::{go_on, kills, read, stopped, write};

/// bundles/pinned-is-unchanged: a stage that began as a copy of the current generation shares no inode with it.
fn a_copy_shares_no_inode(seeded_bug: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let outcome = fixture.child(&["rewrite-a-copy"], &[("WARMSWAP_MUTANT", seeded_bug)]);
    if outcome.succeeded {
        Ok(())
    } else {
        Err(outcome.output)
    }
}

#[test]
fn a_stage_of_the_current_generation_shares_no_inode() {
    kills(a_copy_shares_no_inode, "hard-link-stage");
}

/// A tool rewrites a directory during its adoption: the adopter is stopped after its first inspection.
fn a_torn_folder_is_not_adopted(seeded_bug: &str) -> Result<(), String> {
    // A copy has created the first file, and a move has renamed the first entry.
    for (how, fault) in [
        ("copy", "1:STOP:copy_file_range"),
        ("clone", "1:STOP:copy_file_range"),
        ("move", "1:STOP:renameat2"),
    ] {
        let fixture = Fixture::with_two_generations();
        let source = fixture.path("source");
        fixture.make_folder(&source);
        let environment = [("WARMSWAP_FAULT", fault), ("WARMSWAP_MUTANT", seeded_bug)];
        let arguments = ["adopt", how, source.to_str().expect("UTF-8")];
        let child = stopped(&fixture, &arguments, &environment).expect("stopped at its fault point");
        for name in ["a.txt", "assets/b.txt"] {
            write(&source.join(name), "of the next build");
        }
        let seen = go_on(child);
        if !seen.starts_with("error ERR_UNSTABLE") {
            return Err(format!("{how}: {seen}"));
        }
        for name in ["a.txt", "assets/b.txt", "z.txt"] {
            assert!(!read(&source.join(name)).is_empty(), "{how}: '{name}' is lost");
        }
        assert_eq!(fixture.assert_current_is_complete(how), 2);
        fixture.assert_no_leftovers(how);
    }
    Ok(())
}

#[test]
fn a_directory_that_a_tool_rewrites_is_not_adopted() {
    kills(a_torn_folder_is_not_adopted, "adopt-torn");
}

#[test]
fn an_unchanging_directory_is_adopted_by_each_method() {
    for how in ["copy", "clone", "move"] {
        let fixture = Fixture::with_two_generations();
        let source = fixture.path("source");
        fixture.make_folder(&source);
        let outcome = fixture.child(&["adopt", how, source.to_str().expect("UTF-8")], &[]);
        assert!(outcome.succeeded, "{how}: {}", outcome.output);
        assert_eq!(fixture.assert_current_is_complete(how), 3);
        let tree = fixture.root().join("gens/000003/tree");
        assert_eq!(read(&tree.join("assets/b.txt")), "of a stranger", "{how}");
        assert_eq!(names(&source).is_empty(), how == "move", "{how}");
    }
}
