//! Distribution of work to threads.

/// Files above this size are streamed by the thread that reads or writes the archive. Smaller ones are processed in
/// batches.
pub(super) const LARGE_FILE: u64 = 1 << 20;

/// Number of threads that this process may use at the same time.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
