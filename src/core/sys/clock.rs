//! The wall clock, for people and other programs; what decides anything uses the monotonic clock
//! ([`super::identity::monotonic_micros`]), which never steps.

use jiff::Timestamp;

/// Now.
///
/// In builds with the feature `testing`, the file that `WARMSWAP_CLOCK` names holds the seconds by which this clock is
/// moved: a test can step it while others run.
fn now() -> Timestamp {
    #[cfg(feature = "testing")]
    if let Some(seconds) = moved_by() {
        return Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    }
    Timestamp::now()
}

#[cfg(feature = "testing")]
fn moved_by() -> Option<i64> {
    static FILE: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("WARMSWAP_CLOCK").ok());
    #[expect(
        clippy::disallowed_methods,
        reason = "no fault point: it is not the product's call"
    )]
    let text = std::fs::read_to_string(FILE.as_ref()?).ok()?;
    text.trim().parse().ok()
}

/// Now, as ISO 8601 in UTC with milliseconds: what `new Date().toISOString()` gives.
pub fn iso8601() -> String {
    format!("{:.3}", now())
}

/// Milliseconds since the epoch of an ISO 8601 time; `None` where the text is none.
pub fn parse_iso8601(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

/// Milliseconds since the epoch.
pub fn wall_millis() -> u64 {
    u64::try_from(now().as_millisecond()).unwrap_or(0)
}

/// Microseconds since the epoch.
pub fn wall_micros() -> u64 {
    u64::try_from(now().as_microsecond()).unwrap_or(0)
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
