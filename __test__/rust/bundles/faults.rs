//! A kill, an error or an interruption at every system call of every operation. Each operation runs as the user of the
//! test (usually root). Operations that change files also run as user nobody.

// guarantee: bundles/failed-build-changes-nothing, bundles/crash-needs-no-repair

use std::path::Path;

use crate::fixture::{Fixture, User};
use crate::support::read;

#[derive(Clone, Copy)]
struct Operation {
    name: &'static str,
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// Generations that may be current after it was killed or failed.
    leaves: &'static [u64],
}

const PLAIN: Operation = Operation {
    name: "",
    arguments: &[],
    environment: &[],
    leaves: &[2],
};

const OPERATIONS: [Operation; 14] = [
    Operation {
        name: "publish and collect",
        arguments: &["publish-and-collect"],
        leaves: &[2, 3],
        ..PLAIN
    },
    Operation {
        name: "publish and collect for power loss",
        arguments: &["publish-and-collect"],
        environment: &[("DURABILITY", "power")],
        leaves: &[2, 3],
    },
    Operation {
        name: "publish a copy of the current generation",
        arguments: &["publish-a-copy"],
        leaves: &[2, 3],
        ..PLAIN
    },
    Operation {
        name: "publish where somebody removed the link",
        arguments: &["publish-after-the-link-went"],
        leaves: &[2, 3],
        ..PLAIN
    },
    Operation {
        name: "publish with a pin",
        arguments: &["publish-and-pin"],
        leaves: &[2, 3],
        ..PLAIN
    },
    Operation {
        name: "rollback",
        arguments: &["rollback", "1"],
        leaves: &[1, 2],
        ..PLAIN
    },
    Operation {
        name: "collect",
        arguments: &["collect"],
        leaves: &[3],
        ..PLAIN
    },
    Operation {
        name: "open",
        arguments: &["open"],
        ..PLAIN
    },
    Operation {
        name: "open and adopt a directory as link",
        arguments: &["open"],
        environment: &[("ADOPT", "1")],
        leaves: &[2, 3],
    },
    Operation {
        name: "publish and collect with a link",
        arguments: &["publish-and-collect"],
        leaves: &[2, 3],
        ..PLAIN
    },
    Operation {
        name: "roll back with a link",
        arguments: &["rollback", "1"],
        leaves: &[1, 2],
        ..PLAIN
    },
    Operation {
        name: "replace the link by a directory",
        arguments: &["give-directory"],
        ..PLAIN
    },
    Operation {
        name: "publish over the directory that replaced the link",
        arguments: &["publish"],
        leaves: &[2, 3],
        ..PLAIN
    },
    Operation {
        name: "pin",
        arguments: &["pin"],
        ..PLAIN
    },
];

impl Operation {
    fn has_link(self) -> bool {
        self.name.contains("link")
    }

    /// Whether it does nothing after its publish, so that its failure means that the publish failed.
    fn is_one_publish(self) -> bool {
        ["publish with a pin", "publish where somebody removed the link"].contains(&self.name)
    }

    /// Whether its store recognises a directory by its inode, which a copy does not have.
    fn knows_its_inodes(self) -> bool {
        self.name.contains("over the directory")
    }

    fn adopts(self) -> bool {
        self.name.contains("adopt")
    }

    /// Whether the link works at each moment.
    fn keeps_the_link(self) -> bool {
        self.has_link() && self.name != "publish where somebody removed the link"
    }

    fn with<'a>(self, more: (&'a str, &'a str)) -> Vec<(&'a str, &'a str)> {
        [self.environment, &[more]].concat()
    }
}

/// Number of system calls of the operation.
fn points_in(fixture: &Fixture, operation: Operation) -> usize {
    let log = fixture.path("points");
    let outcome = fixture.child(
        operation.arguments,
        &operation.with(("WARMSWAP_FAULT_LOG", log.to_str().expect("UTF-8"))),
    );
    assert!(outcome.succeeded, "{}: {}", operation.name, outcome.output);
    read(&log).lines().count()
}

/// Prepares work for each operation. A collection finds one generation too many and the leftovers of a killed writer.
/// An open also finds them, or a directory to adopt.
fn prepared(operation: Operation, user: User) -> Option<Fixture> {
    let fixture = Fixture::of_user(Path::new("/dev/shm"), user)?;
    let fixture = if operation.has_link() {
        fixture.linked()
    } else {
        fixture
    };
    let publish = |environment: &[(&str, &str)]| fixture.child(&["publish"], environment).succeeded;
    assert!(
        fixture.child(&["publish-twice"], &[]).succeeded,
        "two generations"
    );
    if operation.name == "collect" {
        assert!(publish(&[]));
        assert!(!publish(&[("WARMSWAP_FAULT", "12:KILL")]));
    }
    if operation.name == "open" {
        assert!(publish(&[]));
        assert!(fixture.child(&["rollback", "2"], &[]).succeeded);
        assert!(!publish(&[("WARMSWAP_FAULT", "12:KILL")]));
    }
    if operation.name.contains("over the directory") {
        assert!(fixture.child(&["give-directory"], &[]).succeeded);
    }
    if operation.adopts() {
        remove_link(&fixture);
        fixture.make_directory_in_place_of_link();
    }
    Some(fixture)
}

#[expect(clippy::disallowed_methods, reason = "as a user does")]
fn remove_link(fixture: &Fixture) {
    std::fs::remove_file(fixture.path("dist")).expect("the link");
}

fn sweep(what: &str, user: User, operations: &[Operation]) {
    // Keeps the copy of the program, which is only for the user nobody.
    let _copy = Fixture::of_user(Path::new("/dev/shm"), user);
    for operation in operations {
        let Some(fixture) = prepared(*operation, user) else {
            return;
        };
        // Four tests need 1 500 prepared stores each. A copy takes a third of the time of two publishes.
        let saved = fixture.saved();
        let points = points_in(&fixture, *operation);
        for point in 1..=points {
            if operation.knows_its_inodes() {
                strike(
                    &prepared(*operation, user).expect("as before"),
                    *operation,
                    point,
                    what,
                );
                continue;
            }
            fixture.restore(&saved);
            strike(&fixture, *operation, point, what);
        }
    }
}

fn strike(fixture: &Fixture, operation: Operation, point: usize, what: &str) {
    let context = format!("{what} at point {point} of {}", operation.name);
    let fault = format!("{point}:{what}");
    let outcome = fixture.child(operation.arguments, &operation.with(("WARMSWAP_FAULT", &fault)));
    assert!(
        !operation.keeps_the_link() || read(&fixture.path("dist/a.txt")).len() > 1,
        "{context}: the link's content"
    );
    // Its open repairs the view, even without the option link.
    let current = fixture.assert_current_is_complete(&context);
    if operation.has_link() {
        fixture.assert_view_shows(current, &context);
    }
    assert!(
        operation.leaves.contains(&current),
        "{context}: generation {current} is current"
    );
    if operation.is_one_publish() && what != "KILL" {
        let expected = if outcome.succeeded { 3 } else { 2 };
        assert_eq!(current, expected, "{context}: {}", outcome.output);
    }
    if what == "EINTR" {
        assert!(outcome.succeeded, "{context}: {}", outcome.output);
    }
    // No repair is needed: the next process simply continues.
    let next = fixture.child(&["publish"], operation.environment);
    assert!(next.succeeded, "{context}: then {}", next.output);
    fixture.assert_no_leftovers(&context);
    if operation.adopts() {
        fixture.assert_set_aside_once(&context);
    }
}

#[test]
fn after_a_kill_at_any_call_the_next_open_and_publish_succeed() {
    sweep("KILL", User::Ours, &OPERATIONS);
}

#[test]
fn an_io_error_at_any_call_changes_nothing_that_readers_see() {
    sweep("EIO", User::Ours, &OPERATIONS);
}

#[test]
fn a_full_disk_at_any_call_changes_nothing_that_readers_see() {
    sweep("ENOSPC", User::Ours, &OPERATIONS);
}

/// Root ignores modes. A repair must not depend on that.
#[test]
fn as_nobody_after_a_kill_at_any_call_the_next_open_and_publish_succeed() {
    let chosen: Vec<Operation> = OPERATIONS
        .into_iter()
        .filter(|operation| ["publish and collect", "rollback", "collect", "pin"].contains(&operation.name))
        .collect();
    sweep("KILL", User::Nobody, &chosen);
}

#[test]
fn an_interrupted_call_is_repeated() {
    sweep("EINTR", User::Ours, &OPERATIONS);
}

#[test]
fn the_number_of_system_calls_of_a_publish_does_not_grow() {
    let fixture = Fixture::with_two_generations();
    let at_first = points_in(&fixture, OPERATIONS[0]);
    assert!(fixture.child(&["publish-many", "5000"], &[]).succeeded);
    assert!(at_first > 0, "calls are counted");
    #[expect(clippy::disallowed_methods, reason = "the log of the first count")]
    std::fs::remove_file(fixture.path("points")).expect("a log");
    assert_eq!(points_in(&fixture, OPERATIONS[0]), at_first);
}
