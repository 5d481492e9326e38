//! Packs the tree of a snapshot into an unnamed local file and computes its hash.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::options::SnapshotOptions;
use crate::core::archives::codec::{DEFAULT_LEVEL, FRAME_BYTES, Format};
use crate::core::archives::tree::Tree;
use crate::core::archives::{self, Needs, Progress};
use crate::core::caches::background::Background;
use crate::core::caches::pointer::{Pointer, hex};
use crate::core::caches::run::Run;
use crate::core::caches::store::{Spool, of_system};
use crate::core::caches::thread;
use crate::core::caches::tree_manifest;
use crate::core::error::Error;
use crate::core::failure::{Cause, Failure, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::fs;

/// A packed tree that is not uploaded yet.
pub(super) struct Packed {
    pub(super) spool: Arc<Spool>,
    pub(super) sha256: String,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) frames: u64,
    pub(super) window_log: u32,
    pub(super) digest: String,
    pub(super) tree: Tree,
    pub(super) skipped: Vec<(String, String)>,
    /// Number of symbolic links that lead out of the tree, which a restore refuses by default.
    pub(super) leaving_links: u64,
    pub(super) absolute_links: u64,
    /// Limits that a restore needs.
    pub(super) needs: Needs,
}

/// The tree of one snapshot.
pub(super) struct PackJob<'a> {
    pub(super) options: &'a SnapshotOptions,
    pub(super) run: Arc<Run>,
    pub(super) background: &'a Background,
}

impl PackJob<'_> {
    /// Number of files and bytes of the tree if it equals that of the pointer. Only files that changed since the tree
    /// manifest are read. Without a manifest, packing is as fast as comparing.
    pub(super) async fn find_unchanged(&self, pointer: &Pointer) -> Option<(u64, u64)> {
        let (from, excludes) = (self.options.from.clone(), self.options.packing.excludes.clone());
        let (pointer, cancel) = (pointer.clone(), self.run.context.cancel.clone());
        let looking = thread::run(&self.options.from, move || {
            let mut known = tree_manifest::read(&from).ok().flatten()?;
            if known.generation == pointer.manifest_name() {
                if let Some(totals) = known.find_unchanged(&from, &excludes, &cancel).ok()? {
                    return Some(totals);
                }
                known = tree_manifest::read(&from).ok().flatten()?;
            }
            let scan = known.scan(&from, &excludes, &cancel).ok()?;
            if scan.tree.digest() != pointer.tree {
                return None;
            }
            if !scan.is_unchanged {
                // Makes the next check a walk of stats. Without it, the check is only slower.
                drop(tree_manifest::write(&from, &pointer.manifest_name(), &scan.tree));
            }
            Some(scan.tree.totals())
        });
        looking.await.ok().flatten()
    }

    /// Packs the tree on a separate thread.
    pub(super) async fn pack(&self) -> Result<Packed> {
        let (from, options, cancel) = (
            self.options.from.clone(),
            self.options.clone(),
            self.run.context.cancel.clone(),
        );
        let progress = Arc::new(Progress::default());
        let counted = Arc::clone(&progress);
        let packing = thread::run(&from, move || pack_here(&options, cancel, counted));
        self.run.follow(packing, &progress).await
    }

    /// Writes the tree manifest after the tree has become a generation. The call does not wait for it, because it only
    /// makes the next call faster.
    pub(super) fn remember(&self, pointer: &Pointer, tree: Tree) {
        let (from, generation) = (self.options.from.clone(), pointer.manifest_name());
        let work = self.background.begin();
        thread::detach(&self.options.from, move || {
            drop(tree_manifest::write(&from, &generation, &tree));
            drop(work);
        });
    }
}

fn pack_here(options: &SnapshotOptions, cancel: Cancel, progress: Arc<Progress>) -> Result<Packed> {
    let format = options.key.single_object().unwrap_or(Format::TarZst);
    let writing = archives::WriteOptions {
        format,
        level: options.packing.level.unwrap_or(DEFAULT_LEVEL),
        excludes: options.packing.excludes.clone(),
        max_files: options.packing.max_files,
        max_bytes: options.packing.max_bytes,
        hash: true,
        cancel,
        progress,
    };
    let directory = std::env::temp_dir();
    let mut sink = Sink {
        file: fs::anonymous(&directory).map_err(of_system)?,
        hasher: Sha256::new(),
        path: &directory,
    };
    let summary = archives::write(&options.from, &mut sink, &writing).map_err(of_tree)?;
    // A pointer declares the number of bytes, so the ratio does not matter.
    let ratio = options
        .key
        .single_object()
        .map(|_| (summary.decoded_bytes, summary.compressed_bytes));
    Ok(Packed {
        sha256: hex(&sink.hasher.finalize()),
        spool: Arc::new(Spool {
            file: sink.file,
            size: summary.compressed_bytes,
            path: directory,
        }),
        files: summary.files,
        bytes: summary.bytes,
        frames: summary.frames,
        // A frame never needs a larger window than its own content.
        window_log: FRAME_BYTES.ilog2(),
        digest: summary.tree.digest(),
        needs: Needs::of(&summary.tree, ratio),
        tree: summary.tree,
        leaving_links: summary.leaving_links,
        absolute_links: summary.absolute_links,
        skipped: summary
            .skipped
            .into_iter()
            .map(|skipped| (skipped.path, skipped.why.to_owned()))
            .collect(),
    })
}

/// Converts a missing directory to an empty tree. This differs from a directory that cannot be read.
fn of_tree(failure: Failure) -> Failure {
    match failure.cause {
        Cause::Other if failure.error.is_not_found() => Failure {
            cause: Cause::Empty,
            ..failure
        },
        _ => failure,
    }
}

/// An unnamed file that hashes what is written to it.
struct Sink<'a> {
    file: File,
    hasher: Sha256,
    path: &'a Path,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        fs::write_all(&mut self.file, bytes, self.path).map_err(into_io)?;
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn into_io(error: Error) -> io::Error {
    error.source.unwrap_or_else(|| io::Error::other(error.message))
}
