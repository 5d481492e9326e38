//! A collection removes only what is no longer needed, even if it is killed at any moment.

use std::io::{BufRead as _, BufReader};

use crate::fixture::{Fixture, names};
use crate::support::{kill, kills, position, read, stopped_at, write};

/// bundles/crash-needs-no-repair: a killed collection leaves nothing that a rollback could point to.
fn a_killed_collection_leaves_nothing_to_roll_back_to(seeded_bug: &str) -> Result<(), String> {
    for point in 1.. {
        let fixture = Fixture::with_two_generations();
        let mut other = fixture.spawn(&["rollback-when-told", "1"], &[]);
        let mut lines = BufReader::new(other.stdout.take().expect("piped")).lines();
        assert_eq!(lines.next().expect("a line").expect("text"), "ready");
        let Some(mut child) = stopped_at(&fixture, &["publish-and-collect"], point, seeded_bug) else {
            kill(&mut other);
            return Ok(());
        };
        kill(&mut child);
        drop(other.stdin.take());
        let seen: String = lines.map_while(Result::ok).map(|line| line + "\n").collect();
        other.wait().expect("ended");
        if !seen.contains("problems 0\n") {
            return Err(format!("at call {point}: {seen}"));
        }
    }
    Ok(())
}

#[test]
fn after_a_killed_collection_no_rollback_target_is_left() {
    kills(
        a_killed_collection_leaves_nothing_to_roll_back_to,
        "rename-before-unlink",
    );
}

/// bundles/power-loses-nothing: with durability 'power', nothing is collected before the pointer is durable.
fn collected_only_after_the_pointer_is_durable(seeded_bug: &str) -> Result<(), String> {
    let fixture = Fixture::with_two_generations();
    let log = fixture.path("points");
    let environment = [
        ("DURABILITY", "power"),
        ("WARMSWAP_MUTANT", seeded_bug),
        ("WARMSWAP_FAULT_LOG", log.to_str().expect("UTF-8")),
    ];
    assert!(fixture.child(&["publish-and-collect"], &environment).succeeded);
    let text = read(&log);
    let durable = position(&text, "fsync", fixture.root()).expect("the root is flushed");
    let removed = fixture.root().join("pins/000001");
    let collected = position(&text, "unlink", &removed).expect("generation 1 goes");
    if durable < collected {
        Ok(())
    } else {
        Err(format!("collected at call {collected}, durable at {durable}"))
    }
}

#[test]
fn nothing_is_collected_before_the_pointer_is_durable() {
    kills(
        collected_only_after_the_pointer_is_durable,
        "collect-before-durable",
    );
}

/// `graceMs` is a minute, and the wall clock is adjusted by an hour, forward or back.
fn grace_survives_steps(seeded_bug: &str) -> Result<(), String> {
    for (at_publish, at_collect) in [("0", "3600"), ("3600", "0")] {
        let fixture = Fixture::with_two_generations();
        let clock = fixture.path("clock");
        let step = |seconds: &str, command: &str| {
            write(&clock, seconds);
            let environment = [
                ("WARMSWAP_CLOCK", clock.to_str().expect("UTF-8")),
                ("WARMSWAP_MUTANT", seeded_bug),
            ];
            assert!(fixture.child(&[command], &environment).succeeded, "{command}");
        };
        let config = fixture.root().join("config.json");
        write(&config, r#"{"keep":0,"graceMs":60000}"#);
        step(at_publish, "publish-and-collect");
        step(at_collect, "collect");
        if !names(&fixture.root().join("gens")).contains("000002") {
            return Err(format!(
                "collected within its grace time: {at_publish}, {at_collect}"
            ));
        }
        write(&config, r#"{"keep":0,"graceMs":1}"#);
        std::thread::sleep(std::time::Duration::from_millis(5));
        step(at_collect, "collect");
        if names(&fixture.root().join("gens")).contains("000002") {
            return Err(format!(
                "not collected after its grace time: {at_publish}, {at_collect}"
            ));
        }
    }
    Ok(())
}

#[test]
fn the_grace_time_ignores_adjustments_of_the_wall_clock() {
    kills(grace_survives_steps, "grace-by-wall-clock");
}
