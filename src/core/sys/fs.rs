//! The only file that calls `std::fs` or `rustix::fs` for what is on disk: each call adds operation and path
//! to its error, retries EINTR, and is a fault point. Nothing here follows a link unless it says so.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};

use crate::core::error::{At, Error, Optional, Result};
use crate::core::sys::{clock, errno, fault};

pub use super::remove::remove_tree;

/// Runs one system call: a fault point first, EINTR tried again, operation and path in the error.
pub(super) fn call<T, E: Into<io::Error>>(
    op: &'static str,
    path: &Path,
    mut system: impl FnMut() -> std::result::Result<T, E>,
) -> Result<T> {
    loop {
        match fault::point(op, path).and_then(|()| system().map_err(Into::into)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.at(op, path),
        }
    }
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

impl From<FileType> for Kind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            _ => Self::Other,
        }
    }
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

#[expect(clippy::cast_sign_loss, reason = "sizes are not negative")]
#[allow(
    clippy::allow_attributes,
    clippy::useless_conversion,
    clippy::unnecessary_cast,
    clippy::cast_lossless,
    clippy::cast_possible_wrap,
    reason = "field types differ between platforms"
)]
pub(super) fn convert(stat: &rustix::fs::Stat) -> Stat {
    Stat {
        kind: FileType::from_raw_mode(stat.st_mode).into(),
        mode: u32::from(stat.st_mode) & 0o7777,
        size: stat.st_size as u64,
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        links: stat.st_nlink as u64,
        uid: stat.st_uid,
        modified_ns: i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec as i64),
        changed_ns: i128::from(stat.st_ctime) * 1_000_000_000 + i128::from(stat.st_ctime_nsec as i64),
    }
}

/// How an open file is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It is only read.
    Read,
    /// It is read and written.
    ReadWrite,
}

impl Access {
    pub(super) fn flags(self) -> OFlags {
        match self {
            Self::Read => OFlags::RDONLY,
            Self::ReadWrite => OFlags::RDWR,
        }
    }
}

impl From<OFlags> for Access {
    fn from(flags: OFlags) -> Self {
        if flags.contains(OFlags::RDWR) {
            Self::ReadWrite
        } else {
            Self::Read
        }
    }
}

/// Opens an existing entry of any kind for reading; a link is not followed, and nothing blocks. The caller checks what
/// it is.
pub fn open_any(path: &Path) -> Result<File> {
    open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)
}

/// Opens an existing entry; the last part must not be a link.
pub fn open(path: &Path, flags: OFlags) -> Result<File> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    call("open", path, || rustix::fs::open(path, flags, Mode::empty())).map(File::from)
}

/// Opens an existing regular file. Anything else at the path is an error that names it, and nothing blocks: a FIFO
/// would wait for its other end, and a device can do anything.
pub fn open_regular(path: &Path, access: impl Into<Access>) -> Result<File> {
    open_regular_with_stat(path, access).map(|(file, _)| file)
}

/// As [`open_regular`], with what `fstat` returned.
pub fn open_regular_with_stat(path: &Path, access: impl Into<Access>) -> Result<(File, Stat)> {
    match open(path, access.into().flags() | OFlags::NONBLOCK | OFlags::NOCTTY) {
        Ok(file) => {
            let stat = stat_file(&file, path)?;
            expect_regular(stat, path)?;
            Ok((file, stat))
        }
        Err(error) => Err(explain(error, || stat(path), path)),
    }
}

/// Names what is in the place of a regular file, where `open` only returned an errno.
pub(super) fn explain(error: Error, stat: impl Fn() -> Result<Stat>, path: &Path) -> Error {
    if !errno::is_wrong_kind(&error) {
        return error;
    }
    match stat().and_then(|stat| expect_regular(stat, path)) {
        Err(named) if !named.is_not_found() => named,
        _ => error,
    }
}

/// Fails if an entry is not a regular file: with `ELOOP`, `EISDIR` or `ENXIO`, and a message that names what it is.
pub(super) fn expect_regular(stat: Stat, path: &Path) -> Result<()> {
    let (found, errno) = match stat.kind {
        Kind::File => return Ok(()),
        Kind::Directory => ("a directory", rustix::io::Errno::ISDIR),
        Kind::Symlink => ("a symbolic link", rustix::io::Errno::LOOP),
        Kind::Other => ("a pipe, socket or device", rustix::io::Errno::NXIO),
    };
    let mut error = Error::io("open", path, errno.into());
    error.message = format!(
        "'{}' is {found} of uid {}. Expected a regular file. Remove it, or use another path",
        path.display(),
        stat.uid
    );
    Err(error)
}

/// Opens a file for reading, through links: one that the caller names is not ours to judge.
pub fn open_followed(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    call("open", path, || rustix::fs::open(path, flags, Mode::empty())).map(File::from)
}

/// Opens a file for reading and writing and makes it if it is not there; the last part must not be a link.
/// What is there must be a regular file, as in [`open_regular`].
pub fn open_or_create(path: &Path, mode: u32) -> Result<File> {
    open_or_create_with_stat(path, mode).map(|(file, _)| file)
}

/// As [`open_or_create`], with what `fstat` returned.
pub fn open_or_create_with_stat(path: &Path, mode: u32) -> Result<(File, Stat)> {
    let flags = OFlags::RDWR
        | OFlags::CREATE
        | OFlags::CLOEXEC
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::NOCTTY;
    let opened = call("open", path, || {
        rustix::fs::open(path, flags, Mode::from_raw_mode(mode))
    });
    match opened.map(File::from) {
        Ok(file) => {
            let stat = stat_file(&file, path)?;
            expect_regular(stat, path).map(|()| (file, stat))
        }
        Err(error) => Err(explain(error, || stat(path), path)),
    }
}

/// Makes a new file; `AlreadyExists` if there is an entry of that name.
pub fn create_new(path: &Path, mode: u32) -> Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    call("open", path, || {
        rustix::fs::open(path, flags, Mode::from_raw_mode(mode))
    })
    .map(File::from)
}

/// A new file without a name in `directory`, for reading and writing: gone when it is closed, also by a kill.
pub fn anonymous(directory: &Path) -> Result<File> {
    #[cfg(target_os = "linux")]
    {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let made = call("open", directory, || {
            rustix::fs::open(directory, flags, Mode::from_raw_mode(0o600))
        });
        match made {
            // Filesystems without O_TMPFILE (overlayfs before 6.1, FUSE, NFS): a name that goes at once.
            Err(error)
                if matches!(
                    error.kind(),
                    Some(io::ErrorKind::Unsupported | io::ErrorKind::IsADirectory)
                ) => {}
            made => return made.map(File::from),
        }
    }
    let path = directory.join(format!(".warmswap-spool-{}", uuid::Uuid::new_v4().simple()));
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = call("open", &path, || {
        rustix::fs::open(&path, flags, Mode::from_raw_mode(0o600))
    })?;
    remove_file(&path)?;
    Ok(File::from(file))
}

/// Writes all bytes to an open file.
pub fn write_all(file: &mut File, bytes: &[u8], path: &Path) -> Result<()> {
    call("write", path, || Ok::<(), io::Error>(()))?;
    file.write_all(bytes).at("write", path)
}

/// Makes a new file with these bytes and exactly this mode.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut file = create_new(path, mode)?;
    write_all(&mut file, bytes, path)?;
    set_file_mode(&file, mode, path)
}

/// Replaces a small file atomically: a temporary neighbour, then rename. `temporary` must be a name that
/// only this writer uses; one that a killed writer left is replaced.
pub fn replace(path: &Path, temporary: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    remove_file(temporary).optional()?;
    write_new(temporary, bytes, mode)?;
    rename(temporary, path)
}

/// Cuts an open file to this length and writes on from there.
pub fn truncate(file: &mut File, length: u64, path: &Path) -> Result<()> {
    call("ftruncate", path, || rustix::fs::ftruncate(&*file, length))?;
    call("lseek", path, || {
        rustix::fs::seek(&*file, rustix::fs::SeekFrom::Start(length))
    })
    .map(drop)
}

/// Copies the bytes of a file to a new one with exactly this mode.
pub fn copy_file(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let mut source = open(from, OFlags::RDONLY)?;
    let mut copy = create_new(to, mode)?;
    call("copy_file_range", to, || Ok::<(), io::Error>(()))?;
    // std uses copy_file_range, sendfile or read and write, whatever the kernel offers for the two.
    io::copy(&mut source, &mut copy).at("copy_file_range", to)?;
    set_file_mode(&copy, mode, to)
}

/// Makes a new file that shares its blocks with another one. `false`, and no new file, where the filesystem
/// has no such thing.
#[cfg(target_os = "linux")]
pub fn clone_file(from: &Path, to: &Path, mode: u32) -> Result<bool> {
    let source = open(from, OFlags::RDONLY)?;
    let copy = create_new(to, mode)?;
    match call("ficlone", to, || rustix::fs::ioctl_ficlone(&copy, &source)) {
        Ok(()) => set_file_mode(&copy, mode, to).map(|()| true),
        Err(_) => remove_file(to).map(|()| false),
    }
}

/// Makes a new file that shares its blocks with another one: not offered here.
#[cfg(not(target_os = "linux"))]
pub fn clone_file(_from: &Path, _to: &Path, _mode: u32) -> Result<bool> {
    Ok(false)
}

/// Whether files in this directory can share blocks. Asked with files that have no name, so nothing stays.
#[cfg(target_os = "linux")]
pub fn can_clone(directory: &Path) -> bool {
    let unnamed = || {
        rustix::fs::open(
            directory,
            OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o600),
        )
    };
    match (unnamed(), unnamed()) {
        (Ok(one), Ok(other)) => rustix::fs::ioctl_ficlone(&other, &one).is_ok(),
        _ => false,
    }
}

/// Whether files in this directory can share blocks.
#[cfg(not(target_os = "linux"))]
pub fn can_clone(_directory: &Path) -> bool {
    false
}

/// Reads the next bytes of an open file; 0 at its end.
pub fn read_into(mut file: &File, buffer: &mut [u8], path: &Path) -> Result<usize> {
    call("read", path, || file.read(buffer))
}

/// The descriptor that a child process inherits.
pub fn descriptor(file: &File) -> i32 {
    file.as_raw_fd()
}

/// Removes everything in a directory, never through a link.
pub fn remove_contents(directory: &Path) -> Result<()> {
    for entry in read_directory(directory)? {
        remove_tree(&directory.join(&entry.name))?;
    }
    Ok(())
}

/// Sets the mode of an open file, whatever the umask was.
pub fn set_file_mode(file: &File, mode: u32, path: &Path) -> Result<()> {
    call("fchmod", path, || {
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))
    })
}

/// Reads a whole regular file; the last part must not be a link.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut file = open_regular(path, Access::Read)?;
    let mut bytes = Vec::new();
    call("read", path, || Ok::<(), io::Error>(()))?;
    io::copy(&mut file, &mut bytes).at("read", path)?;
    Ok(bytes)
}

/// Reads at most `limit` bytes of a regular file: a longer one is `ERR_TOO_LARGE`, whatever its size claims.
pub fn read_capped(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = open_regular(path, Access::Read)?;
    // Room for a small file, or std reads it in ever larger pieces from 32 bytes on.
    let mut bytes = Vec::with_capacity(4096);
    call("read", path, || Ok::<(), io::Error>(()))?;
    file.take(limit + 1).read_to_end(&mut bytes).at("read", path)?;
    if bytes.len() as u64 > limit {
        return Err(Error::new(
            crate::core::error::Code::TooLarge,
            format!("'{}' is larger than {limit} bytes", path.display()),
        )
        .at(path));
    }
    Ok(bytes)
}

/// What an entry is; a link is told as a link.
pub fn stat(path: &Path) -> Result<Stat> {
    call("lstat", path, || rustix::fs::lstat(path)).map(|stat| convert(&stat))
}

/// What the entry behind all links is.
pub fn stat_followed(path: &Path) -> Result<Stat> {
    call("stat", path, || rustix::fs::stat(path)).map(|stat| convert(&stat))
}

/// When an entry was made, nanoseconds since the epoch; `None` where the filesystem does not keep it. With device and
/// inode it identifies an entry, also after the inode number was used again.
pub fn born_ns(path: &Path) -> Result<Option<u64>> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let metadata = call("statx", path, || std::fs::symlink_metadata(path))?;
    let born = metadata.created().ok();
    let since_epoch = born.and_then(|born| born.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(since_epoch.and_then(|duration| u64::try_from(duration.as_nanos()).ok()))
}

/// What an open file is.
pub fn stat_file(file: impl AsFd, path: &Path) -> Result<Stat> {
    call("fstat", path, || rustix::fs::fstat(&file)).map(|stat| convert(&stat))
}

/// The text of a link.
pub fn read_link(path: &Path) -> Result<PathBuf> {
    call("readlink", path, || rustix::fs::readlink(path, Vec::new()))
        .map(|text| PathBuf::from(OsString::from_vec(text.into_bytes())))
}

/// The path with every link resolved.
pub fn canonicalize(path: &Path) -> Result<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    call("realpath", path, || std::fs::canonicalize(path))
}

/// Makes a symbolic link.
pub fn symlink(target: &Path, path: &Path) -> Result<()> {
    call("symlink", path, || rustix::fs::symlink(target, path))
}

/// Gives a file a further name; `AlreadyExists` if there is an entry of that name.
pub fn link(existing: &Path, path: &Path) -> Result<()> {
    call("link", path, || rustix::fs::link(existing, path))
}

/// Makes one directory.
pub fn create_directory(path: &Path, mode: u32) -> Result<()> {
    call("mkdir", path, || {
        rustix::fs::mkdir(path, Mode::from_raw_mode(mode))
    })
}

/// Makes a directory and what is missing above it.
pub fn create_directories(path: &Path) -> Result<()> {
    let mut missing = Vec::new();
    let mut present = path;
    loop {
        match create_directory(present, 0o777) {
            Ok(()) => break,
            Err(error) if error.is_not_found() => {
                missing.push(present);
                present = present.parent().ok_or(error)?;
            }
            Err(error) if error.is_exists() && stat_followed(present)?.kind == Kind::Directory => break,
            Err(error) => return Err(error),
        }
    }
    for path in missing.into_iter().rev() {
        match create_directory(path, 0o777) {
            Err(error) if error.is_exists() => {}
            made => made?,
        }
    }
    Ok(())
}

/// Renames; an existing file, link or empty directory of the new name is replaced.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    call("rename", to, || rustix::fs::rename(from, to))
}

/// Renames only if nothing has the new name.
pub fn rename_new(from: &Path, to: &Path) -> Result<()> {
    call("renameat2", to, || {
        rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)
    })
}

/// Exchanges two entries in one step.
pub fn exchange(one: &Path, other: &Path) -> Result<()> {
    call("renameat2", other, || {
        rustix::fs::renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)
    })
}

/// Removes a file or a link.
pub fn remove_file(path: &Path) -> Result<()> {
    call("unlink", path, || rustix::fs::unlink(path))
}

/// Removes an empty directory.
pub fn remove_directory(path: &Path) -> Result<()> {
    call("rmdir", path, || rustix::fs::rmdir(path))
}

/// Sets the permission bits of an entry that is not a link.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    call("chmod", path, || {
        rustix::fs::chmod(path, Mode::from_raw_mode(mode))
    })
}

/// Sets both times of an entry to now; a link itself is touched, not its target.
pub fn touch(path: &Path) -> Result<()> {
    let now = rustix::fs::Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW,
    };
    let times = rustix::fs::Timestamps {
        last_access: now,
        last_modification: now,
    };
    call("utimensat", path, || {
        rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
    })
}

/// Sets the time of the last change of the bytes of an entry, a link's own if it is one.
pub fn set_modified(path: &Path, modified_ns: i128) -> Result<()> {
    call("utimensat", path, || {
        rustix::fs::utimensat(
            CWD,
            path,
            &super::dir::timestamps(modified_ns),
            AtFlags::SYMLINK_NOFOLLOW,
        )
    })
}

/// Sets both times of an open file to now, exactly: the kernel's own stamps are as coarse as its clock tick.
pub fn touch_exactly(file: &File, path: &Path) -> Result<()> {
    let now = super::dir::timespec(clock::wall_nanos().into());
    let times = rustix::fs::Timestamps {
        last_access: now,
        last_modification: now,
    };
    call("futimens", path, || rustix::fs::futimens(file, &times))
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: OsString,
    /// What it is; `None` where the filesystem does not say.
    pub kind: Option<Kind>,
}

/// The entries of a directory, in the filesystem's order.
pub fn read_directory(path: &Path) -> Result<Vec<Entry>> {
    let directory = open(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    call("getdents", path, || Ok::<(), io::Error>(()))?;
    list(rustix::fs::Dir::new(directory).at("getdents", path)?, path)
}

pub(super) fn read_open_directory(directory: BorrowedFd<'_>, path: &Path) -> Result<Vec<Entry>> {
    list(open_listing(directory, path)?, path)
}

/// Opens a directory a second time, because a position in it belongs to its descriptor.
fn open_listing(directory: BorrowedFd<'_>, path: &Path) -> Result<rustix::fs::Dir> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    call("getdents", path, || {
        rustix::fs::openat(directory, c".", flags, Mode::empty()).and_then(rustix::fs::Dir::new)
    })
}

/// At most `limit` entries: a directory can have millions.
pub(super) fn read_some_entries(directory: BorrowedFd<'_>, limit: usize, path: &Path) -> Result<Vec<Entry>> {
    // The two dots count as entries here.
    list(open_listing(directory, path)?.take(limit.saturating_add(2)), path)
}

/// The entries of a directory that was opened a moment ago and not listed through this descriptor: without opening it
/// a second time.
pub(super) fn read_fresh_directory(directory: BorrowedFd<'_>, path: &Path) -> Result<Vec<Entry>> {
    #[cfg(target_os = "linux")]
    {
        call("getdents", path, || Ok::<(), io::Error>(()))?;
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut listing = rustix::fs::RawDir::new(directory, &mut buffer);
        let mut entries = Vec::new();
        while let Some(entry) = listing.next() {
            let entry = entry.at("getdents", path)?;
            entries.extend(named(entry.file_name().to_bytes(), entry.file_type()));
        }
        Ok(entries)
    }
    #[cfg(not(target_os = "linux"))]
    read_open_directory(directory, path)
}

fn list(
    listing: impl Iterator<Item = rustix::io::Result<rustix::fs::DirEntry>>,
    path: &Path,
) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in listing {
        let entry = entry.at("getdents", path)?;
        entries.extend(named(entry.file_name().to_bytes(), entry.file_type()));
    }
    Ok(entries)
}

fn named(name: &[u8], kind: FileType) -> Option<Entry> {
    (name != b"." && name != b"..").then(|| Entry {
        name: OsStr::from_bytes(name).to_owned(),
        kind: (kind != FileType::Unknown).then(|| Kind::from(kind)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_capped_refuses_what_is_longer() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let file = root.path().join("file");
        write_new(&file, b"12345", 0o644).expect("write");
        assert_eq!(read_capped(&file, 5).expect("five bytes"), b"12345");
        let error = read_capped(&file, 4).expect_err("five bytes are too many");
        assert_eq!(error.code, crate::core::error::Code::TooLarge);
    }

    #[test]
    fn only_a_regular_file_is_opened_and_nothing_blocks() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| root.path().join(name);
        create_directories(&at("directory")).expect("mkdir");
        symlink(Path::new("directory"), &at("link")).expect("symlink");
        rustix::fs::mknodat(CWD, at("pipe"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).expect("mkfifo");
        for (name, found) in [
            ("directory", "a directory"),
            ("link", "a symbolic link"),
            ("pipe", "a pipe"),
        ] {
            let path = at(name);
            let calls = [
                read(&path).map(drop),
                read_capped(&path, 9).map(drop),
                open_regular(&path, Access::ReadWrite).map(drop),
                open_or_create(&path, 0o644).map(drop),
            ];
            for result in calls {
                let error = result.expect_err(name);
                assert!(error.message.contains(found), "{name}: {}", error.message);
            }
        }
    }

    #[test]
    fn an_error_names_operation_path_and_errno() {
        let error = read(Path::new("/nowhere/at all")).expect_err("nothing there");
        assert_eq!((error.op, error.errno()), (Some("open"), Some(2)));
        assert_eq!(error.path.as_deref(), Some(Path::new("/nowhere/at all")));
    }
}
