//! Pins: a reader's hold on a generation, a shared kernel lock on `pins/N` that dies with the process.
//!
//! One table per process keyed by the store's inode and the generation, with a count per owner (an N-API
//! environment), so that a further pin of a held generation needs no lock call, and so that the end of one
//! thread lets go of that thread's share only.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};
use std::fs::File;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::{fault, flock, fs};

use super::head::{corrupt, gone, nothing_published};
use super::lock::open_existing;
use super::pointer;
use super::store::Store;

/// Who holds a share: an environment of Node, or 0 for plain Rust.
pub type Owner = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    /// Device and inode of the store's root: two handles on one store share their pins.
    store: (u64, u64),
    number: u64,
}

#[derive(Debug)]
struct Held {
    /// Under the shared lock; closing it lets go.
    file: File,
    shares: HashMap<Owner, usize>,
}

#[derive(Debug, Default)]
struct Table {
    held: HashMap<Key, Held>,
    living: HashSet<Owner>,
    /// Owners that ended: a publish that ends after its thread must not leave a share that nobody drops.
    ended: HashSet<Owner>,
}

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);

fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An owner starts. `true` the first time: then whoever made it has to call [`owner_ends`].
pub fn owner_starts(owner: Owner) -> bool {
    let mut table = table();
    table.ended.remove(&owner);
    table.living.insert(owner)
}

/// An owner ended: all its shares go.
pub fn owner_ends(owner: Owner) {
    let mut table = table();
    table.ended.insert(owner);
    table.living.remove(&owner);
    table.held.retain(|_, held| {
        held.shares.remove(&owner);
        !held.shares.is_empty()
    });
}

/// Pins the generation that is current now. Never waits, and starts again only while the pointer changes.
pub fn pin_current(store: &Store, owner: Owner) -> Result<u64> {
    let mut seen = None;
    loop {
        let Some(number) = current(store)? else {
            return Err(nothing_published(&store.layout));
        };
        if share(store, owner, number)? {
            return Ok(number);
        }
        match lock_shared(store, number)? {
            Locked::Held(file) => {
                // Between readlink and flock the generation can have been collected, or be no longer current:
                // then nothing proves that it will stay complete.
                if fault::mutant("no-recheck") || pointer::read(&store.layout)? == Some(number) {
                    insert(store, owner, number, file)?;
                    return Ok(number);
                }
            }
            Locked::Missing if seen == Some(number) => {
                return Err(corrupt(number, "its lock file is missing").at(&store.layout.pin(number)));
            }
            Locked::Busy if seen == Some(number) => {
                return Err(corrupt(
                    number,
                    "its lock file is locked by a process that is not a reader",
                )
                .at(&store.layout.pin(number)));
            }
            Locked::Missing | Locked::Busy => {}
        }
        seen = Some(number);
    }
}

/// What the pointer says, and not what this process holds already: that may have been overtaken.
fn current(store: &Store) -> Result<Option<u64>> {
    if fault::mutant("held-before-pointer")
        && let Some(key) = table().held.keys().find(|key| key.store == store.key)
    {
        return Ok(Some(key.number));
    }
    pointer::read(&store.layout)
}

/// Pins a generation by its number; `ERR_GENERATION_GONE` once it was collected.
pub fn pin_number(store: &Store, owner: Owner, number: u64) -> Result<()> {
    if share(store, owner, number)? {
        return Ok(());
    }
    match lock_shared(store, number)? {
        // A lock file without its generation is a publish in progress.
        Locked::Held(file) if fs::stat(&store.layout.tree(number)).optional()?.is_some() => {
            insert(store, owner, number, file)
        }
        _ => Err(gone(number)),
    }
}

/// Gives one share back.
pub fn release(store: &Store, owner: Owner, number: u64) {
    let key = Key {
        store: store.key,
        number,
    };
    let mut table = table();
    let Some(held) = table.held.get_mut(&key) else {
        return;
    };
    if let Some(count) = held.shares.get_mut(&owner) {
        *count -= 1;
        if *count == 0 {
            held.shares.remove(&owner);
        }
    }
    if held.shares.is_empty() {
        table.held.remove(&key);
    }
}

/// A hold for the length of a Rust scope.
#[derive(Debug)]
pub(super) struct Hold {
    file: File,
}

impl Hold {
    /// Becomes a pin of this owner.
    pub(super) fn keep(self, store: &Store, owner: Owner, number: u64) -> Result<()> {
        insert(store, owner, number, self.file)
    }

    /// Holds whatever is current; `None` where nothing is. Starts again only while the pointer changes.
    pub(super) fn current(store: &Store) -> Result<Option<(u64, Self)>> {
        let mut failed_before = None;
        while let Some(number) = pointer::read(&store.layout)? {
            match Self::take(store, number) {
                Ok(hold) => return Ok(Some((number, hold))),
                Err(error) if failed_before == Some(number) => return Err(error),
                Err(_) => failed_before = Some(number),
            }
        }
        Ok(None)
    }

    /// Holds a generation that may or may not be current.
    pub(super) fn take(store: &Store, number: u64) -> Result<Self> {
        match lock_shared(store, number)? {
            Locked::Held(file) => Ok(Self { file }),
            Locked::Missing | Locked::Busy => Err(gone(number)),
        }
    }
}

/// Adds a share to a generation that this process holds already. `false` if it does not.
fn share(store: &Store, owner: Owner, number: u64) -> Result<bool> {
    let mut table = table();
    if table.ended.contains(&owner) {
        return Err(ended());
    }
    match table.held.get_mut(&Key {
        store: store.key,
        number,
    }) {
        Some(held) if protects(held, store, number)? => {
            *held.shares.entry(owner).or_default() += 1;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Whether collectors look at the file that is held. Not after somebody removed it, alone or with the whole store,
/// and a new one has its name: the new store's root can even have the same inode.
fn protects(held: &Held, store: &Store, number: u64) -> Result<bool> {
    if fault::mutant("trust-removed-lock") {
        return Ok(true);
    }
    Ok(fs::stat_file(&held.file, &store.layout.pin(number))?.links > 0)
}

fn insert(store: &Store, owner: Owner, number: u64, file: File) -> Result<()> {
    let mut table = table();
    if table.ended.contains(&owner) {
        return Err(ended());
    }
    let key = Key {
        store: store.key,
        number,
    };
    let held = match table.held.entry(key) {
        Entry::Vacant(vacant) => vacant.insert(Held {
            file,
            shares: HashMap::new(),
        }),
        Entry::Occupied(occupied) => {
            let held = occupied.into_mut();
            // Another thread came first: its descriptor stays and this one closes.
            if !protects(held, store, number)? {
                held.file = file;
            }
            held
        }
    };
    *held.shares.entry(owner).or_default() += 1;
    Ok(())
}

fn ended() -> Error {
    Error::new(Code::Closed, "this thread has ended")
}

enum Locked {
    Held(File),
    /// The collector has it.
    Busy,
    /// Collected, or never there.
    Missing,
}

fn lock_shared(store: &Store, number: u64) -> Result<Locked> {
    let path = store.layout.pin(number);
    let Some(file) = open_existing(&path)? else {
        return Ok(Locked::Missing);
    };
    if fault::mutant("no-reader-lock") {
        return Ok(Locked::Held(file));
    }
    if !flock::try_shared(&file, &path)? {
        return Ok(Locked::Busy);
    }
    // The collector unlinks under its lock: a lock on an unlinked file holds nothing.
    if fs::stat_file(&file, &path)?.links == 0 && !fault::mutant("no-recheck") {
        return Ok(Locked::Missing);
    }
    Ok(Locked::Held(file))
}
