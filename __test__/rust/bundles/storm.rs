//! Writers, readers, rollbacks and collections under SIGKILL and SIGSTOP at random.
//!
//! `WARMSWAP_STORM_SECONDS` sets the length on each of the two filesystems (30).

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Child;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::fixture::Fixture;

const WRITERS: usize = 2;
const READERS: usize = 4;
/// Between two kills: 30 seconds on each filesystem make more than 300 in all.
const PAUSE: Duration = Duration::from_millis(80);

#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    reads: u64,
    violations: Vec<String>,
}

fn storm(fixture: &Fixture, length: Duration, mutant: &str) -> Tally {
    fixture.child(&["publish"], &[]);
    let (sender, lines) = mpsc::channel();
    let log = fixture.path("rollbacks");
    let start = |index: usize| {
        let command = if index < WRITERS {
            "write-loop"
        } else {
            "read-loop"
        };
        let mut child = fixture.spawn(
            &[command, log.to_str().expect("UTF-8")],
            &[("WARMSWAP_MUTANT", mutant)],
        );
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let sender = sender.clone();
        thread::spawn(move || {
            output
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        child
    };
    let mut children: Vec<Child> = (0..WRITERS + READERS).map(start).collect();
    let began = Instant::now();
    let mut tally = Tally::default();
    let mut random = began.elapsed().subsec_nanos() | 1;
    while began.elapsed() < length && (mutant.is_empty() || tally.violations.is_empty()) {
        thread::sleep(PAUSE);
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let victim = (random >> 8) as usize % children.len();
        if random.is_multiple_of(10) {
            stop_for_a_moment(&children[victim]);
        }
        children[victim].kill().expect("SIGKILL");
        children[victim].wait().expect("ended");
        children[victim] = start(victim);
        tally.kills += 1;
        count(&lines, &mut tally);
    }
    for child in &mut children {
        child.kill().expect("SIGKILL");
        child.wait().expect("ended");
    }
    drop(sender);
    for line in &lines {
        note(&line, &mut tally);
    }
    tally
}

fn stop_for_a_moment(child: &Child) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("not 0");
    kill_process(pid, Signal::STOP).expect("SIGSTOP");
    thread::sleep(PAUSE);
    kill_process(pid, Signal::CONT).expect("SIGCONT");
}

fn count(lines: &mpsc::Receiver<String>, tally: &mut Tally) {
    for line in lines.try_iter() {
        note(&line, tally);
    }
}

fn note(line: &str, tally: &mut Tally) {
    if line.starts_with("VIOLATION") || line.starts_with("error") {
        tally.violations.push(line.to_owned());
    } else if line == "reads 100" {
        tally.reads += 100;
    }
}

fn seconds() -> u64 {
    std::env::var("WARMSWAP_STORM_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(30)
}

fn run_on(parent: &Path) {
    let fixture = Fixture::on(parent);
    let tally = storm(&fixture, Duration::from_secs(seconds()), "");
    let published = fixture.assert_current_is_complete("after the storm");
    fixture.assert_no_leftovers("after the storm");
    writeln_summary(&format!(
        "storm on {}: {} kills, {published} generations, {} reads",
        parent.display(),
        tally.kills,
        tally.reads
    ));
    assert_eq!(tally.violations, Vec::<String>::new());
    assert!(tally.reads > 0, "the readers read");
    let least = seconds() * 5;
    assert!(tally.kills >= least, "{} kills, {least} expected", tally.kills);
}

#[expect(
    clippy::print_stdout,
    reason = "figures for whoever runs the storm with --nocapture"
)]
fn writeln_summary(line: &str) {
    println!("{line}");
}

#[test]
fn i1_to_i4_a_storm_on_memory_leaves_nothing_missing_torn_mixed_or_backwards() {
    run_on(Path::new("/dev/shm"));
}

#[test]
fn i1_to_i4_a_storm_on_disk_leaves_nothing_missing_torn_mixed_or_backwards() {
    run_on(&std::env::temp_dir());
}

/// The storm sees what it is there for.
#[test]
fn the_storm_notices_readers_without_a_lock_and_collectors_without_a_lock() {
    for mutant in ["no-reader-lock", "collect-without-lock"] {
        let tally = storm(&Fixture::in_memory(), Duration::from_secs(15), mutant);
        assert!(
            !tally.violations.is_empty(),
            "the storm did not notice {mutant}: {tally:?}"
        );
    }
}
