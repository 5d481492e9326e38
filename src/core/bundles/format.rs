//! Files that make a directory a store: its format, its directories and its settings.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::{durability, fault, fs, identity};

use super::layout::{DIRECTORIES, FORMAT, Layout};

/// The settings in `config.json`.
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

impl Config {
    /// Reads the settings. `None` if they are missing or unreadable.
    pub(super) fn written(layout: &Layout) -> Result<Option<Self>> {
        let bytes = fs::read_capped(&layout.file("config.json"), 65_536).optional()?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    pub(super) fn write(&self, layout: &Layout) -> Result<()> {
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::new(Code::Io, format!("serialize config.json: {error}")))?;
        replace_durably(layout, "config.json", &text)
    }
}

/// Id of this boot. In builds with the feature `testing`, `WARMSWAP_BOOT_ID` overrides it.
pub(super) fn boot() -> Option<String> {
    #[cfg(feature = "testing")]
    if let Ok(pretended) = std::env::var("WARMSWAP_BOOT_ID") {
        return Some(pretended);
    }
    identity::boot_id()
}

/// Whether `root` is a store of this format. Fails if the directory contains anything else.
pub(super) fn check_format(root: &Path) -> Result<bool> {
    let path = root.join("FORMAT");
    match fs::read_capped(&path, 4096).optional() {
        Ok(Some(bytes)) if bytes == FORMAT.as_bytes() => Ok(true),
        Ok(Some(bytes)) => Err(Error::new(
            Code::Format,
            format!("Unknown format in '{}': '{}'. Expected '{}'. Use the version of warmswap that created the store, or another root", path.display(), String::from_utf8_lossy(&bytes).trim(), FORMAT.trim()),
        )
        .at(&path)),
        Ok(None) => match foreign_entry(root)? {
            None => Ok(false),
            // Another process created the store between the two checks.
            Some(_) if fs::stat(&path).optional()?.is_some() => check_format(root),
            Some(name) => Err(Error::argument(
                "root",
                format!("'{}' contains '{name}' but no FORMAT file", root.display()),
                "an empty or missing directory, or a warmswap store",
            )
            .at(root)),
        },
        Err(error) if error.kind() == Some(std::io::ErrorKind::NotADirectory) => Err(Error::argument("root", format!("'{}'", root.display()), "a directory, or a path where one can be created").at(root)),
        Err(error) => Err(error),
    }
}

/// Returns the first entry that a killed creation of a store cannot have left.
fn foreign_entry(root: &Path) -> Result<Option<String>> {
    let is_known = |name: &str| DIRECTORIES.contains(&name) || ["writer.lock", "FORMAT.tmp"].contains(&name);
    let entries = fs::read_directory(root).optional()?.unwrap_or_default();
    Ok(entries
        .iter()
        .map(|entry| entry.name.to_string_lossy().into_owned())
        .find(|name| !is_known(name)))
}

/// Creates the files of a store. `FORMAT` is written last, because it marks the store as complete.
pub(super) fn create(layout: &Layout, made: usize) -> Result<()> {
    make_directories(layout)?;
    replace_durably(layout, "FORMAT", FORMAT.as_bytes())?;
    // Flushed before anything else is written: after power loss the directory must not look like one that contains
    // foreign files.
    sync_made(layout.root(), made)?;
    // Makes Git, and tools that read its ignore files, skip the store. The store works without this file, and an
    // existing one is kept.
    drop(fs::write_new(&layout.file(".gitignore"), b"*\n", 0o644));
    Ok(())
}

/// Creates the missing directories.
pub(super) fn make_directories(layout: &Layout) -> Result<()> {
    DIRECTORIES
        .iter()
        .try_for_each(|name| fs::create_directories(&layout.file(name)))
}

/// Flushes the root and the created directories above it.
fn sync_made(root: &Path, made: usize) -> Result<()> {
    for directory in root.ancestors().take(made + 1) {
        match durability::sync(directory) {
            // A directory that this process may write to but not read. POSIX has no way to flush it.
            Err(error) if error.kind() == Some(std::io::ErrorKind::PermissionDenied) => {}
            synced => synced?,
        }
    }
    Ok(())
}

/// Replaces a file that is written once and that the store depends on. It is flushed even without durability 'power',
/// because power loss must not leave it empty.
pub(super) fn replace_durably(layout: &Layout, name: &str, bytes: &[u8]) -> Result<()> {
    let temporary = layout.file(&format!("{name}.tmp"));
    fs::remove_file(&temporary).optional()?;
    fs::write_new(&temporary, bytes, 0o644)?;
    if !fault::is_seeded("no-format-fsync") {
        durability::sync(&temporary)?;
    }
    fs::rename(&temporary, &layout.file(name))
}
