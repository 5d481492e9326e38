//! Removes whole trees of any depth, on a bounded stack and with a bounded number of descriptors.
//!
//! The walk goes down with `openat` and `O_NOFOLLOW`, and keeps the deepest [`OPEN`] directories open. On its way up
//! it opens a directory again as `..` of its child. That one must have the device and inode that the walk came
//! through: a directory that somebody has moved meanwhile ends the removal with an error, not outside of the tree.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::core::error::{Error, Optional as _, Result};

use super::fs::{self, Kind, call, read_open_directory, stat_file};

/// Directories that are open at the same time.
const OPEN: usize = 32;
/// Names below the top that an error shows: the path of a deep tree would fill pages.
const SHOWN: usize = 24;
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Removes a whole tree, never through a link. An absent path is fine. Directories that forbid removal are made
/// writable first, because a generation's own modes may be read-only.
///
/// # Errors
/// Those of the system calls, and `ERR_IO` (`ESTALE`) where a directory was moved out of the tree meanwhile.
pub fn remove_tree(path: &Path) -> Result<()> {
    let Some(stat) = fs::stat(path).optional()? else {
        return Ok(());
    };
    if stat.kind != Kind::Directory {
        return fs::remove_file(path).optional().map(drop);
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    let Some(name) = path.file_name() else {
        return Err(Error::argument("path", path.display(), "a name"));
    };
    let Some(parent) = fs::open(parent, OFlags::RDONLY | OFlags::DIRECTORY).optional()? else {
        return Ok(());
    };
    let mut removal = Removal {
        top: parent.into(),
        levels: Vec::new(),
        open: VecDeque::new(),
        shown: path.parent().unwrap_or(Path::new("/")).to_path_buf(),
    };
    removal.enter(name)?;
    while let Some(level) = removal.levels.last_mut() {
        match level.directories.pop() {
            Some(name) => removal.enter(&name)?,
            None => removal.leave()?,
        }
    }
    Ok(())
}

/// A directory that is being removed.
struct Level {
    name: OsString,
    device_and_inode: (u64, u64),
    /// The directories in it that are still there.
    directories: Vec<OsString>,
    is_shown: bool,
}

struct Removal {
    /// Holds the top of the tree.
    top: OwnedFd,
    /// From the top of the tree to the present directory.
    levels: Vec<Level>,
    /// The deepest of `levels`; the last is the present directory.
    open: VecDeque<OwnedFd>,
    /// For errors.
    shown: PathBuf,
}

impl Removal {
    fn present(&self) -> BorrowedFd<'_> {
        self.open.back().unwrap_or(&self.top).as_fd()
    }

    /// Opens a directory of the present one, and removes everything from it but directories.
    fn enter(&mut self, name: &OsStr) -> Result<()> {
        let is_shown = self.levels.len() <= SHOWN;
        if self.levels.len() == SHOWN {
            self.shown.push("…");
        } else if is_shown {
            self.shown.push(name);
        }
        let opened = open_directory_at(self.present(), name, &self.shown).optional()?;
        let Some(directory) = opened else {
            if is_shown {
                self.shown.pop();
            }
            return Ok(());
        };
        let stat = stat_file(&directory, &self.shown)?;
        let directories = remove_files(directory.as_fd(), &self.shown)?;
        self.levels.push(Level {
            name: name.to_owned(),
            device_and_inode: (stat.device, stat.inode),
            directories,
            is_shown,
        });
        self.open.push_back(directory);
        if self.open.len() > OPEN {
            self.open.pop_front();
        }
        Ok(())
    }

    /// Removes the present directory, which is empty, and goes back to the one above.
    fn leave(&mut self) -> Result<()> {
        let (Some(level), Some(directory)) = (self.levels.pop(), self.open.pop_back()) else {
            return Ok(());
        };
        if let Some(above) = self.levels.last()
            && self.open.is_empty()
        {
            let parent = call("openat", &self.shown, || {
                rustix::fs::openat(&directory, "..", DIRECTORY, Mode::empty())
            })?;
            let stat = stat_file(&parent, &self.shown)?;
            if (stat.device, stat.inode) != above.device_and_inode {
                return Err(moved(&self.shown));
            }
            self.open.push_back(parent);
        }
        drop(directory);
        call("unlinkat", &self.shown, || {
            rustix::fs::unlinkat(self.present(), &level.name, AtFlags::REMOVEDIR)
        })
        .optional()?;
        if level.is_shown {
            self.shown.pop();
        }
        Ok(())
    }
}

fn moved(path: &Path) -> Error {
    let mut error = Error::io("openat", path, Errno::STALE.into());
    error.message = format!(
        "'{}' was moved by another process while its tree was being removed. What is left of the tree stays",
        path.display()
    );
    error
}

/// Removes what is not a directory, and returns the names of the directories.
fn remove_files(directory: BorrowedFd<'_>, path: &Path) -> Result<Vec<OsString>> {
    let mut directories = Vec::new();
    for entry in read_open_directory(directory, path)? {
        if entry.kind == Some(Kind::Directory) {
            directories.push(entry.name);
            continue;
        }
        let below = path.join(&entry.name);
        let removed = call("unlinkat", &below, || {
            rustix::fs::unlinkat(directory, &entry.name, AtFlags::empty())
        });
        match removed {
            // The filesystem did not say the kind, and it is a directory (POSIX says EPERM, Linux EISDIR).
            Err(_) if entry.kind.is_none() => directories.push(entry.name),
            removed => drop(removed.optional()?),
        }
    }
    Ok(directories)
}

/// Opens a directory below another one, and makes it writable where its mode forbids removal.
fn open_directory_at(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<OwnedFd> {
    let openat = || {
        call("openat", path, || {
            rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())
        })
    };
    let directory = match openat() {
        Err(error) if error.kind() == Some(io::ErrorKind::PermissionDenied) => {
            open_up(parent, name, path)?;
            openat()?
        }
        result => result?,
    };
    if stat_file(&directory, path)?.mode & 0o700 != 0o700 {
        call("fchmod", path, || {
            rustix::fs::fchmod(&directory, Mode::from_raw_mode(0o700))
        })?;
    }
    Ok(directory)
}

/// Makes a directory readable that cannot be opened. Through a descriptor of exactly that directory: `chmod` by name
/// would follow a link that somebody puts in its place.
#[cfg(target_os = "linux")]
fn open_up(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
    use std::os::fd::AsRawFd as _;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = call("openat", path, || {
        rustix::fs::openat(parent, name, flags, Mode::empty())
    })?;
    let itself = format!("/proc/self/fd/{}", directory.as_raw_fd());
    call("fchmodat", path, || {
        rustix::fs::chmod(&*itself, Mode::from_raw_mode(0o700))
    })
}

/// Makes a directory readable that cannot be opened; a link in its place is not followed.
#[cfg(not(target_os = "linux"))]
fn open_up(parent: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<()> {
    call("fchmodat", path, || {
        rustix::fs::chmodat(
            parent,
            name,
            Mode::from_raw_mode(0o700),
            AtFlags::SYMLINK_NOFOLLOW,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::sys::fs::{create_directories, read, set_mode, symlink, write_new};

    /// Makes `levels` directories below each other, far beyond the longest path.
    fn deep(top: &Path, levels: usize) {
        create_directories(top).expect("mkdir");
        let mut present = fs::open(top, OFlags::RDONLY | OFlags::DIRECTORY).expect("opened");
        for _ in 0..levels {
            rustix::fs::mkdirat(&present, "d", Mode::from_raw_mode(0o755)).expect("mkdirat");
            present = rustix::fs::openat(&present, "d", DIRECTORY, Mode::empty())
                .expect("openat")
                .into();
        }
        rustix::fs::symlinkat("/", &present, "link").expect("symlinkat");
    }

    #[test]
    fn remove_tree_never_follows_a_link_and_opens_read_only_directories() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let outside = root.path().join("outside");
        create_directories(&outside).expect("mkdir");
        write_new(&outside.join("kept"), b"kept", 0o644).expect("write");
        let tree = root.path().join("tree");
        create_directories(&tree.join("deep")).expect("mkdir");
        symlink(&outside, &tree.join("deep/link")).expect("symlink");
        set_mode(&tree.join("deep"), 0o500).expect("chmod");
        remove_tree(&tree).expect("removed");
        assert!(fs::stat(&tree).optional().expect("stat").is_none());
        assert_eq!(read(&outside.join("kept")).expect("read"), b"kept");
    }

    #[test]
    fn a_tree_of_20_000_levels_is_removed_on_the_stack_of_a_thread() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let tree = root.path().join("tree");
        deep(&tree, 20_000);
        deep(&tree.join("d/d/d/second"), 2_000);
        // Less than a tenth of what pool threads have.
        let thread = std::thread::Builder::new().stack_size(128 << 10);
        let (at, removed) = (tree.clone(), thread);
        let removed = removed.spawn(move || remove_tree(&at)).expect("a thread");
        removed.join().expect("no panic").expect("removed");
        assert!(fs::stat(&tree).optional().expect("stat").is_none());
    }

    #[test]
    fn a_directory_that_was_moved_away_ends_the_removal_and_nothing_outside_is_removed() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let tree = root.path().join("tree");
        deep(&tree, 100);
        let parent = fs::open(root.path(), OFlags::RDONLY | OFlags::DIRECTORY).expect("opened");
        let mut removal = Removal {
            top: parent.into(),
            levels: Vec::new(),
            open: VecDeque::new(),
            shown: root.path().to_path_buf(),
        };
        removal.enter(OsStr::new("tree")).expect("entered");
        while let Some(name) = removal
            .levels
            .last_mut()
            .and_then(|level| level.directories.pop())
        {
            removal.enter(&name).expect("entered");
        }
        // The directories above the 32 deepest are closed; one of the boundary moves next to a file of its new parent.
        let elsewhere = root.path().join("elsewhere");
        create_directories(&elsewhere).expect("mkdir");
        write_new(&elsewhere.join("kept"), b"kept", 0o644).expect("write");
        let boundary = tree.join(vec!["d"; 69].join("/"));
        fs::rename(&boundary, &elsewhere.join("d")).expect("moved");
        let error = loop {
            match removal.leave() {
                Ok(()) => assert!(!removal.levels.is_empty(), "the move was not noticed"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.errno(), Some(Errno::STALE.raw_os_error()), "{error}");
        assert_eq!(read(&elsewhere.join("kept")).expect("read"), b"kept");
    }

    #[test]
    fn an_error_in_a_deep_tree_names_its_top_in_few_words() {
        let path = (0..SHOWN).fold(PathBuf::from("/top"), |path, _| path.join("d"));
        assert!(moved(&path).message.len() < 300);
    }
}
