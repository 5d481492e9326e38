//! I7, I21: kill -9 at 200 random moments of a restore and of a snapshot, by the clock and not at our own fault
//! points: whoever comes next finds the old or the new, succeeds, and leaves nothing of the dead behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use warmswap::core::archives::commit;

use super::support::{Random, describe, pack};

const KILLS: u32 = 200;

fn child(arguments: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archive-child"));
    command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

fn finish(arguments: &[&Path]) -> (Output, Duration) {
    let started = Instant::now();
    let output = child(arguments).output().expect("started");
    (output, started.elapsed())
}

/// Kills a call at a random moment of the time that it takes. Whether it was still running.
fn kill(arguments: &[&Path], takes: Duration, random: &mut Random) -> bool {
    let mut running = child(arguments).spawn().expect("started");
    let micros = u64::try_from(takes.as_micros()).expect("short");
    std::thread::sleep(Duration::from_micros(random.below(micros)));
    running.kill().expect("a child of ours");
    !running.wait().expect("reaped").success()
}

/// A tree of several frames, with a file that says which it is.
fn tree(root: &Path, name: &str, files: u64) {
    let mut random = Random(77);
    for number in 0..files {
        let directory = root.join(format!("{}", number % 7));
        fs::create_dir_all(&directory).expect("mkdir");
        let bytes: Vec<u8> = (0..random.below(60_000)).map(|_| random.next() as u8).collect();
        fs::write(directory.join(format!("{number}")), bytes).expect("write");
    }
    fs::write(root.join("which"), name).expect("write");
}

fn stages(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .expect("readdir")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.to_string_lossy().contains(".warmswap-stage-"))
        .collect()
}

#[test]
fn i7_killed_at_200_random_moments_of_a_restore() {
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
        // A process that ends leaves the old tree's removal to the next call.
        commit::sweep(&target).expect("swept");
        assert_eq!(stages(target.parent().expect("a parent")), Vec::<PathBuf>::new());
    }
    assert!(
        killed > KILLS / 10 && finished < KILLS,
        "{killed} were killed and {finished} had committed: that proves nothing"
    );
}

fn without_times(text: &str) -> String {
    text.lines()
        .map(|line| line.rsplit_once(" @").map_or(line, |(rest, _)| rest))
        .collect::<Vec<_>>()
        .join("\n")
}

/// What a reader gets: the name of the tree that the pointer leads to.
fn read(store: &Path, into: &Path) -> Option<String> {
    let pointer = fs::read(store.join("site/current.json")).ok()?;
    let pointer: serde_json::Value = serde_json::from_slice(&pointer).expect("a whole pointer");
    let blob = store
        .join("site/blobs")
        .join(pointer["blob"].as_str().expect("a blob"));
    let (output, _) = finish(&[&blob, into, Path::new("replace")]);
    assert!(
        !String::from_utf8_lossy(&output.stdout).contains(':'),
        "what the pointer names cannot be restored: {output:?}"
    );
    Some(fs::read_to_string(into.join("which")).expect("read"))
}

#[test]
fn i21_killed_at_200_random_moments_of_a_snapshot() {
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
        "what the dead left stands in the way: {said}"
    );
    assert_eq!(read(&store, &into), Some(KILLS.to_string()));
    assert!(
        killed > KILLS / 10 && published < KILLS,
        "{killed} were killed and {published} had published: that proves nothing"
    );
}
