//! From a staged tree to the target, in the way that fits its mount.
//!
//! | target | way | atomic |
//! | --- | --- | --- |
//! | absent | rename, refused if it appeared meanwhile | yes |
//! | empty directory that is no mount | rename over it (also an overlay's lower directory) | yes |
//! | full, same filesystem | exchange, the old tree is removed afterwards | yes |
//! | mount point (EBUSY), overlay lower directory (EXDEV), parent that cannot be written, `lost+found` in it | child by child, with a journal that takes everything back | per child |
//! | mode 'merge' | file by file, what is there wins | per file |
//!
//! A stage lives in a directory `.warmswap-stage-…` next to the target, or in it where the parent cannot serve.
//! Its process holds a kernel lock on the file `owner` in it: a process that can acquire that lock knows that the
//! owner is dead and sweeps, taking an unfinished 'children' commit back first. Commits by children, and what takes
//! them back, hold a kernel lock on the target directory: two at once would mix their trees. It is acquired before
//! the gate, as it can be waited for, and its next holder takes back what a dead one has left unfinished. Only mode
//! 'replace' moves anything out of a target. A name that another process makes in it while the old entry is out is
//! not overwritten when the commit is taken back: the old one is then kept as `.warmswap-kept-…`.
//!
//! A stage can come from every user that may write next to the target, so only a trusted one is replayed or removed
//! (see `container`), and every call is relative to an open directory.

mod children;
mod container;
mod gate;
mod merge;
mod sweep;

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::core::error::Error;
use crate::core::sys::dir::Directory;
use crate::core::sys::filesystem;
use crate::core::sys::fs::{self, Kind, Stat};

use crate::core::archives::exclude::is_no_content;
use crate::core::archives::site::Target;
use crate::core::failure::{Cause, Failure, Result};
use container::{Container, TREE};
pub(in crate::core) use gate::COMMIT_GRACE;
pub use gate::Gate;
pub use sweep::sweep;
use sweep::{TargetLock, exclude_others, sweep_while};

/// How long a commit child by child waits for another one on its target.
const COMMIT_PATIENCE: Duration = Duration::from_secs(2);
/// Write permission of the group and of all others.
const SHARED_WRITE: u32 = 0o022;

/// What may happen to a target that is not empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Nothing: the outcome is 'target-not-empty'.
    #[default]
    IfEmpty,
    /// It is replaced as a whole.
    Replace,
    /// What is not there is added; nothing is overwritten.
    Merge,
}

/// How a commit was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitWay {
    /// One rename.
    Rename,
    /// One exchange.
    Exchange,
    /// Child by child.
    Children,
    /// File by file.
    Merge,
}

impl CommitWay {
    /// The name that JavaScript sees.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rename => "rename",
            Self::Exchange => "exchange",
            Self::Children => "children",
            Self::Merge => "merge",
        }
    }
}

/// What a commit did.
#[derive(Debug)]
pub struct Committed {
    /// How.
    pub way: CommitWay,
    /// Entries of the archive that were left out because the target had them ('merge').
    pub kept: u64,
    /// The old tree, to be removed off the critical path.
    pub leftovers: Leftovers,
}

/// What is left of a stage. Dropping it removes it, which takes as long as removing the old tree does; until
/// then its lock says that it is in use.
#[derive(Debug)]
pub struct Leftovers {
    container: Container,
    /// A commit could not be taken back (a disk that fails): the old tree is in it, and the next call tries again.
    is_needed: bool,
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        if !self.is_needed {
            // What cannot be removed now is swept by the next call on this target.
            drop(self.container.remove());
        }
    }
}

/// An empty directory on the target's filesystem, and the way from it to the target.
#[derive(Debug)]
pub struct Stage {
    target: Target,
    mode: Mode,
    is_inside: bool,
    /// It may have to be changed child by child: a mount point, or a directory of an overlay's lower layer.
    is_shared: bool,
    tree: PathBuf,
    remains: Leftovers,
}

/// What stands at the target.
enum Standing {
    Absent,
    Empty(Stat),
    Full(Stat),
}

/// The target as it stands, under our lock where it may be changed child by child and its filesystem has locks.
struct Place {
    standing: Standing,
    others: Option<File>,
}

impl Stage {
    /// Sweeps the stages of dead processes, looks at the target, and makes a stage. The target is an absolute path;
    /// links at its end are followed.
    pub fn beside(path: &Path, mode: Mode) -> Result<Self> {
        let target = Target::open(path, true)?;
        if target.path != path {
            refuse_home(&target)?;
        }
        sweep_while(&target, TargetLock::Free)?;
        let standing = look(&target)?;
        if matches!((&standing, mode), (Standing::Full(_), Mode::IfEmpty)) {
            return Err(not_empty(&target.path));
        }
        let (exists, is_mount) = match &standing {
            Standing::Absent => (false, false),
            Standing::Empty(_) | Standing::Full(_) => (true, target.is_mount()?),
        };
        let made = if is_mount {
            None
        } else {
            Some(Container::create(&target.parent, &target.name))
        };
        let (container, is_inside) = match made {
            Some(Ok(container)) => (container, false),
            Some(Err(error)) if !exists || !cannot_be_written(&error) => return Err(error.into()),
            Some(Err(_)) | None => (Container::create(&Arc::new(target.site()?), &target.name)?, true),
        };
        let tree = container.path(TREE);
        let stage = Self {
            is_shared: is_inside || (exists && filesystem::of(&target.path)?.name == "overlayfs"),
            target,
            mode,
            is_inside,
            tree,
            remains: Leftovers {
                container,
                is_needed: false,
            },
        };
        stage.make_tree(&standing)?;
        Ok(stage)
    }

    fn make_tree(&self, standing: &Standing) -> Result<()> {
        let directory = &self.remains.container.site.directory;
        directory.make_directory(TREE.as_ref(), 0o777, &self.tree)?;
        if let Standing::Empty(stat) | Standing::Full(stat) = standing {
            let is_trusted = self.target.parent.trusts(stat);
            // A stranger's directory must not decide that others may write to the tree.
            let mode = stat.mode & !if is_trusted { 0 } else { SHARED_WRITE };
            self.open()?.set_own_mode(mode, &self.tree)?;
        }
        Ok(())
    }

    /// The target, with the links at the end of the caller's path followed.
    pub fn target(&self) -> &Path {
        &self.target.path
    }

    /// Opens the directory where the tree is built.
    pub fn open(&self) -> Result<Directory> {
        let directory = &self.remains.container.site.directory;
        Ok(directory.open_directory(TREE.as_ref(), &self.tree)?)
    }

    /// Where the tree is built.
    pub fn path(&self) -> &Path {
        &self.tree
    }

    /// Makes the staged tree the target's, if the gate still lets it. On an error the target is as it was.
    pub fn commit(mut self, gate: &Gate) -> Result<Committed> {
        let mut place = self.occupy(COMMIT_PATIENCE)?;
        if !gate.pass() && !crate::core::sys::fault::mutant("commit-after-deadline") {
            return Err(Failure::new(
                Cause::Timeout,
                "the call was over before its commit",
            ));
        }
        // Another process may make, fill or remove the target between the look and the rename.
        for _ in 0..3 {
            match self.attempt(&place) {
                // Part of the new tree is in the target.
                Err(failure) if self.remains.is_needed => return Err(failure),
                Err(failure) if failure.cause == Cause::TargetNotEmpty || failure.error.is_not_found() => {
                    if self.mode == Mode::IfEmpty && failure.cause == Cause::TargetNotEmpty {
                        return Err(failure);
                    }
                    drop(place.others.take());
                    place = self.occupy(Duration::ZERO)?;
                }
                Ok((way, kept)) => {
                    return Ok(Committed {
                        way,
                        kept,
                        leftovers: self.remains,
                    });
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::new(
            Cause::Busy,
            format!(
                "'{}' is changed by another process. Try again",
                self.target.path.display()
            ),
        ))
    }

    /// Keeps other commits off the target and looks at it: the one that was waited for may have filled it.
    fn occupy(&self, patience: Duration) -> Result<Place> {
        let others = match look(&self.target)? {
            Standing::Empty(_) | Standing::Full(_) if self.is_shared => self.lock(patience)?,
            _ => None,
        };
        let standing = look(&self.target)?;
        if matches!((&standing, self.mode), (Standing::Full(_), Mode::IfEmpty)) {
            return Err(not_empty(&self.target.path));
        }
        Ok(Place { standing, others })
    }

    /// Has the target to itself, and as it was before any commit of a dead process.
    fn lock(&self, patience: Duration) -> Result<Option<File>> {
        let others = exclude_others(&self.target, patience)?;
        if others.is_some() {
            sweep_while(&self.target, TargetLock::Ours)?;
        }
        Ok(others)
    }

    fn attempt(&mut self, place: &Place) -> Result<(CommitWay, u64)> {
        let standing = &place.standing;
        if let (Standing::Full(_), Mode::Merge) = (standing, self.mode) {
            let here = self.target.site()?;
            return merge::merge(&self.open()?, &here.directory).map(|kept| (CommitWay::Merge, kept));
        }
        if self.is_inside {
            return self.children(place);
        }
        let (from, to) = (
            &self.remains.container.site.directory,
            &self.target.parent.directory,
        );
        let (tree, name, path) = (OsStr::new(TREE), &*self.target.name, &*self.target.path);
        let result = match standing {
            Standing::Absent => from.rename_new(tree, to, name, path).map(|()| CommitWay::Rename),
            Standing::Empty(_) => from.rename(tree, to, name, path).map(|()| CommitWay::Rename),
            Standing::Full(_) => from.exchange(tree, to, name, path).map(|()| CommitWay::Exchange),
        };
        match result {
            Ok(way) => Ok((way, 0)),
            Err(error) if error.is_exists() || is_not_empty(&error) => {
                match (standing, look(&self.target)?) {
                    // What is in it is no content (a volume's lost+found), and stays.
                    (Standing::Empty(_), Standing::Empty(_)) => self.children(place),
                    _ => Err(not_empty(path)),
                }
            }
            Err(error) if needs_children(&error) && !matches!(standing, Standing::Absent) => {
                self.children(place)
            }
            // Filesystems without flags for rename.
            Err(error) if is_without_flags(&error) && matches!(standing, Standing::Absent) => {
                from.rename(tree, to, name, path)?;
                Ok((CommitWay::Rename, 0))
            }
            Err(error) => Err(self.explain(error, standing).into()),
        }
    }

    /// Says why a target cannot be replaced that another user restored.
    fn explain(&self, mut error: Error, standing: &Standing) -> Error {
        if let Standing::Empty(stat) | Standing::Full(stat) = standing
            && cannot_be_written(&error)
        {
            error.message = format!(
                "'{}' belongs to uid {}, and this user must not move it ({}). Restore as that user, remove it, or restore to another directory",
                self.target.path.display(),
                stat.uid,
                error.message
            );
        }
        error
    }

    fn children(&mut self, place: &Place) -> Result<(CommitWay, u64)> {
        // Not foreseen, and the gate is passed: nothing is waited for.
        let _others = match &place.others {
            Some(_) => None,
            None => self.lock(Duration::ZERO)?,
        };
        // What was taken back under that lock fills it.
        if self.mode != Mode::Replace && matches!(look(&self.target)?, Standing::Full(_)) {
            return Err(not_empty(&self.target.path));
        }
        let container = &self.remains.container;
        let Err(failure) = children::commit(container, &self.target, self.mode == Mode::Replace) else {
            return Ok((CommitWay::Children, 0));
        };
        // Its journal goes when everything is taken back.
        self.remains.is_needed = children::is_unfinished(container).unwrap_or(true);
        if self.mode != Mode::Replace && failure.error.is_exists() && !self.remains.is_needed {
            return Err(not_empty(&self.target.path));
        }
        Err(failure)
    }
}

/// A path that names a home directory is refused by src/js; a link must not lead there either.
fn refuse_home(target: &Target) -> Result<()> {
    let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else {
        return Ok(());
    };
    let Some(stat) = target.stat()? else {
        return Ok(());
    };
    for home in [Some(&*home), home.parent()].into_iter().flatten() {
        let is_home =
            fs::stat_followed(home).is_ok_and(|home| (home.device, home.inode) == (stat.device, stat.inode));
        if is_home {
            let shown = format!("a link to '{}'", target.path.display());
            let expected = "a directory of its own, neither '/' nor a home directory";
            return Err(Error::argument("into", shown, expected).into());
        }
    }
    Ok(())
}

fn look(target: &Target) -> Result<Standing> {
    let Some(stat) = target.stat()? else {
        return Ok(Standing::Absent);
    };
    match stat.kind {
        Kind::Directory => {}
        // The caller's own link was followed: this one is new.
        Kind::Symlink => {
            return Err(Failure::refused(format!(
                "'{}' was replaced by a symbolic link in the meantime",
                target.path.display()
            )));
        }
        Kind::File | Kind::Other => {
            let shown = format!("'{}', which is no directory", target.path.display());
            return Err(Error::argument("into", shown, "a directory, or a path where nothing is").into());
        }
    }
    let entries = target.site()?.directory.entries(&target.path)?;
    let is_full = entries
        .iter()
        .any(|entry| !is_no_content(entry.name.as_encoded_bytes()));
    Ok(if is_full {
        Standing::Full(stat)
    } else {
        Standing::Empty(stat)
    })
}

fn not_empty(target: &Path) -> Failure {
    Failure::new(
        Cause::TargetNotEmpty,
        format!(
            "'{}' is not empty; mode 'replace' or 'merge' would change it",
            target.display()
        ),
    )
}

fn cannot_be_written(error: &Error) -> bool {
    use std::io::ErrorKind;
    matches!(
        error.kind(),
        Some(ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
    )
}

/// Moves an entry to another directory. One that is itself a directory and forbids writing (0555: Go's module
/// cache, Nix) cannot be moved by its own user, because its `..` changes: it is opened up for that moment.
fn rename_new(from: &Directory, to: &Directory, name: &OsStr, path: &Path) -> crate::core::error::Result<()> {
    let moved = from.rename_new(name, to, name, path);
    if !moved
        .as_ref()
        .is_err_and(|error| is_errno(error, &[rustix::io::Errno::ACCESS]))
    {
        return moved;
    }
    let stat = from.stat(name, path)?;
    if stat.kind != Kind::Directory || stat.mode & 0o200 != 0 {
        return moved;
    }
    let directory = from.open_directory(name, path)?;
    directory.set_own_mode(stat.mode | 0o700, path)?;
    let moved = from.rename_new(name, to, name, path);
    directory.set_own_mode(stat.mode, path)?;
    moved
}

fn is_errno(error: &Error, any_of: &[rustix::io::Errno]) -> bool {
    error
        .errno()
        .is_some_and(|errno| any_of.iter().any(|each| each.raw_os_error() == errno))
}

fn is_not_empty(error: &Error) -> bool {
    is_errno(error, &[rustix::io::Errno::NOTEMPTY])
}

/// A mount point, another layer or another mount, or a filesystem without exchange.
fn needs_children(error: &Error) -> bool {
    use rustix::io::Errno;
    is_errno(
        error,
        &[
            Errno::BUSY,
            Errno::XDEV,
            Errno::INVAL,
            Errno::NOSYS,
            Errno::OPNOTSUPP,
        ],
    )
}

fn is_without_flags(error: &Error) -> bool {
    use rustix::io::Errno;
    is_errno(error, &[Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP])
}
