//! Files that are locked with flock(2) and can be removed or replaced while somebody waits for them.
//!
//! A lock on a file that is no longer the one at its path excludes nobody. So each acquisition opens the file, locks it,
//! and then checks that it is still that file; if not, it starts again with the file that is there now. flock has no
//! timed wait, and a thread that blocks in it cannot be cancelled, so a wait tries again at short intervals.
//!
//! The lock belongs to the open file description: it ends with the process and with the last close.

use std::ffi::OsStr;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use crate::core::error::{Optional as _, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::{self, Access, Stat};
use crate::core::sys::{fault, flock};

/// How a locked file is recognised as the one at its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// By device and inode of the entry at the path.
    Path,
    /// By its link count. Enough where the file has one name, is never moved, and is removed only under its lock.
    Links,
    /// Not at all: the caller removes the file, or nobody does.
    None,
}

/// Which files are opened.
#[derive(Debug, Clone, Copy)]
enum Open {
    Existing(Access),
    OrCreate(u32),
    New(u32),
}

/// The entry that is locked.
#[derive(Debug, Clone, Copy)]
enum Entry<'a> {
    At(&'a Path),
    In(&'a Directory, &'a OsStr, &'a Path),
}

impl<'a> Entry<'a> {
    fn path(self) -> &'a Path {
        match self {
            Self::At(path) | Self::In(_, _, path) => path,
        }
    }

    fn stat(self) -> Result<Stat> {
        match self {
            Self::At(path) => fs::stat(path),
            Self::In(directory, name, path) => directory.stat(name, path),
        }
    }

    fn open(self, access: Access) -> Result<(File, Stat)> {
        match self {
            Self::At(path) => fs::open_regular_with_stat(path, access),
            Self::In(directory, name, path) => directory.open_regular_with_stat(name, access, path),
        }
    }

    fn open_any(self) -> Result<File> {
        match self {
            Self::At(path) => fs::open_any(path),
            Self::In(directory, name, path) => directory.open_file(name, path),
        }
    }

    fn open_or_create(self, mode: u32) -> Result<(File, Stat)> {
        match self {
            Self::At(path) => fs::open_or_create_with_stat(path, mode),
            Self::In(directory, name, path) => directory.open_or_create_with_stat(name, mode, path),
        }
    }

    fn create_new(self, mode: u32) -> Result<File> {
        match self {
            Self::At(path) => fs::create_new(path, mode),
            Self::In(directory, name, path) => directory.create_new(name, mode, path),
        }
    }
}

/// Which file to lock, and how. By default an existing file, opened for reading and locked exclusively, is recognised by
/// its path.
#[derive(Debug, Clone, Copy)]
pub struct LockOptions<'a> {
    entry: Entry<'a>,
    open: Open,
    is_shared: bool,
    check: Check,
    is_lock_optional: bool,
}

/// A lock file that is open.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    stat: Option<Stat>,
    is_writable: bool,
    /// Whether it is locked and its drop has to unlock it.
    unlocks: bool,
}

/// A lock file under the lock, which ends when it is dropped.
#[derive(Debug)]
pub struct LockedFile {
    file: LockFile,
    has_lock: bool,
}

/// The result of an attempt.
#[derive(Debug)]
pub enum Attempt {
    /// This process has the lock.
    Locked(LockedFile),
    /// Another open file has it.
    Busy(LockFile),
    /// There is no such file, or the open one is no longer the one at its path.
    Gone,
}

/// How long to wait for a lock, and how often to try.
#[derive(Debug, Clone, Copy)]
pub struct Wait<'a> {
    /// When the last attempt is made.
    pub deadline: Deadline,
    /// Ends the wait with `ERR_ABORTED`.
    pub cancel: &'a Cancel,
    /// The pause after the first attempt. It doubles after each further one, up to `longest_pause`.
    pub pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl<'a> LockOptions<'a> {
    /// The file at this path.
    pub fn at(path: &'a Path) -> Self {
        Self::of(Entry::At(path))
    }

    /// The file of this name in an open directory. `path` is for errors.
    pub fn inside(directory: &'a Directory, name: &'a OsStr, path: &'a Path) -> Self {
        Self::of(Entry::In(directory, name, path))
    }

    fn of(entry: Entry<'a>) -> Self {
        Self {
            entry,
            open: Open::Existing(Access::Read),
            is_shared: false,
            check: Check::Path,
            is_lock_optional: false,
        }
    }

    /// Opens the file for reading and writing.
    #[must_use]
    pub fn writable(self) -> Self {
        Self {
            open: Open::Existing(Access::ReadWrite),
            ..self
        }
    }

    /// Opens the file for reading and writing, and creates it with this mode if it does not exist. flock needs no
    /// permission to write, so a file that this user may only read is opened for reading.
    #[must_use]
    pub fn or_create(self, mode: u32) -> Self {
        Self {
            open: Open::OrCreate(mode),
            ..self
        }
    }

    /// Creates the file with this mode; fails with `AlreadyExists` if there is an entry of its name.
    #[must_use]
    pub fn create_new(self, mode: u32) -> Self {
        Self {
            open: Open::New(mode),
            ..self
        }
    }

    /// Takes a shared lock.
    #[must_use]
    pub fn shared(self) -> Self {
        Self {
            is_shared: true,
            ..self
        }
    }

    /// How the file is recognised after it was locked.
    #[must_use]
    pub fn check(self, check: Check) -> Self {
        Self { check, ..self }
    }

    /// A file that cannot be locked, because its filesystem has no locks, counts as locked:
    /// [`LockedFile::has_lock`] returns `false` then.
    #[must_use]
    pub fn even_without_locks(self) -> Self {
        Self {
            is_lock_optional: true,
            ..self
        }
    }

    /// Opens the file without locking it. `None` if it does not exist and is not to be created.
    ///
    /// # Errors
    /// Those of the system calls. Anything but a regular file is an error that names it.
    pub fn open(&self) -> Result<Option<LockFile>> {
        match self.open {
            // One fstat after the lock says all that Check::Links needs.
            Open::Existing(Access::Read) if self.check == Check::Links => match self.entry.open_any() {
                Ok(file) => Ok(Some(LockFile::opened(file, None, false))),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(fs::explain(error, || self.entry.stat(), self.entry.path())),
            },
            Open::Existing(access) => {
                let opened = self.entry.open(access).optional()?;
                let is_writable = access == Access::ReadWrite;
                Ok(opened.map(|(file, stat)| LockFile::opened(file, Some(stat), is_writable)))
            }
            Open::OrCreate(mode) => self.open_or_create(mode).map(Some),
            Open::New(mode) => {
                let file = self.entry.create_new(mode)?;
                Ok(Some(LockFile::opened(file, None, true)))
            }
        }
    }

    fn open_or_create(&self, mode: u32) -> Result<LockFile> {
        let (opened, is_writable) = match self.entry.open_or_create(mode) {
            Err(error) if error.kind() == Some(ErrorKind::PermissionDenied) => {
                // For a user who may not create the file either, the first error is the helpful one.
                let opened = self.entry.open(Access::Read).map_err(|_| error);
                (opened?, false)
            }
            opened => (opened?, true),
        };
        Ok(LockFile::opened(opened.0, Some(opened.1), is_writable))
    }

    /// Locks an open file if it is free now.
    ///
    /// # Errors
    /// Those of the system calls, and of a filesystem without locks unless [`even_without_locks`] was called.
    ///
    /// [`even_without_locks`]: Self::even_without_locks
    pub fn attempt(&self, mut file: LockFile) -> Result<Attempt> {
        let path = self.entry.path();
        let locked = if self.is_shared {
            flock::try_shared(&file.file, path)
        } else {
            flock::try_exclusive(&file.file, path)
        };
        let has_lock = match locked {
            Ok(false) => return Ok(Attempt::Busy(file)),
            Err(error) if !self.is_lock_optional => return Err(error),
            locked => locked.is_ok(),
        };
        if self.check != Check::None {
            match self.current(&file)? {
                Some(stat) => file.stat = Some(stat),
                None if fault::mutant("lock-file-unchecked") => {}
                None => return Ok(Attempt::Gone),
            }
        }
        file.unlocks = has_lock;
        Ok(Attempt::Locked(LockedFile { file, has_lock }))
    }

    /// What the file is now, if it is still the one at its path.
    ///
    /// # Errors
    /// Those of the system calls. Anything but a regular file is an error that names it.
    pub fn current(&self, file: &LockFile) -> Result<Option<Stat>> {
        let path = self.entry.path();
        match self.check {
            Check::Links => {
                let stat = fs::stat_file(&file.file, path)?;
                fs::expect_regular(stat, path)?;
                Ok((stat.links > 0).then_some(stat))
            }
            Check::Path => {
                let own = file.stat(path)?;
                let there = self.entry.stat().optional()?;
                Ok(there.filter(|there| (there.device, there.inode) == (own.device, own.inode)))
            }
            Check::None => file.stat(path).map(Some),
        }
    }

    /// Opens the file and locks it if it is free now. Starts again while the file is replaced.
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`attempt`](Self::attempt).
    pub fn try_lock(&self) -> Result<Attempt> {
        loop {
            let Some(file) = self.open()? else {
                return Ok(Attempt::Gone);
            };
            match self.attempt(file)? {
                Attempt::Gone => {}
                attempt => return Ok(attempt),
            }
        }
    }

    /// As [`try_lock`](Self::try_lock), and waits on this thread while the lock is busy. [`Attempt::Busy`] means that
    /// the deadline has passed.
    ///
    /// # Errors
    /// As [`try_lock`](Self::try_lock), and `ERR_ABORTED`.
    pub fn lock(&self, wait: Wait<'_>) -> Result<Attempt> {
        loop {
            wait.cancel.check()?;
            let Some(file) = self.open()? else {
                return Ok(Attempt::Gone);
            };
            match self.lock_open(file, wait)? {
                Attempt::Gone => {}
                attempt => return Ok(attempt),
            }
        }
    }

    /// As [`lock`](Self::lock), for a file or directory that is open. [`Attempt::Gone`] if it is no longer the one at its
    /// path.
    ///
    /// # Errors
    /// As [`attempt`](Self::attempt), and `ERR_ABORTED`.
    pub fn lock_open(&self, mut file: LockFile, wait: Wait<'_>) -> Result<Attempt> {
        let mut pause = wait.pause;
        loop {
            match self.attempt(file)? {
                Attempt::Busy(busy) if !wait.deadline.has_passed() => file = busy,
                attempt => return Ok(attempt),
            }
            wait.cancel.sleep(pause, wait.deadline);
            wait.cancel.check()?;
            pause = (pause * 2).min(wait.longest_pause);
            // The file that is locked can be one that was replaced, while the one at the path is free.
            if self.check != Check::None && self.current(&file)?.is_none() {
                return Ok(Attempt::Gone);
            }
        }
    }
}

impl From<File> for LockFile {
    /// An open directory, or a file that the caller has opened.
    fn from(file: File) -> Self {
        Self::opened(file, None, false)
    }
}

impl LockFile {
    fn opened(file: File, stat: Option<Stat>, is_writable: bool) -> Self {
        Self {
            file,
            stat,
            is_writable,
            unlocks: false,
        }
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// What the file is: at the time of the last check, else now.
    pub fn stat(&self, path: &Path) -> Result<Stat> {
        self.stat.map_or_else(|| fs::stat_file(&self.file, path), Ok)
    }

    /// Whether the file was opened for writing.
    pub fn is_writable(&self) -> bool {
        self.is_writable
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if self.unlocks {
            // A child between fork and exec has the descriptor too and must not keep the lock. Closing it comes next.
            drop(flock::unlock(&self.file, Path::new("")));
        }
    }
}

impl LockedFile {
    /// Whether the lock is held; `false` only after [`LockOptions::even_without_locks`].
    pub fn has_lock(&self) -> bool {
        self.has_lock
    }

    /// The open file, to write to it.
    pub fn file_mut(&mut self) -> &mut File {
        &mut self.file.file
    }

    /// Unlocks the file and keeps it open.
    ///
    /// # Errors
    /// Those of the system call.
    pub fn unlock(self, path: &Path) -> Result<LockFile> {
        let mut file = self.file;
        file.unlocks = false;
        flock::unlock(&file.file, path).map(|()| file)
    }

    /// Leaves the unlocking to the last close of the descriptor, which child processes can have too.
    #[must_use]
    pub fn until_closed(mut self) -> Self {
        self.file.unlocks = false;
        self
    }
}

impl Deref for LockedFile {
    type Target = LockFile;

    fn deref(&self) -> &LockFile {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::core::error::Code;

    const CHECKS: [Check; 2] = [Check::Path, Check::Links];

    fn locked(attempt: Result<Attempt>) -> LockedFile {
        match attempt.expect("no error") {
            Attempt::Locked(locked) => locked,
            other => panic!("{other:?} instead of the lock"),
        }
    }

    fn is_gone(attempt: Result<Attempt>) -> bool {
        matches!(attempt.expect("no error"), Attempt::Gone)
    }

    fn is_busy(attempt: Result<Attempt>) -> bool {
        matches!(attempt.expect("no error"), Attempt::Busy(_))
    }

    #[test]
    fn a_lock_excludes_others_until_it_is_dropped() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = root.path().join("lock");
        let exclusive = LockOptions::at(&path).or_create(0o644);
        let shared = LockOptions::at(&path).shared();
        assert!(is_gone(shared.try_lock()));
        let held = locked(exclusive.try_lock());
        assert!(held.has_lock() && held.is_writable());
        assert!(is_busy(exclusive.try_lock()) && is_busy(shared.try_lock()));
        drop(held);
        let readers = [locked(shared.try_lock()), locked(shared.try_lock())];
        assert!(is_busy(exclusive.try_lock()));
        drop(readers);
        let open = locked(exclusive.try_lock()).unlock(&path).expect("unlocked");
        let directory = Directory::open(root.path()).expect("open");
        let inside = LockOptions::inside(&directory, "lock".as_ref(), &path);
        let held = locked(inside.try_lock());
        assert!(is_busy(exclusive.attempt(open)));
        drop(held);
    }

    #[test]
    fn a_file_that_was_removed_or_replaced_after_it_was_opened_excludes_nobody() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let (path, next) = (root.path().join("lock"), root.path().join("next"));
        for check in CHECKS {
            let options = LockOptions::at(&path).check(check);
            fs::write_new(&path, b"", 0o644).expect("write");
            let removed = options.open().expect("open").expect("there");
            fs::remove_file(&path).expect("remove");
            assert!(is_gone(options.attempt(removed)), "{check:?}");

            fs::write_new(&path, b"", 0o644).expect("write");
            let replaced = options.open().expect("open").expect("there");
            fs::replace(&path, &next, b"new", 0o644).expect("replace");
            assert!(is_gone(options.attempt(replaced)), "{check:?}");
            let held = locked(options.try_lock());
            assert_eq!(held.stat(&path).expect("stat").size, 3, "{check:?}");
            fs::remove_file(&path).expect("remove");
        }
        // A file that was moved away has its link still: only its path tells.
        fs::write_new(&path, b"", 0o644).expect("write");
        let moved = LockOptions::at(&path).open().expect("open").expect("there");
        fs::rename(&path, &next).expect("rename");
        assert!(is_gone(LockOptions::at(&path).attempt(moved)));
    }

    #[test]
    fn anything_but_a_regular_file_is_refused_with_its_kind() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let (link, directory) = (root.path().join("link"), root.path().join("directory"));
        fs::write_new(&root.path().join("target"), b"", 0o644).expect("write");
        fs::symlink(Path::new("target"), &link).expect("symlink");
        fs::create_directory(&directory, 0o755).expect("mkdir");
        for (path, found) in [(&link, "a symbolic link"), (&directory, "a directory")] {
            for options in [
                LockOptions::at(path),
                LockOptions::at(path).or_create(0o644),
                LockOptions::at(path).shared().check(Check::Links),
            ] {
                let error = options.try_lock().expect_err(found);
                assert!(error.message.contains(found), "{}", error.message);
            }
        }
    }

    #[test]
    fn a_waiter_follows_a_file_that_is_replaced_and_can_be_cancelled() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let (path, next) = (root.path().join("lock"), root.path().join("next"));
        let options = LockOptions::at(&path).or_create(0o644);
        let cancel = Cancel::new();
        let wait = |deadline| Wait {
            deadline,
            cancel: &cancel,
            pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(5),
        };
        let held = locked(options.try_lock());
        assert!(is_busy(
            options.lock(wait(Deadline::after(Duration::from_millis(20))))
        ));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| locked(options.lock(wait(Deadline::NEVER))));
            fs::replace(&path, &next, b"", 0o644).expect("replace");
            drop(waiter.join().expect("the lock of the new file"));
        });
        drop(held);
        let directory = Directory::open(root.path()).expect("open").into_file();
        let whole = LockOptions::at(root.path()).check(Check::None);
        let held = locked(whole.lock_open(directory.into(), wait(Deadline::NEVER)));
        cancel.cancel();
        let other = Directory::open(root.path()).expect("open").into_file();
        let ended = whole.lock_open(other.into(), wait(Deadline::NEVER));
        assert_eq!(ended.expect_err("cancelled").code, Code::Aborted);
        drop(held);
    }

    /// Runs itself a second time as the other process.
    #[test]
    fn two_processes_exclude_each_other_and_a_killed_one_frees_the_lock() {
        const PATH: &str = "WARMSWAP_TEST_LOCK_FILE";
        if let Some(path) = std::env::var_os(PATH) {
            let held = locked(LockOptions::at(Path::new(&path)).try_lock());
            std::io::stdout().write_all(b"locked\n").expect("written");
            std::io::stdin().read_to_end(&mut Vec::new()).expect("killed");
            drop(held);
            return;
        }
        let root = tempfile::tempdir().expect("a temporary directory");
        let path = root.path().join("lock");
        fs::write_new(&path, b"", 0o644).expect("write");
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "--nocapture"])
            .arg("core::sys::lock_file::tests::two_processes_exclude_each_other_and_a_killed_one_frees_the_lock")
            .env(PATH, &path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut said = Vec::new();
        let output = child.stdout.as_mut().expect("piped");
        while !said.ends_with(b"locked\n") {
            let mut byte = [0];
            output
                .read_exact(&mut byte)
                .expect("it says that it has the lock");
            said.extend(byte);
        }
        let options = LockOptions::at(&path);
        assert!(is_busy(options.try_lock()));
        child.kill().expect("killed");
        child.wait().expect("reaped");
        drop(locked(options.try_lock()));
    }
}
