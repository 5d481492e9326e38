//! Manifest of a generation: each entry with its type, mode and hash, and one digest over all entries. A digest over
//! the content alone would miss a changed mode, a changed link or a deleted file.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::fs::{self, Kind, Stat};
use crate::core::sys::path::MAX_PATH_BYTES;

use super::errors::corrupt;
use super::layout::Layout;
use super::tree::{walk, walk_any};

/// Mode bits that a generation keeps: nobody may write, and setuid and setgid bits are dropped.
const KEPT_MODE: u32 = 0o555;

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Path relative to the tree, with `/` between the components.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Type and content.
    #[serde(flatten)]
    pub content: Content,
}

/// Type of an entry, and the facts that identify its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Content {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Size in bytes.
        size: u64,
        /// BLAKE3 hash in hexadecimal.
        hash: String,
    },
    /// A symbolic link. It is stored as text and never followed.
    Symlink {
        /// Target text.
        target: String,
    },
}

impl Content {
    /// Whether the mode is compared. The mode of a link has no meaning.
    fn has_mode(&self) -> bool {
        !matches!(self, Self::Symlink { .. })
    }
}

/// All entries, sorted by the bytes of their paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Digest over the entries.
    pub digest: String,
    /// Sorted entries.
    pub entries: Vec<Entry>,
}

/// Difference between a generation and its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// The entry is missing or has another type.
    Missing,
    /// The file has another size.
    Size,
    /// The file has other bytes, or the link has another target.
    Hash,
    /// The entry has other permissions.
    Mode,
    /// The entry is not in the manifest.
    Extra,
}

impl Problem {
    /// Whether content is missing or altered, so that the generation must not be served. Additional entries and other
    /// permissions are reported, but the generation stays usable.
    pub fn is_of_content(self) -> bool {
        matches!(self, Self::Missing | Self::Size | Self::Hash)
    }
}

/// How thoroughly a tree is compared with its manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Reads all bytes.
    Bytes,
    /// Compares all sizes, and reads the bytes of files that changed at or after this time (nanoseconds since the
    /// epoch).
    ChangedSince(i128),
}

impl Depth {
    fn reads(self, stat: &Stat) -> bool {
        match self {
            Self::Bytes => true,
            Self::ChangedSince(time) => stat.changed_ns >= time || stat.modified_ns >= time,
        }
    }
}

impl Manifest {
    /// Freezes a tree: removes write permission from its files, copies files that have a second name, and hashes
    /// everything. `spare` is a path outside the tree for these copies.
    pub(super) fn seal(tree: &Path, spare: &Path, cancel: &Cancel) -> Result<Self> {
        let mut entries = Vec::new();
        let mut folded = HashMap::new();
        walk(tree, &mut |relative, path, stat| {
            cancel.check()?;
            refuse_case_collision(&mut folded, relative)?;
            entries.push(freeze(relative, path, stat, spare)?);
            Ok(())
        })?;
        Ok(Self::of(entries))
    }

    fn of(mut entries: Vec<Entry>) -> Self {
        entries.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        Self {
            digest: digest(&entries),
            entries,
        }
    }

    /// Reads the manifest of a generation and checks its digest.
    pub(super) fn read(layout: &Layout, number: u64) -> Result<Self> {
        let path = layout.manifest(number);
        let damaged = || corrupt(number, "its manifest cannot be read").at(&path);
        let bytes = fs::read(&path).map_err(|error| if error.is_not_found() { damaged() } else { error })?;
        let manifest: Self = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
        let are_paths_safe = manifest.entries.iter().all(|entry| is_safe(&entry.path));
        if are_paths_safe && digest(&manifest.entries) == manifest.digest {
            Ok(manifest)
        } else {
            Err(damaged())
        }
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::new(Code::Io, format!("Cannot serialize manifest.json: {error}")))
    }

    /// Number of regular files and links, and the total bytes of the files.
    pub(super) fn totals(&self) -> (u64, u64) {
        self.entries
            .iter()
            .fold((0, 0), |(files, bytes), entry| match &entry.content {
                Content::Directory => (files, bytes),
                Content::File { size, .. } => (files + 1, bytes + size),
                Content::Symlink { .. } => (files + 1, bytes),
            })
    }

    /// Whether it contains a file or link with this path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.entries
            .binary_search_by(|entry| entry.path.as_str().cmp(path))
            .is_ok_and(|index| self.entries[index].content != Content::Directory)
    }

    /// Compares a tree with this manifest.
    pub(super) fn compare(
        &self,
        tree: &Path,
        depth: Depth,
        cancel: &Cancel,
    ) -> Result<Vec<(String, Problem)>> {
        let mut missing: HashMap<&str, &Entry> = self
            .entries
            .iter()
            .map(|entry| (entry.path.as_str(), entry))
            .collect();
        let (mut problems, mut closed) = (Vec::new(), Vec::new());
        if fs::stat(tree)
            .optional()?
            .is_none_or(|stat| stat.kind != Kind::Directory)
        {
            problems.extend(
                missing
                    .into_keys()
                    .map(|path| (path.to_owned(), Problem::Missing)),
            );
            return Ok(problems);
        }
        walk_any(tree, &mut |relative, path, stat| {
            cancel.check()?;
            match missing.remove(relative) {
                None => problems.push((relative.to_owned(), Problem::Extra)),
                Some(expected) => {
                    let problem = difference(expected, path, stat, depth)?;
                    if problem == Some(Problem::Mode) && is_closed(path, stat) {
                        closed.push(format!("{relative}/"));
                    }
                    problems.extend(problem.map(|problem| (relative.to_owned(), problem)));
                }
            }
            Ok(())
        })?;
        // An entry that a changed mode hides is not missing.
        let is_hidden = |path: &str| closed.iter().any(|directory| path.starts_with(directory));
        problems.extend(
            missing
                .into_keys()
                .filter(|path| !is_hidden(path))
                .map(|path| (path.to_owned(), Problem::Missing)),
        );
        problems.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        Ok(problems)
    }
}

/// Whether an entry is a directory that this user may not read.
fn is_closed(path: &Path, stat: &Stat) -> bool {
    stat.kind == Kind::Directory && fs::read_directory(path).is_err_and(|error| error.is_denied())
}

/// Whether a path from a manifest stays inside the tree.
fn is_safe(path: &str) -> bool {
    let is_name = |name: &str| !["", ".", ".."].contains(&name) && !name.contains('\0');
    path.len() < MAX_PATH_BYTES && path.split('/').all(is_name)
}

fn difference(expected: &Entry, path: &Path, stat: &Stat, depth: Depth) -> Result<Option<Problem>> {
    let reads = depth.reads(stat);
    let is_other_mode = expected.content.has_mode() && stat.mode != expected.mode;
    Ok(match &expected.content {
        Content::Directory if stat.kind != Kind::Directory => Some(Problem::Missing),
        Content::File { .. } if stat.kind != Kind::File => Some(Problem::Missing),
        Content::Symlink { .. } if stat.kind != Kind::Symlink => Some(Problem::Missing),
        Content::File { size, .. } if stat.size != *size => Some(Problem::Size),
        Content::File { hash, .. } if reads => match hash_file(path) {
            // A mode that prevents this user from reading proves nothing about the bytes.
            Err(error) if is_other_mode && error.is_denied() => Some(Problem::Mode),
            Err(error) => return Err(error),
            Ok((_, found)) if found != *hash => Some(Problem::Hash),
            Ok(_) => is_other_mode.then_some(Problem::Mode),
        },
        Content::Symlink { target } if reads && fs::read_link(path)?.to_str() != Some(target) => {
            Some(Problem::Hash)
        }
        _ => is_other_mode.then_some(Problem::Mode),
    })
}

/// Fails if two names differ only by case: they are the same file on macOS and Windows.
fn refuse_case_collision(folded: &mut HashMap<String, String>, relative: &str) -> Result<()> {
    match folded.insert(relative.to_lowercase(), relative.to_owned()) {
        None => Ok(()),
        Some(other) => Err(Error::argument(
            "stage",
            format!("it contains both '{other}' and '{relative}'"),
            "paths that differ by more than case",
        )),
    }
}

fn freeze(relative: &str, path: &Path, stat: &Stat, spare: &Path) -> Result<Entry> {
    let (mode, content) = match stat.kind {
        Kind::Directory => (stat.mode, Content::Directory),
        Kind::Symlink => (
            0o777,
            Content::Symlink {
                target: link_text(path)?,
            },
        ),
        Kind::File => {
            // Tools such as esbuild and tsc rewrite files in place. Writing to the other name would change this file.
            if stat.links > 1 {
                own_inode(path, stat.mode, spare)?;
            }
            let mode = (stat.mode & KEPT_MODE) | 0o400;
            if stat.mode != mode {
                fs::set_mode(path, mode)?;
            }
            let (size, hash) = hash_file(path)?;
            (mode, Content::File { size, hash })
        }
        Kind::Other => {
            return Err(Error::argument(
                "stage",
                format!("it contains '{relative}', a device, socket or pipe"),
                "only files, directories and links",
            )
            .at(path));
        }
    };
    Ok(Entry {
        path: relative.to_owned(),
        mode,
        content,
    })
}

fn own_inode(path: &Path, mode: u32, spare: &Path) -> Result<()> {
    fs::remove_file(spare).optional()?;
    fs::copy_file(path, spare, mode)?;
    fs::rename(spare, path)
}

fn link_text(path: &Path) -> Result<String> {
    let target = fs::read_link(path)?;
    target
        .into_os_string()
        .into_string()
        .map_err(|target| Error::argument("link target", target.display(), "UTF-8 text").at(path))
}

/// Larger files are hashed with BLAKE3's multi-threaded form, which is faster only above this size.
const CHUNK_BYTES: usize = 128 * 1024;

fn hash_file(path: &Path) -> Result<(u64, String)> {
    let file = fs::open_any(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut size = 0;
    loop {
        let read = fs::read_into(&file, &mut chunk, path)?;
        if read == 0 {
            return Ok((size, hasher.finalize().to_hex().to_string()));
        }
        hasher.update(&chunk[..read]);
        size += read as u64;
    }
}

/// BLAKE3 over the entries in order. Each field ends with NUL: type, path, mode in octal, then size and hash of a file,
/// or the target of a link.
fn digest(entries: &[Entry]) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut field = |text: &str| {
        hasher.update(text.as_bytes());
        hasher.update(b"\0");
    };
    for Entry { path, mode, content } in entries {
        let mode = format!("{mode:o}");
        match content {
            Content::Directory => ["directory", path, &mode].into_iter().for_each(&mut field),
            Content::File { size, hash } => ["file", path, &mode, &size.to_string(), hash]
                .into_iter()
                .for_each(&mut field),
            Content::Symlink { target } => ["symlink", path, &mode, target].into_iter().for_each(&mut field),
        }
    }
    hasher.finalize().to_hex().to_string()
}
