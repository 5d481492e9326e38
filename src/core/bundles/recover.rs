//! What an open repairs: what killed processes left half done, and what power loss tore.

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::flock;
use crate::core::sys::fs::{self, Kind};

use super::collect::remove_ours;
use super::head::{Head, corrupt};
use super::lock::open_existing;
use super::manifest::Manifest;
use super::pointer::{self, Mirror};
use super::store::{Durability, Store, numbers_in};

/// Names under which a killed writer can have left a file.
const TEMPORARY: [&str; 7] = [
    "current.tmp",
    "current.json.tmp",
    "config.json.tmp",
    "fence.tmp",
    "boot.tmp",
    "pin.tmp",
    "FORMAT.tmp",
];

/// Under the writer lock, before anything is published or collected.
pub(super) fn recover(store: &Store, cancel: &Cancel) -> Result<()> {
    for name in TEMPORARY {
        fs::remove_file(&store.layout.file(name)).optional()?;
    }
    if let Some(number) = pointer::read(&store.layout)? {
        heal_head(store, number)?;
    }
    if is_sound(store)? {
        return Ok(());
    }
    let damaged = damaged(store, cancel)?;
    if let Some(current) = pointer::read(&store.layout)?
        && damaged.contains(&current)
    {
        fall_back(store, &damaged)?;
    }
    for number in damaged {
        let pin = store.layout.pin(number);
        let held = open_existing(&pin)?;
        if let Some(file) = &held
            && !flock::try_exclusive(file, &pin)?
        {
            continue;
        }
        fs::remove_file(&pin).optional()?;
        remove_ours(&store.layout.generation(number))?;
    }
    remember_boot(store)
}

/// Whether nothing has to be verified: this boot has looked, and the current generation is there.
pub(super) fn is_sound(store: &Store) -> Result<bool> {
    let seen = fs::read_capped(&store.layout.file("boot"), 4096).optional()?;
    let looked = store.boot.is_some() && seen.as_deref() == store.boot.as_deref().map(str::as_bytes);
    let Some(number) = pointer::read(&store.layout)? else {
        return Ok(looked);
    };
    let tree = fs::stat(&store.layout.tree(number)).optional()?;
    Ok(looked
        && tree.is_some_and(|stat| stat.kind == Kind::Directory)
        && Head::read(&store.layout, number).is_ok())
}

/// A store that this process cannot write to: it cannot be repaired, and a torn generation is refused.
pub(super) fn check_unwritable(store: &Store, cancel: &Cancel) -> Result<()> {
    let Some(number) = pointer::read(&store.layout)? else {
        return Ok(());
    };
    if is_sound(store)? || verifies(store, number, cancel)? {
        return Ok(());
    }
    Err(corrupt(
        number,
        "it does not verify after a reboot, and this process cannot write to the store",
    ))
}

/// The highest fence among these generations.
pub(super) fn highest_fence(store: &Store, numbers: &[u64]) -> u64 {
    numbers
        .iter()
        .filter_map(|number| store.head(*number).ok()?.fence)
        .max()
        .unwrap_or(0)
}

/// Somebody removed `pins/<current>`: its head is made again from the manifest.
fn heal_head(store: &Store, number: u64) -> Result<()> {
    if fs::stat(&store.layout.pin(number)).optional()?.is_some() {
        return Ok(());
    }
    let Ok(manifest) = Manifest::read(&store.layout, number) else {
        return Ok(());
    };
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
        .map_err(|error| Error::new(Code::Io, format!("serialize the head: {error}")))?;
    fs::replace(
        &store.layout.pin(number),
        &store.layout.file("pin.tmp"),
        &text,
        0o644,
    )
}

/// The generations whose bytes are not those of their manifest.
fn damaged(store: &Store, cancel: &Cancel) -> Result<Vec<u64>> {
    let mut damaged = Vec::new();
    let current = pointer::read(&store.layout)?;
    let mut numbers = numbers_in(&store.layout.file("gens"))?;
    numbers.extend(current.filter(|number| !numbers.contains(number)));
    for number in numbers {
        if !verifies(store, number, cancel)? {
            damaged.push(number);
        }
    }
    Ok(damaged)
}

fn verifies(store: &Store, number: u64, cancel: &Cancel) -> Result<bool> {
    match store.compare(number, cancel) {
        Ok(problems) => Ok(problems.is_empty()),
        Err(error)
            if matches!(error.code, Code::GenerationCorrupt | Code::GenerationGone)
                || error.is_not_found() =>
        {
            Ok(false)
        }
        // A disk that answers with an error says nothing about the generation.
        Err(error) => Err(error),
    }
}

/// Points to the generation that was current most recently and verifies, or to nothing.
fn fall_back(store: &Store, damaged: &[u64]) -> Result<()> {
    let history = Mirror::read(&store.layout)?.unwrap_or_default().history;
    let mut numbers = numbers_in(&store.layout.file("gens"))?;
    numbers.extend(history.iter().map(|former| former.number));
    match numbers
        .into_iter()
        .rev()
        .find(|number| !damaged.contains(number) && fs::stat(&store.layout.tree(*number)).is_ok())
    {
        Some(number) => pointer::flip(&store.layout, number),
        None => fs::remove_file(&store.layout.pointer()).optional().map(drop),
    }
}

fn remember_boot(store: &Store) -> Result<()> {
    let Some(boot) = &store.boot else {
        return Ok(());
    };
    fs::replace(
        &store.layout.file("boot"),
        &store.layout.file("boot.tmp"),
        boot.as_bytes(),
        0o644,
    )
}
