//! Waits for everything that can end a wait at the same time: changes of files and directories, the end of processes,
//! and other threads. Events are only hints: the woken thread checks the state itself, and a periodic tick covers lost
//! events.

pub use super::platform::{Events, ProcessWatch, Waker};

/// Changes that a watch reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// The last writable descriptor of a file was closed (possibly by the death of its process), or the file lost its
    /// name.
    FileClosed,
    /// Entries were created, removed or replaced in a directory, or the directory itself was removed.
    Entries,
}

/// Identifies a watch while it exists. Two watches of one inode share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WatchId(pub(super) i32);

/// Events that ended a wait.
#[derive(Debug, Default)]
pub struct Woken {
    /// Watches that reported a change.
    pub watches: Vec<WatchId>,
    /// Events were lost, so everything has to be checked.
    pub overflow: bool,
    /// Positions of the processes that have ended.
    pub processes: Vec<usize>,
}
