//! What differs between operating systems, and nothing else: raw calls that return `io::Result`. Each system has the same
//! functions with the same signatures, so that the files above this folder need no `cfg` and name no type of a system.
//! They add what all systems share: fault points, the repetition of interrupted calls, and operation and path in the error.
//!
//! * `types`: what all systems share.
//! * `unix`: the calls that Linux and macOS have in common.
//! * `linux`, `macos`: what only they have, or do not have.
//! * `windows`: all of it.
//! * `no_marks`: what macOS and Windows have instead of `linux::mark`.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(not(target_os = "linux"))]
pub(crate) mod no_marks;
mod types;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(target_os = "macos")]
use macos as system;
#[cfg(unix)]
use unix as common;
#[cfg(windows)]
use windows as common;
#[cfg(windows)]
use windows as system;

pub use common::lock::DirectoryLock;
pub use system::events::{Events, ProcessWatch, Waker};
pub use types::{Access, Entry, Filesystem, Kind, LockedEntry, Stat};

pub(super) use common::{errno, files, host, lock, name, pointer};
pub(super) use system::{clock, filesystem, limits, mark, mounts, process, users, volume};
pub(super) use types::{Create, How, Mount, Times};
