//! Stages: trees that are being built. A stage is on the same filesystem and as deep as a generation.

use std::path::{Path, PathBuf};

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::fs::{self, Kind};
use crate::core::sys::lock_file::{Attempt, Check, LockOptions, LockedFile};
use crate::core::sys::path::Rel;
use crate::core::sys::{clock, durability, fault};

use super::adoption;
use super::advice::with_advice;
use super::copy::{self, CopyMethod};
use super::hold::Hold;
use super::layout::Layout;
use super::manifest::{Content, Manifest};
use super::store::Store;
use super::view;

/// Initial content of a new stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StageBase {
    /// No files.
    Empty,
    /// Files of the current generation, cloned or copied, never linked.
    Current,
}

/// A tree that is being built. A dropped stage stays on disk until the next collection removes it. `discard` removes it
/// immediately.
#[derive(Debug)]
pub struct Stage {
    pub(super) id: String,
    pub(super) layout: Layout,
    /// Time of creation, in microseconds of the monotonic clock.
    pub started_at: u64,
    /// Fence, if the stage was created with one.
    pub fence: Option<u64>,
    /// Exclusive lock on `owners/<id>`. While it is held, the owner is alive.
    _owner: LockedFile,
}

/// A stage whose content is hashed and frozen, ready to become a generation.
#[derive(Debug)]
pub struct Sealed {
    pub(super) manifest: Manifest,
}

impl Stage {
    /// Creates a stage. `fence` is the result of [`Writer::issue_fence`](super::Writer::issue_fence), if the stage is
    /// fenced.
    pub fn begin(store: &Store, from: StageBase, fence: Option<u64>, cancel: &Cancel) -> Result<Self> {
        let started_at = clock::monotonic_micros();
        store.check_writable()?;
        let (id, owner) = with_advice(create_owner_lock(&store.layout))?;
        let stage = Self {
            id,
            layout: store.layout.clone(),
            started_at,
            fence,
            _owner: owner,
        };
        match with_advice(stage.fill(store, from, cancel)) {
            Ok(()) => Ok(stage),
            Err(error) => {
                drop(stage.discard());
                Err(error)
            }
        }
    }

    fn fill(&self, store: &Store, from: StageBase, cancel: &Cancel) -> Result<()> {
        fs::create_directory(&self.layout.stage(&self.id), 0o755)?;
        fs::create_directory(&self.tree(), 0o755)?;
        if from == StageBase::Empty {
            return Ok(());
        }
        let Some((number, _hold)) = Hold::acquire_current(store)? else {
            return Ok(());
        };
        let (from, mut made) = (store.layout.tree(number), Vec::new());
        copy::copy_tree(&from, &self.tree(), CopyMethod::Clone, &mut made, cancel)
    }

    /// Directory to write into.
    pub fn tree(&self) -> PathBuf {
        self.layout.stage(&self.id).join("tree")
    }

    /// Writes one file, replaces an existing file, and creates missing parent directories. Never writes through a link.
    pub fn write(&self, relative: &str, bytes: &[u8], mode: u32) -> Result<()> {
        with_advice(self.create_entry(relative, |path| fs::write_new(path, bytes, mode)))
    }

    /// Creates a symbolic link with any text as its target.
    pub fn symlink(&self, relative: &str, target: &str) -> Result<()> {
        if target.is_empty() || target.contains('\0') {
            return Err(Error::argument(
                "target",
                format!("'{}'", target.escape_debug()),
                "a non-empty link target without NUL",
            ));
        }
        with_advice(self.create_entry(relative, |path| fs::symlink(Path::new(target), path)))
    }

    /// Adopts the contents of a directory as they were at one moment, or nothing.
    pub fn adopt(&self, directory: &Path, method: CopyMethod, cancel: &Cancel) -> Result<()> {
        if fs::stat(directory)?.kind != Kind::Directory {
            return Err(Error::argument(
                "directory",
                format!("'{}'", directory.display()),
                "a directory that is not a link",
            )
            .at(directory));
        }
        if self.layout.root().starts_with(fs::canonicalize(directory)?) {
            return Err(Error::argument(
                "directory",
                format!("'{}' contains the store", directory.display()),
                "a directory that does not contain the store, because the store would be copied into itself",
            )
            .at(directory));
        }
        with_advice(adoption::adopt(directory, &self.tree(), method, cancel))
    }

    /// Hashes and freezes all files. May be called again after further writes.
    pub fn seal(&self, store: &Store, require: &[String], cancel: &Cancel) -> Result<Sealed> {
        let tree = self.tree();
        if fs::stat(&tree)
            .optional()?
            .is_none_or(|stat| stat.kind != Kind::Directory)
        {
            return Err(Error::new(
                Code::StageClosed,
                format!("The stage '{}' was removed by another process", tree.display()),
            )
            .at(&tree));
        }
        let manifest = with_advice(Manifest::seal(
            &tree,
            &self.layout.stage(&self.id).join("copy"),
            cancel,
        ))?;
        check_complete(&manifest, require)?;
        let sealed = Sealed { manifest };
        if !fault::is_seeded("pointer-before-manifest") {
            with_advice(self.write_manifest(&sealed))?;
        }
        with_advice(view::prepare(
            store,
            &self.layout.stage(&self.id),
            &sealed.manifest.digest,
            cancel,
        ))?;
        if store.flushes() {
            with_advice(durability::sync_tree(&self.layout.stage(&self.id)))?;
        }
        Ok(sealed)
    }

    /// Written after all other files: a generation with a manifest is complete.
    pub(super) fn write_manifest(&self, sealed: &Sealed) -> Result<()> {
        let path = self.layout.stage(&self.id).join("manifest.json");
        fs::remove_file(&path).optional()?;
        fs::write_new(&path, &sealed.manifest.to_bytes()?, 0o444)
    }

    /// Removes the stage.
    pub fn discard(&self) -> Result<()> {
        // The lock file is removed last. A half-removed stage without it would have no owner.
        fs::remove_tree(&self.layout.stage(&self.id))?;
        fs::remove_file(&self.layout.owner(&self.id)).optional().map(drop)
    }

    /// Creates an entry. If other threads of this process create the same path concurrently, one of the entries
    /// remains.
    fn create_entry(&self, relative: &str, make: impl Fn(&Path) -> Result<()>) -> Result<()> {
        loop {
            match make(&self.prepare_path(relative)?) {
                Err(error) if error.is_exists() => {}
                made => return made,
            }
        }
    }

    /// Prepares the path of a new entry: creates its parents, refuses links among them, and removes an existing entry.
    fn prepare_path(&self, relative: &str) -> Result<PathBuf> {
        let relative = Rel::parse("relative", relative)?;
        let mut path = self.tree();
        let mut names = relative.as_str().split('/').peekable();
        while let Some(name) = names.next() {
            path.push(name);
            if names.peek().is_some() {
                make_real_directory(&path, &relative)?;
            }
        }
        match fs::remove_file(&path).optional() {
            Ok(_) => Ok(path),
            Err(_) if fs::stat(&path)?.kind == Kind::Directory => Err(Error::argument(
                "relative",
                format!("'{relative}'"),
                "a path that is not a directory in the stage",
            )
            .at(&path)),
            Err(error) => Err(error),
        }
    }
}

fn check_complete(manifest: &Manifest, require: &[String]) -> Result<()> {
    if manifest.totals().0 == 0 {
        return Err(Error::new(
            Code::EmptyStage,
            "The stage contains no files. An empty generation cannot be published. Check the output of the build",
        ));
    }
    match require.iter().find(|path| !manifest.has(path)) {
        Some(path) => Err(Error::new(
            Code::MissingEntry,
            format!(
                "Missing entry '{path}', which options.require lists. The stage contains {}",
                contents(manifest, path)
            ),
        )),
        None => Ok(()),
    }
}

/// Lists the paths of a stage for an error message. Paths with the same name as the missing one, with or without its
/// extension, come first.
fn contents(manifest: &Manifest, missing: &str) -> String {
    const MOST: usize = 10;
    let missing = Path::new(missing);
    if manifest
        .entries
        .iter()
        .any(|entry| Path::new(&entry.path) == missing)
    {
        return "a directory with that name".to_owned();
    }
    let files = manifest
        .entries
        .iter()
        .filter(|entry| !matches!(entry.content, Content::Directory));
    let mut paths: Vec<&str> = files.map(|entry| entry.path.as_str()).collect();
    paths.sort_by_key(|path| {
        let path = Path::new(path);
        let is_similar = path.file_name() == missing.file_name() || path.file_stem() == missing.file_stem();
        !is_similar
    });
    let listed: Vec<String> = paths.iter().take(MOST).map(|path| format!("'{path}'")).collect();
    match paths.len().saturating_sub(MOST) {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}

fn make_real_directory(path: &Path, relative: &Rel) -> Result<()> {
    match fs::create_directory(path, 0o755) {
        Err(error) if error.is_exists() => match fs::stat(path)?.kind {
            Kind::Directory => Ok(()),
            _ => Err(Error::argument(
                "relative",
                format!("'{relative}'"),
                "a path whose parent directories are neither links nor files in the stage",
            )
            .at(path)),
        },
        made => made,
    }
}

/// Creates and locks an owner file with a new name. After locking, the file must still exist, because a collector may
/// remove a file that is not locked yet.
fn create_owner_lock(layout: &Layout) -> Result<(String, LockedFile)> {
    loop {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let path = layout.owner(&id);
        let options = LockOptions::at(&path).create_new(0o644).check(Check::Links);
        if let Attempt::Locked(owner) = options.try_lock()? {
            return Ok((id, owner));
        }
    }
}
