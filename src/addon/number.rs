//! Checked conversion of numbers. Every duration and size crosses the boundary as `f64`.

use std::time::Duration;

use crate::core::error::{Error, Result};
use crate::core::sys::deadline::Deadline;

/// Longest finite duration. Longer timeouts never expire.
const CENTURY_MS: f64 = 100.0 * 365.0 * 86_400_000.0;

/// Converts milliseconds, finite and not negative.
pub(crate) fn duration(name: &str, milliseconds: f64) -> Result<Duration> {
    if milliseconds.is_finite() && (0.0..=CENTURY_MS).contains(&milliseconds) {
        return Ok(Duration::from_secs_f64(milliseconds / 1000.0));
    }
    Err(Error::argument(
        name,
        milliseconds,
        "a non-negative number of milliseconds, at most 100 years",
    ))
}

/// Converts milliseconds from now to a deadline. `Infinity` is [`Deadline::NEVER`].
pub(crate) fn deadline(name: &str, milliseconds: f64) -> Result<Deadline> {
    Ok(timeout(name, milliseconds)?.map_or(Deadline::NEVER, Deadline::after))
}

/// Converts the milliseconds of a timeout. `Infinity` is `None`: no timeout.
pub(crate) fn timeout(name: &str, milliseconds: f64) -> Result<Option<Duration>> {
    if milliseconds.is_nan() || milliseconds < 0.0 {
        return Err(Error::argument(
            name,
            milliseconds,
            "a non-negative number of milliseconds or Infinity",
        ));
    }
    if milliseconds > CENTURY_MS {
        return Ok(None);
    }
    duration(name, milliseconds).map(Some)
}

/// Converts a count or size that JavaScript can represent exactly.
pub(crate) fn count(name: &str, value: f64) -> Result<u64> {
    const LARGEST_EXACT: f64 = 9_007_199_254_740_991.0;
    if value.fract() == 0.0 && (0.0..=LARGEST_EXACT).contains(&value) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked above"
        )]
        return Ok(value as u64);
    }
    Err(Error::argument(name, value, "a non-negative integer"))
}

/// Converts an integer that may be negative, such as a compression level.
pub(crate) fn level(name: &str, value: f64) -> Result<i32> {
    if value.fract() == 0.0 && value.abs() <= 1000.0 {
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        return Ok(value as i32);
    }
    Err(Error::argument(name, value, "an integer"))
}

/// Converts a count to a JavaScript number. Rounded above 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts and sizes stay far below 2^53")]
pub(crate) fn number(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_durations_and_counts_are_refused() {
        for value in [f64::NAN, -1.0, f64::NEG_INFINITY] {
            assert!(deadline("timeoutMs", value).is_err());
        }
        assert_eq!(
            deadline("timeoutMs", f64::INFINITY).expect("never"),
            Deadline::NEVER
        );
        assert!(duration("graceMs", f64::INFINITY).is_err());
        assert!(count("keep", 1.5).is_err());
        assert_eq!(count("keep", 3.0).expect("three"), 3);
    }
}
