//! A store on disk: its format, its settings, and what can be asked of it without the writer lock.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::{durability, fault, fs, identity};

use super::file_lock::{FileLock, Patience};
use super::head::{Head, nothing_published};
use super::layout::{DIRECTORIES, FORMAT, Layout, number_of};
use super::manifest::{Depth, Manifest, Problem};
use super::opening::Opening;
use super::ownership::Ownership;
use super::pin::{Hold, Recent};
use super::pointer::{self, Mirror, Now};
use super::presence::Identity;

/// What a publish survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// `kill -9`, and after power loss an older generation comes back rather than a torn one.
    Process,
    /// Power loss too.
    Power,
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// What a publish survives.
    pub durability: Durability,
    /// Generations that stay beside the current one; kept in the store.
    pub keep: Option<u64>,
    /// How long an unpinned generation stays after it stopped being current, milliseconds; kept in the store.
    pub grace_ms: Option<u64>,
    /// A path that becomes a link to a copy of the current generation.
    pub link: Option<PathBuf>,
    /// Whether a directory with files at the path of `link` may be replaced. Its content becomes a generation, and the
    /// directory itself is set aside.
    pub adopt: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Process,
            keep: None,
            grace_ms: None,
            link: None,
            adopt: false,
        }
    }
}

/// What every opener of a store shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config {
    pub(super) keep: u64,
    pub(super) grace_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { keep: 1, grace_ms: 0 }
    }
}

/// One bundle.
#[derive(Debug)]
pub struct Store {
    pub(super) layout: Layout,
    /// Device and inode of the root.
    pub(super) key: (u64, u64),
    pub(super) identity: Identity,
    pub(super) ownership: Ownership,
    pub(super) recent: Recent,
    pub(super) durability: Durability,
    pub(super) link: Option<PathBuf>,
    pub(super) adopt: bool,
    /// The directories that were set aside since [`Store::set_aside`] was called last.
    pub(super) newly_set_aside: Mutex<Vec<PathBuf>>,
    pub(super) boot: Option<String>,
    /// The filesystem's name.
    pub filesystem: &'static str,
    /// Whether copies share blocks here.
    pub clone: bool,
}

impl Store {
    /// Opens a store, making it where there is none, and repairs what killed processes left. Waits on this thread.
    pub fn open(root: &str, options: &Options, patience: &Patience) -> Result<Self> {
        let opening = Opening::begin(root, options)?;
        let lock = opening
            .waits_for()
            .map(|path| FileLock::acquire(&path, patience))
            .transpose()?;
        opening.finish(lock, &patience.cancel)
    }

    /// The paths of this store.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The directories that this process set aside since the last call.
    pub fn set_aside(&self) -> Vec<PathBuf> {
        std::mem::take(
            &mut *self
                .newly_set_aside
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Fails with `ERR_CLOSED` if the folder of this store was removed, moved or replaced since it was opened.
    pub fn check_present(&self) -> Result<()> {
        self.identity.check(&self.layout)
    }

    /// Fails where this process must not write: the store is not there any more, or it or a name that a writer needs
    /// belongs to a stranger.
    pub fn check_writable(&self) -> Result<()> {
        self.check_present()?;
        self.ownership.check(&self.layout)?;
        self.ownership.check_names(&self.layout)
    }

    /// The error, or the cause behind it if the store is not there any more.
    pub fn explain(&self, error: Error) -> Error {
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
            && !fault::mutant("no-fsync")
            && !fault::mutant("only-root-fsync")
    }

    pub(super) fn config(&self) -> Result<Config> {
        let bytes = fs::read_capped(&self.layout.file("config.json"), 65_536).optional()?;
        Ok(bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default())
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

    /// Compares a generation with its manifest, byte for byte; without a number the current one.
    pub fn verify(&self, number: Option<u64>, cancel: &Cancel) -> Result<Vec<(String, Problem)>> {
        let (number, _hold) = match number {
            Some(number) => (number, Hold::take(self, number)?),
            None => match Hold::current(self) {
                Ok(held) => held.ok_or_else(|| nothing_published(&self.layout))?,
                Err(error) => return self.compare_refused(error, cancel),
            },
        };
        self.compare(number, cancel)
    }

    /// What was changed in a current generation from which an open took the lock file for that reason.
    fn compare_refused(&self, error: Error, cancel: &Cancel) -> Result<Vec<(String, Problem)>> {
        match pointer::read(&self.layout)? {
            Some(number) if error.code == Code::GenerationGone => {
                Manifest::read(&self.layout, number)?.compare(&self.layout.tree(number), Depth::Bytes, cancel)
            }
            _ => Err(error),
        }
    }

    pub(super) fn compare(&self, number: u64, cancel: &Cancel) -> Result<Vec<(String, Problem)>> {
        let head = self.head(number)?;
        let manifest = Manifest::read(&self.layout, number)?;
        if manifest.digest != head.digest {
            return Err(super::head::corrupt(
                number,
                "its manifest is another generation's",
            ));
        }
        manifest.compare(&self.layout.tree(number), Depth::Bytes, cancel)
    }
}

/// In builds with the feature `testing`, `WARMSWAP_BOOT_ID` pretends a boot.
pub(super) fn boot() -> Option<String> {
    #[cfg(feature = "testing")]
    if let Ok(pretended) = std::env::var("WARMSWAP_BOOT_ID") {
        return Some(pretended);
    }
    identity::boot_id()
}

/// Whether there is a store of ours. A directory that holds anything else is left alone.
pub(super) fn check_format(root: &Path) -> Result<bool> {
    let path = root.join("FORMAT");
    match fs::read_capped(&path, 4096).optional() {
        Ok(Some(bytes)) if bytes == FORMAT.as_bytes() => Ok(true),
        Ok(Some(bytes)) => Err(Error::new(
            Code::Format,
            format!("'{}' says '{}'; this version of warmswap knows '{}': use the version that made it, or another root", path.display(), String::from_utf8_lossy(&bytes).trim(), FORMAT.trim()),
        )
        .at(&path)),
        Ok(None) => match foreign_entry(root)? {
            None => Ok(false),
            // Another process made the store between the two looks.
            Some(_) if fs::stat(&path).optional()?.is_some() => check_format(root),
            Some(name) => Err(Error::argument(
                "root",
                format!("'{}', which holds '{name}' and no FORMAT", root.display()),
                "an empty or missing directory, or a store of warmswap",
            )
            .at(root)),
        },
        Err(error) if error.kind() == Some(std::io::ErrorKind::NotADirectory) => Err(Error::argument("root", format!("'{}'", root.display()), "a directory or a path where one can be made").at(root)),
        Err(error) => Err(error),
    }
}

/// The first entry that is not what a creation that was killed can have left.
fn foreign_entry(root: &Path) -> Result<Option<String>> {
    let ours = |name: &str| DIRECTORIES.contains(&name) || ["writer.lock", "FORMAT.tmp"].contains(&name);
    let entries = fs::read_directory(root).optional()?.unwrap_or_default();
    Ok(entries
        .iter()
        .map(|entry| entry.name.to_string_lossy().into_owned())
        .find(|name| !ours(name)))
}

/// `FORMAT` last: with it the store is complete.
pub(super) fn create(layout: &Layout, made: usize) -> Result<()> {
    make_directories(layout)?;
    replace_durably(layout, "FORMAT", FORMAT.as_bytes())?;
    // Before anything else is written: power loss must not leave a directory that looks like a stranger's.
    sync_made(layout.root(), made)
}

/// Makes those that are missing.
pub(super) fn make_directories(layout: &Layout) -> Result<()> {
    DIRECTORIES
        .iter()
        .try_for_each(|name| fs::create_directories(&layout.file(name)))
}

/// Flushes the root and the directories above it up to the one that was there before.
fn sync_made(root: &Path, made: usize) -> Result<()> {
    for directory in root.ancestors().take(made + 1) {
        match durability::sync(directory) {
            // One that we may write to and not read: POSIX has no way to flush it.
            Err(error) if error.kind() == Some(std::io::ErrorKind::PermissionDenied) => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// What is written once and without which the generations are worth nothing: power loss must not leave it empty,
/// whatever a publish promises.
fn replace_durably(layout: &Layout, name: &str, bytes: &[u8]) -> Result<()> {
    let temporary = layout.file(&format!("{name}.tmp"));
    fs::remove_file(&temporary).optional()?;
    fs::write_new(&temporary, bytes, 0o644)?;
    if !fault::mutant("no-format-fsync") {
        durability::sync(&temporary)?;
    }
    fs::rename(&temporary, &layout.file(name))
}

pub(super) fn configure(layout: &Layout, options: &Options) -> Result<()> {
    let path = layout.file("config.json");
    let bytes = fs::read_capped(&path, 65_536).optional()?;
    let known: Option<Config> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let before = known.unwrap_or_default();
    let wanted = Config {
        keep: options.keep.unwrap_or(before.keep),
        grace_ms: options.grace_ms.unwrap_or(before.grace_ms),
    };
    if known == Some(wanted) {
        return Ok(());
    }
    let text = serde_json::to_vec(&wanted)
        .map_err(|error| Error::new(Code::Io, format!("serialize config.json: {error}")))?;
    replace_durably(layout, "config.json", &text)
}

/// The generations that a directory of the store names, in order.
pub(super) fn numbers_in(directory: &Path) -> Result<Vec<u64>> {
    let entries = fs::read_directory(directory).optional()?.unwrap_or_default();
    let mut numbers: Vec<u64> = entries
        .iter()
        .filter_map(|entry| number_of(&entry.name))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}
