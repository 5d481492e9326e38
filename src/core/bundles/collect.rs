//! Collecting: what nobody holds, keeps or waits for goes, and so does what killed processes left.

use std::path::Path;

use crate::core::error::{Optional, Result};
use crate::core::sys::fs::{self, Kind};
use crate::core::sys::trust::Surroundings;
use crate::core::sys::{fault, flock, identity};

use super::file_lock::open_existing;
use super::layout::{Layout, name_of, numbers_in};
use super::ownership::may_change;
use super::pointer;
use super::trash::{throw_away, throw_stage_away};
use super::view;
use super::writer::Writer;

/// What a collection did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Collected {
    /// Generations that went.
    pub removed: Vec<u64>,
    /// Generations that stay because they are current, among the `keep` latest, or in their grace.
    pub kept: Vec<u64>,
    /// Generations that stay only because a reader holds them.
    pub pinned: Vec<u64>,
    /// Stages whose writer has died.
    pub swept_stages: u64,
}

impl Writer<'_> {
    /// Takes everything out of sight that has to go; [`Store::sweep_trash`](super::Store::sweep_trash) then removes it without the lock.
    pub fn collect(&mut self) -> Result<Collected> {
        if self.has_moved_ends {
            // Else they would be in the future for the next writer too.
            self.write_mirror()?;
        }
        let layout = &self.store.layout;
        let mut numbers = [
            numbers_in(&layout.file("gens"))?,
            numbers_in(&layout.file("pins"))?,
        ]
        .concat();
        numbers.sort_unstable();
        numbers.dedup();
        let staying = self.staying()?;
        let mut collected = Collected::default();
        for number in numbers {
            if staying.contains(&number) {
                collected.kept.push(number);
                continue;
            }
            match self.remove(number)? {
                Fate::Removed => collected.removed.push(number),
                Fate::Pinned => collected.pinned.push(number),
                Fate::Left => {}
            }
        }
        view::sweep(layout, &staying)?;
        collected.swept_stages = sweep_stages(layout)?;
        Ok(collected)
    }

    /// The current generation, the `keep` that were current most recently, and those in their grace.
    fn staying(&self) -> Result<Vec<u64>> {
        let config = self.store.config()?;
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

    /// Takes one generation out of sight.
    fn remove(&self, number: u64) -> Result<Fate> {
        let layout = &self.store.layout;
        let path = layout.pin(number);
        if !(may_change_below(&layout.file("pins"), &path)?
            && may_change_below(&layout.file("gens"), &layout.generation(number))?)
        {
            return Ok(Fate::Left);
        }
        if is_other_than_a_file(&path)? {
            // Nobody can hold it.
            throw_away(
                &path,
                &layout.trash(&format!("pin-{}", identity::monotonic_micros())),
            )?;
        }
        let lock = open_existing(&path)?;
        if let Some(file) = &lock
            && !fault::mutant("collect-without-lock")
            && !flock::try_exclusive(file, &path)?
        {
            return Ok(Fate::Pinned);
        }
        // Nobody moves the pointer without the writer lock; a look costs less than a generation lost to somebody who does.
        if pointer::read(layout)? == Some(number) {
            return Ok(Fate::Pinned);
        }
        if fault::mutant("rename-before-unlink") {
            let fate = throw_generation_away(layout, number)?;
            fs::remove_file(&path).optional()?;
            return Ok(fate);
        }
        // The lock file first: a generation without one is invisible, one that is half gone is not.
        fs::remove_file(&path).optional()?;
        throw_generation_away(layout, number)
    }
}

/// Whether an entry of one of the store's directories may be removed or renamed.
fn may_change_below(directory: &Path, path: &Path) -> Result<bool> {
    may_change(&Surroundings::of(directory)?, path)
}

/// What became of a generation that nobody keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Removed,
    /// A reader holds it.
    Pinned,
    /// Out of sight, and another user's: for that user, or root, to remove.
    Left,
}

fn is_other_than_a_file(path: &Path) -> Result<bool> {
    Ok(fs::stat(path)
        .optional()?
        .is_some_and(|stat| stat.kind != Kind::File))
}

fn throw_generation_away(layout: &Layout, number: u64) -> Result<Fate> {
    let trash = layout.trash(&format!("{}-{}", name_of(number), identity::monotonic_micros()));
    let is_gone = throw_away(&layout.generation(number), &trash)?;
    Ok(if is_gone { Fate::Removed } else { Fate::Left })
}

/// Stages whose owner's lock can be had, and stages without an owner.
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
            // Nobody can hold it.
            throw_away(
                &path,
                &layout.trash(&format!("owner-{}", identity::monotonic_micros())),
            )?;
            continue;
        }
        let Some(file) = open_existing(&path)? else {
            continue;
        };
        if flock::try_exclusive(&file, &path)? {
            swept += u64::from(throw_stage_away(layout, &owner.name)?);
            fs::remove_file(&path).optional()?;
        }
    }
    for stage in stages {
        let has_owner = fs::stat(&owners_in.join(&stage.name)).optional()?.is_some();
        if !has_owner && may_change(&of_stages, &stages_in.join(&stage.name))? {
            swept += u64::from(throw_stage_away(layout, &stage.name)?);
        }
    }
    Ok(swept)
}
