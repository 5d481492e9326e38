//! caches/readers-see-whole-snapshots: kill -9 at 200 random moments of a snapshot, independent of fault injection
//! points. The next call finds the old or the new snapshot, succeeds, and leaves nothing of the killed process behind.

use std::fs;
use std::path::Path;

use super::support::Random;
use super::support::kills::{KILLS, finish, kill, tree};

/// The result of a reader: the name of the tree that the pointer leads to.
fn read(store: &Path, into: &Path) -> Option<String> {
    let pointer = fs::read(store.join("site/current.json")).ok()?;
    let pointer: serde_json::Value = serde_json::from_slice(&pointer).expect("a whole pointer");
    let blob = store
        .join("site/blobs")
        .join(pointer["blob"].as_str().expect("a blob"));
    let (output, _) = finish(&[&blob, into, Path::new("replace")]);
    assert!(
        !String::from_utf8_lossy(&output.stdout).contains(':'),
        "the object that the pointer names cannot be restored: {output:?}"
    );
    Some(fs::read_to_string(into.join("which")).expect("read"))
}

#[test]
fn a_snapshot_survives_200_random_kills() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let (from, store, into) = (
        root.path().join("live/from"),
        root.path().join("store"),
        root.path().join("there/into"),
    );
    tree(&from, "0", 120);
    let snapshot = [Path::new("snapshot"), &store, &from];
    let (output, takes) = finish(&snapshot);
    assert_eq!(output.stdout, b"uploaded\n");
    let mut random = Random(0x736e_6170);
    let (mut killed, mut published) = (0, 0);
    for round in 1..=KILLS {
        let before = read(&store, &into).expect("a generation");
        fs::write(from.join("which"), round.to_string()).expect("write");
        killed += u32::from(kill(&snapshot, takes * 5 / 4, &mut random));
        let now = read(&store, &into).expect("a generation");
        assert!(
            now == before || now == round.to_string(),
            "round {round}: a reader sees {now}, neither {before} nor the new tree"
        );
        published += u32::from(now != before);
    }
    let (output, _) = finish(&snapshot);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said == "uploaded\n" || said == "unchanged\n",
        "leftovers of a dead process block the call: {said}"
    );
    assert_eq!(read(&store, &into), Some(KILLS.to_string()));
    assert!(
        killed > KILLS / 10 && published < KILLS,
        "only {killed} were killed and {published} had published, which proves nothing"
    );
}
