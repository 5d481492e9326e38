//! Limits of the system.

/// Human-readable limits other than `RLIMIT_NPROC` that can refuse a thread. There is no public one.
pub(crate) fn of_threads() -> Vec<String> {
    Vec::new()
}
