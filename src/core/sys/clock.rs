//! The wall clock, for people and other programs; what decides anything uses the monotonic clock
//! ([`super::identity::monotonic_micros`]), which never steps.

use jiff::Timestamp;

/// Now, as ISO 8601 in UTC with milliseconds: what `new Date().toISOString()` gives.
pub fn iso8601() -> String {
    format!("{:.3}", Timestamp::now())
}

/// Milliseconds since the epoch of an ISO 8601 time; `None` where the text is none.
pub fn parse_iso8601(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(Timestamp::as_millisecond)
}

/// Milliseconds since the epoch.
pub fn wall_millis() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// Microseconds since the epoch.
pub fn wall_micros() -> u64 {
    u64::try_from(Timestamp::now().as_microsecond()).unwrap_or(0)
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
