//! Entries of directories, in the order of the filesystem.

use std::path::Path;

use super::open::open;
use crate::core::error::{At as _, Result};
use crate::core::sys::call::{call, point};
use crate::core::sys::platform::files::{Base, Entries};
use crate::core::sys::platform::{Entry, OpenOptions, volume};

/// Lists the entries of a directory.
pub fn read_directory(path: &Path) -> Result<Vec<Entry>> {
    let directory = open(path, OpenOptions::DIRECTORY)?;
    point("getdents", path)?;
    let entries = Entries::of(directory.into());
    entries.and_then(Iterator::collect).at("getdents", path)
}

/// Lists the entries of an open directory.
pub(in super::super) fn read_open_directory(directory: Base<'_>, path: &Path) -> Result<Vec<Entry>> {
    read_some_entries(directory, usize::MAX, path)
}

/// Lists at most `limit` entries, because a directory can have millions.
pub(in super::super) fn read_some_entries(
    directory: Base<'_>,
    limit: usize,
    path: &Path,
) -> Result<Vec<Entry>> {
    let entries = call("getdents", path, || Entries::of_open(directory))?;
    entries
        .take(limit)
        .collect::<std::io::Result<_>>()
        .at("getdents", path)
}

/// Lists a directory that was just opened and not listed through this descriptor yet. Saves opening it a second time.
pub(in super::super) fn read_fresh_directory(directory: Base<'_>, path: &Path) -> Result<Vec<Entry>> {
    point("getdents", path)?;
    volume::fresh_entries(directory).at("getdents", path)
}
