//! What happens under `writer.lock`: publish, rollback and fences. Collecting is in [`super::collect`].

use std::path::Path;

use serde_json::Value;

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::{clock, durability, fault, fs};

use super::advice::advised;
use super::collect::throw_stage_away;
use super::file_lock::FileLock;
use super::head::{Head, MAX_HEAD_BYTES, gone};
use super::layout::MAX_NUMBER;
use super::pin::{self, Hold, Owner};
use super::pointer::{self, Former, Mirror};
use super::stage::{From, Sealed, Stage};
use super::store::{Durability, Store, numbers_in};
use super::view::View;
use super::{link, recover, view};

/// Whoever holds the writer lock.
#[derive(Debug)]
pub struct Writer<'store> {
    pub(super) store: &'store Store,
    _lock: FileLock,
    pub(super) current: Option<u64>,
    pub(super) mirror: Mirror,
    /// Whether an end in the history was in the future, and is not written down as now yet.
    pub(super) has_moved_ends: bool,
}

/// What a publish asks for beside the stage.
#[derive(Debug, Clone, Default)]
pub struct PublishOptions {
    /// Publish only what differs from the current generation.
    pub if_changed: bool,
    /// Publish only if this is the current generation; 0 is none.
    pub expect: Option<u64>,
    /// What the stage was made from.
    pub fingerprint: Option<String>,
    /// The builder's own JSON.
    pub meta: Option<Value>,
    /// Who pins the result before anybody can collect it.
    pub pin_for: Option<Owner>,
}

/// What a publish did.
#[derive(Debug)]
pub struct Published {
    /// The generation that is current now.
    pub head: Head,
    /// `false` where the stage was equal to the current generation and was discarded.
    pub changed: bool,
}

impl<'store> Writer<'store> {
    /// Begins to write, and first ends what a killed writer began: a pointer without its mirror.
    pub fn new(store: &'store Store, lock: FileLock) -> Result<Self> {
        store.check_writable()?;
        let current = pointer::read(&store.layout)?;
        let mut mirror = match Mirror::read(&store.layout)? {
            Some(mirror) => mirror,
            None => rebuilt_mirror(store, current)?,
        };
        let has_moved_ends = mirror.rebase(&store.now());
        let mut writer = Self {
            store,
            _lock: lock,
            current,
            mirror,
            has_moved_ends,
        };
        if writer.mirror.number != current {
            writer.settle()?;
        }
        Ok(writer)
    }

    fn settle(&mut self) -> Result<()> {
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
        self.mirror.prepare(&self.store.layout)?;
        Mirror::commit(&self.store.layout)?;
        self.has_moved_ends = false;
        Ok(())
    }

    /// A store that was made again at its path continues the numbers that this process knows: the modules of a
    /// generation stay loaded under its path, so no other generation may have that path here.
    pub(super) fn continue_numbers(&mut self, cancel: &Cancel) -> Result<()> {
        let others = self.store.identity.highest_of_others();
        if others > self.mirror.highest && others < MAX_NUMBER {
            self.mirror.highest = others;
            self.write_mirror()?;
        }
        match self.current {
            Some(number) if number <= others => self.publish_again(number, cancel),
            _ => Ok(()),
        }
    }

    /// Publishes a copy of a generation under a new number.
    fn publish_again(&mut self, number: u64, cancel: &Cancel) -> Result<()> {
        let head = self.store.head(number)?;
        let mut stage = Stage::begin(self.store, From::Current, None, cancel)?;
        if self.store.is_of_this_boot(&head) {
            stage.started_at = head.started_at;
        }
        let options = PublishOptions {
            fingerprint: head.fingerprint,
            meta: head.meta,
            ..PublishOptions::default()
        };
        let published = stage
            .seal(self.store, &[], cancel)
            .and_then(|sealed| self.publish_adopted(&stage, &sealed, &options));
        if published.is_err() {
            drop(stage.discard());
        }
        published.map(drop)
    }

    /// Draws the next fence.
    pub fn issue_fence(&mut self) -> Result<u64> {
        let path = self.store.layout.file("fence");
        let text = fs::read_capped(&path, 64).optional()?.unwrap_or_default();
        let last: u64 = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .filter(|fence| *fence <= MAX_NUMBER)
            .unwrap_or(0);
        let next = following(last.max(self.mirror.fence), &path)?;
        fs::replace(
            &path,
            &self.store.layout.file("fence.tmp"),
            format!("{next}\n").as_bytes(),
            0o644,
        )?;
        Ok(next)
    }

    /// Makes a sealed stage the current generation. If it fails the stage is as it was and no reader has seen
    /// anything; the one exception says so (durability of a pointer that has moved).
    pub fn publish(&mut self, stage: &Stage, sealed: &Sealed, options: &PublishOptions) -> Result<Published> {
        link::check(self.store)?;
        self.publish_adopted(stage, sealed, options)
    }

    /// As [`publish`](Self::publish), where the link's directory is what is being published.
    pub(super) fn publish_adopted(
        &mut self,
        stage: &Stage,
        sealed: &Sealed,
        options: &PublishOptions,
    ) -> Result<Published> {
        self.refuse_late(stage, options)?;
        if let Some(head) = self.unchanged(sealed, options)? {
            self.flush_what_was_not(&head)?;
            self.sync_root()?;
            // Only out of sight: a large tree is removed by the next sweep, without the lock.
            throw_stage_away(&stage.layout, stage.id.as_ref())?;
            fs::remove_file(&stage.layout.owner(&stage.id)).optional()?;
            if let Some(owner) = options.pin_for {
                pin::pin_number(self.store, owner, head.number)?;
            }
            link_failure(link::follow_unchanged(self.store, head.number))?;
            return Ok(Published { head, changed: false });
        }
        let head = self.next_head(stage, sealed, options)?;
        let installed = view::place_prepared(self.store, &stage.layout.stage(&stage.id), head.number)
            .and_then(|view| {
                Ok((
                    self.install(stage, sealed, &head, options.pin_for.is_some())?,
                    view,
                ))
            });
        let (hold, view) = match installed {
            Ok(installed) => installed,
            Err(error) => {
                // Best effort: what stays is never current, so the next collection sweeps it.
                drop(fs::remove_file(&self.store.layout.pin(head.number)));
                drop(fs::rename(
                    &self.store.layout.generation(head.number),
                    &stage.layout.stage(&stage.id),
                ));
                return advised(Err(error));
            }
        };
        // From here on the generation is current, whatever becomes of its traces.
        if let (Some(owner), Some(hold)) = (options.pin_for, hold) {
            // A thread that has ended meanwhile needs no pin.
            drop(hold.keep(self.store, owner, head.number));
        }
        drop(fs::remove_file(&stage.layout.owner(&stage.id)));
        self.after_flip(view)?;
        Ok(Published { head, changed: true })
    }

    /// Makes an older generation current again.
    pub fn rollback(&mut self, number: u64) -> Result<Head> {
        // Held until the pointer names it, so that no collector of another version can take it in between.
        let _hold = Hold::take(self.store, number)?;
        if self.current == Some(number) {
            return self.store.head(number);
        }
        // What was never current is what a killed publish left.
        if !self.mirror.history.iter().any(|former| former.number == number) {
            return Err(gone(number));
        }
        let head = self.store.head(number)?;
        link::check(self.store)?;
        self.flush_what_was_not(&head)?;
        let view = view::place_copy(self.store, number)?;
        self.flip(&head)?;
        self.after_flip(view)?;
        Ok(head)
    }

    /// With durability 'power' the bytes of a generation are flushed before a pointer to it is acknowledged, also those
    /// that were published without it.
    fn flush_what_was_not(&self, head: &Head) -> Result<()> {
        if !self.store.flushes() || head.durability == Durability::Power {
            return Ok(());
        }
        if fault::mutant("trust-unflushed") {
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

    fn refuse_late(&self, stage: &Stage, options: &PublishOptions) -> Result<()> {
        if let Some(fence) = stage.fence.filter(|fence| *fence < self.mirror.fence) {
            return Err(Error::new(
                Code::Fenced,
                format!(
                    "a stage with fence {} was published after this one with fence {fence} was drawn: this result is too late",
                    self.mirror.fence
                ),
            ));
        }
        match options.expect {
            Some(expected) if expected != self.current.unwrap_or(0) => Err(Error::new(
                Code::Fenced,
                format!(
                    "generation {expected} was expected to be current, and generation {} is: this result is too late",
                    self.current.unwrap_or(0)
                ),
            )),
            _ => Ok(()),
        }
    }

    fn unchanged(&self, sealed: &Sealed, options: &PublishOptions) -> Result<Option<Head>> {
        let Some(number) = self.current.filter(|_| options.if_changed) else {
            return Ok(None);
        };
        match self.store.head(number) {
            Ok(head) if head.digest != sealed.manifest.digest => Ok(None),
            // Files of it were removed or altered since: the stage replaces it.
            Ok(head) => Ok(recover::is_usable(self.store, number, &Cancel::new())?.then_some(head)),
            // A generation whose head is lost is equal to none.
            Err(error) if matches!(error.code, Code::GenerationGone | Code::GenerationCorrupt) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn next_head(&self, stage: &Stage, sealed: &Sealed, options: &PublishOptions) -> Result<Head> {
        let layout = &self.store.layout;
        let taken = [
            numbers_in(&layout.file("gens"))?,
            numbers_in(&layout.file("pins"))?,
        ]
        .concat();
        let highest = taken
            .into_iter()
            .chain(self.current)
            .chain([self.mirror.highest, self.store.identity.highest_known()])
            .max()
            .unwrap_or(0);
        let (files, bytes) = sealed.manifest.totals();
        Ok(Head {
            number: following(highest, &layout.mirror())?,
            digest: sealed.manifest.digest.clone(),
            files,
            bytes,
            published_at: clock::wall_millis(),
            started_at: stage.started_at,
            boot: self.store.boot.clone(),
            durability: self.store.durability,
            fence: stage.fence,
            fingerprint: options.fingerprint.clone(),
            meta: options.meta.clone(),
        })
    }

    /// Lock file, generation, pointer: in this order, so that whoever reads the pointer finds the other two. What it
    /// returns holds the generation for whoever wants a pin: taken before there is anything that could not be undone.
    fn install(
        &mut self,
        stage: &Stage,
        sealed: &Sealed,
        head: &Head,
        wants_pin: bool,
    ) -> Result<Option<Hold>> {
        let layout = &self.store.layout;
        let text = serde_json::to_vec(head)
            .map_err(|error| Error::new(Code::Io, format!("serialize the head: {error}")))?;
        if text.len() as u64 > MAX_HEAD_BYTES {
            return Err(Error::new(
                Code::TooLarge,
                format!(
                    "meta and fingerprint take {} bytes; at most {MAX_HEAD_BYTES} fit",
                    text.len()
                ),
            ));
        }
        fs::write_new(&layout.pin(head.number), &text, 0o644)?;
        // A pin compares the two: anything that is added to or removed from the tree's top directory makes them differ.
        let sealed_ns = fs::stat(&stage.tree())?.changed_ns;
        fs::set_modified(&layout.pin(head.number), sealed_ns)?;
        let hold = wants_pin
            .then(|| Hold::take(self.store, head.number))
            .transpose()?;
        if fault::mutant("pointer-before-manifest") {
            fs::rename(&layout.stage(&stage.id), &layout.generation(head.number))?;
            self.flip(head)?;
            fs::write_new(
                &self.store.layout.manifest(head.number),
                &sealed.manifest.to_bytes()?,
                0o444,
            )?;
            return Ok(hold);
        }
        if fault::mutant("flip-before-rename") {
            self.flip(head)?;
            fs::rename(
                &self.store.layout.stage(&stage.id),
                &self.store.layout.generation(head.number),
            )?;
            return Ok(hold);
        }
        fs::rename(&layout.stage(&stage.id), &layout.generation(head.number))?;
        if self.store.flushes() {
            durability::sync(&layout.pin(head.number))?;
            for name in ["pins", "stage", "gens"] {
                durability::sync(&layout.file(name))?;
            }
        }
        self.flip(head)?;
        Ok(hold)
    }

    /// Moves the pointer; everything that can fail for want of space comes before it.
    pub(super) fn flip(&mut self, head: &Head) -> Result<()> {
        let layout = &self.store.layout;
        let mut mirror = self.mirror.clone();
        mirror.fence = mirror.fence.max(head.fence.unwrap_or(0));
        mirror.advance(Some(head.number), head.digest.clone(), &self.store.now());
        let existing = numbers_in(&layout.file("pins"))?;
        mirror
            .history
            .retain(|former| existing.binary_search(&former.number).is_ok());
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

    /// What follows the pointer. The next writer repeats what fails here, so it does not undo a publish.
    fn after_flip(&mut self, view: Option<View>) -> Result<()> {
        // The mirror last: it is what wakes watchers, and those who then look through the link must find it.
        let followed = link::follow(self.store, view);
        drop(Mirror::commit(&self.store.layout));
        if fault::mutant("collect-before-durable") {
            self.collect()?;
        }
        self.sync_root().map_err(|error| Error {
            message: format!(
                "the generation is current, but whether it survives power loss is not known: {error}"
            ),
            ..error
        })?;
        link_failure(followed)
    }

    /// Flushes the pointer.
    fn sync_root(&self) -> Result<()> {
        if self.store.durability == Durability::Power && !fault::mutant("no-fsync") {
            return durability::sync(self.store.layout.root());
        }
        Ok(())
    }
}

/// Of what can go wrong with the link after a publish, only what no later publish would do better is an error.
fn link_failure(followed: Result<()>) -> Result<()> {
    match followed {
        Err(error) if error.code == Code::Unsupported => Err(Error {
            message: format!("the generation is current, but {}", error.message),
            ..error
        }),
        _ => Ok(()),
    }
}

/// The next number or fence.
fn following(highest: u64, path: &Path) -> Result<u64> {
    if highest < MAX_NUMBER {
        return Ok(highest + 1);
    }
    let message = format!(
        "the numbers of this store have reached the last one, {MAX_NUMBER}, which no publish reaches: something else wrote '{}' or a name in 'gens' or 'pins'. Remove the store while nobody uses it",
        path.display()
    );
    Err(Error::new(Code::Format, message).at(path))
}

/// Without the mirror nobody knows what was current: whatever exists may have been.
fn rebuilt_mirror(store: &Store, current: Option<u64>) -> Result<Mirror> {
    let now = store.now();
    let numbers = numbers_in(&store.layout.file("gens"))?;
    let history = numbers
        .iter()
        .filter(|number| Some(**number) != current)
        .map(|number| Former::at(*number, &now))
        .collect();
    Ok(Mirror {
        highest: numbers.last().copied().unwrap_or(0),
        fence: recover::highest_fence(store, &numbers),
        history,
        ..Mirror::default()
    })
}
