//! Clocks that never step, in microseconds. They advance with the system's timer, every 0.5 to 16 ms.

use windows_sys::Win32::System::SystemInformation::GetTickCount64;
use windows_sys::Win32::System::WindowsProgramming::QueryUnbiasedInterruptTime;

/// Stops in suspend.
pub(crate) fn monotonic_micros() -> u64 {
    let mut hundred_nanoseconds = 0;
    // SAFETY: the system writes one u64 that outlives the call.
    if unsafe { QueryUnbiasedInterruptTime(&raw mut hundred_nanoseconds) } == 0 {
        return boot_micros();
    }
    hundred_nanoseconds / 10
}

/// Counts suspend.
pub(crate) fn boot_micros() -> u64 {
    // SAFETY: a call without arguments.
    unsafe { GetTickCount64() * 1000 }
}
