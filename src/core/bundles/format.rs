//! The files that make a directory a store: its format, its directories and its settings.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::{durability, fault, fs, identity};

use super::layout::{DIRECTORIES, FORMAT, Layout};

/// What `config.json` says.
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
    let is_known = |name: &str| DIRECTORIES.contains(&name) || ["writer.lock", "FORMAT.tmp"].contains(&name);
    let entries = fs::read_directory(root).optional()?.unwrap_or_default();
    Ok(entries
        .iter()
        .map(|entry| entry.name.to_string_lossy().into_owned())
        .find(|name| !is_known(name)))
}

/// `FORMAT` last: with it the store is complete.
pub(super) fn create(layout: &Layout, made: usize) -> Result<()> {
    make_directories(layout)?;
    replace_durably(layout, "FORMAT", FORMAT.as_bytes())?;
    // Before anything else is written: power loss must not leave a directory that looks like a stranger's.
    sync_made(layout.root(), made)?;
    // Git, and tools that go by it, leave the store out. The store works without it, and a file that is there stays.
    drop(fs::write_new(&layout.file(".gitignore"), b"*\n", 0o644));
    Ok(())
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
pub(super) fn replace_durably(layout: &Layout, name: &str, bytes: &[u8]) -> Result<()> {
    let temporary = layout.file(&format!("{name}.tmp"));
    fs::remove_file(&temporary).optional()?;
    fs::write_new(&temporary, bytes, 0o644)?;
    if !fault::is_seeded("no-format-fsync") {
        durability::sync(&temporary)?;
    }
    fs::rename(&temporary, &layout.file(name))
}
