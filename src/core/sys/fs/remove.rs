//! Removes whole trees of any depth, with a bounded stack and a bounded number of descriptors.
//!
//! The walk descends with `openat` and `O_NOFOLLOW`, and keeps the deepest [`OPEN`] directories open. On its way up it
//! opens a directory again as `..` of its child. The result must have the device and inode that the walk descended
//! through. If another process has moved a directory in the meantime, the removal fails and never leaves the tree.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::entry::{remove_file, stat, stat_file};
use super::listing::{read_directory, read_open_directory};
use super::open::open;
use crate::core::error::{Error, Optional as _, Result};
use crate::core::sys::call::call;
use crate::core::sys::platform::files::{self, Base, Handle};
use crate::core::sys::platform::{Kind, OpenOptions, errno, volume};

/// Number of directories that are open at the same time.
const OPEN: usize = 32;
/// Number of names below the top that an error shows, because the path of a deep tree would fill pages.
const SHOWN: usize = 24;

/// Removes everything in a directory, never through a link.
pub fn remove_contents(directory: &Path) -> Result<()> {
    for entry in read_directory(directory)? {
        remove_tree(&directory.join(&entry.name))?;
    }
    Ok(())
}

/// Removes a whole tree, never through a link. Succeeds if the path does not exist. Directories that do not allow
/// removal become writable first, because the modes of a generation may be read-only.
///
/// # Errors
/// Errors of the system calls, and `ERR_IO` (`ESTALE`) if a directory was moved out of the tree in the meantime.
pub fn remove_tree(path: &Path) -> Result<()> {
    let Some(stat) = stat(path).optional()? else {
        return Ok(());
    };
    if stat.kind != Kind::Directory {
        return remove_file(path).optional().map(drop);
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    let Some(name) = path.file_name() else {
        return Err(Error::argument("path", path.display(), "a name"));
    };
    let Some(parent) = open(parent, OpenOptions::DIRECTORY).optional()? else {
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
    /// Its directories that are not removed yet.
    directories: Vec<OsString>,
    is_shown: bool,
}

struct Removal {
    /// Keeps the top of the tree open.
    top: Handle,
    /// Directories from the top of the tree to the current one.
    levels: Vec<Level>,
    /// The deepest of `levels`. The last one is the current directory.
    open: VecDeque<Handle>,
    /// Path for errors.
    shown: PathBuf,
}

impl Removal {
    fn present(&self) -> Base<'_> {
        files::base(self.open.back().unwrap_or(&self.top))
    }

    /// Opens a directory in the current one, and removes everything from it except directories.
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
        let directories = remove_files(files::base(&directory), &self.shown)?;
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

    /// Removes the current directory, which is empty, and returns to its parent.
    fn leave(&mut self) -> Result<()> {
        let (Some(level), Some(directory)) = (self.levels.pop(), self.open.pop_back()) else {
            return Ok(());
        };
        if let Some(above) = self.levels.last()
            && self.open.is_empty()
        {
            let parent = call("openat", &self.shown, || {
                files::open(files::base(&directory), Path::new(".."), OpenOptions::DIRECTORY)
            })?;
            let stat = stat_file(&parent, &self.shown)?;
            if (stat.device, stat.inode) != above.device_and_inode {
                return Err(moved(&self.shown));
            }
            self.open.push_back(parent);
        }
        drop(directory);
        call("unlinkat", &self.shown, || {
            files::remove_directory(self.present(), Path::new(&level.name))
        })
        .optional()?;
        if level.is_shown {
            self.shown.pop();
        }
        Ok(())
    }
}

fn moved(path: &Path) -> Error {
    let mut error = Error::io("openat", path, errno::moved());
    error.message = format!(
        "'{}' was moved by another process while its tree was being removed. The rest of the tree was not removed",
        path.display()
    );
    error
}

/// Removes everything except directories, and returns the names of the directories.
fn remove_files(directory: Base<'_>, path: &Path) -> Result<Vec<OsString>> {
    let mut directories = Vec::new();
    for entry in read_open_directory(directory, path)? {
        if entry.kind == Some(Kind::Directory) {
            directories.push(entry.name);
            continue;
        }
        let below = path.join(&entry.name);
        let removed = call("unlinkat", &below, || {
            files::remove_file(directory, Path::new(&entry.name))
        });
        match removed {
            // The filesystem did not report the kind, and it is a directory (POSIX specifies EPERM, Linux returns
            // EISDIR).
            Err(_) if entry.kind.is_none() => directories.push(entry.name),
            removed => drop(removed.optional()?),
        }
    }
    Ok(directories)
}

/// Opens a directory in another one, and makes it writable if its mode does not allow removal.
fn open_directory_at(parent: Base<'_>, name: &OsStr, path: &Path) -> Result<Handle> {
    let name = Path::new(name);
    let openat = || {
        call("openat", path, || {
            files::open(parent, name, OpenOptions::DIRECTORY)
        })
    };
    let directory = match openat() {
        Err(error) if error.is_denied() => {
            call("fchmodat", path, || volume::make_accessible(parent, name))?;
            openat()?
        }
        result => result?,
    };
    if stat_file(&directory, path)?.mode & 0o700 != 0o700 {
        call("fchmod", path, || files::set_mode(&directory, 0o700))?;
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::sys::dir::LinkUse;
    use crate::core::sys::fs::{create_directories, read, set_mode, symlink, write_new};

    /// Creates `levels` nested directories, far beyond the longest path.
    fn deep(top: &Path, levels: usize) {
        create_directories(top).expect("mkdir");
        let mut present = Handle::from(open(top, OpenOptions::DIRECTORY).expect("opened"));
        let name = Path::new("d");
        for _ in 0..levels {
            files::make_directory(files::base(&present), name, 0o755).expect("mkdirat");
            present = files::open(files::base(&present), name, OpenOptions::DIRECTORY).expect("openat");
        }
        files::symlink(
            Path::new("/"),
            files::base(&present),
            Path::new("link"),
            LinkUse::default(),
        )
        .expect("symlinkat");
    }

    #[test]
    fn remove_tree_never_follows_a_link_and_removes_read_only_directories() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let outside = root.path().join("outside");
        create_directories(&outside).expect("mkdir");
        write_new(&outside.join("kept"), b"kept", 0o644).expect("write");
        let tree = root.path().join("tree");
        create_directories(&tree.join("deep")).expect("mkdir");
        symlink(&outside, &tree.join("deep/link")).expect("symlink");
        set_mode(&tree.join("deep"), 0o500).expect("chmod");
        remove_tree(&tree).expect("removed");
        assert!(stat(&tree).optional().expect("stat").is_none());
        assert_eq!(read(&outside.join("kept")).expect("read"), b"kept");
    }

    #[test]
    fn a_tree_of_20_000_levels_is_removed_on_the_stack_of_a_thread() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let tree = root.path().join("tree");
        // Windows cannot name what is deeper than 32 767 UTF-16 units.
        deep(&tree, if cfg!(windows) { 10_000 } else { 20_000 });
        deep(&tree.join("d/d/d/second"), 2_000);
        // Less than a tenth of the stack of pool threads.
        let thread = std::thread::Builder::new().stack_size(128 << 10);
        let (at, removed) = (tree.clone(), thread);
        let removed = removed.spawn(move || remove_tree(&at)).expect("a thread");
        removed.join().expect("no panic").expect("removed");
        assert!(stat(&tree).optional().expect("stat").is_none());
    }

    // Windows moves no directory while one below it is open.
    #[cfg(not(windows))]
    #[test]
    fn a_directory_that_was_moved_away_ends_the_removal_and_is_kept() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let tree = root.path().join("tree");
        deep(&tree, 100);
        let parent = open(root.path(), OpenOptions::DIRECTORY).expect("opened");
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
        // The directories above the 32 deepest are closed. One at the boundary moves next to a file of its new parent.
        let elsewhere = root.path().join("elsewhere");
        create_directories(&elsewhere).expect("mkdir");
        write_new(&elsewhere.join("kept"), b"kept", 0o644).expect("write");
        let boundary = tree.join(vec!["d"; 69].join("/"));
        crate::core::sys::fs::rename(&boundary, &elsewhere.join("d")).expect("moved");
        let error = loop {
            match removal.leave() {
                Ok(()) => assert!(!removal.levels.is_empty(), "the move was not noticed"),
                Err(error) => break error,
            }
        };
        assert_eq!(
            error.kind(),
            Some(std::io::ErrorKind::StaleNetworkFileHandle),
            "{error}"
        );
        assert_eq!(read(&elsewhere.join("kept")).expect("read"), b"kept");
    }

    #[test]
    fn an_error_in_a_deep_tree_names_its_top_briefly() {
        let path = (0..SHOWN).fold(PathBuf::from("/top"), |path, _| path.join("d"));
        assert!(moved(&path).message.len() < 300);
    }
}
