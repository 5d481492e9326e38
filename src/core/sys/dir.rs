//! Calls relative to an open directory. A name is one component of a path and is never followed if it is a link. Calls
//! below an open [`Directory`] therefore stay inside it, even if another process replaces entries at the same time.
//!
//! The `path` argument of each call is used only for its error.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;

use crate::core::error::{Code, Error, Optional as _, Result};
use crate::core::sys::call::call;
use crate::core::sys::fault;
use crate::core::sys::fs::{self, Access, Entry, Stat};
use crate::core::sys::name;
use crate::core::sys::platform::files::{self, Base, CURRENT, Handle};
use crate::core::sys::platform::{Create, OpenOptions, Times, lock, volume};

pub use crate::core::sys::platform::{DirectoryLock, LinkUse};

pub use crate::core::sys::fs::{append_from, read_at, read_exact_at, set_file_modified, set_size, write_at};

/// An open directory.
#[derive(Debug)]
pub struct Directory(Handle);

impl Directory {
    /// Opens a directory by its path. The last component must not be a link.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self(fs::open(path, OpenOptions::DIRECTORY)?.into()))
    }

    /// Opens a directory by a path that the caller passed. Links are followed.
    pub fn open_followed(path: &Path) -> Result<Self> {
        let options = OpenOptions {
            follow: true,
            ..OpenOptions::DIRECTORY
        };
        Ok(Self(fs::open(path, options)?.into()))
    }

    /// Opens a directory in this one.
    pub fn open_directory(&self, name: &OsStr, path: &Path) -> Result<Self> {
        self.open_entry(name, OpenOptions::DIRECTORY, path).map(Self)
    }

    /// Opens a directory in this one whose mode does not allow it, if this user may change its mode. The mode becomes
    /// 0700.
    pub fn open_own_directory(&self, name: &OsStr, path: &Path) -> Result<Self> {
        match self.open_directory(name, path) {
            Err(error) if error.is_denied() => {
                call("fchmodat", path, || {
                    volume::make_accessible(self.base(), Path::new(name))
                })?;
                self.open_directory(name, path)
            }
            opened => opened,
        }
    }

    /// Opens a file in this directory for reading. Never blocks, even if the entry is a pipe.
    pub fn open_file(&self, name: &OsStr, path: &Path) -> Result<File> {
        self.open_entry(name, OpenOptions::unknown(Access::Read), path)
            .map(File::from)
    }

    /// Locks this directory if it is free. Returns `None` if another process or call has locked it.
    pub fn try_lock(&self, path: &Path) -> Result<Option<DirectoryLock>> {
        call("flock", path, || lock::try_directory(&self.0))
    }

    /// Opens an existing regular file in this directory. Any other kind of entry is an error that names it. Never
    /// blocks.
    pub fn open_regular(&self, name: &OsStr, access: Access, path: &Path) -> Result<File> {
        self.open_regular_with(name, OpenOptions::unknown(access), path)
            .map(|(file, _)| file)
    }

    /// Like [`open_regular`](Self::open_regular), also returns the stat of the open file.
    pub fn open_regular_with_stat(&self, name: &OsStr, access: Access, path: &Path) -> Result<(File, Stat)> {
        self.open_regular_with(name, OpenOptions::unknown(access), path)
    }

    /// Opens a regular file for reading and writing, and creates it if it does not exist.
    pub fn open_or_create(&self, name: &OsStr, mode: u32, path: &Path) -> Result<File> {
        self.open_or_create_with_stat(name, mode, path)
            .map(|(file, _)| file)
    }

    /// Like [`open_or_create`](Self::open_or_create), also returns the stat of the open file.
    pub fn open_or_create_with_stat(&self, name: &OsStr, mode: u32, path: &Path) -> Result<(File, Stat)> {
        let options = OpenOptions {
            create: Create::IfMissing(mode),
            ..OpenOptions::unknown(Access::ReadWrite)
        };
        self.open_regular_with(name, options, path)
    }

    fn open_regular_with(&self, name: &OsStr, options: OpenOptions, path: &Path) -> Result<(File, Stat)> {
        match self.open_entry(name, options, path).map(File::from) {
            Ok(file) => {
                let stat = fs::stat_file(&file, path)?;
                fs::expect_regular(stat, path).map(|()| (file, stat))
            }
            Err(error) => Err(fs::explain(error, || self.stat(name, path), path)),
        }
    }

    fn open_entry(&self, name: &OsStr, options: OpenOptions, path: &Path) -> Result<Handle> {
        let options = OpenOptions {
            follow: follows_links(),
            ..options
        };
        call("openat", path, || {
            files::open(self.base(), Path::new(name), options)
        })
    }

    fn base(&self) -> Base<'_> {
        files::base(&self.0)
    }

    /// Creates a new file. Fails with `AlreadyExists` if the name is in use. The umask applies to the mode.
    pub fn create_new(&self, name: &OsStr, mode: u32, path: &Path) -> Result<File> {
        self.open_entry(name, OpenOptions::new(Access::Write, mode), path)
            .map(File::from)
    }

    /// Creates a directory in this one. The umask applies to the mode.
    pub fn make_directory(&self, name: &OsStr, mode: u32, path: &Path) -> Result<()> {
        call("mkdirat", path, || {
            files::make_directory(self.base(), Path::new(name), mode)
        })
    }

    /// Creates a symbolic link whose text is `target`.
    pub fn symlink(&self, target: &OsStr, name: &OsStr, link_use: LinkUse<'_>, path: &Path) -> Result<()> {
        call("symlinkat", path, || {
            files::symlink(Path::new(target), self.base(), Path::new(name), link_use)
        })
        .map_err(fs::explain_symlink)
    }

    /// Creates a hard link in this directory to the file `existing` of the directory `from`.
    pub fn link(&self, from: &Self, existing: &OsStr, name: &OsStr, path: &Path) -> Result<()> {
        call("linkat", path, || {
            files::link(from.base(), Path::new(existing), self.base(), Path::new(name))
        })
    }

    /// Stat of an entry of this directory. Links are not followed.
    pub fn stat(&self, name: &OsStr, path: &Path) -> Result<Stat> {
        call("newfstatat", path, || {
            files::stat(self.base(), Path::new(name), follows_links())
        })
    }

    /// Stat of this directory itself.
    pub fn own_stat(&self, path: &Path) -> Result<Stat> {
        fs::stat_file(&self.0, path)
    }

    /// Text of a link in this directory.
    pub fn read_link(&self, name: &OsStr, path: &Path) -> Result<Vec<u8>> {
        call("readlinkat", path, || {
            files::read_link(self.base(), Path::new(name))
        })
        .map(|text| name::as_bytes(text.as_os_str()).to_owned())
    }

    /// Lists the entries of this directory, in the order of the filesystem.
    pub fn entries(&self, path: &Path) -> Result<Vec<Entry>> {
        fs::read_open_directory(self.base(), path)
    }

    /// Lists at most `limit` entries of this directory, because it can have millions.
    pub fn some_entries(&self, limit: usize, path: &Path) -> Result<Vec<Entry>> {
        fs::read_some_entries(self.base(), limit, path)
    }

    /// Lists the entries of this directory. Works only once, right after it was opened.
    pub fn fresh_entries(&self, path: &Path) -> Result<Vec<Entry>> {
        fs::read_fresh_directory(self.base(), path)
    }

    /// Sets the permission bits of this directory.
    pub fn set_own_mode(&self, mode: u32, path: &Path) -> Result<()> {
        call("fchmod", path, || files::set_mode(&self.0, mode))
    }

    /// Sets the modification time of this directory.
    pub fn set_own_modified(&self, modified_ns: i128, path: &Path) -> Result<()> {
        call("futimens", path, || {
            files::set_times(&self.0, Times::Modified(modified_ns))
        })
    }

    /// Sets the modification time of an entry. Links are not followed.
    pub fn set_modified(&self, name: &OsStr, modified_ns: i128, path: &Path) -> Result<()> {
        call("utimensat", path, || {
            files::set_times_at(self.base(), Path::new(name), Times::Modified(modified_ns))
        })
    }

    /// Moves an entry of this directory to the directory `to`. Fails if the new name is in use.
    pub fn rename_new(&self, name: &OsStr, to: &Self, new_name: &OsStr, path: &Path) -> Result<()> {
        call("renameat2", path, || {
            files::rename_new(self.base(), Path::new(name), to.base(), Path::new(new_name))
        })
    }

    /// Moves the entry at the path `from` into this directory. Replaces a file with that name.
    pub fn rename_into(&self, from: &Path, name: &OsStr, path: &Path) -> Result<()> {
        call("rename", path, || {
            files::rename(CURRENT, from, self.base(), Path::new(name))
        })
    }

    /// Sets both times of an entry to now. Links are not followed.
    pub fn touch(&self, name: &OsStr, path: &Path) -> Result<()> {
        call("utimensat", path, || {
            files::set_times_at(self.base(), Path::new(name), Times::Now)
        })
    }

    /// Sets both times of this directory to now.
    pub fn touch_own(&self, path: &Path) -> Result<()> {
        call("futimens", path, || files::set_times(&self.0, Times::Now))
    }

    /// Moves an entry of this directory to the directory `to`. Replaces a file or an empty directory with the new name.
    pub fn rename(&self, name: &OsStr, to: &Self, new_name: &OsStr, path: &Path) -> Result<()> {
        call("rename", path, || {
            files::rename(self.base(), Path::new(name), to.base(), Path::new(new_name))
        })
    }

    /// Exchanges an entry of this directory with one of the directory `with`, atomically.
    pub fn exchange(&self, name: &OsStr, with: &Self, other: &OsStr, path: &Path) -> Result<()> {
        call("renameat2", path, || {
            files::exchange(self.base(), Path::new(name), with.base(), Path::new(other))
        })
    }

    /// Removes an entry and everything below it. `path` must still lead to it, because the removal uses the path.
    pub fn remove_tree(&self, name: &OsStr, path: &Path) -> Result<()> {
        if self.stat(name, path).optional()?.is_none() {
            return Ok(());
        }
        let (own, found) = (
            self.own_stat(path)?,
            path.parent().map(fs::stat_followed).transpose()?,
        );
        if found.is_none_or(|found| (found.device, found.inode) != (own.device, own.inode)) {
            let message = format!(
                "'{}' was moved by another process during the call. Try again",
                path.display()
            );
            return Err(Error::new(Code::Io, message).at(path));
        }
        fs::remove_tree(path)
    }

    /// Removes a file or a link of this directory.
    pub fn remove_file(&self, name: &OsStr, path: &Path) -> Result<()> {
        call("unlinkat", path, || {
            files::remove_file(self.base(), Path::new(name))
        })
    }

    /// Removes an empty directory in this one.
    pub fn remove_directory(&self, name: &OsStr, path: &Path) -> Result<()> {
        call("unlinkat", path, || {
            files::remove_directory(self.base(), Path::new(name))
        })
    }

    /// Whether this entry is a mount point. If the system cannot report that, the devices are compared, which does not
    /// detect a bind mount of the same filesystem.
    pub fn is_mount_root(&self, name: &OsStr, path: &Path) -> Result<bool> {
        match call("statx", path, || {
            volume::is_mount_root(self.base(), Path::new(name))
        })? {
            Some(is_root) => Ok(is_root),
            None => Ok(self.stat(name, path)?.device != self.own_stat(path)?.device),
        }
    }
}

fn follows_links() -> bool {
    fault::is_seeded("follow-links")
}
