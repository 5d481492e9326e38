//! Limits of the system.

/// The limits besides `RLIMIT_NPROC` that can refuse a thread, in words: none that is public.
pub(crate) fn of_threads() -> Vec<String> {
    Vec::new()
}
