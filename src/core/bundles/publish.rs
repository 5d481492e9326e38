//! Publishing a stage as the current generation.

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
    /// Publishes only if the content differs from the current generation.
    pub if_changed: bool,
    /// Number of the generation that must be current. 0 means none.
    pub expect: Option<u64>,
    /// Identifies the inputs of the build.
    pub fingerprint: Option<String>,
    /// The builder's own data.
    pub meta: Option<Value>,
    /// Owner that pins the new generation before it can be collected.
    pub pin_for: Option<PinOwner>,
}

/// Result of a publish.
#[derive(Debug)]
pub struct Published {
    /// Head of the current generation.
    pub head: Head,
    /// `false` if the stage equalled the current generation and was discarded.
    pub changed: bool,
}

impl Writer<'_> {
    /// Makes a sealed stage the current generation. If it fails, the stage is unchanged and no reader has seen
    /// anything. There is one exception, which its message names: the pointer has moved, but its durability is unknown.
    pub fn publish(&mut self, stage: &Stage, sealed: &Sealed, options: &PublishOptions) -> Result<Published> {
        link::check_replaceable(self.store)?;
        self.publish_unchecked(stage, sealed, options)
    }

    /// Like [`publish`](Self::publish), without the check of the link. The directory at the link's path may be the one
    /// that is published.
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
            // The stage is only renamed here. The next sweep removes a large tree without the lock.
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
                // Best effort: leftovers are never current, and the next collection removes them.
                drop(fs::remove_file(&self.store.layout.pin(head.number)));
                drop(fs::rename(
                    &self.store.layout.generation(head.number),
                    &stage.layout.stage(&stage.id),
                ));
                return with_advice(Err(error));
            }
        };
        // From here on the generation is current, even if a later step fails.
        if let (Some(owner), Some(hold)) = (options.pin_for, hold) {
            // A thread that has ended in the meantime needs no pin.
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
                    "This result is too late: a stage with the newer fence {} was published after this stage with fence {fence} began",
                    self.mirror.fence
                ),
            ));
        }
        match options.expect {
            Some(expected) if expected != self.current.unwrap_or(0) => Err(Error::new(
                Code::Fenced,
                format!(
                    "This result is too late: expected generation {expected} to be current, but generation {} is",
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
            // Its files were removed or altered since the publish, so the stage replaces it.
            Ok(head) => Ok(is_usable(self.store, number, &Cancel::new())?.then_some(head)),
            // A generation without a readable head equals no stage.
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

    /// Installs lock file, generation and pointer in this order, so that a reader of the pointer finds the other two.
    /// The returned hold protects the generation for a caller that wants a pin. It is acquired before the first step
    /// that cannot be undone.
    fn install(
        &mut self,
        stage: &Stage,
        sealed: &Sealed,
        head: &Head,
        wants_pin: bool,
    ) -> Result<Option<Hold>> {
        let layout = &self.store.layout;
        let text = serde_json::to_vec(head)
            .map_err(|error| Error::new(Code::Io, format!("Cannot serialize the head: {error}")))?;
        if text.len() as u64 > MAX_HEAD_BYTES {
            return Err(Error::new(
                Code::TooLarge,
                format!(
                    "meta and fingerprint have {} bytes together. Expected at most {MAX_HEAD_BYTES}",
                    text.len()
                ),
            ));
        }
        fs::write_new(&layout.pin(head.number), &text, 0o644)?;
        // A pin compares the two times. They differ after any entry of the tree's top directory was added or removed.
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

    /// Continues the numbers that this process knows if the store was created again at its path. Modules of an earlier
    /// generation stay loaded under its path, so no other generation may use that path in this process.
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
