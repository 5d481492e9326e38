//! Several users: a store of an untrusted user is only read, and the leftovers of another user stop no operation.

// guarantee: bundles/strangers-are-contained

use std::path::Path;

use crate::fixture::{Fixture, User, command, names};
use crate::forks::run_fork;
use crate::support::{expect, kills};

/// A store of an untrusted user in a directory that everybody may write to is read, and nothing is written there.
fn a_strangers_store_is_only_read(seeded_bug: &str) -> Result<(), String> {
    let Some(fixture) = Fixture::of_user(Path::new("/dev/shm"), User::Nobody) else {
        return if seeded_bug.is_empty() {
            Ok(())
        } else {
            Err("not run".to_owned())
        };
    };
    let folder = fixture.root().parent().expect("a folder");
    std::os::unix::fs::chown(folder, Some(0), Some(0)).expect("chown");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1777);
    std::fs::set_permissions(folder, mode).expect("chmod");
    assert!(
        fixture.child(&["publish"], &[]).succeeded,
        "the untrusted user's own publish"
    );
    let root = |arguments: &[&str]| {
        run_fork(&command(
            fixture.root(),
            arguments,
            &[("WARMSWAP_MUTANT", seeded_bug)],
        ))
        .output
    };
    expect("done\n", &root(&["pin"]))?;
    for arguments in [&["publish"][..], &["collect"], &["rollback", "1"]] {
        let seen = root(arguments);
        if !(seen.starts_with("error ERR_UNTRUSTED") && seen.contains("uid 65534")) {
            return Err(seen);
        }
    }
    Ok(())
}

#[test]
fn the_store_of_an_untrusted_user_is_read_and_not_written() {
    kills(a_strangers_store_is_only_read, "trust-any-owner");
}

/// Root left a generation and a killed writer's stage in a user's store. That user cannot remove them, so they become
/// invisible and stop no operation.
fn anothers_litter_stops_nobody(seeded_bug: &str) -> Result<(), String> {
    let Some(fixture) = Fixture::of_user(Path::new("/dev/shm"), User::Nobody) else {
        return if seeded_bug.is_empty() {
            Ok(())
        } else {
            Err("not run".to_owned())
        };
    };
    assert!(fixture.child(&["publish"], &[]).succeeded);
    let root = |environment: &[(&str, &str)]| run_fork(&command(fixture.root(), &["publish"], environment));
    assert!(root(&[]).succeeded);
    assert!(!root(&[("WARMSWAP_FAULT", "12:KILL")]).succeeded);
    for arguments in [
        &["publish-and-collect"][..],
        &["publish-and-collect"],
        &["publish-and-collect"],
        &["open"],
    ] {
        let outcome = fixture.child(arguments, &[("WARMSWAP_MUTANT", seeded_bug)]);
        if !outcome.succeeded {
            return Err(outcome.output);
        }
    }
    assert!(
        names(&fixture.root().join("gens")).contains("000002"),
        "root's generation"
    );
    assert!(
        !names(&fixture.root().join("pins")).contains("000002"),
        "invisible"
    );
    Ok(())
}

#[test]
fn leftovers_of_another_user_stop_no_operation() {
    kills(anothers_litter_stops_nobody, "anothers-litter-stops");
}
