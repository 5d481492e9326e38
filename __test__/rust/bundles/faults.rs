//! A kill, an error or an interruption at every system call of every operation.

use std::path::Path;

use crate::fixture::Fixture;

#[derive(Clone, Copy)]
struct Operation {
    name: &'static str,
    arguments: &'static [&'static str],
    /// Which generations may be current after it was killed or failed.
    leaves: &'static [u64],
}

const OPERATIONS: [Operation; 5] = [
    Operation {
        name: "publish and collect",
        arguments: &["publish-and-collect"],
        leaves: &[2, 3],
    },
    Operation {
        name: "rollback",
        arguments: &["rollback", "1"],
        leaves: &[1, 2],
    },
    Operation {
        name: "collect",
        arguments: &["collect"],
        leaves: &[3],
    },
    Operation {
        name: "open",
        arguments: &["open"],
        leaves: &[2],
    },
    Operation {
        name: "pin",
        arguments: &["pin"],
        leaves: &[2],
    },
];

/// How many system calls the operation makes.
fn points(operation: Operation) -> usize {
    points_in(&prepared(operation), operation)
}

fn points_in(fixture: &Fixture, operation: Operation) -> usize {
    let log = fixture.path("points");
    let outcome = fixture.child(
        operation.arguments,
        &[("WARMSWAP_FAULT_LOG", log.to_str().expect("UTF-8"))],
    );
    assert!(outcome.succeeded, "{}: {}", operation.name, outcome.output);
    read(&log).lines().count()
}

fn read(path: &Path) -> String {
    #[expect(clippy::disallowed_methods, reason = "the test looks with its own eyes")]
    std::fs::read_to_string(path).expect("a log")
}

/// Something for each operation to do: a collection finds a generation beyond those that are kept and what a killed
/// writer left; an open finds a generation too many and a killed writer's stage.
fn prepared(operation: Operation) -> Fixture {
    let fixture = Fixture::with_two_generations();
    if operation.name == "collect" {
        assert!(fixture.child(&["publish"], &[]).succeeded);
        fixture.child(&["publish"], &[("WARMSWAP_FAULT", "12:KILL")]);
    }
    if operation.name == "open" {
        assert!(fixture.child(&["publish"], &[]).succeeded);
        assert!(fixture.child(&["rollback", "2"], &[]).succeeded);
        fixture.child(&["publish"], &[("WARMSWAP_FAULT", "12:KILL")]);
    }
    fixture
}

fn sweep(what: &str) {
    for operation in OPERATIONS {
        for point in 1..=points(operation) {
            let context = format!("{what} at point {point} of {}", operation.name);
            let fixture = prepared(operation);
            let fault = format!("{point}:{what}");
            let outcome = fixture.child(operation.arguments, &[("WARMSWAP_FAULT", &fault)]);
            let current = fixture.assert_current_is_complete(&context);
            assert!(
                operation.leaves.contains(&current),
                "{context}: generation {current} is current"
            );
            if what == "EINTR" {
                assert!(outcome.succeeded, "{context}: {}", outcome.output);
            }
            // Without help: the next process just goes on.
            let next = fixture.child(&["publish"], &[]);
            assert!(next.succeeded, "{context}: then {}", next.output);
            fixture.assert_no_leftovers(&context);
        }
    }
}

#[test]
fn i7_after_a_kill_at_any_call_the_next_open_and_publish_succeed_and_leave_nothing() {
    sweep("KILL");
}

#[test]
fn i6_an_io_error_at_any_call_changes_nothing_a_reader_can_see() {
    sweep("EIO");
}

#[test]
fn i6_a_full_disk_at_any_call_changes_nothing_a_reader_can_see() {
    sweep("ENOSPC");
}

#[test]
fn an_interrupted_call_is_made_again() {
    sweep("EINTR");
}

#[test]
fn i19_a_publish_makes_as_many_system_calls_after_5000_as_at_first() {
    let fixture = Fixture::with_two_generations();
    let at_first = points_in(&fixture, OPERATIONS[0]);
    assert!(fixture.child(&["publish-many", "5000"], &[]).succeeded);
    assert!(at_first > 0, "calls are counted");
    #[expect(clippy::disallowed_methods, reason = "the log of the first count")]
    std::fs::remove_file(fixture.path("points")).expect("a log");
    assert_eq!(points_in(&fixture, OPERATIONS[0]), at_first);
}
