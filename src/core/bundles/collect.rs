//! Collecting: what nobody holds, keeps or waits for goes, and so does what killed processes left.

use std::ffi::OsStr;

use crate::core::error::{Code, Optional, Result};
use crate::core::sys::fs;
use crate::core::sys::{clock, fault, flock, identity};

use super::layout::{Layout, name_of};
use super::lock::open_existing;
use super::pointer;
use super::store::{Store, numbers_in};
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

/// Which entries of the trash go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trash {
    /// All: only when a store is opened.
    All,
    /// Not the directories that a link replaced: processes may still work in them.
    Generations,
}

/// Begins the names of directories in the trash that a link replaced.
pub(super) const ADOPTED: &str = "adopted-";

impl Writer<'_> {
    /// Takes everything out of sight that has to go; [`Store::empty_trash`] then removes it without the lock.
    pub fn collect(&mut self) -> Result<Collected> {
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
            } else if self.remove(number)? {
                collected.removed.push(number);
            } else {
                collected.pinned.push(number);
            }
        }
        collected.swept_stages = sweep_stages(layout)?;
        Ok(collected)
    }

    /// The current generation, the `keep` that were current most recently, and those in their grace.
    fn staying(&self) -> Result<Vec<u64>> {
        let config = self.store.config()?;
        let keep = usize::try_from(config.keep).unwrap_or(usize::MAX);
        let now = clock::wall_millis();
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
            .filter(|former| former.until.saturating_add(config.grace_ms) > now)
            .map(|former| former.number);
        Ok(kept.into_iter().chain(graced).chain(self.current).collect())
    }

    /// Takes one generation out of sight. `false` if a reader holds it.
    fn remove(&self, number: u64) -> Result<bool> {
        let layout = &self.store.layout;
        let path = layout.pin(number);
        let lock = open_existing(&path)?;
        if let Some(file) = &lock
            && !fault::mutant("collect-without-lock")
            && !flock::try_exclusive(file, &path)?
        {
            return Ok(false);
        }
        // Nobody moves the pointer without the writer lock; a look costs less than a generation lost to somebody who does.
        if pointer::read(layout)? == Some(number) {
            return Ok(false);
        }
        if fault::mutant("rename-before-unlink") {
            throw_away(layout, number)?;
            fs::remove_file(&path).optional()?;
            return Ok(true);
        }
        // The lock file first: a generation without one is invisible, one that is half gone is not.
        fs::remove_file(&path).optional()?;
        throw_away(layout, number)?;
        Ok(true)
    }
}

/// Renames a generation into the trash, or removes it in place where it cannot be renamed: a directory of a
/// lower layer of overlayfs answers EXDEV.
fn throw_away(layout: &Layout, number: u64) -> Result<()> {
    let generation = layout.generation(number);
    let trash = layout.trash(&format!("{}-{}", name_of(number), identity::monotonic_micros()));
    match fs::rename(&generation, &trash).optional() {
        Err(error) if error.kind() == Some(std::io::ErrorKind::CrossesDevices) => {
            fs::remove_tree(&generation)
        }
        // A mode of a foreign writer can forbid it.
        Err(error) if error.kind() == Some(std::io::ErrorKind::PermissionDenied) => {
            fs::remove_tree(&generation)
        }
        renamed => renamed.map(drop),
    }
}

/// Stages whose owner's lock can be had, and stages without an owner.
fn sweep_stages(layout: &Layout) -> Result<u64> {
    let mut swept = 0;
    let stages = fs::read_directory(&layout.file("stage"))?;
    for owner in fs::read_directory(&layout.file("owners"))? {
        let path = layout.file("owners").join(&owner.name);
        let Some(file) = open_existing(&path)? else {
            continue;
        };
        if flock::try_exclusive(&file, &path)? {
            swept += u64::from(throw_stage_away(layout, &owner.name)?);
            fs::remove_file(&path).optional()?;
        }
    }
    for stage in stages {
        if fs::stat(&layout.file("owners").join(&stage.name))
            .optional()?
            .is_none()
        {
            swept += u64::from(throw_stage_away(layout, &stage.name)?);
        }
    }
    Ok(swept)
}

fn throw_stage_away(layout: &Layout, id: &OsStr) -> Result<bool> {
    let trash = layout.trash(&format!("stage-{}", id.to_string_lossy()));
    fs::rename(&layout.file("stage").join(id), &trash)
        .optional()
        .map(|found| found.is_some())
}

impl Store {
    /// Removes what collections took out of sight. Needs no lock: nothing here has a name that is used again.
    pub fn sweep_trash(&self) -> Result<()> {
        self.empty_trash(Trash::Generations)
    }

    pub(super) fn empty_trash(&self, which: Trash) -> Result<()> {
        let directory = self.layout.file("trash");
        for entry in fs::read_directory(&directory)? {
            if which == Trash::Generations && entry.name.to_string_lossy().starts_with(ADOPTED) {
                continue;
            }
            match fs::remove_tree(&directory.join(&entry.name)) {
                // Two processes empty it at once, and one of them finds a directory not empty yet.
                Err(error)
                    if error.code == Code::Io
                        && error.kind() == Some(std::io::ErrorKind::DirectoryNotEmpty) => {}
                removed => removed?,
            }
        }
        Ok(())
    }
}
