//! The entries of directories, in the filesystem's order.

use std::path::Path;

use super::open::open;
use crate::core::error::{At as _, Result};
use crate::core::sys::call::{call, point};
use crate::core::sys::platform::files::{Base, Entries};
use crate::core::sys::platform::{Entry, How, volume};

/// The entries of a directory.
pub fn read_directory(path: &Path) -> Result<Vec<Entry>> {
    let directory = open(path, How::DIRECTORY)?;
    point("getdents", path)?;
    let entries = Entries::of(directory.into());
    entries.and_then(Iterator::collect).at("getdents", path)
}

/// The entries of an open directory.
pub(in super::super) fn read_open_directory(directory: Base<'_>, path: &Path) -> Result<Vec<Entry>> {
    read_some_entries(directory, usize::MAX, path)
}

/// At most `limit` entries: a directory can have millions.
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

/// The entries of a directory that was opened a moment ago and not listed through this descriptor: without opening it
/// a second time.
pub(in super::super) fn read_fresh_directory(directory: Base<'_>, path: &Path) -> Result<Vec<Entry>> {
    point("getdents", path)?;
    volume::fresh_entries(directory).at("getdents", path)
}
