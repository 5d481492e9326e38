//! Calls of Windows in place of those of Linux and macOS. Versions before Windows 10 1809 are not supported.
//!
//! * `nt`: opens entries and changes them through handles.
//! * `path`: names and paths in the form that these calls need.
//! * `stat`, `listing`: facts about entries.
//! * `links`, `reparse`: symbolic links and junctions.
//! * `security`: owners and access rights.
//! * `clone`: files that share blocks, on `ReFS`.
//! * `names`: creates, changes and removes names.
//! * `pointer`: files in place of links.
//! * `child_file`: the files that children inherit of a lock.
//! * `files`: the functions that `unix` has with the same names.

#![expect(clippy::unnecessary_wraps, reason = "all systems have the same functions")]

pub(crate) mod child_file;
pub(crate) mod clock;
mod clone;
pub(crate) mod errno;
pub(crate) mod events;
pub(crate) mod files;
pub(crate) mod filesystem;
pub(crate) mod host;
pub(crate) mod limits;
mod links;
mod listing;
pub(crate) mod lock;
pub(crate) mod mounts;
pub(crate) mod name;
mod names;
mod nt;
mod path;
pub(crate) mod pointer;
pub(crate) mod process;
mod reparse;
mod security;
mod stat;
pub(crate) mod users;
pub(crate) mod volume;

pub(crate) use super::no_marks as mark;
