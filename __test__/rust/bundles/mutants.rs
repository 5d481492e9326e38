//! Deterministic checks of the protocol's order, each also run against the seeded bug that it must catch.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Child;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use warmswap::core::bundles::FileLock;

use crate::fixture::{Fixture, User, command, names, run};

pub(crate) type Check = fn(&str) -> Result<(), String>;

/// The check holds for the real thing and fails for the mutant.
pub(crate) fn kills(check: Check, mutant: &str) {
    check("").expect("the real protocol");
    let survived = check(mutant);
    assert!(survived.is_err(), "the mutant {mutant} was not noticed");
}

/// Stops the child at one of its system calls; `None` once it has fewer.
fn stopped_at(fixture: &Fixture, arguments: &[&str], point: usize, mutant: &str) -> Option<Child> {
    let fault = format!("{point}:STOP");
    stopped(
        fixture,
        arguments,
        &[("WARMSWAP_FAULT", &fault), ("WARMSWAP_MUTANT", mutant)],
    )
}

#[expect(
    clippy::zombie_processes,
    reason = "waitpid has reaped a child that is not returned"
)]
fn stopped(fixture: &Fixture, arguments: &[&str], environment: &[(&str, &str)]) -> Option<Child> {
    let child = fixture.spawn(arguments, environment);
    let (_, status) = waitpid(Some(pid(&child)), WaitOptions::UNTRACED).expect("waitpid")?;
    status.stopped().then_some(child)
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("not 0")
}

fn go_on(mut child: Child) -> String {
    kill_process(pid(&child), Signal::CONT).expect("SIGCONT");
    let mut output = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().expect("piped"), &mut output).expect("output");
    child.wait().expect("ended");
    output
}

fn kill(mut child: Child) {
    child.kill().expect("SIGKILL");
    child.wait().expect("ended");
}

/// I1: at each instant of a publish the pointer names a complete generation.
fn pointer_is_complete_at_each_call(mutant: &str) -> Result<(), String> {
    for point in 1.. {
        let fixture = Fixture::with_two_generations();
        let Some(child) = stopped_at(&fixture, &["publish"], point, mutant) else {
            return Ok(());
        };
        let seen = fixture.child(&["verify"], &[]).output;
        kill(child);
        if !seen.contains("problems 0\n") {
            return Err(format!("at call {point}: {seen}"));
        }
    }
    Ok(())
}

/// I2: a generation that a process holds stays, whatever is published and collected meanwhile.
fn a_held_generation_stays(mutant: &str) -> Result<(), String> {
    stays_while_held("hold", mutant)
}

/// I2: also if its lock file was removed and made again while this process held it.
fn what_was_healed_stays(mutant: &str) -> Result<(), String> {
    stays_while_held("hold-what-was-healed", mutant)
}

fn stays_while_held(holding: &str, mutant: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let mut holder = fixture.spawn(&[holding], &[("WARMSWAP_MUTANT", mutant)]);
    let mut lines = BufReader::new(holder.stdout.take().expect("piped")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "holding 2");
    for _ in 0..4 {
        assert!(
            fixture
                .child(&["publish-and-collect"], &[("WARMSWAP_MUTANT", mutant)])
                .succeeded
        );
    }
    drop(holder.stdin.take());
    let last = lines.map_while(Result::ok).last().unwrap_or_default();
    holder.wait().expect("ended");
    if last == "done" { Ok(()) } else { Err(last) }
}

/// I3: a reader that is overtaken between opening the lock file and locking it starts again.
fn an_overtaken_reader_starts_again(mutant: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let log = fixture.path("points");
    fixture.child(&["pin"], &[("WARMSWAP_FAULT_LOG", log.to_str().expect("UTF-8"))]);
    #[expect(clippy::disallowed_methods, reason = "the test looks with its own eyes")]
    let points = std::fs::read_to_string(&log).expect("a log");
    let point = points
        .lines()
        .position(|line| line.contains(" flock "))
        .expect("a lock call")
        + 1;
    let reader = stopped_at(&fixture, &["pin"], point, mutant).expect("stopped before its flock");
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

/// I7: a collector that was killed half-way leaves nothing that a rollback could point to.
fn a_killed_collection_leaves_nothing_to_roll_back_to(mutant: &str) -> Result<(), String> {
    for point in 1.. {
        let fixture = Fixture::with_two_generations();
        let mut other = fixture.spawn(&["rollback-when-told", "1"], &[]);
        let mut lines = BufReader::new(other.stdout.take().expect("piped")).lines();
        assert_eq!(lines.next().expect("a line").expect("text"), "ready");
        let Some(child) = stopped_at(&fixture, &["publish-and-collect"], point, mutant) else {
            kill(other);
            return Ok(());
        };
        kill(child);
        drop(other.stdin.take());
        let seen: String = lines.map_while(Result::ok).map(|line| line + "\n").collect();
        other.wait().expect("ended");
        if !seen.contains("problems 0\n") {
            return Err(format!("at call {point}: {seen}"));
        }
    }
    Ok(())
}

/// I2: a stage that began as a copy of the current generation shares no inode with it.
fn a_copy_shares_no_inode(mutant: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let outcome = fixture.child(&["rewrite-a-copy"], &[("WARMSWAP_MUTANT", mutant)]);
    if outcome.succeeded {
        Ok(())
    } else {
        Err(outcome.output)
    }
}

/// I8: with durability 'power' nothing is collected before the pointer is durable.
fn collected_only_after_the_pointer_is_durable(mutant: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let log = fixture.path("points");
    let environment = [
        ("DURABILITY", "power"),
        ("WARMSWAP_MUTANT", mutant),
        ("WARMSWAP_FAULT_LOG", log.to_str().expect("UTF-8")),
    ];
    assert!(fixture.child(&["publish-and-collect"], &environment).succeeded);
    #[expect(clippy::disallowed_methods, reason = "the test looks with its own eyes")]
    let text = std::fs::read_to_string(&log).expect("a log");
    let at = |operation: &str, path: &Path| {
        text.lines().position(|line| {
            line.contains(&format!(" {operation} ")) && line.ends_with(path.to_str().expect("UTF-8"))
        })
    };
    let durable = at("fsync", fixture.root()).expect("the root is flushed");
    let collected = at("unlink", &fixture.root().join("pins/000001")).expect("generation 1 goes");
    if durable < collected {
        Ok(())
    } else {
        Err(format!("collected at call {collected}, durable at {durable}"))
    }
}

#[test]
fn i1_the_pointer_names_a_complete_generation_at_each_call() {
    kills(pointer_is_complete_at_each_call, "flip-before-rename");
    assert!(
        pointer_is_complete_at_each_call("pointer-before-manifest").is_err(),
        "the mutant pointer-before-manifest was not noticed"
    );
}

#[test]
fn i2_a_held_generation_stays() {
    kills(a_held_generation_stays, "no-reader-lock");
    assert!(
        a_held_generation_stays("collect-without-lock").is_err(),
        "the mutant collect-without-lock was not noticed"
    );
}

#[test]
fn i2_a_pin_does_not_trust_a_lock_file_that_was_removed() {
    kills(what_was_healed_stays, "trust-removed-lock");
}

/// The store is made between another opener's look for `FORMAT` and its look for strangers' files.
#[test]
fn two_openers_of_a_new_store_do_not_take_each_other_for_strangers() {
    let fixture = Fixture::in_memory();
    #[expect(clippy::disallowed_methods, reason = "an empty root")]
    std::fs::create_dir(fixture.root()).expect("a directory");
    let second = stopped(&fixture, &["open"], &[("WARMSWAP_FAULT", "1:STOP:getdents")])
        .expect("stopped before its look");
    assert!(fixture.child(&["publish"], &[]).succeeded);
    assert_eq!(go_on(second), "done\n");
}

/// What is current is verified, whatever is published and collected between its two steps.
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

/// A lock on a file that somebody removed between its open and its flock excludes nobody: it is taken again.
fn a_removed_writer_lock_is_taken_again(mutant: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let (log, path) = (fixture.path("points"), fixture.root().join("writer.lock"));
    let environment = [
        ("WARMSWAP_FAULT", "1:STOP:flock"),
        ("WARMSWAP_FAULT_LOG", log.to_str().expect("UTF-8")),
        ("WARMSWAP_MUTANT", mutant),
    ];
    let mut child = stopped(&fixture, &["collect"], &environment).expect("stopped before its flock");
    #[expect(clippy::disallowed_methods, reason = "as `rm *.lock` does")]
    std::fs::remove_file(&path).expect("the lock file");
    let ours = FileLock::try_acquire(&path).expect("a lock").expect("free");
    kill_process(pid(&child), Signal::CONT).expect("SIGCONT");
    let tries = || read(&log).lines().count();
    while child.try_wait().expect("wait").is_none() && tries() < 4 {
        std::thread::yield_now();
    }
    let ended = child.try_wait().expect("wait");
    drop(ours);
    child.wait().expect("ended");
    match ended {
        None => Ok(()),
        Some(_) => Err("it collected under a lock that we hold".to_owned()),
    }
}

fn read(path: &Path) -> String {
    #[expect(clippy::disallowed_methods, reason = "the test looks with its own eyes")]
    std::fs::read_to_string(path).unwrap_or_default()
}

#[test]
fn i1_a_removed_writer_lock_is_taken_again() {
    kills(a_removed_writer_lock_is_taken_again, "trust-removed-lock");
}

/// I8: with durability 'power' a rollback flushes what was published without it, before the pointer moves.
fn a_rollback_flushes_what_was_not(mutant: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let log = fixture.path("points");
    let environment = [
        ("DURABILITY", "power"),
        ("WARMSWAP_MUTANT", mutant),
        ("WARMSWAP_FAULT_LOG", log.to_str().expect("UTF-8")),
    ];
    assert!(fixture.child(&["rollback", "1"], &environment).succeeded);
    let text = read(&log);
    let at = |operation: &str, path: &str| {
        let path = fixture.root().join(path);
        text.lines().position(|line| {
            line.contains(&format!(" {operation} ")) && line.ends_with(path.to_str().expect("UTF-8"))
        })
    };
    let flipped = at("rename", "current").expect("the pointer moves");
    match at("fsync", "gens/000001/tree/a.txt") {
        Some(flushed) if flushed < flipped => Ok(()),
        other => Err(format!("flushed at {other:?}, the pointer moved at {flipped}")),
    }
}

#[test]
fn i8_a_rollback_flushes_what_was_published_without() {
    kills(a_rollback_flushes_what_was_not, "trust-unflushed");
}

/// What root left in a user's store, a generation and a killed writer's stage, cannot be removed by that user; it is out
/// of sight and stops nobody.
fn anothers_litter_stops_nobody(mutant: &str) -> Result<(), String> {
    let Some(fixture) = Fixture::of_user(Path::new("/dev/shm"), User::Nobody) else {
        return if mutant.is_empty() {
            Ok(())
        } else {
            Err("not run".to_owned())
        };
    };
    assert!(fixture.child(&["publish"], &[]).succeeded);
    let root = |environment: &[(&str, &str)]| run(&mut command(fixture.root(), &["publish"], environment));
    assert!(root(&[]).succeeded);
    assert!(!root(&[("WARMSWAP_FAULT", "12:KILL")]).succeeded);
    for arguments in [
        &["publish-and-collect"][..],
        &["publish-and-collect"],
        &["publish-and-collect"],
        &["open"],
    ] {
        let outcome = fixture.child(arguments, &[("WARMSWAP_MUTANT", mutant)]);
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

/// A program that runs in a generation can write any name there: it is reported, and the generation is served.
#[test]
fn i9_a_name_that_is_no_utf8_does_not_keep_a_store_from_opening_after_a_reboot() {
    use std::os::unix::ffi::OsStrExt as _;
    let fixture = Fixture::with_two_generations();
    let name = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    let path = fixture.root().join("gens/000002/tree").join(name);
    #[expect(clippy::disallowed_methods, reason = "as a program does")]
    std::fs::write(path, "").expect("a file");
    let seen = fixture.child(&["verify"], &[]).output;
    assert_eq!(seen, "current 2\nproblems 1\ndone\n");
    let seen = fixture
        .child(&["verify"], &[("WARMSWAP_BOOT_ID", "the next boot")])
        .output;
    assert_eq!(seen, "current 2\nproblems 1\ndone\n");
}

#[test]
fn i2_a_copy_shares_no_inode() {
    kills(a_copy_shares_no_inode, "hard-link-stage");
}

#[test]
fn i3_an_overtaken_reader_starts_again() {
    kills(an_overtaken_reader_starts_again, "no-recheck");
}

#[test]
fn i7_a_killed_collection_leaves_nothing_to_roll_back_to() {
    kills(
        a_killed_collection_leaves_nothing_to_roll_back_to,
        "rename-before-unlink",
    );
}

#[test]
fn i8_nothing_is_collected_before_the_pointer_is_durable() {
    kills(
        collected_only_after_the_pointer_is_durable,
        "collect-before-durable",
    );
}

/// I5: SIGSTOP keeps a pin, SIGKILL ends it.
#[test]
fn i5_a_pin_ends_with_its_process_and_not_before() {
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
        "nobody holds it"
    );
}
