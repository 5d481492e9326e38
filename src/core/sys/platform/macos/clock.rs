//! Clocks that are never adjusted, in microseconds.

use rustix::time::{ClockId, clock_gettime};

/// Includes suspend (clock_gettime(3) of macOS).
pub(crate) fn monotonic_micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000 + now.tv_nsec.cast_unsigned() / 1_000
}

/// The same clock.
pub(crate) fn boot_micros() -> u64 {
    monotonic_micros()
}
