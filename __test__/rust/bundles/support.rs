//! Helpers of the bundle tests: checks that also run against seeded bugs, children that are stopped at one of their
//! system calls, and files that a user edits.

use std::path::Path;
use std::process::Child;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::fixture::Fixture;

pub(crate) type Check = fn(&str) -> Result<(), String>;

/// The check passes for the real code and fails for the seeded bug.
pub(crate) fn kills(check: Check, seeded_bug: &str) {
    check("").expect("the real protocol");
    let survived = check(seeded_bug);
    assert!(survived.is_err(), "the seeded bug {seeded_bug} was not noticed");
}

/// Stops the child at one of its system calls. Returns `None` if it has fewer.
pub(crate) fn stopped_at(
    fixture: &Fixture,
    arguments: &[&str],
    point: usize,
    seeded_bug: &str,
) -> Option<Child> {
    let fault = format!("{point}:STOP");
    stopped(
        fixture,
        arguments,
        &[("WARMSWAP_FAULT", &fault), ("WARMSWAP_MUTANT", seeded_bug)],
    )
}

#[expect(
    clippy::zombie_processes,
    reason = "waitpid has reaped a child that is not returned"
)]
pub(crate) fn stopped(fixture: &Fixture, arguments: &[&str], environment: &[(&str, &str)]) -> Option<Child> {
    let child = fixture.spawn(arguments, environment);
    let (_, status) = waitpid(Some(pid(&child)), WaitOptions::UNTRACED).expect("waitpid")?;
    status.stopped().then_some(child)
}

pub(crate) fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("not 0")
}

pub(crate) fn go_on(mut child: Child) -> String {
    kill_process(pid(&child), Signal::CONT).expect("SIGCONT");
    let mut output = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().expect("piped"), &mut output).expect("output");
    child.wait().expect("ended");
    output
}

pub(crate) fn kill(child: &mut Child) {
    child.kill().expect("SIGKILL");
    child.wait().expect("ended");
}

/// Compares the output of a child.
pub(crate) fn expect(expected: &str, seen: &str) -> Result<(), String> {
    if seen == expected {
        return Ok(());
    }
    Err(format!("expected {expected:?}, got {seen:?}"))
}

/// Like an editor that ignores permissions.
#[expect(clippy::disallowed_methods, reason = "as a user does")]
pub(crate) fn overwrite(path: &Path, text: &str) {
    let mode = std::fs::metadata(path).expect("a file").permissions();
    std::fs::remove_file(path).expect("removed");
    std::fs::write(path, text).expect("written");
    std::fs::set_permissions(path, mode).expect("chmod");
}

#[expect(clippy::disallowed_methods, reason = "as a user does")]
pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a text")
}

#[expect(clippy::disallowed_methods, reason = "as a user does")]
pub(crate) fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}

/// Position of the first call of this operation on this path in a log of fault injection points.
pub(crate) fn position(log: &str, operation: &str, path: &Path) -> Option<usize> {
    let path = path.to_str().expect("UTF-8");
    log.lines()
        .position(|line| line.contains(&format!(" {operation} ")) && line.ends_with(path))
}
