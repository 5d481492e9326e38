//! Types that all systems share.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Access to an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read only.
    Read,
    /// Write only.
    Write,
    /// Read and write.
    ReadWrite,
}

/// Whether opening a file creates it. The umask applies to the mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Create {
    Never,
    IfMissing(u32),
    New(u32),
}

/// How an entry is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenOptions {
    pub(crate) access: Access,
    pub(crate) create: Create,
    /// Whether anything but a directory is an error.
    pub(crate) directory: bool,
    /// Whether a link in the last component of the path is followed.
    pub(crate) follow: bool,
    /// Whether opening may block on a pipe without another end, and may acquire a controlling terminal.
    pub(crate) wait: bool,
}

impl OpenOptions {
    /// Opens an existing entry of any kind for reading, without following links.
    pub(crate) const READ: Self = Self {
        access: Access::Read,
        create: Create::Never,
        directory: false,
        follow: false,
        wait: true,
    };

    /// Opens an existing directory.
    pub(crate) const DIRECTORY: Self = Self {
        directory: true,
        ..Self::READ
    };

    /// Opens an existing entry of unknown kind.
    pub(crate) const fn unknown(access: Access) -> Self {
        Self {
            access,
            wait: false,
            ..Self::READ
        }
    }

    /// Creates a new file.
    pub(crate) const fn new(access: Access, mode: u32) -> Self {
        Self {
            access,
            create: Create::New(mode),
            ..Self::READ
        }
    }
}

/// New times of an entry, in nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// Sets both times to the kernel's current time, which is as coarse as its tick.
    Now,
    /// Sets both times to this one.
    Both(i128),
    /// Sets only the modification time to this one.
    Modified(i128),
}

/// Kind of an entry.
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

/// Facts about an entry, as returned by stat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Kind of the entry.
    pub kind: Kind,
    /// Permission bits, including setuid, setgid and sticky (`0o7777`).
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Number of hard links.
    pub links: u64,
    /// Uid of the owner. On Windows, a number that stands for the SID of the owner.
    pub uid: u32,
    /// Whether every user may create, replace or remove entries of this directory. On Windows, its access rights decide.
    pub others_may_write: bool,
    /// Last change of the bytes, in nanoseconds since the epoch.
    pub modified_ns: i128,
    /// Last change of the inode, in nanoseconds since the epoch.
    pub changed_ns: i128,
}

/// How a new link is used. Only Windows needs that: without the right to create symbolic links it creates junctions, which
/// have an absolute path and lead to directories only.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinkUse<'a> {
    /// Directory that the link is used in. `None` if it is moved to an unknown one.
    pub home: Option<&'a Path>,
    /// Whether the link leads to a directory that may not exist yet.
    pub to_directory: bool,
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name.
    pub name: OsString,
    /// Kind. `None` if the filesystem does not report it.
    pub kind: Option<Kind>,
}

/// A filesystem, as statfs identifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filesystem {
    /// Short name, such as `ext4` or `tmpfs`. `unknown` if the magic number is not in the table.
    pub name: &'static str,
    /// Magic number of statfs.
    pub magic: u64,
    /// Whether flock excludes all processes that see the directory.
    pub trusted: bool,
}

impl Filesystem {
    /// Whether calls on it never wait for a disk or a network.
    pub fn is_in_memory(&self) -> bool {
        self.name == "tmpfs"
    }
}

/// A mount point.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) path: PathBuf,
    /// Whether it depends on a server or another process.
    pub(crate) is_remote: bool,
}

/// A file that may be locked.
#[derive(Debug, Clone, Copy)]
pub struct LockedEntry<'a> {
    /// Name, used to exclude most descriptors without a stat.
    pub name: &'a OsStr,
    /// Device number of its filesystem.
    pub device: u64,
    /// Inode number of the file.
    pub inode: u64,
}
