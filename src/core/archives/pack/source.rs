//! Reads files for an archive, completely or not at all. A file that changes while it is being read is torn.

use std::fs::File;

use crate::core::error::Optional as _;
use crate::core::sys::fs::{self, Kind, Stat};
use crate::core::sys::{dir, fault, name};

use crate::core::archives::codec::FRAME_BYTES;
use crate::core::archives::directory_cache::{DirectoryCache, split_path};
use crate::core::archives::format::header::{self, Fields, flag};
use crate::core::archives::format::padding;
use crate::core::archives::pack::options::WriteOptions;
use crate::core::archives::pack::walk;
use crate::core::archives::tree::{self, Facts, Hash, as_path};
use crate::core::failure::{Failure, Result};

/// Facts that were found by reading a file.
pub(super) struct ReadFile {
    pub(super) size: u64,
    pub(super) mode: u16,
    pub(super) hash: Hash,
    pub(super) facts: Facts,
}

impl ReadFile {
    pub(super) fn of(stat: &Stat, hash: Hash) -> Self {
        Self {
            size: stat.size,
            mode: (stat.mode & 0o777) as u16,
            hash,
            facts: walk::facts_of(stat),
        }
    }
}

pub(super) fn changed(path: &[u8]) -> Failure {
    Failure::unstable(format!(
        "'{}' changed while it was being read",
        path.escape_ascii()
    ))
}

/// Opens a file and returns its current stat. `None` if it no longer exists.
pub(super) fn open(directories: &mut DirectoryCache, path: &[u8]) -> Result<Option<(File, Stat)>> {
    let (parent, name) = split_path(path);
    let opened = directories
        .existing(parent)
        .and_then(|directory| directory.open_file(name::from_bytes(name), as_path(path)))
        .optional()?;
    let Some(file) = opened else {
        return Ok(None);
    };
    let stat = fs::stat_file(&file, as_path(path))?;
    if stat.kind != Kind::File {
        return Err(changed(path));
    }
    Ok(Some((file, stat)))
}

pub(super) fn append_file(out: &mut Vec<u8>, path: &[u8], stat: &Stat) {
    let fields = Fields {
        flag: flag::FILE,
        path,
        link: b"",
        mode: stat.mode & 0o777,
        size: stat.size,
        modified_ns: walk::facts_of(stat).modified_ns,
    };
    header::append(out, &fields);
}

/// Appends a file. If it changes while it is being read, it is read a second time. Returns `None` if it no longer
/// exists.
pub(super) fn small_file(
    path: &[u8],
    directories: &mut DirectoryCache,
    options: &WriteOptions,
    raw: &mut Vec<u8>,
) -> Result<Option<ReadFile>> {
    let start = raw.len();
    for _ in 0..2 {
        raw.truncate(start);
        let Some((file, stat)) = open(directories, path)? else {
            return Ok(None);
        };
        append_file(raw, path, &stat);
        let data = raw.len();
        // A file that grew beyond the size of a batch is torn, because the walk saw it below 1 MiB.
        let size = usize::try_from(stat.size).unwrap_or(usize::MAX);
        if size > FRAME_BYTES {
            continue;
        }
        let count = dir::append_from(&file, raw, size, as_path(path))?;
        let is_whole = count == size && fs::stat_file(&file, as_path(path))? == stat;
        if is_whole || fault::is_seeded("pack-torn-files") {
            // Size that the header declares, also for the seeded bug, which accepts torn files.
            raw.resize(data + size, 0);
            let hash = if options.hash {
                tree::hash(&raw[data..])
            } else {
                Hash::default()
            };
            raw.resize(raw.len() + padding(stat.size), 0);
            options.progress.add(1, stat.size);
            return Ok(Some(ReadFile::of(&stat, hash)));
        }
    }
    Err(changed(path))
}
