//! The build of a call: a stage next to the target, the build of the caller in it, the upload, and the commit.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::options::EnsureOptions;
use super::report::EnsureStep;
use crate::core::archives::commit::{Gate, StagedTree};
use crate::core::archives::exclude::Excludes;
use crate::core::caches::background::Background;
use crate::core::caches::cache::Cache;
use crate::core::caches::guards::Guard;
use crate::core::caches::pointer::Producer;
use crate::core::caches::run::Run;
use crate::core::caches::snapshot::{PackOptions, SnapshotOptions, UploadedTree};
use crate::core::caches::store::Store;
use crate::core::caches::{thread, tree_manifest};
use crate::core::error;
use crate::core::failure::{Cause, Failure, Result, Stage};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::clock;
use crate::core::sys::deadline::Deadline;

/// What a build of the caller left.
pub(super) struct BuildEnd {
    /// Its tree. None if it failed or was stopped.
    pub(super) stage: Option<OwnedStage>,
    /// The blob of the tree, if it is in the store.
    pub(super) uploaded: Option<Box<UploadedTree>>,
    pub(super) result: BuildResult,
}

/// How a build of the caller ended.
pub(super) enum BuildResult {
    Uploaded,
    /// The build failed, or made a tree that cannot be a result.
    Failed(String),
    /// The caller has no stage or has left.
    Stopped(Failure),
    /// The tree could not be uploaded.
    NotUploaded(Failure),
}

/// A stage that a thread for blocking work removes when it is dropped: it can hold many files.
pub(super) struct OwnedStage {
    stage: Option<StagedTree>,
    background: Background,
}

impl OwnedStage {
    fn path(&self) -> PathBuf {
        let stage = self.stage.as_ref();
        stage.map_or_else(PathBuf::new, |stage| stage.path().to_path_buf())
    }

    /// Fails if the build has left something else than a directory at its path: `nix build --out-link` makes a link there.
    /// The target would become that link, and its tree would not be the one that was published.
    async fn check(&mut self) -> Result<()> {
        let Some(stage) = self.stage.take() else {
            return Ok(());
        };
        let path = stage.path().to_path_buf();
        let opening = thread::run(&path, move || {
            let opened = stage.open().map(drop);
            (stage, opened)
        });
        let (stage, opened) = opening.await?;
        self.stage = Some(stage);
        opened.map_err(|failure| {
            let message = format!(
                "the build left no directory at '{}' ({}). Write the result into that directory",
                path.display(),
                failure.error.message
            );
            Failure::new(failure.cause, message)
        })
    }
}

impl Drop for OwnedStage {
    fn drop(&mut self) {
        if let Some(stage) = self.stage.take() {
            let (path, work) = (stage.path().to_path_buf(), self.background.begin());
            thread::detach(&path, move || {
                drop(stage);
                drop(work);
            });
        }
    }
}

/// What a build needs.
pub(super) struct BuildJob {
    pub(super) cache: Cache,
    pub(super) options: Arc<EnsureOptions>,
    /// None for a build whose tree is not published.
    pub(super) store: Option<Arc<dyn Store>>,
    /// Raised when the build must stop.
    pub(super) stop: Cancel,
    pub(super) steps: mpsc::UnboundedSender<error::Result<EnsureStep>>,
    /// Why nobody else will get the tree.
    pub(super) alone: Option<String>,
}

impl BuildJob {
    /// Runs the build. `builds` says when the caller's part has ended; it comes back for the next build.
    pub(super) async fn run(
        self,
        mut builds: mpsc::UnboundedReceiver<Option<String>>,
        on_upload: impl FnOnce() + Send,
    ) -> (BuildEnd, mpsc::UnboundedReceiver<Option<String>>) {
        let end = self.build(&mut builds, on_upload).await;
        (end, builds)
    }

    async fn build(
        self,
        builds: &mut mpsc::UnboundedReceiver<Option<String>>,
        on_upload: impl FnOnce() + Send,
    ) -> BuildEnd {
        let ended = |result| BuildEnd {
            stage: None,
            uploaded: None,
            result,
        };
        let mut stage = match self.stage().await {
            Ok(stage) => stage,
            Err(failure) => return ended(BuildResult::Stopped(failure)),
        };
        let directory = stage.path();
        let step = EnsureStep::Build {
            directory: directory.clone(),
            alone: self.alone.clone(),
        };
        if self.steps.send(Ok(step)).is_err() {
            return ended(BuildResult::Stopped(Cancel::error().into()));
        }
        match builds.recv().await {
            None => return ended(BuildResult::Stopped(Cancel::error().into())),
            Some(Some(message)) => return ended(BuildResult::Failed(message)),
            Some(None) if self.stop.is_cancelled() => {
                return ended(BuildResult::Stopped(Cancel::error().into()));
            }
            Some(None) => {}
        }
        if let Err(failure) = stage.check().await {
            return ended(BuildResult::Failed(failure.error.message));
        }
        let Some(store) = self.store.clone() else {
            return BuildEnd {
                stage: Some(stage),
                uploaded: None,
                result: BuildResult::Uploaded,
            };
        };
        on_upload();
        match self.upload(&stage, store).await {
            Ok(uploaded) => BuildEnd {
                stage: Some(stage),
                uploaded: Some(Box::new(uploaded)),
                result: BuildResult::Uploaded,
            },
            // Every other caller would build the same tree.
            Err(failure) if failure.cause == Cause::Empty => ended(BuildResult::Failed(format!(
                "the build left no file with a byte in it, and no link, in '{}'. Write the result into that directory",
                directory.display()
            ))),
            Err(failure) if failure.cause == Cause::Refused => {
                ended(BuildResult::Failed(failure.error.message))
            }
            Err(failure) => BuildEnd {
                stage: Some(stage),
                uploaded: None,
                result: BuildResult::NotUploaded(failure),
            },
        }
    }

    async fn stage(&self) -> Result<OwnedStage> {
        let (into, mode) = (self.options.restore.into.clone(), self.options.restore.mode);
        let made = thread::run(&self.options.restore.into, move || {
            StagedTree::beside(&into, mode)
        })
        .await;
        let stage = made?.map_err(|failure| failure.during(Stage::Write))?;
        Ok(OwnedStage {
            stage: Some(stage),
            background: self.cache.background.clone(),
        })
    }

    async fn upload(&self, stage: &OwnedStage, store: Arc<dyn Store>) -> Result<UploadedTree> {
        let limits = self.options.restore.limits;
        let options = SnapshotOptions {
            key: self.options.key.clone(),
            from: stage.path(),
            ticket: None,
            packing: PackOptions {
                excludes: Excludes::default(),
                level: self.options.level,
                max_files: limits.max_files,
                max_bytes: limits.max_bytes,
            },
            guard: Guard::default(),
            quiet: std::time::Duration::ZERO,
            producer: Producer::of_this_machine(self.options.fingerprint.clone()),
        };
        let run = Run::start(self.options.upload_budget, self.stop.clone(), Stage::Pack);
        let accepted = (limits, self.options.restore.symlinks);
        self.cache.upload_tree(store, options, accepted, run).await
    }
}

/// Makes a built tree the target's. On a failure the target is unchanged.
pub(super) async fn commit(
    options: Arc<EnsureOptions>,
    mut stage: OwnedStage,
    uploaded: Option<Box<UploadedTree>>,
) -> Result<()> {
    let into = options.restore.into.clone();
    let Some(tree) = stage.stage.take() else {
        return Ok(());
    };
    let committed = thread::run(&into, move || {
        let target = tree.target().to_path_buf();
        let committed_ns = clock::wall_nanos();
        // A process that the build has left behind can have replaced it.
        tree.open()?;
        let committed = tree.commit(&Gate::new())?;
        if let Some(uploaded) = uploaded {
            let UploadedTree { pointer, tree } = *uploaded;
            // Without it the next call reads the tree again.
            drop(tree_manifest::write_restored(
                &target,
                &pointer.manifest_name(),
                &tree,
                committed_ns,
                &Cancel::new(),
            ));
        }
        Result::Ok(committed.leftovers)
    });
    let leftovers = committed.await??;
    // Removing the old tree can take longer than all the rest.
    let work = stage.background.begin();
    thread::detach(&options.restore.into, move || {
        drop(leftovers);
        drop(work);
    });
    Ok(())
}

/// The end of a call's patience with others.
pub(super) fn deadline_of(options: &EnsureOptions, started: Instant) -> Deadline {
    match options.deadline {
        Some(limit) => Deadline::after(limit.saturating_sub(started.elapsed())),
        None => Deadline::NEVER,
    }
}
