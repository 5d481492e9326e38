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
//! A stage lives in a directory `.warmswap-stage-…` beside the target, or in it where the parent cannot serve.
//! Its owner holds a kernel lock on the file `owner` in it: who can take that lock knows that the owner is dead
//! and sweeps, taking an unfinished 'children' commit back first. Commits by children, and what takes them back,
//! hold a kernel lock on the target directory: two at once would mix their trees. It is taken before the gate, as it
//! can be waited for, and who has it first takes back what a dead one has left unfinished. Only mode 'replace' moves
//! anything out of a target. A name that somebody makes in it anew while it is out is not overwritten when the commit is
//! taken back: the old one is then kept as `.warmswap-kept-…`.

mod children;
mod merge;

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use uuid::Uuid;

use crate::core::error::{Error, Optional as _};
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::{Kind, Stat};
use crate::core::sys::{dir, filesystem, flock, fs};

use super::exclude::is_no_content;
use super::failure::{Failure, Outcome, Result};

const PREFIX: &str = ".warmswap-stage-";
/// A stage without a lock that can be asked for belongs to nobody after this time.
const LOCKLESS_AFTER: Duration = Duration::from_hours(24);
/// So does one without an owner file: whoever makes a stage makes that file at once.
const OWNERLESS_AFTER: Duration = Duration::from_mins(1);
/// How long a commit child by child waits for another one on its target, and how often it looks.
const COMMIT_PATIENCE: Duration = Duration::from_secs(2);
const COMMIT_LOOK: Duration = Duration::from_millis(5);

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

/// Whether a call may still commit. A deadline closes it, a commit passes it, and only one of them can: nothing
/// is committed after the caller was told that nothing was.
#[derive(Debug, Default)]
pub struct Gate(AtomicU8);

const OPEN: u8 = 0;
const PASSED: u8 = 1;
const CLOSED: u8 = 2;

impl Gate {
    /// A gate that is open.
    pub fn new() -> Self {
        Self::default()
    }

    /// For the commit: true once, unless the gate was closed.
    pub fn pass(&self) -> bool {
        self.0
            .compare_exchange(OPEN, PASSED, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// For the deadline: true if nothing will be committed any more; false if the commit has begun, which is
    /// then waited for.
    pub fn close(&self) -> bool {
        self.0
            .compare_exchange(OPEN, CLOSED, Ordering::SeqCst, Ordering::SeqCst)
            != Err(PASSED)
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
/// then the lock says that somebody cares.
#[derive(Debug)]
pub struct Leftovers {
    container: PathBuf,
    #[expect(dead_code, reason = "held for its lock")]
    owner: File,
    /// A commit could not be taken back (a disk that fails): the old tree is in it, and the next call tries again.
    is_needed: bool,
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        if !self.is_needed {
            // What cannot be removed now is swept by the next call on this target.
            drop(remove_container(&self.container));
        }
    }
}

/// An empty directory on the target's filesystem, and the way from it to the target.
#[derive(Debug)]
pub struct Stage {
    target: PathBuf,
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
    /// Sweeps what the dead left, looks at the target, and makes a stage. The target is an absolute path.
    pub fn beside(target: &Path, mode: Mode) -> Result<Self> {
        let (Some(parent), Some(_)) = (target.parent(), target.file_name()) else {
            return Err(Error::argument(
                "into",
                format!("'{}'", target.display()),
                "a directory below another one",
            )
            .into());
        };
        fs::create_directories(parent)?;
        sweep(target)?;
        let standing = look(target)?;
        if matches!((&standing, mode), (Standing::Full(_), Mode::IfEmpty)) {
            return Err(not_empty(target));
        }
        let (exists, is_mount) = match &standing {
            Standing::Absent => (false, false),
            Standing::Empty(_) | Standing::Full(_) => (true, dir::is_mount_root(target)?),
        };
        let made = if is_mount {
            None
        } else {
            Some(container_in(parent, target))
        };
        let (remains, is_inside) = match made {
            Some(Ok(remains)) => (remains, false),
            Some(Err(error)) if !exists || !cannot_be_written(&error) => return Err(error.into()),
            Some(Err(_)) | None => (container_in(target, target)?, true),
        };
        let tree = remains.container.join("tree");
        fs::create_directory(&tree, 0o777)?;
        if let Standing::Empty(stat) | Standing::Full(stat) = standing {
            fs::set_mode(&tree, stat.mode)?;
        }
        let is_shared = is_inside || (exists && filesystem::of(target)?.name == "overlayfs");
        Ok(Self {
            target: target.to_path_buf(),
            mode,
            is_inside,
            is_shared,
            tree,
            remains,
        })
    }

    /// Where the tree is built.
    pub fn path(&self) -> &Path {
        &self.tree
    }

    /// Makes the staged tree the target's, if the gate still lets it. On an error the target is as it was.
    pub fn commit(mut self, gate: &Gate) -> Result<Committed> {
        let mut place = self.occupy(COMMIT_PATIENCE)?;
        if !gate.pass() && !crate::core::sys::fault::mutant("commit-after-deadline") {
            return Err(Failure {
                outcome: Outcome::Timeout,
                error: Error::new(
                    crate::core::error::Code::Timeout,
                    "the call was over before its commit",
                ),
            });
        }
        // Somebody may make, fill or remove the target between the look and the rename.
        for _ in 0..3 {
            match self.attempt(&place) {
                // Part of the new tree is in the target.
                Err(failure) if self.remains.is_needed => return Err(failure),
                Err(failure)
                    if failure.outcome == Outcome::TargetNotEmpty || failure.error.is_not_found() =>
                {
                    if self.mode == Mode::IfEmpty && failure.outcome == Outcome::TargetNotEmpty {
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
        Err(Failure {
            outcome: Outcome::Busy,
            error: Error::new(
                crate::core::error::Code::Io,
                format!("'{}' is changed by somebody else", self.target.display()),
            ),
        })
    }

    /// Keeps other commits off the target and looks at it: the one that was waited for may have filled it.
    fn occupy(&self, patience: Duration) -> Result<Place> {
        let others = match look(&self.target)? {
            Standing::Empty(_) | Standing::Full(_) if self.is_shared => self.lock(patience)?,
            _ => None,
        };
        let standing = look(&self.target)?;
        if matches!((&standing, self.mode), (Standing::Full(_), Mode::IfEmpty)) {
            return Err(not_empty(&self.target));
        }
        Ok(Place { standing, others })
    }

    /// Has the target to itself, and as it was before whatever a dead one has begun.
    fn lock(&self, patience: Duration) -> Result<Option<File>> {
        let others = exclude_others(&self.target, patience)?;
        if others.is_some() {
            sweep_while(&self.target, TargetLock::Ours)?;
        }
        Ok(others)
    }

    fn attempt(&mut self, place: &Place) -> Result<(CommitWay, u64)> {
        let standing = &place.standing;
        let result = match (standing, self.mode) {
            (Standing::Full(_), Mode::Merge) => {
                return merge::merge(&self.tree, &self.target).map(|kept| (CommitWay::Merge, kept));
            }
            _ if self.is_inside => return self.children(place),
            (Standing::Absent, _) => fs::rename_new(&self.tree, &self.target).map(|()| CommitWay::Rename),
            (Standing::Empty(_), _) => fs::rename(&self.tree, &self.target).map(|()| CommitWay::Rename),
            (Standing::Full(_), _) => fs::exchange(&self.tree, &self.target).map(|()| CommitWay::Exchange),
        };
        match result {
            Ok(way) => Ok((way, 0)),
            Err(error) if error.is_exists() || is_not_empty(&error) => {
                match (standing, look(&self.target)?) {
                    // What is in it is no content (a volume's lost+found), and stays.
                    (Standing::Empty(_), Standing::Empty(_)) => self.children(place),
                    _ => Err(not_empty(&self.target)),
                }
            }
            Err(error) if needs_children(&error) && !matches!(standing, Standing::Absent) => {
                self.children(place)
            }
            // Filesystems without flags for rename.
            Err(error) if is_without_flags(&error) && matches!(standing, Standing::Absent) => {
                fs::rename(&self.tree, &self.target)?;
                Ok((CommitWay::Rename, 0))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn children(&mut self, place: &Place) -> Result<(CommitWay, u64)> {
        // Not foreseen, and the gate is passed: nothing is waited for.
        let _others = match &place.others {
            Some(_) => None,
            None => self.lock(Duration::ZERO)?,
        };
        // What was taken back under that lock fills it.
        if self.mode != Mode::Replace && matches!(look(&self.target)?, Standing::Full(_)) {
            return Err(not_empty(&self.target));
        }
        let container = &self.remains.container;
        let Err(failure) = children::commit(container, &self.target, self.mode == Mode::Replace) else {
            return Ok((CommitWay::Children, 0));
        };
        // Its journal goes when everything is taken back.
        self.remains.is_needed = children::is_unfinished(container).unwrap_or(true);
        if self.mode != Mode::Replace && failure.error.is_exists() && !self.remains.is_needed {
            return Err(not_empty(&self.target));
        }
        Err(failure)
    }
}

/// Who has the target to itself while an unfinished commit is taken back.
#[derive(Clone, Copy)]
enum TargetLock {
    /// The caller.
    Ours,
    /// Whoever gets it.
    Free,
}

/// Removes the stages of this target whose owners are dead; an unfinished commit of theirs is taken back.
/// Returns how many there were.
pub fn sweep(target: &Path) -> Result<usize> {
    sweep_while(target, TargetLock::Free)
}

fn sweep_while(target: &Path, lock: TargetLock) -> Result<usize> {
    let mut swept = 0;
    if let Some(parent) = target.parent() {
        swept += sweep_in(parent, target, lock)?;
    }
    if fs::stat(target)
        .optional()?
        .is_some_and(|stat| stat.kind == Kind::Directory)
    {
        swept += sweep_in(target, target, lock)?;
    }
    Ok(swept)
}

fn sweep_in(directory: &Path, target: &Path, lock: TargetLock) -> Result<usize> {
    let prefix = prefix(target);
    let mut swept = 0;
    for entry in fs::read_directory(directory).optional()?.unwrap_or_default() {
        if entry.name.to_str().is_some_and(|name| name.starts_with(&prefix)) {
            swept += usize::from(sweep_one(&directory.join(&entry.name), target, lock)?);
        }
    }
    Ok(swept)
}

fn sweep_one(container: &Path, target: &Path, target_lock: TargetLock) -> Result<bool> {
    let lock = container.join("owner");
    let owner = match fs::open(&lock, OFlags::RDWR).optional() {
        Ok(Some(owner)) => owner,
        Ok(None) => return Ok(remove_ownerless(container)),
        // Another user's: not ours to sweep, and no reason to fail.
        Err(error) if cannot_be_written(&error) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let is_dead = match flock::try_exclusive(&owner, &lock) {
        Ok(is_free) => is_free,
        // A filesystem without locks.
        Err(_) => is_older(container, LOCKLESS_AFTER)?,
    };
    if !is_dead {
        return Ok(false);
    }
    if children::is_unfinished(container)? {
        let _others = match target_lock {
            TargetLock::Ours => None,
            TargetLock::Free => match exclude_others(target, Duration::ZERO) {
                Ok(others) => others,
                // A commit that is going on now has the target to itself.
                Err(_) => return Ok(false),
            },
        };
        children::roll_back_unfinished(container, target)?;
    }
    remove_container(container)?;
    Ok(true)
}

/// Whether a stage without an owner file is gone now.
fn remove_ownerless(container: &Path) -> bool {
    let is_abandoned = || is_older(container, OWNERLESS_AFTER).unwrap_or(false);
    fs::remove_directory(container).is_ok() || (is_abandoned() && fs::remove_tree(container).is_ok())
}

/// Removes a stage in an order that can be cut off anywhere: first the journal, without which nothing is taken back
/// any more, and last the owner file, without which nobody would know that it is a dead one's.
fn remove_container(container: &Path) -> crate::core::error::Result<()> {
    for name in ["journal", "journal.new"] {
        fs::remove_file(&container.join(name)).optional()?;
    }
    for name in ["old", "tree"] {
        fs::remove_tree(&container.join(name))?;
    }
    for name in ["done", "owner"] {
        fs::remove_file(&container.join(name)).optional()?;
    }
    fs::remove_directory(container).optional().map(drop)
}

/// Keeps other commits child by child off this target, and what takes them back: two at once would mix their trees.
/// The lock is on the directory itself; `None` where that is gone, or the filesystem has no such lock.
fn exclude_others(target: &Path, patience: Duration) -> Result<Option<File>> {
    let Some(directory) = fs::open(target, OFlags::RDONLY | OFlags::DIRECTORY).optional()? else {
        return Ok(None);
    };
    let since = Instant::now();
    loop {
        match flock::try_exclusive(&directory, target) {
            Ok(true) => return Ok(Some(directory)),
            Err(_) => return Ok(None),
            Ok(false) if since.elapsed() >= patience => {
                return Err(Failure {
                    outcome: Outcome::Busy,
                    error: Error::new(
                        crate::core::error::Code::Io,
                        format!("another call is committing to '{}'", target.display()),
                    ),
                });
            }
            Ok(false) => std::thread::sleep(COMMIT_LOOK),
        }
    }
}

fn is_older(path: &Path, age: Duration) -> Result<bool> {
    let Some(stat) = fs::stat(path).optional()? else {
        return Ok(false);
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(i128::try_from(now.saturating_sub(age).as_nanos()).is_ok_and(|then| stat.changed_ns < then))
}

/// What begins the names of this target's stages, whatever the length of its own name.
fn prefix(target: &Path) -> String {
    let name = target.file_name().unwrap_or_default();
    let hash = blake3::hash(name.as_encoded_bytes()).to_hex();
    format!("{PREFIX}{}-", &hash[..16])
}

/// Makes a container and holds its lock. A sweeper that sees it before it is locked takes it for a dead one's and
/// removes it; then another is made.
fn container_in(directory: &Path, target: &Path) -> crate::core::error::Result<Leftovers> {
    for _ in 0..10 {
        let id = Uuid::new_v4().simple().to_string();
        let container = directory.join(format!("{}{}", prefix(target), &id[..12]));
        fs::create_directory(&container, 0o700)?;
        let lock = container.join("owner");
        let Some(owner) = fs::create_new(&lock, 0o600).optional()? else {
            continue;
        };
        // Where there are no locks (an error) the stage is swept by its age.
        let is_held = flock::try_exclusive(&owner, &lock).unwrap_or(true);
        if is_held && fs::stat(&lock).optional()?.is_some() {
            return Ok(Leftovers {
                container,
                owner,
                is_needed: false,
            });
        }
    }
    let message = format!(
        "stages in '{}' are removed as soon as they are made",
        directory.display()
    );
    Err(Error::new(crate::core::error::Code::Io, message))
}

fn look(target: &Path) -> Result<Standing> {
    let Some(stat) = fs::stat(target).optional()? else {
        return Ok(Standing::Absent);
    };
    match stat.kind {
        Kind::Directory => {}
        Kind::Symlink => {
            return Err(Failure::refused(format!(
                "'{}' is a symbolic link; give the directory that it leads to",
                target.display()
            )));
        }
        Kind::File | Kind::Other => {
            let shown = format!("'{}', which is no directory", target.display());
            return Err(Error::argument("into", shown, "a directory, or a path where nothing is").into());
        }
    }
    let is_full = fs::read_directory(target)?
        .iter()
        .any(|entry| !is_no_content(entry.name.as_encoded_bytes()));
    Ok(if is_full {
        Standing::Full(stat)
    } else {
        Standing::Empty(stat)
    })
}

fn not_empty(target: &Path) -> Failure {
    Failure {
        outcome: Outcome::TargetNotEmpty,
        error: Error::new(
            crate::core::error::Code::Io,
            format!(
                "'{}' is not empty; mode 'replace' or 'merge' would change it",
                target.display()
            ),
        ),
    }
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
