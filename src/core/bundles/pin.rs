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
use crate::core::sys::cancel::Cancel;
use crate::core::sys::fault;
use crate::core::sys::fs::{self, Stat};

use super::errors::{corrupt, gone, nothing_published};
use super::hold::{Hold, Locked, lock_shared};
use super::pointer;
use super::presence::{self, Facts};
use super::recent::Place;
use super::store::Store;
use super::verify::is_usable;

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
    /// The generation's tree as it was when it was last compared.
    tree: Facts,
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
    pin_what_is_current(store, owner).map_err(|error| store.explain(error))
}

fn pin_what_is_current(store: &Store, owner: Owner) -> Result<u64> {
    let mut seen = None;
    loop {
        let Some(number) = current(store)? else {
            return Err(nothing_published(&store.layout));
        };
        let place = store.recent.place(&store.layout, number);
        if share(store, owner, &place)? {
            return Ok(number);
        }
        match lock_shared(&place.pin)? {
            Locked::Held(file, stat) => {
                // Between readlink and flock the generation can have been collected, or be no longer current:
                // then nothing proves that it will stay complete.
                if fault::mutant("no-recheck") || pointer::read(&store.layout)? == Some(number) {
                    let Some(tree) = compared(store, &place, &stat)? else {
                        return Err(corrupt(number, "its tree is missing").at(&place.tree));
                    };
                    insert(store, owner, number, file, tree)?;
                    return Ok(number);
                }
            }
            Locked::Missing if seen == Some(number) => {
                return Err(corrupt(number, "its lock file is missing").at(&place.pin));
            }
            Locked::Busy if seen == Some(number) => {
                return Err(corrupt(
                    number,
                    "its lock file is locked by a process that is not a reader",
                )
                .at(&place.pin));
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
    pin_what_is(store, owner, number).map_err(|error| store.explain(error))
}

fn pin_what_is(store: &Store, owner: Owner, number: u64) -> Result<()> {
    let place = store.recent.place(&store.layout, number);
    if share(store, owner, &place)? {
        return Ok(());
    }
    let Locked::Held(file, stat) = lock_shared(&place.pin)? else {
        return Err(gone(number));
    };
    match compared(store, &place, &stat)? {
        Some(tree) => insert(store, owner, number, file, tree),
        // A lock file without its generation is a publish in progress.
        None => Err(gone(number)),
    }
}

/// The tree of a generation; `None` where it is missing. What one stat shows decides: the lock file has the tree's time
/// of change as its own. Where they differ, something was added to, removed from or renamed in the tree's top directory,
/// and a look at all entries decides whether content is missing or altered. `pin` is the lock file.
fn compared(store: &Store, place: &Place, pin: &Stat) -> Result<Option<Facts>> {
    let Some(tree) = presence::directory(&place.tree)? else {
        return Ok(fault::mutant("no-recheck").then(|| Facts::of(pin)));
    };
    let facts = Facts::of(&tree);
    let mut compared = place.compared.lock().unwrap_or_else(PoisonError::into_inner);
    if *compared == Some(facts) {
        return Ok(Some(facts));
    }
    store.check_present()?;
    let number = place.number;
    if tree.changed_ns != pin.modified_ns && !is_usable(store, number, &Cancel::new())? {
        return Err(
            corrupt(number, "files in it were removed or altered; verify() lists them").at(&place.tree),
        );
    }
    let facts = Facts::to_remember(&tree);
    *compared = Some(facts);
    Ok(Some(facts))
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

/// Makes a hold a pin of this owner.
pub(super) fn keep(hold: Hold, store: &Store, owner: Owner, number: u64) -> Result<()> {
    let tree = fs::stat(&store.layout.tree(number))?;
    insert(store, owner, number, hold.file, Facts::to_remember(&tree))
}

/// Adds a share to a generation that this process holds already. `false` if it does not.
fn share(store: &Store, owner: Owner, place: &Place) -> Result<bool> {
    let mut table = table();
    if table.ended.contains(&owner) {
        return Err(ended());
    }
    match table.held.get_mut(&Key {
        store: store.key,
        number: place.number,
    }) {
        Some(held) if protects(held, place)? => {
            *held.shares.entry(owner).or_default() += 1;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// Whether the file that is held still keeps what is at the path. Not after somebody removed it, alone or with the whole
/// store, and a new one has its name; not after the store was moved and another one took its place. The new store's
/// root can even have the same inode.
fn protects(held: &Held, place: &Place) -> Result<bool> {
    if fault::mutant("trust-removed-lock") {
        return Ok(true);
    }
    if fs::stat_file(&held.file, &place.pin)?.links == 0 {
        return Ok(false);
    }
    if fault::mutant("trust-replaced-root") {
        return Ok(true);
    }
    let tree = fs::stat(&place.tree).optional()?;
    Ok(tree.is_some_and(|tree| Facts::of(&tree) == held.tree))
}

fn insert(store: &Store, owner: Owner, number: u64, file: File, tree: Facts) -> Result<()> {
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
            tree,
            shares: HashMap::new(),
        }),
        Entry::Occupied(occupied) => {
            let held = occupied.into_mut();
            // Another thread came first: its descriptor stays and this one closes.
            if !protects(held, &store.recent.place(&store.layout, number))? {
                held.file = file;
                held.tree = tree;
            }
            held
        }
    };
    *held.shares.entry(owner).or_default() += 1;
    drop(table);
    store.identity.note(number);
    Ok(())
}

fn ended() -> Error {
    Error::new(Code::Closed, "this thread has ended")
}
