//! All clocks of the crate.
//!
//! * The *wall clock* is for people and other programs, and for comparison with the times of files. It can step.
//! * The *monotonic clock* never steps and stops in suspend. [`monotonic_micros`] can be compared between the processes
//!   of one machine; inside one process [`std::time::Instant`] and [`super::deadline`] are the same clock.
//! * The *boot clock* never steps and counts suspend.
//!
//! In builds with the feature `testing`, a test can shift two of them while processes run: the file that
//! `WARMSWAP_CLOCK` names holds the seconds that are added to the wall clock, and that of `WARMSWAP_BOOT_CLOCK` those
//! that are added to the boot clock, as a suspend adds them.
//!
//! A decision is made by the monotonic or the boot clock wherever both times come from this boot.

use jiff::Timestamp;

use crate::core::sys::platform::clock as system;

/// The time of the wall clock.
fn now() -> Timestamp {
    #[cfg(feature = "testing")]
    if let Some(seconds) = shift_of("WARMSWAP_CLOCK") {
        return Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    }
    Timestamp::now()
}

/// The seconds in the file that this environment variable names.
#[cfg(feature = "testing")]
fn shift_of(variable: &str) -> Option<i64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "no fault point: it is not the product's call"
    )]
    let text = std::fs::read_to_string(std::env::var_os(variable)?).ok()?;
    text.trim().parse().ok()
}

/// The wall clock as ISO 8601 in UTC with milliseconds, as `new Date().toISOString()` returns it.
pub fn iso8601() -> String {
    format!("{:.3}", now())
}

/// Milliseconds since the epoch of an ISO 8601 time; `None` for any other text.
pub fn parse_iso8601(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

/// Milliseconds of the wall clock since the epoch.
pub fn wall_millis() -> u64 {
    u64::try_from(now().as_millisecond()).unwrap_or(0)
}

/// Microseconds of the wall clock since the epoch.
pub fn wall_micros() -> u64 {
    u64::try_from(now().as_microsecond()).unwrap_or(0)
}

/// Nanoseconds of the wall clock since the epoch.
pub fn wall_nanos() -> i64 {
    i64::try_from(now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// Microseconds of the monotonic clock.
pub fn monotonic_micros() -> u64 {
    system::monotonic_micros()
}

/// Microseconds of the boot clock. A holder judges its own record by it: others may have taken over while this machine
/// was suspended.
pub fn boot_micros() -> u64 {
    #[cfg(feature = "testing")]
    if let Some(seconds) = shift_of("WARMSWAP_BOOT_CLOCK") {
        return system::boot_micros().saturating_add_signed(seconds.saturating_mul(1_000_000));
    }
    system::boot_micros()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_what_javascript_writes() {
        let text = iso8601();
        assert_eq!((text.len(), &text[19..20], &text[23..]), (24, ".", "Z"), "{text}");
        let parsed = parse_iso8601(&text).expect("our own format");
        assert!(parsed.unsigned_abs().abs_diff(wall_millis()) < 10_000);
        assert_eq!(parse_iso8601("yesterday"), None);
    }
}
