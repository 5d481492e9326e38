//! Clocks that are never adjusted, in microseconds.

use rustix::time::{ClockId, clock_gettime};

/// Does not include suspend.
pub(crate) fn monotonic_micros() -> u64 {
    micros(ClockId::Monotonic)
}

/// Includes suspend.
pub(crate) fn boot_micros() -> u64 {
    micros(ClockId::Boottime)
}

fn micros(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    now.tv_sec.cast_unsigned() * 1_000_000 + now.tv_nsec.cast_unsigned() / 1_000
}
