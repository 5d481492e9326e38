//! Who a process is, beyond its pid: a pid alone is reused, means another process in another pid namespace,
//! and outlives its process as a zombie.

use std::path::Path;

use crate::core::sys::fs;

/// The kernel's identity of this boot; `None` where the platform tells none.
pub fn boot_id() -> Option<String> {
    let text = fs::read_capped(Path::new("/proc/sys/kernel/random/boot_id"), 64).ok()?;
    Some(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Microseconds of this boot's monotonic clock: comparable between the processes of one machine, stops in
/// suspend, never steps.
pub fn monotonic_micros() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec.cast_unsigned() * 1_000_000 + now.tv_nsec.cast_unsigned() / 1_000
}

/// The command line of this process, for people who ask who holds something.
pub fn command() -> String {
    let arguments: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    arguments.join(" ")
}
