//! Making a stage the current generation.

use serde_json::Value;

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::{clock, durability, fault, fs};

use super::advice::with_advice;
use super::head::{Head, MAX_HEAD_BYTES};
use super::hold::Hold;
use super::layout::{MAX_NUMBER, numbers_in};
use super::link;
use super::pin::{self, PinOwner};
use super::stage::{Sealed, Stage, StageBase};
use super::trash::move_stage_to_trash;
use super::verify::is_usable;
use super::view;
use super::writer::{Writer, link_failure, next_number};

/// Options of a publish.
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
    /// The owner that pins the result before it can be collected.
    pub pin_for: Option<PinOwner>,
}

/// The result of a publish.
#[derive(Debug)]
pub struct Published {
    /// The generation that is current now.
    pub head: Head,
    /// `false` where the stage was equal to the current generation and was discarded.
    pub changed: bool,
}

impl Writer<'_> {
    /// Makes a sealed stage the current generation. If it fails the stage is as it was and no reader has seen
    /// anything; the one exception says so (durability of a pointer that has moved).
    pub fn publish(&mut self, stage: &Stage, sealed: &Sealed, options: &PublishOptions) -> Result<Published> {
        link::check_replaceable(self.store)?;
        self.publish_unchecked(stage, sealed, options)
    }

    /// As [`publish`](Self::publish), without the check of the link: its directory may be what is being published.
    pub(super) fn publish_unchecked(
        &mut self,
        stage: &Stage,
        sealed: &Sealed,
        options: &PublishOptions,
    ) -> Result<Published> {
        self.check_not_late(stage, options)?;
        if let Some(head) = self.find_unchanged(sealed, options)? {
            self.flush_generation(&head)?;
            self.sync_root()?;
            // Only out of sight: a large tree is removed by the next sweep, without the lock.
            move_stage_to_trash(&stage.layout, stage.id.as_ref())?;
            fs::remove_file(&stage.layout.owner(&stage.id)).optional()?;
            if let Some(owner) = options.pin_for {
                pin::pin_number(self.store, owner, head.number)?;
            }
            link_failure(link::refresh(self.store, head.number))?;
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
                return with_advice(Err(error));
            }
        };
        // From here on the generation is current, whatever becomes of its traces.
        if let (Some(owner), Some(hold)) = (options.pin_for, hold) {
            // A thread that has ended meanwhile needs no pin.
            drop(pin::keep(hold, self.store, owner, head.number));
        }
        drop(fs::remove_file(&stage.layout.owner(&stage.id)));
        self.after_flip(view)?;
        Ok(Published { head, changed: true })
    }

    fn check_not_late(&self, stage: &Stage, options: &PublishOptions) -> Result<()> {
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

    fn find_unchanged(&self, sealed: &Sealed, options: &PublishOptions) -> Result<Option<Head>> {
        let Some(number) = self.current.filter(|_| options.if_changed) else {
            return Ok(None);
        };
        match self.store.head(number) {
            Ok(head) if head.digest != sealed.manifest.digest => Ok(None),
            // Files of it were removed or altered since: the stage replaces it.
            Ok(head) => Ok(is_usable(self.store, number, &Cancel::new())?.then_some(head)),
            // A generation whose head is lost is equal to none.
            Err(error) if matches!(error.code, Code::GenerationGone | Code::GenerationCorrupt) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn next_head(&self, stage: &Stage, sealed: &Sealed, options: &PublishOptions) -> Result<Head> {
        let layout = &self.store.layout;
        let used_numbers = [
            numbers_in(&layout.file("gens"))?,
            numbers_in(&layout.file("pins"))?,
        ]
        .concat();
        let highest = used_numbers
            .into_iter()
            .chain(self.current)
            .chain([self.mirror.highest, self.store.identity.highest_known()])
            .max()
            .unwrap_or(0);
        let (files, bytes) = sealed.manifest.totals();
        Ok(Head {
            number: next_number(highest, &layout.mirror())?,
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
            .then(|| Hold::acquire(self.store, head.number))
            .transpose()?;
        if fault::is_seeded("pointer-before-manifest") {
            fs::rename(&layout.stage(&stage.id), &layout.generation(head.number))?;
            self.flip(head)?;
            fs::write_new(
                &self.store.layout.manifest(head.number),
                &sealed.manifest.to_bytes()?,
                0o444,
            )?;
            return Ok(hold);
        }
        if fault::is_seeded("flip-before-rename") {
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
        let mut stage = Stage::begin(self.store, StageBase::Current, None, cancel)?;
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
            .and_then(|sealed| self.publish_unchecked(&stage, &sealed, &options));
        if published.is_err() {
            drop(stage.discard());
        }
        published.map(drop)
    }
}
