//! Repair during open: unfinished work of killed processes, files that power loss tore, and changes that were made
//! inside the store by other means.
//!
//! Missing or altered content makes a generation unusable. Additional entries and changed modes do not. In the boot in
//! which a store was verified, only the current generation is compared, by sizes and change times. The bytes of a file
//! are read only if it was changed after the lock file of its generation was written. In a new boot, all bytes of all
//! generations are read.
//!
//! An unusable current generation is replaced with the newest usable one. If there is none, the result depends on the
//! change times. A generation that power loss tore is removed, and the store is empty. A generation that was changed
//! after its publish stays on disk for its user, without a lock file: `pin()` refuses it, and the next publish replaces
//! it.

use std::path::Path;

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::fs::{self, Kind};
use crate::core::sys::lock_file::{Attempt, Check, LockOptions};
use crate::core::sys::trust::Surroundings;

use super::advice::unless_full;
use super::errors::corrupt;
use super::head::Head;
use super::layout::numbers_in;
use super::manifest::{Depth, Manifest};
use super::mirror::Mirror;
use super::options::Durability;
use super::ownership::may_change;
use super::pointer;
use super::store::Store;
use super::trash::remove_permitted;
use super::tree::walk_any;
use super::verify::{is_complete, is_intact, is_usable};

/// Names of files that a killed writer can have left.
const TEMPORARY: [&str; 10] = [
    "current.tmp",
    "current.json.tmp",
    "config.json.tmp",
    "fence.tmp",
    "boot.tmp",
    "bounds.json.tmp",
    "id.tmp",
    "named.tmp",
    "pin.tmp",
    "FORMAT.tmp",
];

/// Repairs the store. Requires the writer lock, and runs before any publish or collection.
pub(super) fn recover(store: &Store, cancel: &Cancel) -> Result<()> {
    for name in TEMPORARY {
        fs::remove_file(&store.layout.file(name)).optional()?;
    }
    if let Some(number) = pointer::read(&store.layout)? {
        restore_head(store, number, cancel)?;
    }
    if is_sound(store, cancel)? {
        return record_tree_time(store);
    }
    let damaged = damaged(store, cancel)?;
    if let Some(current) = pointer::read(&store.layout)?
        && damaged.contains(&current)
        && !fall_back(store, &damaged, cancel)?
    {
        if was_changed_after_publish(store, current)? {
            return withdraw_lock_file(store, current);
        }
        fs::remove_file(store.layout.pointer()).optional()?;
    }
    for number in damaged {
        remove_damaged(store, number)?;
    }
    record_boot(store)?;
    record_tree_time(store)
}

/// Whether nothing has to be repaired: this boot has verified the store, and the current generation has the content
/// that was published.
pub(super) fn is_sound(store: &Store, cancel: &Cancel) -> Result<bool> {
    if !is_of_this_boot(store)? {
        return Ok(false);
    }
    match pointer::read(&store.layout)? {
        Some(number) => is_usable(store, number, cancel),
        None => Ok(true),
    }
}

/// Whether the store was verified in this boot. A record written by an untrusted user does not count.
pub(super) fn is_of_this_boot(store: &Store) -> Result<bool> {
    let path = store.layout.file("boot");
    let seen = fs::read_capped(&path, 4096).optional()?;
    Ok(store.boot.is_some()
        && seen.as_deref() == store.boot.as_deref().map(str::as_bytes)
        && store.ownership.trusts_entry(&path)?)
}

/// Checks a store that this process cannot write to. It cannot be repaired, so a torn current generation is an error.
pub(super) fn check_unwritable(store: &Store, cancel: &Cancel) -> Result<()> {
    let Some(number) = pointer::read(&store.layout)? else {
        return Ok(());
    };
    if is_sound(store, cancel)? || is_intact(store, number, cancel)? {
        return Ok(());
    }
    Err(corrupt(
        number,
        "it does not match its manifest, and this process cannot write to the store",
    ))
}

/// Restores `pins/<current>` from the manifest if its content is the published one. The file may have been removed or
/// emptied by hand, or an earlier open may have withdrawn it from a changed generation.
fn restore_head(store: &Store, number: u64, cancel: &Cancel) -> Result<()> {
    if !needs_head(store, number)? {
        return Ok(());
    }
    let Ok(manifest) = Manifest::read(&store.layout, number) else {
        return Ok(());
    };
    let problems = manifest.compare(&store.layout.tree(number), Depth::Bytes, cancel);
    if !is_complete(problems)? {
        return Ok(());
    }
    let (files, bytes) = manifest.totals();
    let made = fs::stat(&store.layout.manifest(number))?.modified_ns / 1_000_000;
    let head = Head {
        number,
        digest: manifest.digest,
        files,
        bytes,
        published_at: u64::try_from(made).unwrap_or(0),
        started_at: 0,
        boot: None,
        durability: Durability::Process,
        fence: None,
        fingerprint: None,
        meta: None,
    };
    let text = serde_json::to_vec(&head)
        .map_err(|error| Error::new(Code::Io, format!("Cannot serialize the head: {error}")))?;
    fs::replace(
        &store.layout.pin(number),
        &store.layout.file("pin.tmp"),
        &text,
        0o644,
    )
}

fn needs_head(store: &Store, number: u64) -> Result<bool> {
    let pin = store.layout.pin(number);
    match Head::read(&store.layout, number) {
        Err(error) if error.code == Code::GenerationGone => Ok(true),
        // Keep the existing file if a reader holds it. A new file would not carry that lock.
        Err(error) if error.code == Code::GenerationCorrupt => {
            Ok(!matches!(unless_pinned(&pin)?, Attempt::Busy(_)))
        }
        _ => Ok(false),
    }
}

/// Unusable generations. In the boot in which the store was verified, only the current one is checked. In a new boot,
/// the bytes of all generations are compared with their manifests.
fn damaged(store: &Store, cancel: &Cancel) -> Result<Vec<u64>> {
    let current = pointer::read(&store.layout)?;
    if is_of_this_boot(store)? {
        return Ok(current.into_iter().collect());
    }
    let mut damaged = Vec::new();
    let mut numbers = numbers_in(&store.layout.file("gens"))?;
    numbers.extend(current.filter(|number| !numbers.contains(number)));
    for number in numbers {
        if !is_intact(store, number, cancel)? {
            damaged.push(number);
        }
    }
    Ok(damaged)
}

/// Points to the usable generation that was current most recently. Returns `false` if there is none.
fn fall_back(store: &Store, damaged: &[u64], cancel: &Cancel) -> Result<bool> {
    let history = Mirror::read(&store.layout)?.unwrap_or_default().history;
    let mut numbers = numbers_in(&store.layout.file("gens"))?;
    numbers.extend(history.iter().map(|former| former.number));
    for number in numbers.into_iter().rev() {
        if !damaged.contains(&number) && is_usable(store, number, cancel)? {
            return pointer::flip(&store.layout, number).map(|()| true);
        }
    }
    Ok(false)
}

/// Whether the content was changed after the publish, not torn by power loss. Power loss requires a new boot and
/// changes no times.
fn was_changed_after_publish(store: &Store, number: u64) -> Result<bool> {
    let tree = store.layout.tree(number);
    let Some(stat) = fs::stat(&tree)
        .optional()?
        .filter(|stat| stat.kind == Kind::Directory)
    else {
        return Ok(false);
    };
    if is_of_this_boot(store)? {
        return Ok(true);
    }
    let Some(published_ns) = fs::stat(&store.layout.pin(number))
        .optional()?
        .map(|stat| stat.changed_ns)
    else {
        // An earlier open has withdrawn the lock file.
        return Ok(Manifest::read(&store.layout, number).is_ok());
    };
    let mut latest = stat.changed_ns;
    walk_any(&tree, &mut |_, _, stat| {
        latest = latest.max(stat.changed_ns);
        Ok(())
    })?;
    Ok(latest > published_ns)
}

/// Removes the lock file of a generation that must not be served, unless a reader holds it.
fn withdraw_lock_file(store: &Store, number: u64) -> Result<()> {
    let pin = store.layout.pin(number);
    if let Attempt::Locked(_lock) = unless_pinned(&pin)? {
        fs::remove_file(&pin).optional()?;
    }
    Ok(())
}

/// Removes an unusable generation, unless a reader holds it or it belongs to an untrusted user.
fn remove_damaged(store: &Store, number: u64) -> Result<()> {
    let layout = &store.layout;
    let (pin, generation) = (layout.pin(number), layout.generation(number));
    for path in [&pin, &generation] {
        let surroundings = Surroundings::of(path.parent().unwrap_or(path))?;
        if !may_change(&surroundings, path)? {
            return Ok(());
        }
    }
    let lock = unless_pinned(&pin)?;
    if matches!(lock, Attempt::Busy(_)) {
        return Ok(());
    }
    fs::remove_file(&pin).optional()?;
    remove_permitted(&generation).map(drop)
}

fn record_boot(store: &Store) -> Result<()> {
    let path = store.layout.file("boot");
    let Some(boot) = &store.boot else {
        return Ok(());
    };
    if !store.ownership.trusts_entry(&path)? {
        return Ok(());
    }
    // Without it the next open compares again. A full disk must not stop the collection that follows.
    unless_full(fs::replace(
        &path,
        &store.layout.file("boot.tmp"),
        boot.as_bytes(),
        0o644,
    ))
}

/// Sets the time of the lock file to that of the tree if the content is the published one. `pin()` compares the two
/// times and checks the tree if they differ. They differ after a publish by an older version, a copy of the store, or
/// an added file.
fn record_tree_time(store: &Store) -> Result<()> {
    let Some(number) = pointer::read(&store.layout)? else {
        return Ok(());
    };
    let (pin, tree) = (store.layout.pin(number), store.layout.tree(number));
    let (Some(head), Some(tree)) = (fs::stat(&pin).optional()?, fs::stat(&tree).optional()?) else {
        return Ok(());
    };
    if head.modified_ns != tree.changed_ns {
        // The lock file may belong to another user. Then each pin checks the tree, which is slower but correct.
        drop(fs::set_modified(&pin, tree.changed_ns));
    }
    Ok(())
}

/// Locks the lock file of a generation, unless a reader holds it. The caller then removes the file.
fn unless_pinned(pin: &Path) -> Result<Attempt> {
    LockOptions::at(pin).check(Check::None).try_lock()
}
