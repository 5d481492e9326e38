//! Clocks that are never adjusted, in microseconds.

use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};

/// Includes suspend. QueryUnbiasedInterruptTime does not, but it advances only every 0.5 to 16 ms, and names are
/// derived from this time.
pub(crate) fn monotonic_micros() -> u64 {
    let (mut ticks, mut per_second) = (0_i64, 0_i64);
    // SAFETY: the system writes one i64 each. Both calls cannot fail since Windows XP.
    unsafe {
        QueryPerformanceCounter(&raw mut ticks);
        QueryPerformanceFrequency(&raw mut per_second);
    }
    let micros = i128::from(ticks) * 1_000_000 / i128::from(per_second.max(1));
    u64::try_from(micros).unwrap_or(0)
}

/// The same clock.
pub(crate) fn boot_micros() -> u64 {
    monotonic_micros()
}
