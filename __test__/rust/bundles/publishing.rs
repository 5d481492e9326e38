//! A publish or rollback is atomic and has one writer at a time. Each check also runs against the seeded bug that it
//! must detect.

use rustix::process::{Signal, kill_process};
use warmswap::core::bundles::FileLock;

use crate::fixture::Fixture;
use crate::support::{go_on, kill, kills, pid, position, read, stopped, stopped_at, write};

/// bundles/pin-is-complete: at each moment of a publish, the pointer names a complete generation.
fn pointer_is_complete_at_each_call(seeded_bug: &str) -> Result<(), String> {
    for point in 1.. {
        let fixture = Fixture::with_two_generations();
        let Some(mut child) = stopped_at(&fixture, &["publish"], point, seeded_bug) else {
            return Ok(());
        };
        let seen = fixture.child(&["verify"], &[]).output;
        kill(&mut child);
        if !seen.contains("problems 0\n") {
            return Err(format!("at call {point}: {seen}"));
        }
    }
    Ok(())
}

#[test]
fn the_pointer_names_a_complete_generation_at_each_call() {
    kills(pointer_is_complete_at_each_call, "flip-before-rename");
    assert!(
        pointer_is_complete_at_each_call("pointer-before-manifest").is_err(),
        "the seeded bug pointer-before-manifest was not noticed"
    );
}

/// A lock on a file that was removed between its open and its flock excludes no other process. It is acquired again.
fn a_removed_writer_lock_is_taken_again(seeded_bug: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let (log, path) = (fixture.path("points"), fixture.root().join("writer.lock"));
    let environment = [
        ("WARMSWAP_FAULT", "1:STOP:flock"),
        ("WARMSWAP_FAULT_LOG", log.to_str().expect("UTF-8")),
        ("WARMSWAP_MUTANT", seeded_bug),
    ];
    let mut child = stopped(&fixture, &["collect"], &environment).expect("stopped before its flock");
    #[expect(clippy::disallowed_methods, reason = "as `rm *.lock` does")]
    std::fs::remove_file(&path).expect("the lock file");
    let ours = FileLock::try_acquire(&path).expect("a lock").expect("free");
    kill_process(pid(&child), Signal::CONT).expect("SIGCONT");
    let tries = || {
        if log.exists() {
            read(&log).lines().count()
        } else {
            0
        }
    };
    while child.try_wait().expect("wait").is_none() && tries() < 4 {
        std::thread::yield_now();
    }
    let ended = child.try_wait().expect("wait");
    drop(ours);
    child.wait().expect("ended");
    match ended {
        None => Ok(()),
        Some(_) => Err("it collected while this process held the lock".to_owned()),
    }
}

#[test]
fn a_removed_writer_lock_is_acquired_again() {
    kills(a_removed_writer_lock_is_taken_again, "lock-file-unchecked");
}

/// The store is created between another opener's check for `FORMAT` and its check for foreign files.
#[test]
fn two_openers_of_a_new_store_accept_each_others_files() {
    let fixture = Fixture::in_memory();
    #[expect(clippy::disallowed_methods, reason = "an empty root")]
    std::fs::create_dir(fixture.root()).expect("a directory");
    let second = stopped(&fixture, &["open"], &[("WARMSWAP_FAULT", "1:STOP:getdents")])
        .expect("stopped before its check");
    assert!(fixture.child(&["publish"], &[]).succeeded);
    assert_eq!(go_on(second), "done\n");
}

/// bundles/power-loses-nothing: with durability 'power', a rollback flushes a generation that was published without it,
/// before the pointer moves.
fn a_rollback_flushes_what_was_not(seeded_bug: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let log = fixture.path("points");
    let environment = [
        ("DURABILITY", "power"),
        ("WARMSWAP_MUTANT", seeded_bug),
        ("WARMSWAP_FAULT_LOG", log.to_str().expect("UTF-8")),
    ];
    assert!(fixture.child(&["rollback", "1"], &environment).succeeded);
    let text = read(&log);
    let at = |operation: &str, path: &str| position(&text, operation, &fixture.root().join(path));
    let flipped = at("rename", "current").expect("the pointer moves");
    match at("fsync", "gens/000001/tree/a.txt") {
        Some(flushed) if flushed < flipped => Ok(()),
        other => Err(format!("flushed at {other:?}, the pointer moved at {flipped}")),
    }
}

#[test]
fn a_rollback_flushes_a_generation_published_without_durability() {
    kills(a_rollback_flushes_what_was_not, "trust-unflushed");
}

#[test]
fn invalid_generation_numbers_are_refused_and_stop_no_operation() {
    let huge = ["4503599627370497", "9007199254740993", "18446744073709551615"];
    let fixture = Fixture::with_two_generations();
    let root = fixture.root();
    for number in huge {
        #[expect(clippy::disallowed_methods, reason = "as another program does")]
        std::fs::create_dir_all(root.join("gens").join(number).join("tree")).expect("mkdir");
        write(&root.join("pins").join(number), "{}");
        write(&root.join("fence"), number);
        let mirror = format!(
            r#"{{"number":2,"digest":"","at":0,"history":[{{"number":{number},"until":{number}}}],"highest":{number},"fence":{number}}}"#
        );
        write(&root.join("current.json"), &mirror);
        let outcome = fixture.child(&["publish-and-collect"], &[]);
        assert!(outcome.succeeded, "{number}: {}", outcome.output);
    }
    assert_eq!(fixture.assert_current_is_complete("after huge numbers"), 5);
    let text = read(&root.join("current.json"));
    assert!(text.contains(r#""highest":5"#), "{text}");
    for number in huge {
        let link = root.join("current");
        #[expect(clippy::disallowed_methods, reason = "as another program does")]
        std::fs::remove_file(&link).expect("the pointer");
        std::os::unix::fs::symlink(format!("gens/{number}/tree"), &link).expect("symlink");
        for arguments in [&["pin"][..], &["publish"], &["open"]] {
            let seen = fixture.child(arguments, &[]).output;
            assert!(seen.starts_with("error ERR_FORMAT"), "{number}: {seen}");
        }
    }
}
