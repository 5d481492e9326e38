//! Identity of the store at a path, and the generation numbers that this process has used there.
//!
//! A store can be moved away, or removed and created again, while processes have it open. Its id distinguishes the
//! stores: a random text in the file `id`. Each open creates the file if it is missing, and older versions ignore it.
//! An id and a number together identify one generation forever. Within one process the number alone does, because a
//! module that was imported from `gens/N/tree` stays loaded under that path. A store that replaces another one at the
//! same path therefore continues the numbers that this process knows.

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

/// Identity and change time of an entry.
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

    /// Like [`of`](Self::of), for a later comparison. An entry that changed within the last ticks of the kernel's clock
    /// can change again with the same time, so its version compares as unequal to every version.
    pub(super) fn to_remember(stat: &Stat) -> Self {
        let now_ns = i128::from(clock::wall_micros()) * 1000;
        let has_rested = stat.changed_ns + TICKS_NS < now_ns;
        Self {
            changed_ns: if has_rested { stat.changed_ns } else { i128::MIN },
            ..Self::of(stat)
        }
    }
}

/// Identity of an opened store.
#[derive(Debug)]
pub(super) struct StoreIdentity {
    /// `None` for a store of an older version that this process cannot write to.
    id: Option<String>,
    /// Device and inode of the root.
    root: (u64, u64),
    /// Version of the file `id` when its text was last read.
    seen: Mutex<Option<EntryVersion>>,
    known: KnownNumbers,
}

impl StoreIdentity {
    /// Reads the id, if there is one.
    pub(super) fn read(layout: &Layout, root: (u64, u64)) -> Self {
        // The version is read before the text, so that a file that replaces it in between is read again.
        let version = fs::stat(&layout.id()).ok().map(|stat| EntryVersion::of(&stat));
        let id = read_id(layout);
        Self {
            known: KnownNumbers::of(layout.root(), id.as_deref()),
            seen: Mutex::new(version),
            root,
            id,
        }
    }

    /// Creates the id if it is missing. Requires the writer lock.
    pub(super) fn ensure(&mut self, layout: &Layout) -> Result<()> {
        if read_id(layout).is_none() {
            let id = format!("{}\n", uuid::Uuid::new_v4().simple());
            fs::replace(&layout.id(), &layout.file("id.tmp"), id.as_bytes(), 0o644)?;
        }
        *self = Self::read(layout, self.root);
        Ok(())
    }

    /// Fails if the opened store is no longer at its path.
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
        // A chown also changes the file's time, so the text decides.
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

    /// Records that this process has used a path in this generation.
    pub(super) fn note(&self, number: u64) {
        self.known.highest.fetch_max(number, Ordering::Relaxed);
    }

    /// Highest number that this process has used at this path, in this store and in others.
    pub(super) fn highest_known(&self) -> u64 {
        self.known.others.max(self.known.highest.load(Ordering::Relaxed))
    }

    /// Highest number of another store at this path that this process has used. 0 if there is none.
    pub(super) fn highest_of_others(&self) -> u64 {
        self.known.others
    }

    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Id of this store, if this process has used another store at this path before. Its generations then need
    /// different URLs.
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

/// Stat of a path. `None` also if a component of the path is no longer a directory.
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
            "The store '{}' no longer exists: its directory was removed or moved while it was open. Call openBundles() again, with the new path if it was moved",
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
            "'{}' is not the store that was opened: its directory was moved or removed, and another store is at this path. Call openBundles() again",
            root.display()
        ),
    )
    .at(root)
}

/// Highest numbers that this process has used in the stores at one path, in the order in which it opened them.
type Stores = Vec<(Option<String>, Arc<AtomicU64>)>;

static STORES: LazyLock<Mutex<HashMap<PathBuf, Stores>>> = LazyLock::new(Mutex::default);

/// Numbers that this process knows of one store and of earlier stores at its path.
#[derive(Debug)]
struct KnownNumbers {
    /// Highest number of this store.
    highest: Arc<AtomicU64>,
    /// Highest number of the other stores when this one was opened.
    others: u64,
    /// Whether this store is the first one at its path.
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
        // A store without an id is this store, before an open created its id.
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

/// Stat of a directory. `None` if there is none at the path.
pub(super) fn directory_stat(path: &Path) -> Result<Option<Stat>> {
    Ok(existing(path)?.filter(|stat| stat.kind == Kind::Directory))
}
