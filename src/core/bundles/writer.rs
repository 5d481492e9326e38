//! Work under `writer.lock`: rollbacks, fences, and what publishing and collecting have in common.

use std::path::Path;

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::{durability, fault, fs};

use super::advice::unless_full;
use super::errors::generation_gone;
use super::file_lock::FileLock;
use super::head::Head;
use super::hold::Hold;
use super::layout::{MAX_NUMBER, numbers_in};
use super::link;
use super::mirror::{FormerGeneration, Mirror};
use super::named::{self, NamedPin};
use super::options::Durability;
use super::pointer;
use super::store::Store;
use super::view::{self, View};

/// Holder of the writer lock.
#[derive(Debug)]
pub struct Writer<'store> {
    pub(super) store: &'store Store,
    _lock: FileLock,
    pub(super) current: Option<u64>,
    pub(super) mirror: Mirror,
    /// The named pins that have not ended.
    pub(super) named: Vec<NamedPin>,
    /// Whether a time in the history was in the future and is not rewritten yet.
    pub(super) has_moved_ends: bool,
}

impl<'store> Writer<'store> {
    /// Begins to write. First finishes what a killed writer began: a moved pointer without its mirror.
    pub fn new(store: &'store Store, lock: FileLock) -> Result<Self> {
        store.check_writable()?;
        let current = pointer::read(&store.layout)?;
        let mut mirror = match Mirror::read(&store.layout)? {
            Some(mirror) => mirror,
            None => rebuilt_mirror(store, current)?,
        };
        let named = named::live(&store.layout)?;
        let has_moved_ends = mirror.rebase(&store.now(), &named);
        let mut writer = Self {
            store,
            _lock: lock,
            current,
            mirror,
            named,
            has_moved_ends,
        };
        if writer.mirror.number != current {
            // On a full disk the writer that follows does it again. This one may be a collection, which frees space.
            unless_full(writer.finish_interrupted())?;
        }
        Ok(writer)
    }

    fn finish_interrupted(&mut self) -> Result<()> {
        let head = self.current.and_then(|number| self.store.head(number).ok());
        self.mirror.fence = self
            .mirror
            .fence
            .max(head.as_ref().and_then(|head| head.fence).unwrap_or(0));
        self.mirror.advance(
            self.current,
            head.map(|head| head.digest).unwrap_or_default(),
            &self.store.now(),
        );
        self.write_mirror()
    }

    pub(super) fn write_mirror(&mut self) -> Result<()> {
        self.mirror.extend_named(&self.named);
        self.mirror.prepare(&self.store.layout)?;
        Mirror::commit(&self.store.layout)?;
        self.has_moved_ends = false;
        Ok(())
    }

    /// Issues the next fence.
    pub fn issue_fence(&mut self) -> Result<u64> {
        let path = self.store.layout.file("fence");
        let text = fs::read_capped(&path, 64).optional()?.unwrap_or_default();
        let last: u64 = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .filter(|fence| *fence <= MAX_NUMBER)
            .unwrap_or(0);
        let next = next_number(last.max(self.mirror.fence), &path)?;
        fs::replace(
            &path,
            &self.store.layout.file("fence.tmp"),
            format!("{next}\n").as_bytes(),
            0o644,
        )?;
        Ok(next)
    }

    /// Makes an older generation current again. Fails with `ERR_GENERATION_GONE` if it was collected or never current.
    pub fn rollback(&mut self, number: u64) -> Result<Head> {
        // Held until the pointer names it, so that a collector of another version cannot remove it in between.
        let _hold = Hold::acquire(self.store, number)?;
        if self.current == Some(number) {
            return self.store.head(number);
        }
        // A generation that was never current is the leftover of a killed publish.
        if !self.mirror.has_been_current(number) {
            return Err(generation_gone(number));
        }
        let head = self.store.head(number)?;
        link::check_replaceable(self.store)?;
        self.flush_generation(&head)?;
        let view = view::place_copy(self.store, number)?;
        self.flip(&head)?;
        self.after_flip(view)?;
        Ok(head)
    }

    /// Flushes a generation that was published without durability 'power', before a call with durability 'power' makes
    /// it current.
    pub(super) fn flush_generation(&self, head: &Head) -> Result<()> {
        if !self.store.flushes() || head.durability == Durability::Power {
            return Ok(());
        }
        if fault::is_seeded("trust-unflushed") {
            return Ok(());
        }
        self.flush_tree(head)
    }

    /// Flushes a generation.
    pub(super) fn flush_tree(&self, head: &Head) -> Result<()> {
        if head.durability == Durability::Power {
            return Ok(());
        }
        let layout = &self.store.layout;
        durability::sync_tree(&layout.generation(head.number))?;
        durability::sync(&layout.pin(head.number))?;
        durability::sync(&layout.mirror())?;
        ["pins", "gens"]
            .iter()
            .try_for_each(|name| durability::sync(&layout.file(name)))
    }

    /// Moves the pointer. Every step that can fail for lack of space comes before it.
    pub(super) fn flip(&mut self, head: &Head) -> Result<()> {
        let layout = &self.store.layout;
        let mut mirror = self.mirror.clone();
        mirror.fence = mirror.fence.max(head.fence.unwrap_or(0));
        mirror.advance(Some(head.number), head.digest.clone(), &self.store.now());
        let existing = numbers_in(&layout.file("pins"))?;
        mirror
            .history
            .retain(|former| existing.binary_search(&former.number).is_ok());
        mirror.extend_named(&self.named);
        mirror.prepare(layout)?;
        if self.store.flushes() {
            durability::sync(&layout.file("current.json.tmp"))?;
        }
        pointer::flip(layout, head.number)?;
        self.current = Some(head.number);
        self.mirror = mirror;
        self.has_moved_ends = false;
        self.store.identity.note(head.number);
        Ok(())
    }

    /// Steps after the pointer has moved. The next writer repeats a failed step, so a failure does not undo the
    /// publish.
    pub(super) fn after_flip(&mut self, view: Option<View>) -> Result<()> {
        // The mirror is written last, because it wakes watchers. A watcher that then follows the link must find the new
        // generation.
        let followed = link::update(self.store, view);
        drop(Mirror::commit(&self.store.layout));
        if fault::is_seeded("collect-before-durable") {
            self.collect()?;
        }
        self.sync_root().map_err(|error| Error {
            message: format!("The generation is current, but it may not survive power loss: {error}"),
            ..error
        })?;
        link_failure(followed)
    }

    /// Flushes the pointer.
    pub(super) fn sync_root(&self) -> Result<()> {
        if self.store.durability == Durability::Power && !fault::is_seeded("no-fsync") {
            return durability::sync(self.store.layout.root());
        }
        Ok(())
    }
}

/// Selects the errors of the link that a publish reports: only those that a later publish would not fix.
pub(super) fn link_failure(followed: Result<()>) -> Result<()> {
    match followed {
        Err(error) if error.code == Code::Unsupported => Err(Error {
            message: format!(
                "The generation is current, but its link was not updated. {}",
                error.message
            ),
            ..error
        }),
        _ => Ok(()),
    }
}

/// Next number or fence.
pub(super) fn next_number(highest: u64, path: &Path) -> Result<u64> {
    if highest < MAX_NUMBER {
        return Ok(highest + 1);
    }
    let message = format!(
        "The store has reached the highest number, {MAX_NUMBER}. Publishes alone cannot reach it: another program wrote '{}' or a name in 'gens' or 'pins'. Remove the store while no process uses it",
        path.display()
    );
    Err(Error::new(Code::Format, message).at(path))
}

/// Rebuilds a missing mirror. It is unknown which generations were current, so all existing ones count.
fn rebuilt_mirror(store: &Store, current: Option<u64>) -> Result<Mirror> {
    let now = store.now();
    let numbers = numbers_in(&store.layout.file("gens"))?;
    let history = numbers
        .iter()
        .filter(|number| Some(**number) != current)
        .map(|number| FormerGeneration::at(*number, &now))
        .collect();
    Ok(Mirror {
        highest: numbers.last().copied().unwrap_or(0),
        fence: highest_fence(store, &numbers),
        history,
        ..Mirror::default()
    })
}

/// Highest fence of these generations.
fn highest_fence(store: &Store, numbers: &[u64]) -> u64 {
    numbers
        .iter()
        .filter_map(|number| store.head(*number).ok()?.fence)
        .max()
        .unwrap_or(0)
}
