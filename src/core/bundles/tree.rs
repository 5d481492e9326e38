//! Walks over trees.

use std::ffi::OsStr;
use std::path::Path;

use crate::core::error::{Error, Result};
use crate::core::sys::fs::{self, Kind, Stat};
use crate::core::sys::path::MAX_PATH_BYTES;

/// Names that a walk accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NamePolicy {
    /// Names that are valid in a generation. Any other name is an error.
    Valid,
    /// All names. A name that is not UTF-8 is reported with replacement characters, which occur in no manifest.
    Any,
}

/// Calls `visit` for each entry below `directory`. A directory comes before its entries, and links are not followed.
pub(super) fn walk(directory: &Path, visit: &mut dyn FnMut(&str, &Path, &Stat) -> Result<()>) -> Result<()> {
    walk_all(directory, NamePolicy::Valid, visit)
}

/// Like [`walk`], for a tree with arbitrary names. Skips directories that this user may not read.
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
    // No recursion: a tree with thousands of levels would overflow the stack.
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
            // A longer path is in no generation, and its entries could not be opened by path.
            if stat.kind == Kind::Directory && path.as_os_str().len() < MAX_PATH_BYTES - NAME_BYTES {
                pending.push((path, relative));
            } else if stat.kind == Kind::Directory && names == NamePolicy::Valid {
                return Err(too_long(path.as_os_str().len(), &path));
            }
        }
    }
    Ok(())
}

/// Longest name of an entry, plus the slash before it.
const NAME_BYTES: usize = 256;

fn relative_name(prefix: &str, name: &OsStr, path: &Path, names: NamePolicy) -> Result<String> {
    if names == NamePolicy::Valid && name.to_str().is_none() {
        return Err(Error::argument(
            "stage",
            format!("it contains '{}'", path.display()),
            "names in UTF-8",
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
        "stage",
        format!("it contains a path of {bytes} bytes, '{shown}…'"),
        "paths shorter than 4096 bytes",
    )
    .at(path)
}
