//! Giving names to generations, and ending names. [`super::named`] has the records.

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::trust::Surroundings;
use crate::core::sys::{clock, durability, fault, fs};

use super::advice::unless_full;
use super::bounds::raise_grace;
use super::errors::{generation_gone, nothing_published};
use super::head::MAX_TIME;
use super::named::{NamedPin, live, record_of, records};
use super::ownership::may_change;
use super::pin::{self, PinOwner};
use super::replaced::make_folder;
use super::store::Store;
use super::writer::Writer;

/// Most bytes of a name, in UTF-8.
const MAX_NAME_BYTES: usize = 1024;

/// A request for a named pin.
#[derive(Debug, Clone)]
pub struct NamedPinRequest {
    /// The name.
    pub name: String,
    /// The generation that gets the name. `None`: the one that has it, else the current one.
    pub number: Option<u64>,
    /// When the pin ends by itself, milliseconds since the epoch.
    pub expires_at: u64,
    /// The owner that also gets a hold on the generation.
    pub owner: PinOwner,
}

impl Store {
    /// The named pins that have not ended, in the order of their names.
    pub fn named_pins(&self) -> Result<Vec<NamedPin>> {
        live(&self.layout).map_err(|error| self.explain(error))
    }
}

impl Writer<'_> {
    /// Gives a generation a name until `expires_at`, or renews it. `true` if the generation had that name before.
    pub fn pin_named(&mut self, request: &NamedPinRequest) -> Result<(NamedPin, bool)> {
        check(request)?;
        let before = self.named.iter().find(|pin| pin.name == request.name).cloned();
        let number = match (request.number, &before) {
            (Some(number), _) => number,
            (None, Some(before)) => before.number,
            (None, None) => self
                .current
                .ok_or_else(|| nothing_published(&self.store.layout))?,
        };
        let head = self.store.head(number).map_err(|error| match &before {
            Some(before) if error.code == Code::GenerationGone => lost(before),
            _ => error,
        })?;
        if self.current != Some(number) && !self.mirror.has_been_current(number) {
            return Err(generation_gone(number));
        }
        pin::pin_number(self.store, request.owner, number)?;
        let before = before.filter(|before| before.number == number);
        let pin = NamedPin {
            name: request.name.clone(),
            number,
            pinned_at: before
                .as_ref()
                .map_or_else(clock::wall_millis, |before| before.pinned_at),
            expires_at: request.expires_at,
        };
        let written = match before {
            Some(_) => Ok(()),
            None => self.flush_tree(&head),
        };
        let written = written.and_then(|()| self.record(&pin));
        if let Err(error) = written {
            pin::release(self.store, request.owner, number);
            return Err(error);
        }
        Ok((pin, before.is_some()))
    }

    /// Writes a record, durably. The files for programs that know no records come first: a writer that is killed in
    /// between keeps a generation for too long, and not for too short a time.
    fn record(&mut self, pin: &NamedPin) -> Result<()> {
        let store = self.store;
        let layout = &store.layout;
        make_folder(store, &layout.named())?;
        self.named.retain(|other| other.name != pin.name);
        self.named.push(pin.clone());
        self.keep_for_protocol_1()?;
        self.write_mirror()?;
        durability::sync(&layout.mirror())?;
        let text = serde_json::to_vec(pin)
            .map_err(|error| Error::new(Code::Io, format!("serialize the record of a pin: {error}")))?;
        let temporary = layout.file("named.tmp");
        fs::remove_file(&temporary).optional()?;
        fs::write_new(&temporary, &text, 0o644)?;
        durability::sync(&temporary)?;
        fs::rename(&temporary, &record_of(layout, &pin.name))?;
        durability::sync(&layout.named())?;
        durability::sync(layout.root())
    }

    /// Ends a named pin. `false` if there was none.
    pub fn release_named(&mut self, name: &str) -> Result<bool> {
        let layout = &self.store.layout;
        let existed = self.named.iter().any(|pin| pin.name == name);
        let removed = fs::remove_file(&record_of(layout, name)).optional()?;
        if removed.is_some() {
            durability::sync(&layout.named())?;
        }
        self.named.retain(|pin| pin.name != name);
        self.mirror.rebase(&self.store.now(), &self.named);
        unless_full(self.keep_for_protocol_1())?;
        unless_full(self.write_mirror())?;
        Ok(existed && removed.is_some())
    }

    /// Makes programs that know no named pins keep the generations that have one: see [`super::named`].
    fn keep_for_protocol_1(&self) -> Result<()> {
        let now = clock::wall_millis();
        let left = self.named.iter().map(|pin| pin.expires_at.saturating_sub(now));
        raise_grace(&self.store.layout, left.max().unwrap_or(0))
    }

    /// Removes records that have ended, and restores the settings that were raised for them.
    pub(super) fn sweep_named(&mut self) -> Result<()> {
        if fault::is_seeded("protocol-1") {
            return Ok(());
        }
        let layout = &self.store.layout;
        let now = clock::wall_millis();
        let expired = records(layout)?
            .into_iter()
            .filter(|(_, record)| !record.is_live(now));
        for (path, _) in expired {
            if may_change(&Surroundings::of(&layout.named())?, &path)? {
                fs::remove_file(&path).optional()?;
            }
        }
        unless_full(self.keep_for_protocol_1())
    }
}

fn lost(pin: &NamedPin) -> Error {
    Error::new(
        Code::GenerationGone,
        format!(
            "generation {} has the name '{}' and no longer exists: it was damaged, or a program removed it that knows no names. release() ends the name, and pin() then gives it to the current generation",
            pin.number, pin.name
        ),
    )
}

fn check(request: &NamedPinRequest) -> Result<()> {
    if request.name.is_empty() || request.name.len() > MAX_NAME_BYTES {
        let bytes = request.name.len();
        return Err(Error::argument(
            "name",
            format!("{bytes} bytes long"),
            "a name of 1 to 1024 bytes of UTF-8",
        ));
    }
    if request.expires_at <= clock::wall_millis() || request.expires_at > MAX_TIME {
        return Err(Error::argument(
            "expiresAt",
            format!("{} ms after 1970", request.expires_at),
            "a time in the future",
        ));
    }
    Ok(())
}
