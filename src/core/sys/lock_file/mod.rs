//! Files that are locked with flock(2) and can be removed or replaced while somebody waits for them.
//!
//! A lock on a file that is no longer the one at its path excludes nobody. So each acquisition opens the file, locks it,
//! and then checks that it is still that file; if not, it starts again with the file that is there now. flock has no
//! timed wait, and a thread that blocks in it cannot be cancelled, so a wait tries again at short intervals.
//!
//! The lock belongs to the open file description: it ends with the process and with the last close.

mod entry;
mod file;
mod options;
#[cfg(test)]
mod tests;

pub use file::{LockFile, LockedFile};
pub use options::{Attempt, Check, LockOptions, Wait};
