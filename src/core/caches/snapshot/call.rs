//! One snapshot: reads the current generation, checks whether the tree may replace it, and uploads the tree.

use std::sync::Arc;

use super::options::SnapshotOptions;
use super::pack_job::{PackJob, Packed};
use super::quiet;
use super::report::SnapshotReport;
use super::upload::Upload;
use crate::core::archives::tree::NodeKind;
use crate::core::archives::{Limits, Needs};
use crate::core::caches::cache::{Cache, KeyTarget};
use crate::core::caches::conditions;
use crate::core::caches::guards::Amount;
use crate::core::caches::outcome::SnapshotOutcome;
use crate::core::caches::pointer::Pointer;
use crate::core::caches::run::Run;
use crate::core::caches::store::{Condition, ObjectMeta, PART_BYTES, Store, rfc3339};
use crate::core::caches::ticket::Seen;
use crate::core::failure::{Cause, Failure, Result, Stage};
use crate::core::sys::clock;

/// State of the key at the start.
struct Current {
    pointer: Option<Pointer>,
    object: Option<ObjectMeta>,
    condition: Condition,
    /// Whether a restore found that the object does not match the pointer.
    is_damaged: bool,
}

impl Cache {
    /// Uploads the tree as the next generation of its key. `run` measures the time and receives the progress.
    pub async fn snapshot(&self, options: SnapshotOptions, run: Arc<Run>) -> SnapshotReport {
        let store = match &self.store {
            Some(store) if !self.read_only => Arc::clone(store),
            Some(_) => {
                let mut report = SnapshotReport::new(SnapshotOutcome::Disabled);
                report.reason = Some(self.read_only_reason());
                return report;
            }
            None => return SnapshotReport::new(SnapshotOutcome::Disabled),
        };
        let call = Snapshot {
            cache: self.clone(),
            store,
            options,
            run: Arc::clone(&run),
            report: SnapshotReport::new(SnapshotOutcome::Error),
        };
        let stage = Arc::clone(&run);
        let mut report = run
            .race(call.work(), move |failure| failed_report(failure, stage.stage()))
            .await;
        report.timings = run.timings();
        report.uploaded_bytes = run.context.sent_bytes();
        report
    }
}

fn failed_report(failure: Failure, stage: Stage) -> SnapshotReport {
    let failure = match failure.cause {
        Cause::Timeout if stage == Stage::Quiet => {
            Failure::unstable("the tree was still changing at the deadline")
        }
        _ => failure,
    };
    let mut report = SnapshotReport::new(failure.cause.into());
    report.reason = (failure.cause != Cause::Aborted).then_some(failure.error.message);
    report
}

struct Snapshot {
    cache: Cache,
    store: Arc<dyn Store>,
    options: SnapshotOptions,
    run: Arc<Run>,
    report: SnapshotReport,
}

impl Snapshot {
    async fn work(mut self) -> SnapshotReport {
        match self.attempt().await {
            Ok(outcome) => self.report.outcome = outcome,
            Err(failure) => {
                self.report.outcome = failure.cause.into();
                self.report.reason = Some(failure.error.message);
            }
        }
        self.report
    }

    async fn attempt(&mut self) -> Result<SnapshotOutcome> {
        if !self.options.quiet.is_zero() {
            self.run.enter(Stage::Quiet);
            quiet::wait(&self.options.from, self.options.quiet, &self.run).await?;
        }
        self.run.enter(Stage::Lookup);
        let current = self.current().await?;
        self.run.enter(Stage::Pack);
        if let Some(pointer) = &current.pointer
            && let Some((files, bytes)) = self.pack_job().find_unchanged(pointer).await
            && self.is_restorable(pointer, &current).await?
        {
            self.report_tree(files, bytes, Some(pointer));
            self.report.reason = note((0, 0), &Needs::declared(files, bytes));
            return self.keep(pointer, &current.condition).await;
        }
        let packed = self.pack_job().pack().await?;
        self.report.skipped.clone_from(&packed.skipped);
        self.report.reason = note((packed.leaving_links, packed.absolute_links), &packed.needs);
        self.report.compressed_bytes = packed.spool.size;
        self.report_tree(packed.files, packed.bytes, current.pointer.as_ref());
        if let Some(pointer) = &current.pointer
            && pointer.tree == packed.digest
            && self.is_restorable(pointer, &current).await?
        {
            self.report.compressed_bytes = pointer.size;
            self.pack_job().remember(pointer, packed.tree);
            return self.keep(pointer, &current.condition).await;
        }
        self.check_guards(&packed, &current)?;
        self.run.enter(Stage::Upload);
        self.report.guarded = self.is_guarded(&packed, &current.condition).await?;
        if self.options.key.single_object().is_some() {
            let putting = self.upload();
            let (outcome, etag) = putting
                .put_object(&packed, current.object, current.condition)
                .await?;
            self.report.generation = Some(etag.trim_matches('"').to_owned());
            return Ok(outcome);
        }
        let putting = self.upload();
        let pointer = putting
            .put_generation(&packed, current.pointer.as_ref(), &current.condition)
            .await?;
        self.pack_job().remember(&pointer, packed.tree);
        self.report.generation = Some(pointer.generation);
        Ok(SnapshotOutcome::Uploaded)
    }

    fn pack_job(&self) -> PackJob<'_> {
        PackJob {
            options: &self.options,
            run: Arc::clone(&self.run),
            background: &self.cache.background,
        }
    }

    fn upload(&self) -> Upload<'_> {
        Upload {
            cache: &self.cache,
            store: Arc::clone(&self.store),
            options: &self.options,
            run: Arc::clone(&self.run),
            is_guarded: self.report.guarded,
        }
    }

    fn report_tree(&mut self, files: u64, bytes: u64, current: Option<&Pointer>) {
        self.report.files = files;
        self.report.bytes = bytes;
        self.report.generation = current.map(|pointer| pointer.generation.clone());
    }

    /// Reads the current state, and derives the condition under which it may be replaced.
    async fn current(&self) -> Result<Current> {
        let found = self
            .cache
            .find(&*self.store, &self.options.key, &self.run.context)
            .await;
        let (pointer, object, etag) = match found {
            Ok(KeyTarget::Pointer(pointer, etag)) => (Some(*pointer), None, Some(etag)),
            Ok(KeyTarget::Object(object)) => (None, Some(object.clone()), Some(object.etag)),
            Err((failure, etag)) => match (failure.cause, etag) {
                (Cause::NotFound, _) => (None, None, None),
                // A damaged pointer is of no use, so it is replaced. A pointer with another signature is not.
                (Cause::Corrupt, Some(etag)) => (None, None, Some(etag)),
                _ => return Err(failure),
            },
        };
        if let Some(ticket) = &self.options.ticket
            && !ticket.matches(&self.options.key, etag.as_deref())
        {
            return Err(Failure::new(
                Cause::Superseded,
                "another generation was published since the restore of this ticket",
            ));
        }
        let condition = match &self.options.ticket {
            Some(ticket) => match &ticket.seen {
                Seen::Nothing => Condition::Absent,
                Seen::Version(etag) | Seen::Damaged(etag) => Condition::Version(etag.clone()),
            },
            None => etag.map_or(Condition::Absent, Condition::Version),
        };
        let is_damaged =
            matches!(&self.options.ticket, Some(ticket) if matches!(ticket.seen, Seen::Damaged(_)));
        Ok(Current {
            pointer,
            object,
            condition,
            is_damaged,
        })
    }

    /// Whether the current generation can be restored: no restore found it damaged, and its blob exists. A lifecycle
    /// rule may have removed the blob. Otherwise 'unchanged' would leave the key unusable forever.
    async fn is_restorable(&self, pointer: &Pointer, current: &Current) -> Result<bool> {
        if current.is_damaged {
            return Ok(false);
        }
        let path = self.options.key.blob(&pointer.sha256);
        match self.store.stat(&path, &self.run.context).await {
            Ok(blob) => Ok(blob.size == pointer.size && blob.etag == pointer.etag),
            // Without s3:ListBucket, a missing object is reported as 'denied'.
            Err(failure) if matches!(failure.cause, Cause::NotFound | Cause::Denied) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Keeps the current generation, because the tree equals it. Nothing is uploaded. If it was created by another kind
    /// of machine or with another fingerprint, a new pointer to the same blob is written, so that `expect` can find it.
    async fn keep(&mut self, current: &Pointer, condition: &Condition) -> Result<SnapshotOutcome> {
        let producer = &self.options.producer;
        let says_nothing = producer.fingerprint.is_empty();
        if producer.is_like(&current.producer)
            && (says_nothing || producer.fingerprint == current.producer.fingerprint)
        {
            return Ok(SnapshotOutcome::Unchanged);
        }
        let pointer = Pointer {
            generation: uuid::Uuid::new_v4().simple().to_string(),
            parent: Some(current.generation.clone()),
            created: rfc3339(clock::wall_millis()),
            producer: producer.clone(),
            hmac: None,
            ..current.clone()
        };
        self.report.guarded = self
            .cache
            .honours_conditions(&*self.store, &self.options.key, &self.run.context)
            .await?;
        if !self.run.may_commit() {
            return Err(Failure::new(Cause::Aborted, "the call has ended"));
        }
        self.run.enter(Stage::Commit);
        self.upload().put_pointer(&pointer, condition).await?;
        self.report.generation = Some(pointer.generation);
        Ok(SnapshotOutcome::Uploaded)
    }

    /// Whether the store protects this write against a concurrent one. For an object in several parts the condition
    /// applies to the completion of the upload. Some stores ignore it there and honour it otherwise.
    async fn is_guarded(&self, packed: &Packed, condition: &Condition) -> Result<bool> {
        let (key, context) = (&self.options.key, &self.run.context);
        if !self.cache.honours_conditions(&*self.store, key, context).await? {
            return Ok(false);
        }
        let is_in_parts = key.single_object().is_some() && packed.spool.size > PART_BYTES;
        if !is_in_parts || !self.store.conditions_are_uncertain() {
            return Ok(true);
        }
        let are_honoured = conditions::honours_in_parts(&*self.store, key, condition, context).await?;
        self.cache.accept_conditions(are_honoured)
    }

    fn check_guards(&self, packed: &Packed, current: &Current) -> Result<()> {
        let tree = amount_of(packed);
        let before = current.pointer.as_ref().map(|pointer| Amount {
            files: pointer.files,
            bytes: pointer.bytes,
        });
        self.options.guard.check(tree, before)?;
        // A single object does not record its files. Its size is the only measure.
        let object = current.object.as_ref().map(|object| Amount {
            files: tree.files,
            bytes: object.size,
        });
        let archive = Amount {
            files: tree.files.max(self.options.guard.min_files),
            bytes: packed.spool.size.max(self.options.guard.min_bytes),
        };
        let checked = self.options.guard.check(archive, object);
        checked.map_err(|mut failure| {
            failure.error.message.push_str(" (compressed bytes)");
            failure
        })
    }
}

/// How much a tree holds. A directory that contains only links (a package directory of pnpm) is not empty: its content is
/// the links and their targets.
pub(super) fn amount_of(packed: &Packed) -> Amount {
    let mut tree = Amount {
        files: packed.files,
        bytes: packed.bytes,
    };
    if packed.files == 0 {
        let links = packed.tree.nodes().iter();
        for link in links.filter(|node| node.kind() == NodeKind::Symlink) {
            tree.files += 1;
            tree.bytes += link.size;
        }
    }
    tree
}

/// Options that a restore needs because its defaults refuse this tree.
fn note((leaving_links, absolute_links): (u64, u64), needs: &Needs) -> Option<String> {
    let links = (leaving_links > 0).then(|| {
        let (absolute, accepted) = if absolute_links > 0 {
            (format!(", {absolute_links} of them absolute"), "'verbatim'")
        } else {
            (String::new(), "'relative' or 'verbatim'")
        };
        format!(
            "{leaving_links} symbolic links lead out of the tree{absolute}. A restore refuses it unless its symlinks are {accepted}"
        )
    });
    let objections = Limits::default().objections(needs);
    let limits = (!objections.is_empty()).then(|| {
        format!(
            "a restore refuses this tree by default: it needs {}",
            objections.join(" and ")
        )
    });
    let notes: Vec<String> = links.into_iter().chain(limits).collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}
