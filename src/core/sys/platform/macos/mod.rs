//! Calls of macOS in place of those of Linux.

pub(crate) mod clock;
pub(crate) mod events;
pub(crate) mod filesystem;
pub(crate) mod limits;
pub(crate) mod mounts;
pub(crate) mod process;
pub(crate) mod users;
pub(crate) mod volume;

pub(crate) use super::no_marks as mark;
