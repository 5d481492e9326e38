//! An open store, and what can be asked of it without the writer lock.

use std::path::PathBuf;
use std::sync::Arc;

use crate::core::error::{Code, Error, Result};
use crate::core::sys::fault;
use crate::core::sys::sync::Mutex;

use super::background::Background;
use super::bounds::Settings;
use super::head::Head;
use super::layout::{Layout, numbers_in};
use super::options::Durability;
use super::ownership::Ownership;
use super::pointer::{self, Mirror, Now};
use super::recent::Recent;
use super::store_identity::StoreIdentity;

/// Whether pinned generations alone have more bytes than the store may have.
#[derive(Debug, Default)]
pub(super) struct Excess {
    pub(super) exists: bool,
    unreported: Option<(u64, u64)>,
}

/// One bundle.
#[derive(Debug)]
pub struct Store {
    pub(super) layout: Layout,
    /// Device and inode of the root.
    pub(super) key: (u64, u64),
    pub(super) identity: StoreIdentity,
    pub(super) ownership: Ownership,
    pub(super) recent: Recent,
    pub(super) durability: Durability,
    pub(super) link: Option<PathBuf>,
    pub(super) adopt: bool,
    /// The directories that were set aside since [`Store::set_aside`] was called last.
    pub(super) newly_set_aside: Mutex<Vec<PathBuf>>,
    pub(super) excess: Mutex<Excess>,
    pub(super) background: Arc<Background>,
    pub(super) boot: Option<String>,
    /// The filesystem's name.
    pub filesystem: &'static str,
    /// Whether copies share blocks here.
    pub clone: bool,
}

impl Store {
    /// The paths of this store.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The directories that this process set aside since the last call.
    pub fn set_aside(&self) -> Vec<PathBuf> {
        std::mem::take(&mut *self.newly_set_aside.lock())
    }

    /// The bytes of all generations and the bound, if a collection since the last call found that generations which
    /// must be kept exceed it, and the one before did not.
    pub fn excess_bytes(&self) -> Option<(u64, u64)> {
        self.excess.lock().unreported.take()
    }

    pub(super) fn note_excess(&self, found: Option<(u64, u64)>) {
        let mut excess = self.excess.lock();
        if found.is_some() && !excess.exists {
            excess.unreported = found;
        }
        excess.exists = found.is_some();
    }

    /// Fails with `ERR_CLOSED` if the folder of this store was removed, moved or replaced since it was opened.
    pub(super) fn check_present(&self) -> Result<()> {
        self.identity.check(&self.layout)
    }

    /// Fails where this process must not write: the store is not there any more, or it or a name that a writer needs
    /// belongs to a stranger.
    pub(super) fn check_writable(&self) -> Result<()> {
        self.check_present()?;
        self.ownership.check(&self.layout)?;
        self.ownership.check_names(&self.layout)
    }

    /// The error, or the cause behind it if the store is not there any more.
    pub(super) fn explain(&self, error: Error) -> Error {
        self.check_present().err().unwrap_or(error)
    }

    /// Whether a generation of this store is current now; `false` once the store was removed, moved or replaced.
    pub fn is_current(&self, number: u64) -> Result<bool> {
        match pointer::read(&self.layout) {
            Ok(current) if current != Some(number) => Ok(false),
            Ok(_) => Ok(self.check_present().is_ok()),
            Err(_) if self.check_present().is_err() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The store's own name: another store at the same path has another one. `None` for a store of an older version to
    /// which this process cannot write.
    pub fn id(&self) -> Option<&str> {
        self.identity.id()
    }

    /// The store's id, if this process has had another store at the same path before: URLs of its generations have to
    /// differ from those.
    pub fn distinguishing_id(&self) -> Option<&str> {
        self.identity.distinguishing()
    }

    pub(super) fn now(&self) -> Now {
        Now::of(self.boot.as_deref())
    }

    /// Whether what a pointer will name is flushed before the pointer moves.
    pub(super) fn flushes(&self) -> bool {
        self.durability == Durability::Power
            && !fault::is_seeded("no-fsync")
            && !fault::is_seeded("only-root-fsync")
    }

    pub(super) fn config(&self) -> Result<Settings> {
        Settings::read(&self.layout)
    }

    /// The number of the current generation.
    pub fn current(&self) -> Result<Option<u64>> {
        pointer::read(&self.layout)
    }

    /// The facts of a generation.
    pub fn head(&self, number: u64) -> Result<Head> {
        Head::read(&self.layout, number)
    }

    /// Whether a head's `started_at` is comparable with this boot's clock.
    pub fn is_of_this_boot(&self, head: &Head) -> bool {
        self.boot.is_some() && head.boot == self.boot
    }

    /// The generations that are current or were, and still exist, in the order of their numbers.
    pub fn list(&self) -> Result<Vec<Head>> {
        self.all_listed().map_err(|error| self.explain(error))
    }

    fn all_listed(&self) -> Result<Vec<Head>> {
        let mirror = Mirror::read(&self.layout)?.unwrap_or_default();
        let current = self.current()?;
        let mut numbers = numbers_in(&self.layout.file("gens"))?;
        numbers.retain(|number| {
            Some(*number) == current || mirror.history.iter().any(|former| former.number == *number)
        });
        let mut heads = Vec::new();
        for number in numbers {
            match self.head(number) {
                // Collected meanwhile, or its head is damaged: verify() tells, and a collection removes it.
                Err(error) if matches!(error.code, Code::GenerationGone | Code::GenerationCorrupt) => {}
                head => heads.push(head?),
            }
        }
        Ok(heads)
    }
}
