//! Which store is at a path, and what this process knows of the stores that were there.
//!
//! A store can be moved away, or removed and made again, while processes have it open. Its id distinguishes
//! them: a random text in the file `id`, which each open makes where it is missing and which older versions ignore.
//! (Id, number) names one generation forever. Within one process the number alone does, because a module that was
//! imported from `gens/N/tree` stays loaded under that path: a store that follows another one at the same path
//! continues the numbers that this process knows.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, MutexGuard};

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::fs::{self, Kind, Stat};
use crate::core::sys::sync::Mutex;
use crate::core::sys::{clock, fault};

use super::layout::Layout;

/// Two ticks of the coarsest kernel clock.
const TICKS_NS: i128 = 20_000_000;

/// An entry and its last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntryVersion {
    device: u64,
    inode: u64,
    changed_ns: i128,
}

impl EntryVersion {
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            device: stat.device,
            inode: stat.inode,
            changed_ns: stat.changed_ns,
        }
    }

    /// As [`of`](Self::of), to compare with later. An entry that was changed within the last ticks of the kernel's clock
    /// can change again without another time: it equals nothing.
    pub(super) fn to_remember(stat: &Stat) -> Self {
        let now_ns = i128::from(clock::wall_micros()) * 1000;
        let has_rested = stat.changed_ns + TICKS_NS < now_ns;
        Self {
            changed_ns: if has_rested { stat.changed_ns } else { i128::MIN },
            ..Self::of(stat)
        }
    }
}

/// The identity of the store that was opened.
#[derive(Debug)]
pub(super) struct StoreIdentity {
    /// `None` for a store of an older version to which this process cannot write.
    id: Option<String>,
    /// Device and inode of the root.
    root: (u64, u64),
    /// The file `id` when its text was last read.
    seen: Mutex<Option<EntryVersion>>,
    known: KnownNumbers,
}

impl StoreIdentity {
    /// Reads the id, if there is one.
    pub(super) fn read(layout: &Layout, root: (u64, u64)) -> Self {
        // Before its text, so that a file that takes its place in between is read again.
        let version = fs::stat(&layout.id()).ok().map(|stat| EntryVersion::of(&stat));
        let id = read_id(layout);
        Self {
            known: KnownNumbers::of(layout.root(), id.as_deref()),
            seen: Mutex::new(version),
            root,
            id,
        }
    }

    /// Makes the id where there is none. Only under the writer lock.
    pub(super) fn ensure(&mut self, layout: &Layout) -> Result<()> {
        if read_id(layout).is_none() {
            let id = format!("{}\n", uuid::Uuid::new_v4().simple());
            fs::replace(&layout.id(), &layout.file("id.tmp"), id.as_bytes(), 0o644)?;
        }
        *self = Self::read(layout, self.root);
        Ok(())
    }

    /// Fails if the store that was opened is not at its path any more.
    pub(super) fn check(&self, layout: &Layout) -> Result<()> {
        if fault::is_seeded("trust-replaced-root") {
            return Ok(());
        }
        let Some(id) = &self.id else {
            return self.check_root(layout);
        };
        let Some(stat) = existing(&layout.id())? else {
            return self.check_root(layout);
        };
        let version = EntryVersion::of(&stat);
        if *self.seen() == Some(version) {
            return Ok(());
        }
        // A chown changes the file's time too: the text decides.
        if read_id(layout).as_ref() != Some(id) {
            return Err(replaced(layout));
        }
        *self.seen() = Some(version);
        Ok(())
    }

    fn check_root(&self, layout: &Layout) -> Result<()> {
        match existing(layout.root())? {
            None => Err(removed(layout)),
            Some(stat) if (stat.device, stat.inode) == self.root => Ok(()),
            Some(_) => Err(replaced(layout)),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Option<EntryVersion>> {
        self.seen.lock()
    }

    /// Notes that this process has given out a path in this generation.
    pub(super) fn note(&self, number: u64) {
        self.known.highest.fetch_max(number, Ordering::Relaxed);
    }

    /// The highest number that this process has given out at this path, of this store and of others.
    pub(super) fn highest_known(&self) -> u64 {
        self.known.others.max(self.known.highest.load(Ordering::Relaxed))
    }

    /// The highest number of another store at this path that this process has given out; 0 is none.
    pub(super) fn highest_of_others(&self) -> u64 {
        self.known.others
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The id, if this process has had another store at this path before: its generations need other URLs.
    pub(super) fn distinguishing(&self) -> Option<&str> {
        self.id.as_deref().filter(|_| !self.known.is_first)
    }
}

fn read_id(layout: &Layout) -> Option<String> {
    let bytes = fs::read_capped(&layout.id(), 64).ok()?;
    let id = std::str::from_utf8(&bytes).ok()?.strip_suffix('\n')?;
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id.to_owned())
}

/// `None` also where a part of the path is no directory any more.
fn existing(path: &Path) -> Result<Option<Stat>> {
    match fs::stat(path).optional() {
        Err(error) if error.kind() == Some(std::io::ErrorKind::NotADirectory) => Ok(None),
        found => found,
    }
}

fn removed(layout: &Layout) -> Error {
    let root = layout.root();
    Error::new(
        Code::Closed,
        format!(
            "the store '{}' no longer exists: its folder was removed or moved while it was open. Call openBundles() again, with the new path if it was moved",
            root.display()
        ),
    )
    .at(root)
}

fn replaced(layout: &Layout) -> Error {
    let root = layout.root();
    Error::new(
        Code::Closed,
        format!(
            "'{}' is not the store that was opened: its folder was moved or removed, and another one is in its place. Call openBundles() again",
            root.display()
        ),
    )
    .at(root)
}

/// What this process has given out of the stores at one path, in the order in which it met them.
type Stores = Vec<(Option<String>, Arc<AtomicU64>)>;

static STORES: LazyLock<Mutex<HashMap<PathBuf, Stores>>> = LazyLock::new(Mutex::default);

/// The numbers that this process knows of one store and of those that were at its path before.
#[derive(Debug)]
struct KnownNumbers {
    /// The highest number of this store.
    highest: Arc<AtomicU64>,
    /// The highest number of the others when this one was opened.
    others: u64,
    /// Whether no other one was met before this one.
    is_first: bool,
}

impl KnownNumbers {
    fn of(root: &Path, id: Option<&str>) -> Self {
        let mut stores = STORES.lock();
        let stores = stores.entry(root.to_path_buf()).or_default();
        let found = stores.iter().position(|(other, _)| other.as_deref() == id);
        let index = found.unwrap_or_else(|| {
            stores.push((id.map(str::to_owned), Arc::default()));
            stores.len() - 1
        });
        // A store without an id is this one, before an open made its id.
        let highest_in = |stores: &[(Option<String>, Arc<AtomicU64>)]| {
            let with_id = stores.iter().filter(|(id, _)| id.is_some());
            with_id
                .map(|(_, highest)| highest.load(Ordering::Relaxed))
                .max()
                .unwrap_or(0)
        };
        let (before, after) = (&stores[..index], &stores[index + 1..]);
        Self {
            others: highest_in(before).max(highest_in(after)),
            is_first: highest_in(before) == 0,
            highest: Arc::clone(&stores[index].1),
        }
    }
}

/// The stat of a directory; `None` if the path has none.
pub(super) fn directory_stat(path: &Path) -> Result<Option<Stat>> {
    Ok(existing(path)?.filter(|stat| stat.kind == Kind::Directory))
}
