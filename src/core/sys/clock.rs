//! All clocks of the crate.
//!
//! * The *wall clock* is for human readers, for other programs, and for comparison with file times. It can be adjusted.
//! * The *monotonic clock* is never adjusted and stops in suspend. [`monotonic_micros`] can be compared between the
//!   processes of one machine. Inside one process, [`std::time::Instant`] and [`super::deadline`] use the same clock.
//! * The *boot clock* is never adjusted and includes suspend.
//!
//! In builds with the feature `testing`, a test can shift two of them while processes run. The file named by
//! `WARMSWAP_CLOCK` contains the seconds to add to the wall clock. The file named by `WARMSWAP_BOOT_CLOCK` contains the
//! seconds to add to the boot clock, as a suspend does.
//!
//! Decisions use the monotonic or the boot clock whenever both times come from this boot.

use jiff::Timestamp;

use crate::core::sys::platform::clock as system;

/// Current time of the wall clock.
fn now() -> Timestamp {
    #[cfg(feature = "testing")]
    if let Some(seconds) = shift_of("WARMSWAP_CLOCK") {
        return Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    }
    Timestamp::now()
}

/// Seconds in the file that this environment variable names.
#[cfg(feature = "testing")]
fn shift_of(variable: &str) -> Option<i64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "no fault point: only test builds make this call"
    )]
    let text = std::fs::read_to_string(std::env::var_os(variable)?).ok()?;
    text.trim().parse().ok()
}

/// Wall clock as ISO 8601 in UTC with milliseconds, in the format of `new Date().toISOString()`.
pub fn iso8601() -> String {
    format!("{:.3}", now())
}

/// Parses an ISO 8601 time to milliseconds since the epoch. Returns `None` for any other text.
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

/// Microseconds of the boot clock. A holder judges its own record by this clock, because others may take over while
/// this machine is suspended.
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
    fn a_time_has_the_format_of_javascript() {
        let text = iso8601();
        assert_eq!((text.len(), &text[19..20], &text[23..]), (24, ".", "Z"), "{text}");
        let parsed = parse_iso8601(&text).expect("our own format");
        assert!(parsed.unsigned_abs().abs_diff(wall_millis()) < 10_000);
        assert_eq!(parse_iso8601("yesterday"), None);
    }
}
