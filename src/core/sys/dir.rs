//! Calls relative to an open directory. A name given here is one part of a path and is never followed if it is
//! a link, so what happens below an open [`Directory`] cannot leave it, whoever swaps names meanwhile.
//!
//! The `path` that each call takes besides is only for its error.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags, Timespec, Timestamps};

use crate::core::error::{Code, Error, Optional as _, Result};
use crate::core::sys::fault;
use crate::core::sys::fs::{self, Access, Entry, Stat};

const NANOSECONDS: i128 = 1_000_000_000;

const NOW: Timestamps = {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW,
    };
    Timestamps {
        last_access: now,
        last_modification: now,
    }
};

/// An open directory.
#[derive(Debug)]
pub struct Directory(OwnedFd);

impl Directory {
    /// Opens a directory by its path; the last part must not be a link.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self(fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY)?.into()))
    }

    /// Opens a directory by a path that the caller named, through links.
    pub fn open_followed(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        fs::call("open", path, || rustix::fs::open(path, flags, Mode::empty())).map(Self)
    }

    /// Opens a directory in this one.
    pub fn open_directory(&self, name: &OsStr, path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | no_follow() | OFlags::CLOEXEC;
        fs::call("openat", path, || {
            rustix::fs::openat(&self.0, name, flags, Mode::empty())
        })
        .map(Self)
    }

    /// Opens a file in this directory for reading. A pipe that took its place does not block.
    pub fn open_file(&self, name: &OsStr, path: &Path) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | no_follow() | OFlags::CLOEXEC;
        fs::call("openat", path, || {
            rustix::fs::openat(&self.0, name, flags, Mode::empty())
        })
        .map(File::from)
    }

    /// A descriptor of this directory, for the calls that lock it.
    pub fn to_file(&self, path: &Path) -> Result<File> {
        fs::call("fcntl", path, || self.0.try_clone()).map(File::from)
    }

    /// Opens an existing regular file in this directory. Anything else is an error that names it, and nothing blocks.
    pub fn open_regular(&self, name: &OsStr, access: impl Into<Access>, path: &Path) -> Result<File> {
        self.regular(name, access.into().flags(), Mode::empty(), path)
            .map(|(file, _)| file)
    }

    /// As [`open_regular`](Self::open_regular), with what `fstat` returned.
    pub fn open_regular_with_stat(
        &self,
        name: &OsStr,
        access: impl Into<Access>,
        path: &Path,
    ) -> Result<(File, Stat)> {
        self.regular(name, access.into().flags(), Mode::empty(), path)
    }

    /// Opens a regular file for reading and writing, and makes it if it does not exist.
    pub fn open_or_create(&self, name: &OsStr, mode: u32, path: &Path) -> Result<File> {
        self.open_or_create_with_stat(name, mode, path)
            .map(|(file, _)| file)
    }

    /// As [`open_or_create`](Self::open_or_create), with what `fstat` returned.
    pub fn open_or_create_with_stat(&self, name: &OsStr, mode: u32, path: &Path) -> Result<(File, Stat)> {
        let flags = OFlags::RDWR | OFlags::CREATE;
        self.regular(name, flags, Mode::from_raw_mode(mode), path)
    }

    fn regular(&self, name: &OsStr, flags: OFlags, mode: Mode, path: &Path) -> Result<(File, Stat)> {
        let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | no_follow() | OFlags::CLOEXEC;
        let opened = fs::call("openat", path, || rustix::fs::openat(&self.0, name, flags, mode));
        match opened.map(File::from) {
            Ok(file) => {
                let stat = fs::stat_file(&file, path)?;
                fs::expect_regular(stat, path).map(|()| (file, stat))
            }
            Err(error) => Err(fs::explain(error, || self.stat(name, path), path)),
        }
    }

    /// Makes a new file; `AlreadyExists` if there is an entry of that name. The umask applies to the mode.
    pub fn create_new(&self, name: &OsStr, mode: u32, path: &Path) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | no_follow() | OFlags::CLOEXEC;
        fs::call("openat", path, || {
            rustix::fs::openat(&self.0, name, flags, Mode::from_raw_mode(mode))
        })
        .map(File::from)
    }

    /// Makes a directory in this one. The umask applies to the mode.
    pub fn make_directory(&self, name: &OsStr, mode: u32, path: &Path) -> Result<()> {
        fs::call("mkdirat", path, || {
            rustix::fs::mkdirat(&self.0, name, Mode::from_raw_mode(mode))
        })
    }

    /// Makes a symbolic link whose text is `target`.
    pub fn symlink(&self, target: &OsStr, name: &OsStr, path: &Path) -> Result<()> {
        fs::call("symlinkat", path, || rustix::fs::symlinkat(target, &self.0, name))
    }

    /// Gives the file `existing` of the directory `from` a further name in this one.
    pub fn link(&self, from: &Self, existing: &OsStr, name: &OsStr, path: &Path) -> Result<()> {
        fs::call("linkat", path, || {
            rustix::fs::linkat(&from.0, existing, &self.0, name, AtFlags::empty())
        })
    }

    /// What an entry of this directory is; a link is told as a link.
    pub fn stat(&self, name: &OsStr, path: &Path) -> Result<Stat> {
        fs::call("newfstatat", path, || {
            rustix::fs::statat(&self.0, name, stat_flags())
        })
        .map(|stat| fs::convert(&stat))
    }

    /// What this directory itself is.
    pub fn own_stat(&self, path: &Path) -> Result<Stat> {
        fs::stat_file(&self.0, path)
    }

    /// The text of a link in this directory.
    pub fn read_link(&self, name: &OsStr, path: &Path) -> Result<Vec<u8>> {
        fs::call("readlinkat", path, || {
            rustix::fs::readlinkat(&self.0, name, Vec::new())
        })
        .map(std::ffi::CString::into_bytes)
    }

    /// The entries of this directory, in the filesystem's order.
    pub fn entries(&self, path: &Path) -> Result<Vec<Entry>> {
        fs::read_open_directory(self.0.as_fd(), path)
    }

    /// At most `limit` entries of this directory: it can have millions.
    pub fn some_entries(&self, limit: usize, path: &Path) -> Result<Vec<Entry>> {
        fs::read_some_entries(self.0.as_fd(), limit, path)
    }

    /// The entries of this directory, once, right after it was opened.
    pub fn fresh_entries(&self, path: &Path) -> Result<Vec<Entry>> {
        fs::read_fresh_directory(self.0.as_fd(), path)
    }

    /// Sets this directory's own permission bits.
    pub fn set_own_mode(&self, mode: u32, path: &Path) -> Result<()> {
        fs::call("fchmod", path, || {
            rustix::fs::fchmod(&self.0, Mode::from_raw_mode(mode))
        })
    }

    /// Sets this directory's own time of change.
    pub fn set_own_modified(&self, modified_ns: i128, path: &Path) -> Result<()> {
        fs::call("futimens", path, || {
            rustix::fs::futimens(&self.0, &timestamps(modified_ns))
        })
    }

    /// Sets the time of change of an entry, a link's own if it is one.
    pub fn set_modified(&self, name: &OsStr, modified_ns: i128, path: &Path) -> Result<()> {
        fs::call("utimensat", path, || {
            rustix::fs::utimensat(&self.0, name, &timestamps(modified_ns), AtFlags::SYMLINK_NOFOLLOW)
        })
    }

    /// Moves an entry of this directory to the directory `to`, unless there is an entry of that name.
    pub fn rename_new(&self, name: &OsStr, to: &Self, new_name: &OsStr, path: &Path) -> Result<()> {
        fs::call("renameat2", path, || {
            rustix::fs::renameat_with(&self.0, name, &to.0, new_name, RenameFlags::NOREPLACE)
        })
    }

    /// Moves what is at the path `from` into this directory; a file of that name is replaced.
    pub fn rename_into(&self, from: &Path, name: &OsStr, path: &Path) -> Result<()> {
        fs::call("rename", path, || rustix::fs::renameat(CWD, from, &self.0, name))
    }

    /// Sets both times of an entry to now, a link's own if it is one.
    pub fn touch(&self, name: &OsStr, path: &Path) -> Result<()> {
        fs::call("utimensat", path, || {
            rustix::fs::utimensat(&self.0, name, &NOW, AtFlags::SYMLINK_NOFOLLOW)
        })
    }

    /// Sets both times of this directory to now.
    pub fn touch_own(&self, path: &Path) -> Result<()> {
        fs::call("futimens", path, || rustix::fs::futimens(&self.0, &NOW))
    }

    /// Moves an entry of this directory to the directory `to`; a file or an empty directory of that name is replaced.
    pub fn rename(&self, name: &OsStr, to: &Self, new_name: &OsStr, path: &Path) -> Result<()> {
        fs::call("rename", path, || {
            rustix::fs::renameat(&self.0, name, &to.0, new_name)
        })
    }

    /// Exchanges an entry of this directory with one of the directory `with`, in one step.
    pub fn exchange(&self, name: &OsStr, with: &Self, other: &OsStr, path: &Path) -> Result<()> {
        fs::call("renameat2", path, || {
            rustix::fs::renameat_with(&self.0, name, &with.0, other, RenameFlags::EXCHANGE)
        })
    }

    /// Removes an entry and everything below it. `path` must still lead to it: the removal itself goes by the path.
    pub fn remove_tree(&self, name: &OsStr, path: &Path) -> Result<()> {
        if self.stat(name, path).optional()?.is_none() {
            return Ok(());
        }
        let (own, found) = (
            self.own_stat(path)?,
            path.parent().map(fs::stat_followed).transpose()?,
        );
        if found.is_none_or(|found| (found.device, found.inode) != (own.device, own.inode)) {
            let message = format!("'{}' was moved while it was in use", path.display());
            return Err(Error::new(Code::Io, message).at(path));
        }
        fs::remove_tree(path)
    }

    /// Removes a file or a link of this directory.
    pub fn remove_file(&self, name: &OsStr, path: &Path) -> Result<()> {
        fs::call("unlinkat", path, || {
            rustix::fs::unlinkat(&self.0, name, AtFlags::empty())
        })
    }

    /// Removes an empty directory of this one.
    pub fn remove_directory(&self, name: &OsStr, path: &Path) -> Result<()> {
        fs::call("unlinkat", path, || {
            rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)
        })
    }

    /// Whether something is mounted at exactly this entry, a bind mount of its own filesystem included.
    #[cfg(target_os = "linux")]
    pub fn is_mount_root(&self, name: &OsStr, path: &Path) -> Result<bool> {
        use rustix::fs::{StatxAttributes, StatxFlags};
        let stat = fs::call("statx", path, || {
            rustix::fs::statx(&self.0, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE)
        })?;
        if stat.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) {
            return Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
        }
        self.is_on_another_device(name, path)
    }

    /// Whether something is mounted at exactly this entry.
    #[cfg(not(target_os = "linux"))]
    pub fn is_mount_root(&self, name: &OsStr, path: &Path) -> Result<bool> {
        self.is_on_another_device(name, path)
    }

    fn is_on_another_device(&self, name: &OsStr, path: &Path) -> Result<bool> {
        Ok(self.stat(name, path)?.device != self.own_stat(path)?.device)
    }

    /// The descriptor as a file, for its kernel lock.
    pub fn into_file(self) -> File {
        File::from(self.0)
    }
}

fn no_follow() -> OFlags {
    if fault::mutant("follow-links") {
        return OFlags::empty();
    }
    OFlags::NOFOLLOW
}

fn stat_flags() -> AtFlags {
    if fault::mutant("follow-links") {
        return AtFlags::empty();
    }
    AtFlags::SYMLINK_NOFOLLOW
}

/// Sets the time of change of an open file.
pub fn set_file_modified(file: &File, modified_ns: i128, path: &Path) -> Result<()> {
    fs::call("futimens", path, || {
        rustix::fs::futimens(file, &timestamps(modified_ns))
    })
}

/// Gives an open file its size; what was not written is a hole.
pub fn set_size(file: &File, size: u64, path: &Path) -> Result<()> {
    fs::call("ftruncate", path, || rustix::fs::ftruncate(file, size))
}

/// Writes all bytes at this offset.
pub fn write_at(file: &File, bytes: &[u8], offset: u64, path: &Path) -> Result<()> {
    use std::os::unix::fs::FileExt as _;
    fs::call("pwrite", path, || file.write_all_at(bytes, offset))
}

/// Reads up to the end of `buffer`; fewer bytes only at the end of the file.
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64, path: &Path) -> Result<usize> {
    use std::os::unix::fs::FileExt as _;
    let mut filled = 0;
    while filled < buffer.len() {
        let at = offset + filled as u64;
        let count = fs::call("pread", path, || file.read_at(&mut buffer[filled..], at))?;
        if count == 0 {
            break;
        }
        filled += count;
    }
    Ok(filled)
}

/// Reads exactly `buffer.len()` bytes at this offset; a file that ends before is an error.
pub fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64, path: &Path) -> Result<()> {
    use std::os::unix::fs::FileExt as _;
    fs::call("pread", path, || file.read_exact_at(buffer, offset))
}

/// Appends the first `size` bytes of a file without zeroing their room first: fewer at the end of the file, more if
/// it has more and there is room.
pub fn append_from(file: &File, bytes: &mut Vec<u8>, size: usize, path: &Path) -> Result<usize> {
    let start = bytes.len();
    bytes.reserve(size);
    while bytes.len() - start < size {
        let at = (bytes.len() - start) as u64;
        let count = fs::call("pread", path, || {
            rustix::io::pread(file, rustix::buffer::spare_capacity(bytes), at)
        })?;
        if count == 0 {
            break;
        }
    }
    Ok(bytes.len() - start)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "nanoseconds below a second, and seconds of any time that a header can hold"
)]
pub(super) fn timespec(nanoseconds: i128) -> Timespec {
    Timespec {
        tv_sec: nanoseconds.div_euclid(NANOSECONDS) as i64,
        tv_nsec: nanoseconds.rem_euclid(NANOSECONDS) as _,
    }
}

pub(super) fn timestamps(modified_ns: i128) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_OMIT,
        },
        last_modification: timespec(modified_ns),
    }
}
