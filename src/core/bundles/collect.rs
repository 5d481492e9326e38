//! Collection: removes generations that are neither kept nor pinned, and the leftovers of killed processes.

use std::path::Path;

use crate::core::error::{Optional, Result};
use crate::core::sys::fs::{self, Kind};
use crate::core::sys::lock_file::{Attempt, Check, LockOptions};
use crate::core::sys::trust::Surroundings;
use crate::core::sys::{clock, fault};

use super::advice::unless_full;
use super::bounds::Settings;
use super::layout::{Layout, name_of, numbers_in};
use super::ownership::may_change;
use super::pointer;
use super::trash::{move_stage_to_trash, move_to_trash};
use super::view;
use super::writer::Writer;

/// Result of a collection.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Collected {
    /// Generations that were removed.
    pub removed: Vec<u64>,
    /// Generations that were kept because they are current, among the `keep` latest, or within their grace time.
    pub kept: Vec<u64>,
    /// Generations that were kept only because a reader has pinned them, or because they have a name.
    pub pinned: Vec<u64>,
    /// Number of removed stages whose writers had died.
    pub swept_stages: u64,
}

impl Writer<'_> {
    /// Moves everything that is not kept to the trash. [`Store::sweep_trash`](super::Store::sweep_trash) then removes
    /// it without the lock.
    pub fn collect(&mut self) -> Result<Collected> {
        self.sweep_named()?;
        if self.has_moved_ends {
            // Otherwise these times would still be in the future for the next writer. A full disk does not stop a
            // collection, which frees space (vercel/eve#1557).
            unless_full(self.write_mirror())?;
        }
        let settings = self.store.config()?;
        let layout = &self.store.layout;
        let mut numbers = [
            numbers_in(&layout.file("gens"))?,
            numbers_in(&layout.file("pins"))?,
        ]
        .concat();
        numbers.sort_unstable();
        numbers.dedup();
        let kept_numbers = self.kept_numbers(&settings)?;
        let mut collected = Collected::default();
        for number in numbers {
            if kept_numbers.contains(&number) {
                collected.kept.push(number);
                continue;
            }
            if self.has_name(number) {
                collected.pinned.push(number);
                continue;
            }
            match self.remove_generation(number)? {
                Removal::Removed => collected.removed.push(number),
                Removal::Pinned => collected.pinned.push(number),
                Removal::NotPermitted => {}
            }
        }
        self.enforce_bounds(&settings, &mut collected)?;
        view::sweep(layout, &collected.kept)?;
        collected.swept_stages = sweep_stages(layout)?;
        Ok(collected)
    }

    /// The current generation, the `keep` generations that were current most recently, and those within their grace
    /// time.
    fn kept_numbers(&self, config: &Settings) -> Result<Vec<u64>> {
        let keep = usize::try_from(config.keep).unwrap_or(usize::MAX);
        let now = self.store.now();
        let history = &self.mirror.history;
        let mut kept = Vec::new();
        for former in history.iter().rev() {
            if kept.len() < keep
                && fs::stat(&self.store.layout.pin(former.number))
                    .optional()?
                    .is_some()
            {
                kept.push(former.number);
            }
        }
        let graced = history
            .iter()
            .filter(|former| former.age(&now) < config.grace_ms)
            .map(|former| former.number);
        Ok(kept.into_iter().chain(graced).chain(self.current).collect())
    }

    fn has_name(&self, number: u64) -> bool {
        self.named.iter().any(|pin| pin.number == number)
    }

    /// Removes generations that `keep` and `graceMs` keep and the bounds do not, the one that was current longest ago
    /// first.
    fn enforce_bounds(&self, settings: &Settings, collected: &mut Collected) -> Result<()> {
        if settings.max_bytes.is_none() && settings.max_age_ms.is_none() {
            return Ok(());
        }
        let bytes_of = |number: &u64| self.store.head(*number).map_or(0, |head| head.bytes);
        let mut bytes: u64 = collected.kept.iter().chain(&collected.pinned).map(bytes_of).sum();
        let now = self.store.now();
        for former in &self.mirror.history {
            let number = former.number;
            let is_too_old = settings.max_age_ms.is_some_and(|bound| former.age(&now) > bound);
            let is_too_much = settings.max_bytes.is_some_and(|bound| bytes > bound);
            let is_candidate = collected.kept.contains(&number) && self.current != Some(number);
            if !is_candidate || !(is_too_old || is_too_much) {
                continue;
            }
            let of_it = bytes_of(&number);
            let removal = if self.has_name(number) {
                Removal::Pinned
            } else {
                self.remove_generation(number)?
            };
            collected.kept.retain(|kept| *kept != number);
            match removal {
                Removal::Pinned => insert_sorted(&mut collected.pinned, number),
                Removal::Removed => {
                    insert_sorted(&mut collected.removed, number);
                    bytes = bytes.saturating_sub(of_it);
                }
                Removal::NotPermitted => {}
            }
        }
        let excess = settings.max_bytes.filter(|bound| bytes > *bound);
        self.store.note_excess(excess.map(|bound| (bytes, bound)));
        Ok(())
    }

    /// Moves one generation to the trash.
    fn remove_generation(&self, number: u64) -> Result<Removal> {
        let layout = &self.store.layout;
        let path = layout.pin(number);
        if !(may_change_below(&layout.file("pins"), &path)?
            && may_change_below(&layout.file("gens"), &layout.generation(number))?)
        {
            return Ok(Removal::NotPermitted);
        }
        if is_other_than_a_file(&path)? {
            // No lock file, so no reader can hold it.
            move_to_trash(
                &path,
                &layout.trash(&format!("pin-{}", clock::monotonic_micros())),
            )?;
        }
        let lock = LockOptions::at(&path).check(Check::None).try_lock()?;
        if matches!(lock, Attempt::Busy(_)) && !fault::is_seeded("collect-without-lock") {
            return Ok(Removal::Pinned);
        }
        // No correct process moves the pointer without the writer lock. This check costs little compared with a lost
        // generation.
        if pointer::read(layout)? == Some(number) {
            return Ok(Removal::Pinned);
        }
        if fault::is_seeded("rename-before-unlink") {
            let removal = move_generation_to_trash(layout, number)?;
            fs::remove_file(&path).optional()?;
            return Ok(removal);
        }
        // The lock file is removed first: a generation without one is invisible, but a half-removed one would not be.
        fs::remove_file(&path).optional()?;
        move_generation_to_trash(layout, number)
    }
}

fn insert_sorted(numbers: &mut Vec<u64>, number: u64) {
    numbers.insert(numbers.partition_point(|other| *other < number), number);
}

/// Whether this process may remove or rename an entry of one of the store's directories.
fn may_change_below(directory: &Path, path: &Path) -> Result<bool> {
    may_change(&Surroundings::of(directory)?, path)
}

/// Result of removing a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removal {
    Removed,
    /// A reader has it pinned.
    Pinned,
    /// It is no longer visible but belongs to another user. Only that user or root can remove it.
    NotPermitted,
}

fn is_other_than_a_file(path: &Path) -> Result<bool> {
    Ok(fs::stat(path)
        .optional()?
        .is_some_and(|stat| stat.kind != Kind::File))
}

fn move_generation_to_trash(layout: &Layout, number: u64) -> Result<Removal> {
    let trash = layout.trash(&format!("{}-{}", name_of(number), clock::monotonic_micros()));
    let is_moved = move_to_trash(&layout.generation(number), &trash)?;
    Ok(if is_moved {
        Removal::Removed
    } else {
        Removal::NotPermitted
    })
}

/// Moves stages to the trash that have no owner file, or whose owner file is not locked.
fn sweep_stages(layout: &Layout) -> Result<u64> {
    let mut swept = 0;
    let [stages_in, owners_in] = ["stage", "owners"].map(|name| layout.file(name));
    let (of_stages, of_owners) = (Surroundings::of(&stages_in)?, Surroundings::of(&owners_in)?);
    let stages = fs::read_directory(&stages_in)?;
    for owner in fs::read_directory(&owners_in)? {
        let path = owners_in.join(&owner.name);
        if !may_change(&of_owners, &path)? || !may_change(&of_stages, &stages_in.join(&owner.name))? {
            continue;
        }
        if is_other_than_a_file(&path)? {
            // No owner file, so no writer can hold it.
            move_to_trash(
                &path,
                &layout.trash(&format!("owner-{}", clock::monotonic_micros())),
            )?;
            continue;
        }
        if let Attempt::Locked(_lock) = LockOptions::at(&path).check(Check::None).try_lock()? {
            swept += u64::from(move_stage_to_trash(layout, &owner.name)?);
            fs::remove_file(&path).optional()?;
        }
    }
    for stage in stages {
        let has_owner = fs::stat(&owners_in.join(&stage.name)).optional()?.is_some();
        if !has_owner && may_change(&of_stages, &stages_in.join(&stage.name))? {
            swept += u64::from(move_stage_to_trash(layout, &stage.name)?);
        }
    }
    Ok(swept)
}
