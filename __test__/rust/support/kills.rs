//! Calls of archive-child that are killed at a random moment.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::Random;

pub(crate) const KILLS: u32 = 200;

pub(crate) fn child(arguments: &[&Path]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archive-child"));
    command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

pub(crate) fn finish(arguments: &[&Path]) -> (Output, Duration) {
    let started = Instant::now();
    let output = child(arguments).output().expect("started");
    (output, started.elapsed())
}

/// Kills a call at a random moment of its duration. Returns whether it was still running.
pub(crate) fn kill(arguments: &[&Path], takes: Duration, random: &mut Random) -> bool {
    let mut running = child(arguments).spawn().expect("started");
    let micros = u64::try_from(takes.as_micros()).expect("short");
    std::thread::sleep(Duration::from_micros(random.below(micros)));
    running.kill().expect("a child of ours");
    !running.wait().expect("reaped").success()
}

/// A tree of several frames, with a file that contains its name.
pub(crate) fn tree(root: &Path, name: &str, files: u64) {
    let mut random = Random(77);
    for number in 0..files {
        let directory = root.join(format!("{}", number % 7));
        fs::create_dir_all(&directory).expect("mkdir");
        let bytes: Vec<u8> = (0..random.below(60_000)).map(|_| random.next() as u8).collect();
        fs::write(directory.join(format!("{number}")), bytes).expect("write");
    }
    fs::write(root.join("which"), name).expect("write");
}
