//! Seeded bugs, which the tests must detect.

use std::process::Command;

/// Runs one test of this program with a seeded bug enabled, and expects it to fail.
pub(crate) fn is_killed_by(seeded_bug: &str, test: &str) {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test])
        .env("WARMSWAP_MUTANT", seeded_bug)
        .output()
        .expect("started");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("running 1 test"), "there is no test {test}");
    assert!(
        !output.status.success(),
        "'{seeded_bug}' was not detected by {test}"
    );
}
