//! How work is divided between threads.

/// Files above this are streamed by the thread that reads or writes the archive; those below travel in batches.
pub(super) const LARGE_FILE: u64 = 1 << 20;

/// Threads that this process may use at once.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
