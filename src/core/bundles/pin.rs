//! Pins: a reader's hold on a generation. A pin is a shared kernel lock on `pins/N`, which ends with the process.
//!
//! Each process has one table of pins. The key is the inode of the store and the generation. The table counts shares
//! per owner (a Node-API environment). A further pin of a held generation needs no lock call. When a thread ends, only
//! the shares of that thread are released.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::{LazyLock, MutexGuard};

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::fault;
use crate::core::sys::fs::{self, Stat};
use crate::core::sys::lock_file::LockedFile;
use crate::core::sys::sync::Mutex;

use super::errors::{corrupt, generation_gone, nothing_published};
use super::hold::{Hold, SharedLock, lock_shared};
use super::pointer;
use super::recent::GenerationPaths;
use super::store::Store;
use super::store_identity::{self, EntryVersion};
use super::verify::is_usable;

/// Holder of a share: a Node environment, or 0 for plain Rust.
pub type PinOwner = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct PinKey {
    /// Device and inode of the store's root. Two handles on one store share their pins.
    store: (u64, u64),
    number: u64,
}

#[derive(Debug)]
struct PinnedGeneration {
    /// Lock file under a shared lock. Closing it releases the lock.
    lock: LockedFile,
    /// Version of the tree at the last comparison.
    tree: EntryVersion,
    shares: HashMap<PinOwner, usize>,
}

#[derive(Debug, Default)]
struct PinTable {
    generations: HashMap<PinKey, PinnedGeneration>,
    live_owners: HashSet<PinOwner>,
    /// Owners that have ended. A publish that finishes after its thread must not leave a share that nobody releases.
    ended_owners: HashSet<PinOwner>,
}

static PINS: LazyLock<Mutex<PinTable>> = LazyLock::new(Mutex::default);

fn pins() -> MutexGuard<'static, PinTable> {
    PINS.lock()
}

/// Records that an owner has started. Returns `true` the first time: the caller then has to call [`owner_ends`] later.
pub fn owner_starts(owner: PinOwner) -> bool {
    let mut pins = pins();
    pins.ended_owners.remove(&owner);
    pins.live_owners.insert(owner)
}

/// Records that an owner has ended, and releases all its shares.
pub fn owner_ends(owner: PinOwner) {
    let mut pins = pins();
    pins.ended_owners.insert(owner);
    pins.live_owners.remove(&owner);
    pins.generations.retain(|_, pinned| {
        pinned.shares.remove(&owner);
        !pinned.shares.is_empty()
    });
}

/// Pins the current generation. Never blocks, and retries only while the pointer changes.
pub fn pin_current(store: &Store, owner: PinOwner) -> Result<u64> {
    acquire_current(store, owner).map_err(|error| store.explain(error))
}

fn acquire_current(store: &Store, owner: PinOwner) -> Result<u64> {
    let mut seen = None;
    loop {
        let Some(number) = current(store)? else {
            return Err(nothing_published(&store.layout));
        };
        let paths = store.recent.paths(&store.layout, number);
        if add_share(store, owner, &paths)? {
            return Ok(number);
        }
        match lock_shared(&paths.pin)? {
            SharedLock::Held(lock, stat) => {
                // Between readlink and flock the generation may have been collected or replaced. Then nothing
                // guarantees that it stays complete.
                if fault::is_seeded("no-recheck") || pointer::read(&store.layout)? == Some(number) {
                    let Some(tree) = check_tree(store, &paths, &stat)? else {
                        return Err(corrupt(number, "its tree is missing").at(&paths.tree));
                    };
                    insert(store, owner, number, lock, tree)?;
                    return Ok(number);
                }
            }
            SharedLock::Missing if seen == Some(number) => {
                return Err(corrupt(number, "its lock file is missing").at(&paths.pin));
            }
            SharedLock::Busy if seen == Some(number) => {
                return Err(corrupt(
                    number,
                    "its lock file is locked by a process that is not a reader",
                )
                .at(&paths.pin));
            }
            SharedLock::Missing | SharedLock::Busy => {}
        }
        seen = Some(number);
    }
}

/// Reads the pointer. A generation that this process already holds may no longer be current.
fn current(store: &Store) -> Result<Option<u64>> {
    if fault::is_seeded("held-before-pointer")
        && let Some(key) = pins().generations.keys().find(|key| key.store == store.key)
    {
        return Ok(Some(key.number));
    }
    pointer::read(&store.layout)
}

/// Pins a generation by its number. Fails with `ERR_GENERATION_GONE` if it was collected.
pub fn pin_number(store: &Store, owner: PinOwner, number: u64) -> Result<()> {
    acquire_number(store, owner, number).map_err(|error| store.explain(error))
}

fn acquire_number(store: &Store, owner: PinOwner, number: u64) -> Result<()> {
    let paths = store.recent.paths(&store.layout, number);
    if add_share(store, owner, &paths)? {
        return Ok(());
    }
    let SharedLock::Held(lock, stat) = lock_shared(&paths.pin)? else {
        return Err(generation_gone(number));
    };
    match check_tree(store, &paths, &stat)? {
        Some(tree) => insert(store, owner, number, lock, tree),
        // A lock file without its generation belongs to a publish in progress.
        None => Err(generation_gone(number)),
    }
}

/// Checks the tree of a generation. Returns `None` if it is missing. One stat is enough: a publish sets the time of the
/// lock file to the change time of the tree. If they differ, an entry of the tree's top directory was added, removed or
/// renamed, and all entries are checked for missing or altered content. `pin` is the stat of the lock file.
fn check_tree(store: &Store, paths: &GenerationPaths, pin: &Stat) -> Result<Option<EntryVersion>> {
    let Some(tree) = store_identity::directory_stat(&paths.tree)? else {
        return Ok(fault::is_seeded("no-recheck").then(|| EntryVersion::of(pin)));
    };
    let version = EntryVersion::of(&tree);
    let mut compared = paths.compared.lock();
    if *compared == Some(version) {
        return Ok(Some(version));
    }
    store.check_present()?;
    let number = paths.number;
    if tree.changed_ns != pin.modified_ns && !is_usable(store, number, &Cancel::new())? {
        return Err(corrupt(number, "files were removed or altered (verify() lists them)").at(&paths.tree));
    }
    let version = EntryVersion::to_remember(&tree);
    *compared = Some(version);
    Ok(Some(version))
}

/// Releases one share.
pub fn release(store: &Store, owner: PinOwner, number: u64) {
    let key = PinKey {
        store: store.key,
        number,
    };
    let mut pins = pins();
    let Some(pinned) = pins.generations.get_mut(&key) else {
        return;
    };
    if let Some(count) = pinned.shares.get_mut(&owner) {
        *count -= 1;
        if *count == 0 {
            pinned.shares.remove(&owner);
        }
    }
    if pinned.shares.is_empty() {
        pins.generations.remove(&key);
    }
}

/// The descriptor that holds a generation for this process. A child that inherits it holds the generation too, also if
/// this process is killed. `None` if no owner in this process has pinned the generation.
pub fn pin_descriptor(store: &Store, number: u64) -> Option<i32> {
    let key = PinKey {
        store: store.key,
        number,
    };
    let pins = pins();
    pins.generations
        .get(&key)
        .map(|pinned| fs::descriptor(pinned.lock.file()))
}

/// Converts a hold to a pin of this owner.
pub(super) fn keep(hold: Hold, store: &Store, owner: PinOwner, number: u64) -> Result<()> {
    let tree = fs::stat(&store.layout.tree(number))?;
    insert(store, owner, number, hold.lock, EntryVersion::to_remember(&tree))
}

/// Adds a share to a generation that this process already holds. Returns `false` if it does not hold it.
fn add_share(store: &Store, owner: PinOwner, paths: &GenerationPaths) -> Result<bool> {
    let mut pins = pins();
    if pins.ended_owners.contains(&owner) {
        return Err(owner_has_ended());
    }
    match pins.generations.get_mut(&PinKey {
        store: store.key,
        number: paths.number,
    }) {
        Some(pinned) if protects(pinned, paths)? => {
            *pinned.shares.entry(owner).or_default() += 1;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Whether the held lock file still protects the generation at its path. It does not if the file was removed, alone or
/// with the whole store, and created again. It also does not if the store was moved and another one is at its path. The
/// root of the new store can even have the same inode.
fn protects(pinned: &PinnedGeneration, paths: &GenerationPaths) -> Result<bool> {
    if fault::is_seeded("trust-removed-lock") {
        return Ok(true);
    }
    if fs::stat_file(pinned.lock.file(), &paths.pin)?.links == 0 {
        return Ok(false);
    }
    if fault::is_seeded("trust-replaced-root") {
        return Ok(true);
    }
    let tree = fs::stat(&paths.tree).optional()?;
    Ok(tree.is_some_and(|tree| EntryVersion::of(&tree) == pinned.tree))
}

fn insert(store: &Store, owner: PinOwner, number: u64, lock: LockedFile, tree: EntryVersion) -> Result<()> {
    let mut pins = pins();
    if pins.ended_owners.contains(&owner) {
        return Err(owner_has_ended());
    }
    let key = PinKey {
        store: store.key,
        number,
    };
    let pinned = match pins.generations.entry(key) {
        Entry::Vacant(vacant) => vacant.insert(PinnedGeneration {
            lock,
            tree,
            shares: HashMap::new(),
        }),
        Entry::Occupied(occupied) => {
            let pinned = occupied.into_mut();
            // Another thread was first. Its descriptor is kept and this one is closed.
            if !protects(pinned, &store.recent.paths(&store.layout, number))? {
                pinned.lock = lock;
                pinned.tree = tree;
            }
            pinned
        }
    };
    *pinned.shares.entry(owner).or_default() += 1;
    drop(pins);
    store.identity.note(number);
    Ok(())
}

fn owner_has_ended() -> Error {
    Error::new(Code::Closed, "This thread has ended")
}
