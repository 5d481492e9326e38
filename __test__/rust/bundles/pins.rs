//! A pin returns one complete generation that was current during the call, and keeps it while its process holds it.

use std::io::{BufRead as _, BufReader};

use rustix::process::{Signal, kill_process};

use crate::fixture::{Fixture, names};
use crate::support::{go_on, kills, pid, read, stopped, stopped_at};

/// bundles/pinned-is-unchanged: a generation that a process holds is kept, whatever is published and collected in the
/// meantime.
fn a_held_generation_stays(seeded_bug: &str) -> Result<(), String> {
    stays_while_held("hold", seeded_bug)
}

/// bundles/pinned-is-unchanged: the same if its lock file was removed and created again while this process held it.
fn what_was_healed_stays(seeded_bug: &str) -> Result<(), String> {
    stays_while_held("hold-what-was-healed", seeded_bug)
}

fn stays_while_held(holding: &str, seeded_bug: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let mut holder = fixture.spawn(&[holding], &[("WARMSWAP_MUTANT", seeded_bug)]);
    let mut lines = BufReader::new(holder.stdout.take().expect("piped")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "holding 2");
    for _ in 0..4 {
        assert!(
            fixture
                .child(&["publish-and-collect"], &[("WARMSWAP_MUTANT", seeded_bug)])
                .succeeded
        );
    }
    drop(holder.stdin.take());
    let last = lines.map_while(Result::ok).last().unwrap_or_default();
    holder.wait().expect("ended");
    if last == "done" { Ok(()) } else { Err(last) }
}

/// bundles/pin-is-current: a reader that is overtaken between opening the lock file and locking it starts again.
fn an_overtaken_reader_starts_again(seeded_bug: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let log = fixture.path("points");
    fixture.child(&["pin"], &[("WARMSWAP_FAULT_LOG", log.to_str().expect("UTF-8"))]);
    let point = read(&log)
        .lines()
        .position(|line| line.contains(" flock "))
        .expect("a lock call")
        + 1;
    let reader = stopped_at(&fixture, &["pin"], point, seeded_bug).expect("stopped before its flock");
    for _ in 0..3 {
        assert!(fixture.child(&["publish-and-collect"], &[]).succeeded);
    }
    assert!(
        !names(&fixture.root().join("gens")).contains("000002"),
        "the reader has no lock yet"
    );
    let output = go_on(reader);
    if output.contains("VIOLATION") {
        Err(output)
    } else {
        Ok(())
    }
}

#[test]
fn a_pinned_generation_is_kept() {
    kills(a_held_generation_stays, "no-reader-lock");
    assert!(
        a_held_generation_stays("collect-without-lock").is_err(),
        "the seeded bug collect-without-lock was not noticed"
    );
}

#[test]
fn a_pin_does_not_trust_a_lock_file_that_was_removed() {
    kills(what_was_healed_stays, "trust-removed-lock");
}

/// The current generation is verified, even if publishes and collections happen between the two steps.
#[test]
fn an_overtaken_verify_of_the_current_generation_starts_again() {
    let fixture = Fixture::with_two_generations();
    let verify = stopped(&fixture, &["verify"], &[("WARMSWAP_FAULT", "1:STOP:flock")])
        .expect("stopped before its flock");
    for _ in 0..3 {
        assert!(fixture.child(&["publish-and-collect"], &[]).succeeded);
    }
    let output = go_on(verify);
    assert!(output.contains("problems 0\n"), "{output}");
}

#[test]
fn a_reader_that_is_overtaken_starts_again() {
    kills(an_overtaken_reader_starts_again, "no-recheck");
}

/// A child that is being started has copies of all descriptors until it executes its program.
fn a_released_pin_holds_nothing_while_a_child_starts(seeded_bug: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let outcome = fixture.child(&["forked"], &[("WARMSWAP_MUTANT", seeded_bug)]);
    let is_collected = outcome.output.lines().any(|line| line == "collected");
    if is_collected { Ok(()) } else { Err(outcome.output) }
}

#[test]
fn a_released_pin_does_not_wait_for_the_close() {
    kills(
        a_released_pin_holds_nothing_while_a_child_starts,
        "unlock-by-close",
    );
}

/// bundles/pin-ends-with-its-holder: SIGSTOP keeps a pin, SIGKILL ends it.
#[test]
fn a_pin_ends_with_its_process_and_not_before() {
    let fixture = Fixture::with_two_generations();
    let mut holder = fixture.spawn(&["hold"], &[]);
    let mut lines = BufReader::new(holder.stdout.take().expect("piped")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "holding 2");
    kill_process(pid(&holder), Signal::STOP).expect("SIGSTOP");
    for _ in 0..3 {
        assert!(fixture.child(&["publish-and-collect"], &[]).succeeded);
    }
    assert!(
        names(&fixture.root().join("gens")).contains("000002"),
        "held by a stopped process"
    );
    holder.kill().expect("SIGKILL");
    holder.wait().expect("ended");
    fixture.assert_no_leftovers("after SIGKILL of the holder");
    assert!(
        !names(&fixture.root().join("gens")).contains("000002"),
        "no process holds it"
    );
}

/// A store is moved away while a process has it open, and another store is created at its path.
fn a_replaced_store_is_not_pinned(seeded_bug: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let mut child = fixture.spawn(&["pin-when-told"], &[("WARMSWAP_MUTANT", seeded_bug)]);
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    #[expect(clippy::disallowed_methods, reason = "as mv does")]
    std::fs::rename(fixture.root(), fixture.path("moved")).expect("moved");
    for _ in 0..2 {
        assert!(fixture.child(&["publish"], &[]).succeeded);
    }
    drop(child.stdin.take());
    let seen: Vec<String> = lines.map_while(Result::ok).collect();
    child.wait().expect("ended");
    match seen.as_slice() {
        [error] if error.starts_with("error ERR_CLOSED") && error.contains("openBundles()") => Ok(()),
        _ => Err(seen.join("\n")),
    }
}

#[test]
fn a_handle_of_a_replaced_store_pins_nothing() {
    kills(a_replaced_store_is_not_pinned, "trust-replaced-root");
}
