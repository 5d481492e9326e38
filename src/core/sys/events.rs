//! One place to wait for everything that can end a wait: changes of files and directories, the death of
//! processes, and other threads. Hints, never the truth: who is woken looks, and a tick stands behind it.

pub use super::platform::{Events, ProcessWatch, Waker};

/// What a watch looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// A file whose last writable descriptor closes (also by the death of its process), or that loses its name.
    FileClosed,
    /// Entries that come, go or are replaced in a directory, and the directory itself going.
    Entries,
}

/// Names a watch while it lives; two watches of one inode share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WatchId(pub(super) i32);

/// Why a wait ended.
#[derive(Debug, Default)]
pub struct Woken {
    /// Watches that saw something.
    pub watches: Vec<WatchId>,
    /// Events were lost: everything has to be looked at.
    pub overflow: bool,
    /// Positions of the processes that have ended.
    pub processes: Vec<usize>,
}
