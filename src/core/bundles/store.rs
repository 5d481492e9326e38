//! A store on disk: its format, its settings, and what can be asked of it without the writer lock.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::path::Root;
use crate::core::sys::{fault, filesystem, fs, identity};

use super::head::{Head, nothing_published};
use super::layout::{DIRECTORIES, FORMAT, Layout, number_of};
use super::lock::{FileLock, Patience};
use super::manifest::{Manifest, Problem};
use super::pin::Hold;
use super::pointer::{self, Mirror};
use super::writer::Writer;
use super::{link, recover};

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
    /// A path that is made a link to the current generation.
    pub link: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Process,
            keep: None,
            grace_ms: None,
            link: None,
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
    pub(super) durability: Durability,
    pub(super) link: Option<PathBuf>,
    pub(super) boot: Option<String>,
    /// The filesystem's name.
    pub filesystem: &'static str,
    /// Whether copies share blocks here.
    pub clone: bool,
}

impl Store {
    /// Opens a store, making it where there is none, and repairs what killed processes left.
    pub fn open(root: &str, options: &Options, patience: &Patience) -> Result<Self> {
        let root = Root::parse("root", root)?;
        let filesystem = trusted_filesystem(root.as_path())?;
        let existing = check_format(root.as_path())?;
        if !existing {
            fs::create_directories(root.as_path())?;
        }
        let canonical = fs::canonicalize(root.as_path())?;
        let stat = fs::stat(&canonical)?;
        let store = Self {
            key: (stat.device, stat.inode),
            durability: options.durability,
            link: options.link.clone(),
            boot: boot(),
            filesystem,
            clone: fs::can_clone(&canonical),
            layout: Layout::new(canonical),
        };
        store.prepare(existing, options, patience)?;
        Ok(store)
    }

    fn prepare(&self, existing: bool, options: &Options, patience: &Patience) -> Result<()> {
        let lock = match self.lock_for_open(existing, options, patience) {
            // Another user's store, or one on a read-only mount: good for reading.
            Err(error)
                if existing
                    && is_read_only(&error)
                    && options.keep.is_none()
                    && options.grace_ms.is_none()
                    && options.link.is_none() =>
            {
                return recover::check_unwritable(self, &patience.cancel);
            }
            lock => lock?,
        };
        let Some(lock) = lock else {
            return Ok(());
        };
        if !existing {
            create(&self.layout)?;
        }
        configure(&self.layout, options)?;
        recover::recover(self, &patience.cancel)?;
        let mut writer = Writer::new(self, lock)?;
        link::adopt(&mut writer, &patience.cancel)?;
        writer.collect()?;
        drop(writer);
        self.empty_trash(super::collect::Trash::All)
    }

    /// The writer lock, or `None` where it is busy and nothing here has to be written: a writer that was
    /// stopped must not keep readers from opening (I21).
    fn lock_for_open(
        &self,
        existing: bool,
        options: &Options,
        patience: &Patience,
    ) -> Result<Option<FileLock>> {
        let path = self.layout.writer_lock();
        if let Some(lock) = FileLock::try_acquire(&path)? {
            return Ok(Some(lock));
        }
        let config = self.config()?;
        let must_write = !existing
            || options.keep.is_some_and(|keep| keep != config.keep)
            || options
                .grace_ms
                .is_some_and(|grace_ms| grace_ms != config.grace_ms)
            || !recover::is_sound(self)?
            || link::needs_adoption(self)?;
        if must_write {
            FileLock::acquire(&path, patience).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The paths of this store.
    pub fn layout(&self) -> &Layout {
        &self.layout
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
                Err(error) if error.code == Code::GenerationGone => {}
                head => heads.push(head?),
            }
        }
        Ok(heads)
    }

    /// Compares a generation with its manifest, byte for byte; without a number the current one.
    pub fn verify(&self, number: Option<u64>, cancel: &Cancel) -> Result<Vec<(String, Problem)>> {
        let number = match number {
            Some(number) => number,
            None => self.current()?.ok_or_else(|| nothing_published(&self.layout))?,
        };
        let _hold = Hold::take(self, number)?;
        self.compare(number, cancel)
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
        manifest.compare(&self.layout.tree(number), cancel)
    }
}

/// In builds with the feature `testing`, `WARMSWAP_BOOT_ID` pretends a boot.
fn boot() -> Option<String> {
    #[cfg(feature = "testing")]
    if let Ok(pretended) = std::env::var("WARMSWAP_BOOT_ID") {
        return Some(pretended);
    }
    identity::boot_id()
}

/// The filesystem of what exists of `root`, decided before any lock call.
fn trusted_filesystem(root: &Path) -> Result<&'static str> {
    let mut existing = root;
    while fs::stat_followed(existing).optional()?.is_none() {
        existing = existing.parent().unwrap_or(Path::new("/"));
    }
    let found = filesystem::of(existing)?;
    if found.trusted {
        return Ok(found.name);
    }
    Err(Error::new(
        Code::Unsupported,
        format!(
            "'{}' is on {} (statfs 0x{:x}), whose flock is not known to exclude between all processes that see it; \
             put root on a local filesystem, such as a folder of os.tmpdir(), and pass the path you want as link",
            root.display(),
            found.name,
            found.magic
        ),
    )
    .at(root))
}

/// Whether there is a store of ours. A directory that holds anything else is left alone.
fn check_format(root: &Path) -> Result<bool> {
    let path = root.join("FORMAT");
    match fs::read_capped(&path, 4096).optional() {
        Ok(Some(bytes)) if bytes == FORMAT.as_bytes() => Ok(true),
        Ok(Some(bytes)) => Err(Error::new(
            Code::Format,
            format!("'{}' says '{}'; this version of warmswap knows '{}': use the version that made it, or another root", path.display(), String::from_utf8_lossy(&bytes).trim(), FORMAT.trim()),
        )
        .at(&path)),
        Ok(None) => refuse_foreign(root).map(|()| false),
        Err(error) if error.kind() == Some(std::io::ErrorKind::NotADirectory) => Err(Error::argument("root", format!("'{}'", root.display()), "a directory or a path where one can be made").at(root)),
        Err(error) => Err(error),
    }
}

fn refuse_foreign(root: &Path) -> Result<()> {
    for entry in fs::read_directory(root).optional()?.unwrap_or_default() {
        let name = entry.name.to_string_lossy();
        // What a creation that was killed can have left.
        if !DIRECTORIES.contains(&name.as_ref()) && !["writer.lock", "FORMAT.tmp"].contains(&name.as_ref()) {
            return Err(Error::argument(
                "root",
                format!("'{}', which holds '{name}' and no FORMAT", root.display()),
                "an empty or missing directory, or a store of warmswap",
            )
            .at(root));
        }
    }
    Ok(())
}

/// `FORMAT` last: with it the store is complete.
fn create(layout: &Layout) -> Result<()> {
    for name in DIRECTORIES {
        fs::create_directories(&layout.file(name))?;
    }
    fs::replace(
        &layout.file("FORMAT"),
        &layout.file("FORMAT.tmp"),
        FORMAT.as_bytes(),
        0o644,
    )
}

fn configure(layout: &Layout, options: &Options) -> Result<()> {
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
    fs::replace(&path, &layout.file("config.json.tmp"), &text, 0o644)
}

fn is_read_only(error: &Error) -> bool {
    matches!(
        error.kind(),
        Some(std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied)
    )
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
