//! The types that all systems share.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// How an open file is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is only read.
    Read,
    /// It is only written.
    Write,
    /// It is read and written.
    ReadWrite,
}

/// Whether a file is created when it is opened. The umask applies to the mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Create {
    Never,
    IfMissing(u32),
    New(u32),
}

/// How an entry is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct How {
    pub(crate) access: Access,
    pub(crate) create: Create,
    /// Whether anything but a directory is an error.
    pub(crate) directory: bool,
    /// Whether a link in the last part of the path is followed.
    pub(crate) follow: bool,
    /// Whether a pipe without another end waits for one, and a terminal becomes the controlling one.
    pub(crate) wait: bool,
}

impl How {
    /// An existing entry of any kind, for reading; no link is followed.
    pub(crate) const READ: Self = Self {
        access: Access::Read,
        create: Create::Never,
        directory: false,
        follow: false,
        wait: true,
    };

    /// An existing directory.
    pub(crate) const DIRECTORY: Self = Self {
        directory: true,
        ..Self::READ
    };

    /// An existing entry of which the caller does not know that it is a file.
    pub(crate) const fn unknown(access: Access) -> Self {
        Self {
            access,
            wait: false,
            ..Self::READ
        }
    }

    /// A new file.
    pub(crate) const fn new(access: Access, mode: u32) -> Self {
        Self {
            access,
            create: Create::New(mode),
            ..Self::READ
        }
    }
}

/// The times that an entry gets, in nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// Both times become the kernel's present time, which is as coarse as its clock tick.
    Now,
    /// Both times become this one.
    Both(i128),
    /// Only the time of the last change of the bytes becomes this one.
    Modified(i128),
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, socket or pipe.
    Other,
}

/// What stat says about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, setuid, setgid and sticky included (`0o7777`).
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Names that point to it.
    pub links: u64,
    /// Owner.
    pub uid: u32,
    /// Last change of the bytes, nanoseconds since the epoch.
    pub modified_ns: i128,
    /// Last change of the inode, nanoseconds since the epoch.
    pub changed_ns: i128,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// What it is; `None` where the filesystem does not say.
    pub kind: Option<Kind>,
}

/// A filesystem as statfs names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filesystem {
    /// Short name, such as `ext4` or `tmpfs`; `unknown` where the magic number is not in the table.
    pub name: &'static str,
    /// The magic number of statfs.
    pub magic: u64,
    /// Whether flock excludes between all processes that see the directory.
    pub trusted: bool,
}

impl Filesystem {
    /// Whether no call on it waits for a disk or a network.
    pub fn is_in_memory(&self) -> bool {
        self.name == "tmpfs"
    }
}

/// Where something is mounted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) path: PathBuf,
    /// Whether a server or another process answers for it.
    pub(crate) is_remote: bool,
}

/// A file that may be locked.
#[derive(Debug, Clone, Copy)]
pub struct LockedEntry<'a> {
    /// Its name, by which most descriptors are ruled out without a stat.
    pub name: &'a OsStr,
    /// Of its filesystem.
    pub device: u64,
    /// Of the file.
    pub inode: u64,
}
