//! Each seeded bug is seen by the test that is there to see it.

use super::support::seeded_bugs::is_killed_by;

#[test]
fn a_restore_that_believes_everybodys_stamp_is_killed() {
    is_killed_by(
        "trust-strangers",
        "caches::strangers::b3_a_strangers_stamp_is_not_believed",
    );
}
