//! Limits of the system.

/// The limits that can refuse a thread, in words: there are none, only memory ends.
pub(crate) fn of_threads() -> Vec<String> {
    Vec::new()
}
