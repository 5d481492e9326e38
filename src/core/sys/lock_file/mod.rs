//! Files that are locked with flock(2) and may be removed or replaced while other processes wait for them.
//!
//! A lock on a file that is no longer the one at its path excludes no other process. Each acquisition therefore opens
//! the file, locks it, and checks that it is still the file at the path. Otherwise it starts again with the new file.
//! flock has no timed wait, and a blocked thread cannot be cancelled, so a wait retries at short intervals.
//!
//! The lock belongs to the open file description. It ends with the process and with the last close.

mod entry;
mod file;
mod options;
#[cfg(test)]
mod tests;

pub use file::{LockFile, LockedFile};
pub use options::{Attempt, Check, LockOptions, Wait};
