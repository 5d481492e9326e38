//! Differences between operating systems, and nothing else: raw calls that return `io::Result`. Each system has the
//! same functions with the same signatures, so that the files above this folder need no `cfg` and no types of a system.
//! Those files add what all systems share: fault injection points, the repetition of interrupted calls, and operation
//! and path in errors.
//!
//! * `types`: types that all systems share.
//! * `unix`: calls that Linux and macOS share.
//! * `linux`, `macos`: calls that only one of them has, or that differ.
//! * `windows`: all calls of Windows.
//! * `no_marks`: marks of macOS and Windows, which have none.

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

pub use common::child_file::ChildFile;
pub use common::lock::DirectoryLock;
pub use system::events::{Events, ProcessWatch, Waker};
pub use types::{Access, Entry, Filesystem, Kind, LinkUse, LockedEntry, Stat};

pub(super) use common::{child_file, errno, files, host, lock, name, pointer};
pub(super) use system::{clock, filesystem, limits, mark, mounts, process, users, volume};
pub(super) use types::{Create, Mount, OpenOptions, Times};
