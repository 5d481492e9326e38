//! Limits of the system.

/// Human-readable limits that can refuse a thread. There are none: only memory is limited.
pub(crate) fn of_threads() -> Vec<String> {
    Vec::new()
}
