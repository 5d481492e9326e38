//! I23, and what must not happen with it: an edit that is taken for what was restored.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use warmswap::core::archives::exclude::Excludes;
use warmswap::core::archives::{self, ExtractOptions, ExtractSummary};
use warmswap::core::caches::stamp;
use warmswap::core::sys::cancel::Cancel;

use super::support::Raw;

/// A target that was restored just now, and the moment of its commit.
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

/// Whether the target is found as it was restored, after `edit` has changed it behind the call's answer.
fn is_found_unchanged(edit: impl FnOnce(&Path)) -> bool {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let target = root.path().join("target");
    let (summary, committed_ns) = restored(&target);
    edit(&target);
    let cancel = Cancel::new();
    stamp::write_restored(&target, "g1", &summary.tree, committed_ns, &cancel).expect("a stamp");
    let found = stamp::read(&target).expect("readable").expect("a stamp");
    assert_eq!(found.generation, "g1");
    found
        .find_unchanged(&target, &Excludes::default(), &cancel)
        .expect("walked")
        .is_some()
}

#[test]
fn i23_what_was_restored_a_moment_ago_is_unchanged() {
    assert!(is_found_unchanged(|_| {}));
}

#[test]
fn i23_an_edit_between_the_answer_and_the_stamp_is_never_taken_for_the_restored_file() {
    // The same size: nothing but the bytes tells.
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
fn a_damaged_stamp_is_none() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let target = root.path().join("target");
    let (summary, committed_ns) = restored(&target);
    let cancel = Cancel::new();
    stamp::write_restored(&target, "g1", &summary.tree, committed_ns, &cancel).expect("a stamp");
    let path = stamp::path_of(&target).expect("a path");
    let whole = fs::read(&path).expect("read");
    let is_unchanged = || {
        let stamp = stamp::read(&target).expect("readable")?;
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
