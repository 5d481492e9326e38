//! Walks through trees.

use std::ffi::OsStr;
use std::path::Path;

use crate::core::error::{Error, Result};
use crate::core::sys::fs::{self, Kind, Stat};
use crate::core::sys::path::MAX_PATH_BYTES;

/// The names that a walk accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NamePolicy {
    /// Names that a generation can have; others are an error.
    Valid,
    /// All names. Those that are not UTF-8 are reported with replacement characters, which no manifest has.
    Any,
}

/// Calls `visit` for each entry below `directory`, directories before what is in them, links as links.
pub(super) fn walk(directory: &Path, visit: &mut dyn FnMut(&str, &Path, &Stat) -> Result<()>) -> Result<()> {
    walk_all(directory, NamePolicy::Valid, visit)
}

/// As [`walk`], for a tree whose names may be any, and without the directories that this user may not read.
pub(super) fn walk_any(
    directory: &Path,
    visit: &mut dyn FnMut(&str, &Path, &Stat) -> Result<()>,
) -> Result<()> {
    walk_all(directory, NamePolicy::Any, visit)
}

fn walk_all(
    directory: &Path,
    names: NamePolicy,
    visit: &mut dyn FnMut(&str, &Path, &Stat) -> Result<()>,
) -> Result<()> {
    // No recursion: a tree of some thousand levels would take more stack than a thread has.
    let mut pending = vec![(directory.to_path_buf(), String::new())];
    while let Some((directory, prefix)) = pending.pop() {
        let entries = match fs::read_directory(&directory) {
            Err(error) if names == NamePolicy::Any && error.is_denied() => continue,
            entries => entries?,
        };
        for entry in entries {
            let path = directory.join(&entry.name);
            let relative = relative_name(&prefix, &entry.name, &path, names)?;
            let stat = fs::stat(&path)?;
            visit(&relative, &path, &stat)?;
            // A path that is longer is an entry of no generation, and what is in it cannot be opened by its path.
            if stat.kind == Kind::Directory && path.as_os_str().len() < MAX_PATH_BYTES - NAME_BYTES {
                pending.push((path, relative));
            } else if stat.kind == Kind::Directory && names == NamePolicy::Valid {
                return Err(too_long(path.as_os_str().len(), &path));
            }
        }
    }
    Ok(())
}

/// The longest name of an entry, and the slash before it.
const NAME_BYTES: usize = 256;

fn relative_name(prefix: &str, name: &OsStr, path: &Path, names: NamePolicy) -> Result<String> {
    if names == NamePolicy::Valid && name.to_str().is_none() {
        return Err(Error::argument(
            "the stage",
            format!("holding '{}'", path.display()),
            "a tree whose names are UTF-8",
        )
        .at(path));
    }
    let name = name.to_string_lossy();
    let relative = if prefix.is_empty() {
        name.into_owned()
    } else {
        format!("{prefix}/{name}")
    };
    if names == NamePolicy::Valid && relative.len() >= MAX_PATH_BYTES {
        return Err(too_long(relative.len(), path));
    }
    Ok(relative)
}

fn too_long(bytes: usize, path: &Path) -> Error {
    let shown: String = path.to_string_lossy().chars().take(200).collect();
    Error::argument(
        "the stage",
        format!("holding a path of {bytes} bytes, '{shown}…'"),
        "a tree with paths of fewer than 4096 bytes",
    )
    .at(path)
}
