//! An open store, and its operations that do not need the writer lock.

use std::path::PathBuf;
use std::sync::Arc;

use crate::core::error::{Code, Error, Result};
use crate::core::sys::fault;
use crate::core::sys::sync::Mutex;

use super::background::Background;
use super::bounds::Settings;
use super::head::Head;
use super::layout::{Layout, numbers_in};
use super::mirror::{Mirror, Now};
use super::options::Durability;
use super::ownership::Ownership;
use super::pointer;
use super::recent::Recent;
use super::store_identity::StoreIdentity;

/// Whether pinned generations alone have more bytes than the store may have.
#[derive(Debug, Default)]
pub(super) struct Excess {
    pub(super) exists: bool,
    unreported: Option<(u64, u64)>,
}

/// An open store. One store is one bundle.
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
    /// Directories that were set aside since the last call of [`Store::set_aside`].
    pub(super) newly_set_aside: Mutex<Vec<PathBuf>>,
    pub(super) excess: Mutex<Excess>,
    pub(super) background: Arc<Background>,
    pub(super) boot: Option<String>,
    /// Name of the filesystem, such as `ext4`.
    pub filesystem: &'static str,
    /// Whether copies on this filesystem can share blocks.
    pub clone: bool,
}

impl Store {
    /// Paths of this store.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Directories that this process has set aside since the last call.
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

    /// Fails with `ERR_CLOSED` if the directory of this store was removed, moved or replaced since it was opened.
    pub(super) fn check_present(&self) -> Result<()> {
        self.identity.check(&self.layout)
    }

    /// Fails if this process must not write: the store no longer exists, or the store or an entry that a writer needs
    /// belongs to an untrusted user.
    pub(super) fn check_writable(&self) -> Result<()> {
        self.check_present()?;
        self.ownership.check(&self.layout)?;
        self.ownership.check_names(&self.layout)
    }

    /// Returns `ERR_CLOSED` if the store no longer exists, which is then the cause of the error. Otherwise returns the
    /// error.
    pub(super) fn explain(&self, error: Error) -> Error {
        self.check_present().err().unwrap_or(error)
    }

    /// Whether a generation of this store is current. `false` if the store was removed, moved or replaced.
    pub fn is_current(&self, number: u64) -> Result<bool> {
        match pointer::read(&self.layout) {
            Ok(current) if current != Some(number) => Ok(false),
            Ok(_) => Ok(self.check_present().is_ok()),
            Err(_) if self.check_present().is_err() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Random id of the store. Another store at the same path has another id. `None` for a store of an older version
    /// that this process cannot write to.
    pub fn id(&self) -> Option<&str> {
        self.identity.id()
    }

    /// Id of the store, if this process has used another store at the same path before. URLs of its generations must
    /// differ from those of the other store.
    pub fn distinguishing_id(&self) -> Option<&str> {
        self.identity.distinguishing()
    }

    pub(super) fn now(&self) -> Now {
        Now::of(self.boot.as_deref())
    }

    /// Whether the files of a generation are flushed before the pointer moves.
    pub(super) fn flushes(&self) -> bool {
        self.durability == Durability::Power
            && !fault::is_seeded("no-fsync")
            && !fault::is_seeded("only-root-fsync")
    }

    pub(super) fn config(&self) -> Result<Settings> {
        Settings::read(&self.layout)
    }

    /// Number of the current generation. `None` if nothing has been published.
    pub fn current(&self) -> Result<Option<u64>> {
        pointer::read(&self.layout)
    }

    /// Head of a generation. Fails with `ERR_GENERATION_GONE` if it was collected.
    pub fn head(&self, number: u64) -> Result<Head> {
        Head::read(&self.layout, number)
    }

    /// Whether `started_at` of a head can be compared with this boot's clock.
    pub fn is_of_this_boot(&self, head: &Head) -> bool {
        self.boot.is_some() && head.boot == self.boot
    }

    /// Generations that are or were current and still exist, sorted by number.
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
                // Collected in the meantime, or its head is damaged. verify() reports the damage, and a collection
                // removes it.
                Err(error) if matches!(error.code, Code::GenerationGone | Code::GenerationCorrupt) => {}
                head => heads.push(head?),
            }
        }
        Ok(heads)
    }
}
