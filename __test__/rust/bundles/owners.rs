//! Several users: a stranger's store is only read, and what another user left stops nobody.

// guarantee: bundles/strangers-are-contained

use std::path::Path;

use crate::fixture::{Fixture, User, command, names};
use crate::forks::run_fork;
use crate::support::{expect, kills};

/// A stranger's store in a directory that everybody may write to is read, and nothing is written there.
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
        "the stranger's own publish"
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
fn a_strangers_store_is_read_and_not_written() {
    kills(a_strangers_store_is_only_read, "trust-any-owner");
}

/// What root left in a user's store, a generation and a killed writer's stage, cannot be removed by that user; it is out
/// of sight and stops nobody.
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
        "out of sight"
    );
    Ok(())
}

#[test]
fn i4_anothers_litter_stops_nobody() {
    kills(anothers_litter_stops_nobody, "anothers-litter-stops");
}
