//! archives/all-or-nothing: kill -9 at 200 random moments of a restore, independent of fault injection points. The next
//! call finds the old or the new tree, succeeds, and leaves nothing of the killed process behind.

use std::fs;
use std::path::{Path, PathBuf};

use warmswap::core::archives::commit;

use super::support::kills::{KILLS, finish, kill, tree};
use super::support::{Random, describe, pack};

fn stages(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .expect("readdir")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.to_string_lossy().contains(".warmswap-stage-"))
        .collect()
}

#[test]
fn a_restore_survives_200_random_kills() {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let (new, archive, target) = (
        root.path().join("new"),
        root.path().join("new.tar.zst"),
        root.path().join("there/target"),
    );
    tree(&new, "new", 300);
    fs::write(&archive, pack(&new).0).expect("write");
    tree(&target, "old", 20);
    let (old, new) = (describe(&target), describe(&new));
    let call = [archive.as_path(), &target, Path::new("replace")];
    let (_, takes) = finish(&call);
    let mut random = Random(0x6b69_6c6c);
    let (mut killed, mut finished) = (0, 0);
    for round in 0..KILLS {
        fs::remove_dir_all(&target).expect("rm");
        tree(&target, "old", 20);
        killed += u32::from(kill(&call, takes * 5 / 4, &mut random));
        let now = describe(&target);
        let which = if without_times(&now) == without_times(&new) {
            finished += 1;
            &new
        } else {
            &old
        };
        assert_eq!(
            without_times(&now),
            without_times(which),
            "round {round}: neither the old nor the new tree"
        );
        let (output, _) = finish(&call);
        assert_eq!(output.stdout, b"exchange\n", "round {round}: the next restore");
        // A process that ends leaves the removal of the old tree to the next call.
        commit::sweep(&target).expect("swept");
        assert_eq!(stages(target.parent().expect("a parent")), Vec::<PathBuf>::new());
    }
    assert!(
        killed > KILLS / 10 && finished < KILLS,
        "only {killed} were killed and {finished} had committed, which proves nothing"
    );
}

fn without_times(text: &str) -> String {
    text.lines()
        .map(|line| line.rsplit_once(" @").map_or(line, |(rest, _)| rest))
        .collect::<Vec<_>>()
        .join("\n")
}
