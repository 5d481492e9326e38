//! Between a restore and the archive: is the tree there already; if not, extract beside the target, prove,
//! commit, and take a stamp. Runs on threads that may block.

use std::sync::Arc;

use super::options::RestoreOptions;
use super::source::Source;
use crate::core::archives::commit;
use crate::core::archives::exclude::Excludes;
use crate::core::archives::{self, Expected, ExtractOptions, Progress};
use crate::core::caches::pointer::Pointer;
use crate::core::caches::run::Run;
use crate::core::caches::stamp;
use crate::core::caches::thread;
use crate::core::failure::{Result, Stage};

/// What a restore wrote.
pub(super) struct Placed {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) skipped_files: u64,
    pub(super) commit: &'static str,
}

/// One tree on its way to one target.
#[derive(Clone)]
pub(super) struct Placing {
    options: RestoreOptions,
    generation: String,
    expected: Option<Expected>,
    run: Arc<Run>,
}

impl Placing {
    pub(super) fn new(
        options: &RestoreOptions,
        generation: String,
        pointer: Option<&Pointer>,
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
            run: Arc::clone(run),
        }
    }

    /// Files and bytes of the target if it holds this tree already: by stat alone where it was restored or
    /// packed here, by reading what changed since where only the generation's name differs.
    pub(super) fn find_unchanged(&self) -> Option<(u64, u64)> {
        let target = &self.options.into;
        let cancel = &self.run.meter.cancel;
        // A stamp that cannot be read, or a target that cannot be walked, only costs the restore.
        let stamp = stamp::read(target).ok().flatten()?;
        let everything = Excludes::default();
        if stamp.generation == self.generation {
            return stamp.find_unchanged(target, &everything, cancel).ok().flatten();
        }
        let promised = self.expected.as_ref()?.digest.as_ref()?;
        let scan = stamp.scan(target, &everything, cancel).ok()?;
        if scan.tree.digest() != *promised {
            return None;
        }
        // The next look is then a stat walk; without it only slower.
        drop(stamp::write(target, &self.generation, &scan.tree));
        Some(scan.tree.totals())
    }

    /// Extracts, proves and commits.
    pub(super) fn place(self, mut source: Source, progress: Arc<Progress>) -> Result<Placed> {
        let cancel = self.run.meter.cancel.clone();
        let stage = commit::Stage::beside(&self.options.into, self.options.mode)?;
        let extracting = ExtractOptions {
            limits: self.options.limits,
            symlinks: self.options.symlinks,
            hash: true,
            expected: self.expected,
            compressed_bytes: Some(source.size()),
            cancel: cancel.clone(),
            progress,
        };
        let summary = archives::extract_into(&mut source, stage.open()?, stage.path(), &extracting)?;
        source.verify()?;
        cancel.check()?;
        self.run.enter(Stage::Commit);
        let (committed_ns, target) = (archives::now_ns(), stage.target().to_path_buf());
        let committed = stage.commit(&self.run.gate)?;
        let placed = Placed {
            files: summary.files,
            bytes: summary.bytes,
            skipped_files: committed.kept,
            commit: committed.way.as_str(),
        };
        // Neither the stamp nor the old tree's removal is waited for: the tree is there.
        let (generation, mode) = (self.generation, self.options.mode);
        let place = target.clone();
        thread::detach(&place, move || {
            if mode != commit::Mode::Merge {
                drop(stamp::write_restored(
                    &target,
                    &generation,
                    &summary.tree,
                    committed_ns,
                    &cancel,
                ));
            }
            drop(committed.leftovers);
        });
        Ok(placed)
    }
}
