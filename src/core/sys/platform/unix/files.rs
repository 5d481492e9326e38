//! Files and directories. A name is resolved relative to an open directory. [`CURRENT`] is the working directory.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawMode, RenameFlags, SeekFrom, Timespec, Timestamps, UTIME_NOW,
    UTIME_OMIT,
};

use super::super::types::{Access, Create, Entry, Kind, LinkUse, OpenOptions, Stat, Times};

const OTHERS_MAY_WRITE: u32 = 0o002;

/// An open file or directory.
pub(crate) type Handle = OwnedFd;
/// Directory that a name is resolved from.
pub(crate) type Base<'a> = BorrowedFd<'a>;

/// Working directory of this process, for absolute paths.
pub(crate) const CURRENT: Base<'static> = CWD;

pub(crate) use std::os::fd::AsFd as AsHandle;

/// Uses an open directory to resolve names.
pub(crate) fn base(directory: &Handle) -> Base<'_> {
    directory.as_fd()
}

/// Number of the descriptor, which a child process can inherit.
pub(crate) fn descriptor(file: &File) -> i32 {
    file.as_raw_fd()
}

#[allow(
    clippy::allow_attributes,
    clippy::cast_possible_truncation,
    reason = "modes have 16 bits on macOS, and permission bits fit"
)]
pub(in crate::core::sys::platform) fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode((bits & 0o7777) as RawMode)
}

/// Opens an entry. Child programs do not inherit it.
pub(crate) fn open(base: Base<'_>, name: &Path, options: OpenOptions) -> io::Result<Handle> {
    let mut flags = OFlags::CLOEXEC
        | match options.access {
            Access::Read => OFlags::RDONLY,
            Access::Write => OFlags::WRONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
    let bits = match options.create {
        Create::Never => 0,
        Create::IfMissing(bits) => {
            flags |= OFlags::CREATE;
            bits
        }
        Create::New(bits) => {
            flags |= OFlags::CREATE | OFlags::EXCL;
            bits
        }
    };
    flags.set(OFlags::DIRECTORY, options.directory);
    flags.set(OFlags::NOFOLLOW, !options.follow);
    flags.set(OFlags::NONBLOCK | OFlags::NOCTTY, !options.wait);
    Ok(rustix::fs::openat(base, name, flags, mode(bits))?)
}

/// Stat of an entry. `follow` decides whether links are followed.
pub(crate) fn stat(base: Base<'_>, name: &Path, follow: bool) -> io::Result<Stat> {
    Ok(convert(&rustix::fs::statat(base, name, link_flags(follow))?))
}

/// Stat of an open entry.
pub(crate) fn stat_handle(handle: impl AsFd) -> io::Result<Stat> {
    Ok(convert(&rustix::fs::fstat(handle)?))
}

fn link_flags(follow: bool) -> AtFlags {
    if follow {
        AtFlags::empty()
    } else {
        AtFlags::SYMLINK_NOFOLLOW
    }
}

#[expect(clippy::cast_sign_loss, reason = "sizes are not negative")]
#[allow(
    clippy::allow_attributes,
    clippy::useless_conversion,
    clippy::unnecessary_cast,
    clippy::cast_lossless,
    clippy::cast_possible_wrap,
    reason = "field types differ between platforms"
)]
fn convert(stat: &rustix::fs::Stat) -> Stat {
    Stat {
        kind: kind(FileType::from_raw_mode(stat.st_mode)),
        mode: u32::from(stat.st_mode) & 0o7777,
        size: stat.st_size as u64,
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        links: stat.st_nlink as u64,
        uid: stat.st_uid,
        others_may_write: u32::from(stat.st_mode) & OTHERS_MAY_WRITE != 0,
        modified_ns: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec as i64),
        changed_ns: i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec as i64),
    }
}

fn kind(kind: FileType) -> Kind {
    match kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    }
}

/// Text of a link.
pub(crate) fn read_link(base: Base<'_>, name: &Path) -> io::Result<PathBuf> {
    let text = rustix::fs::readlinkat(base, name, Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(text.into_bytes())))
}

/// Creates a symbolic link whose text is `target`.
pub(crate) fn symlink(target: &Path, base: Base<'_>, name: &Path, _use: LinkUse<'_>) -> io::Result<()> {
    Ok(rustix::fs::symlinkat(target, base, name)?)
}

/// Creates a hard link.
pub(crate) fn link(from: Base<'_>, existing: &Path, base: Base<'_>, name: &Path) -> io::Result<()> {
    Ok(rustix::fs::linkat(from, existing, base, name, AtFlags::empty())?)
}

/// Creates a directory. The umask applies to the mode.
pub(crate) fn make_directory(base: Base<'_>, name: &Path, bits: u32) -> io::Result<()> {
    Ok(rustix::fs::mkdirat(base, name, mode(bits))?)
}

/// Renames an entry. Replaces a file, link or empty directory with the new name.
pub(crate) fn rename(from: Base<'_>, name: &Path, to: Base<'_>, new: &Path) -> io::Result<()> {
    Ok(rustix::fs::renameat(from, name, to, new)?)
}

/// Renames an entry. Fails if the new name is in use.
pub(crate) fn rename_new(from: Base<'_>, name: &Path, to: Base<'_>, new: &Path) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(
        from,
        name,
        to,
        new,
        RenameFlags::NOREPLACE,
    )?)
}

/// Exchanges two entries atomically.
pub(crate) fn exchange(from: Base<'_>, name: &Path, to: Base<'_>, other: &Path) -> io::Result<()> {
    Ok(rustix::fs::renameat_with(
        from,
        name,
        to,
        other,
        RenameFlags::EXCHANGE,
    )?)
}

/// Removes a file or a link.
pub(crate) fn remove_file(base: Base<'_>, name: &Path) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(base, name, AtFlags::empty())?)
}

/// Removes an empty directory.
pub(crate) fn remove_directory(base: Base<'_>, name: &Path) -> io::Result<()> {
    Ok(rustix::fs::unlinkat(base, name, AtFlags::REMOVEDIR)?)
}

/// Sets the permission bits of an open entry.
pub(crate) fn set_mode(handle: impl AsFd, bits: u32) -> io::Result<()> {
    Ok(rustix::fs::fchmod(handle, mode(bits))?)
}

/// Sets the permission bits of the entry at a path. Links are followed.
pub(crate) fn set_mode_at(path: &Path, bits: u32) -> io::Result<()> {
    Ok(rustix::fs::chmod(path, mode(bits))?)
}

/// Sets the times of an open entry.
pub(crate) fn set_times(handle: impl AsFd, times: Times) -> io::Result<()> {
    Ok(rustix::fs::futimens(handle, &timestamps(times))?)
}

/// Sets the times of an entry. Links are not followed.
pub(crate) fn set_times_at(base: Base<'_>, name: &Path, times: Times) -> io::Result<()> {
    let times = timestamps(times);
    Ok(rustix::fs::utimensat(
        base,
        name,
        &times,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

fn timestamps(times: Times) -> Timestamps {
    let special = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let (last_access, last_modification) = match times {
        Times::Now => (special(UTIME_NOW), special(UTIME_NOW)),
        Times::Both(nanoseconds) => (timespec(nanoseconds), timespec(nanoseconds)),
        Times::Modified(nanoseconds) => (special(UTIME_OMIT), timespec(nanoseconds)),
    };
    Timestamps {
        last_access,
        last_modification,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "nanoseconds below a second, and seconds of any time that a header can hold"
)]
fn timespec(nanoseconds: i128) -> Timespec {
    Timespec {
        tv_sec: nanoseconds.div_euclid(1_000_000_000) as i64,
        tv_nsec: nanoseconds.rem_euclid(1_000_000_000) as _,
    }
}

/// Sets the length of an open file.
pub(crate) fn set_length(file: &File, length: u64) -> io::Result<()> {
    Ok(rustix::fs::ftruncate(file, length)?)
}

/// Sets the position of an open file.
pub(crate) fn seek(file: &File, position: u64) -> io::Result<()> {
    rustix::fs::seek(file, SeekFrom::Start(position))?;
    Ok(())
}

/// Reads at this offset. Returns 0 at the end of the file.
pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    file.read_at(buffer, offset)
}

/// Fills the buffer from this offset.
pub(crate) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    file.read_exact_at(buffer, offset)
}

/// Reads at this offset into the spare capacity of `bytes`. Returns 0 at the end of the file.
pub(crate) fn append_at(file: &File, bytes: &mut Vec<u8>, offset: u64) -> io::Result<usize> {
    Ok(rustix::io::pread(
        file,
        rustix::buffer::spare_capacity(bytes),
        offset,
    )?)
}

pub(crate) fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Flushes the data and metadata of an open entry.
pub(crate) fn sync(handle: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::fsync(handle)?)
}

/// Entries of a directory, in the order of the filesystem.
pub(crate) struct Entries(rustix::fs::Dir);

impl Entries {
    /// Lists through this handle.
    pub(crate) fn of(directory: Handle) -> io::Result<Self> {
        Ok(Self(rustix::fs::Dir::new(directory)?))
    }

    /// Opens the directory a second time, because the position of a listing belongs to its descriptor.
    pub(crate) fn of_open(directory: Base<'_>) -> io::Result<Self> {
        Self::of(open(
            directory,
            Path::new("."),
            OpenOptions {
                follow: true,
                ..OpenOptions::DIRECTORY
            },
        )?)
    }
}

impl Iterator for Entries {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.0.next()? {
                Ok(found) => {
                    if let Some(entry) = entry(found.file_name().to_bytes(), found.file_type()) {
                        return Some(Ok(entry));
                    }
                }
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}

/// Returns `None` for `.` and `..`.
pub(in crate::core::sys::platform) fn entry(name: &[u8], found: FileType) -> Option<Entry> {
    (name != b"." && name != b"..").then(|| Entry {
        name: OsString::from_vec(name.to_vec()),
        kind: (found != FileType::Unknown).then(|| kind(found)),
    })
}

/// Returns the path unchanged. Windows removes a prefix here.
pub(crate) fn simplify(path: PathBuf) -> PathBuf {
    path
}
