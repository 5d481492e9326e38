//! Writes one tree to its target: detects an unchanged target, otherwise extracts the tree next to the target, verifies
//! it, commits it and writes the tree manifest. Runs on threads that may block.

use std::sync::Arc;

use super::options::RestoreOptions;
use super::source::Source;
use crate::core::archives::commit::TargetMode;
use crate::core::archives::exclude::Excludes;
use crate::core::archives::pipeline::{Placed, Replacement, Unpacked};
use crate::core::archives::{Expected, ExtractOptions, Progress};
use crate::core::caches::background::Background;
use crate::core::caches::cache::Cache;
use crate::core::caches::pointer::Pointer;
use crate::core::caches::run::Run;
use crate::core::caches::tree_manifest;
use crate::core::failure::{Result, Stage};

/// One tree and its target.
#[derive(Clone)]
pub(super) struct RestorePipeline {
    options: RestoreOptions,
    generation: String,
    expected: Option<Expected>,
    declares_size: bool,
    run: Arc<Run>,
    background: Background,
}

impl RestorePipeline {
    pub(super) fn new(
        options: &RestoreOptions,
        generation: String,
        pointer: Option<&Pointer>,
        cache: &Cache,
        run: &Arc<Run>,
    ) -> Self {
        Self {
            options: options.clone(),
            generation,
            expected: pointer.map(|pointer| Expected {
                files: pointer.files,
                bytes: pointer.bytes,
                digest: Some(pointer.tree.clone()),
            }),
            declares_size: cache.declares_sizes || pointer.is_some(),
            run: Arc::clone(run),
            background: cache.background.clone(),
        }
    }

    /// Number of files and bytes of the target if it already contains this tree. A stat of each entry is enough if the
    /// tree was restored or packed here. If only the generation's name differs, changed files are read.
    pub(super) fn find_unchanged(&self) -> Option<(u64, u64)> {
        let target = &self.options.into;
        let cancel = &self.run.context.cancel;
        // An unreadable tree manifest or target only means that the tree is restored.
        let manifest = tree_manifest::read(target).ok().flatten()?;
        let everything = Excludes::default();
        if manifest.generation == self.generation {
            return manifest
                .find_unchanged(target, &everything, cancel)
                .ok()
                .flatten();
        }
        let promised = self.expected.as_ref()?.digest.as_ref()?;
        let scan = manifest.scan(target, &everything, cancel).ok()?;
        if scan.tree.digest() != *promised {
            return None;
        }
        // Makes the next check a walk of stats. Without it, the check is only slower.
        drop(tree_manifest::write(target, &self.generation, &scan.tree));
        Some(scan.tree.totals())
    }

    /// Extracts, verifies and commits the tree.
    pub(super) fn place(self, source: Source, progress: Arc<Progress>) -> Result<Unpacked> {
        let (cancel, mode) = (self.run.context.cancel.clone(), self.options.mode);
        let extracting = ExtractOptions {
            limits: self.options.limits,
            symlinks: self.options.symlinks,
            duplicates: self.options.duplicates,
            hash: true,
            declared_bytes: self.declares_size.then(|| source.size()),
            expected: self.expected,
            compressed_bytes: Some(source.size()),
            cancel: cancel.clone(),
            progress,
        };
        let replacement = Replacement {
            target: &self.options.into,
            mode,
            options: &extracting,
            gate: &self.run.call.gate,
        };
        let prove = |source: Source| {
            source.verify()?;
            cancel.check()?;
            self.run.enter(Stage::Commit);
            Ok(())
        };
        let (generation, stopped) = (self.generation, cancel.clone());
        let work = self.background.begin();
        replacement.run(source, prove, move |placed| {
            if mode != TargetMode::Merge {
                let Placed {
                    target,
                    tree,
                    committed_ns,
                } = placed;
                drop(tree_manifest::write_restored(
                    &target,
                    &generation,
                    &tree,
                    committed_ns,
                    &stopped,
                ));
            }
            work
        })
    }
}
