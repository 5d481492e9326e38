//! Snapshot: a tree becomes the next generation of a key, or nothing happens.
//!
//! Packed into a nameless local file first: its hash names the blob, and an empty, shrunken or unchanged tree
//! costs no traffic. Then the blob (immutable), then read back, then the pointer by compare-and-swap against
//! what was seen at the start, or by the ticket of the restore that this snapshot builds on. A reader sees the
//! old generation or the new one; a writer that lost learns it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::pack_job::{self, Packed, Packing};
use super::quiet;
use crate::core::archives::{Limits, Needs};
use crate::core::caches::cache::{Cache, Found};
use crate::core::caches::conditions::{YOUNG, is_older};
use crate::core::caches::guards::{Amount, Guard};
use crate::core::caches::key::Key;
use crate::core::caches::outcome::{RestoreOutcome, SnapshotOutcome, Stage};
use crate::core::caches::pointer::{Pointer, Producer, VERSION};
use crate::core::caches::run::{Ended, Run};
use crate::core::caches::store::{
    self, Answer, Body, Condition, Failure, Kind, Listed, PART_BYTES, Spool, Store,
};
use crate::core::caches::ticket::{Seen, Ticket};
use crate::core::sys::fault;

/// What to snapshot and when not to.
#[derive(Debug, Clone)]
pub struct SnapshotOptions {
    /// Its name.
    pub key: Key,
    /// The tree.
    pub from: PathBuf,
    /// Of the restore that this snapshot builds on.
    pub ticket: Option<Ticket>,
    /// What goes into the archive and how.
    pub packing: Packing,
    /// What may become a generation.
    pub guard: Guard,
    /// How long the tree must have been unchanged; zero is off.
    pub quiet: Duration,
    /// Who makes it.
    pub producer: Producer,
}

/// How a snapshot ended.
#[derive(Debug, Clone)]
pub struct SnapshotReport {
    /// In one word.
    pub outcome: SnapshotOutcome,
    /// For people.
    pub reason: Option<String>,
    /// The generation that is current as far as this call knows.
    pub generation: Option<String>,
    /// Files in the tree.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Bytes of the archive.
    pub compressed_bytes: u64,
    /// Bytes that were sent.
    pub uploaded_bytes: u64,
    /// What was left out, and why.
    pub skipped: Vec<(String, String)>,
    /// Whether the store tells two writers apart.
    pub guarded: bool,
    /// Milliseconds by stage.
    pub timings: Vec<(&'static str, f64)>,
}

impl SnapshotReport {
    fn new(outcome: SnapshotOutcome) -> Self {
        Self {
            outcome,
            reason: None,
            generation: None,
            files: 0,
            bytes: 0,
            compressed_bytes: 0,
            uploaded_bytes: 0,
            skipped: Vec::new(),
            guarded: true,
            timings: Vec::new(),
        }
    }
}

/// An early end: the outcome and why.
pub(in crate::core::caches) struct Stop(
    pub(in crate::core::caches) SnapshotOutcome,
    pub(in crate::core::caches) String,
);

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self(SnapshotOutcome::from(&failure), failure.message)
    }
}

/// What was there at the start.
struct Current {
    pointer: Option<Pointer>,
    object: Option<Listed>,
    condition: Condition,
    /// Whether a restore found that the pointer's promise does not hold.
    is_damaged: bool,
}

impl Cache {
    /// Makes the tree the next generation of its key. `run` has the time and is where progress is told.
    pub async fn snapshot(&self, options: SnapshotOptions, run: Arc<Run>) -> SnapshotReport {
        let store = match &self.store {
            Some(store) if !self.read_only => Arc::clone(store),
            Some(_) => {
                let mut report = SnapshotReport::new(SnapshotOutcome::Disabled);
                report.reason = Some("this cache is read-only".to_owned());
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
            .race(call.work(), move |ended| settle(ended, stage.stage()))
            .await;
        report.timings = run.timings();
        report.uploaded_bytes = run.meter.sent_bytes();
        report
    }
}

fn settle(ended: Ended, stage: Stage) -> SnapshotReport {
    let (outcome, reason) = match ended {
        Ended::TimedOut(_) if stage == Stage::Quiet => (
            SnapshotOutcome::Unstable,
            Some("the tree kept changing until the deadline".to_owned()),
        ),
        Ended::TimedOut(reason) => (SnapshotOutcome::Timeout, Some(reason)),
        Ended::Aborted => (SnapshotOutcome::Aborted, None),
        Ended::Panicked(reason) => (SnapshotOutcome::Error, Some(reason)),
    };
    let mut report = SnapshotReport::new(outcome);
    report.reason = reason;
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
            Err(Stop(outcome, reason)) => {
                self.report.outcome = outcome;
                self.report.reason = Some(reason);
            }
        }
        self.report
    }

    async fn attempt(&mut self) -> std::result::Result<SnapshotOutcome, Stop> {
        if !self.options.quiet.is_zero() {
            self.run.enter(Stage::Quiet);
            quiet::wait(&self.options.from, self.options.quiet, &self.run).await?;
        }
        self.run.enter(Stage::Lookup);
        let current = self.current().await?;
        self.run.enter(Stage::Pack);
        if let Some(pointer) = &current.pointer
            && let Some((files, bytes)) = pack_job::find_unchanged(&self.options, pointer, &self.run).await
            && self.is_restorable(pointer, &current).await?
        {
            self.tell(files, bytes, Some(pointer));
            self.report.reason = note(0, &Needs::declared(files, bytes));
            return self.keep(pointer, &current.condition).await;
        }
        let packed = pack_job::pack(&self.options, &self.run).await?;
        self.report.skipped.clone_from(&packed.skipped);
        self.report.reason = note(packed.leaving_links, &packed.needs);
        self.report.compressed_bytes = packed.spool.size;
        self.tell(packed.files, packed.bytes, current.pointer.as_ref());
        if let Some(pointer) = &current.pointer
            && pointer.tree == packed.digest
            && self.is_restorable(pointer, &current).await?
        {
            self.report.compressed_bytes = pointer.size;
            pack_job::remember(&self.options, &pointer.generation, packed.tree);
            return self.keep(pointer, &current.condition).await;
        }
        self.check_guards(&packed, &current)?;
        self.run.enter(Stage::Upload);
        self.report.guarded = self.is_guarded(&packed, &current.condition).await?;
        match self.options.key.single_object() {
            Some(_) => self.put_object(packed, current).await,
            None => self.put_generation(packed, current).await,
        }
    }

    fn tell(&mut self, files: u64, bytes: u64, current: Option<&Pointer>) {
        self.report.files = files;
        self.report.bytes = bytes;
        self.report.generation = current.map(|pointer| pointer.generation.clone());
    }

    /// What is there now, and the condition under which it may be replaced.
    async fn current(&self) -> std::result::Result<Current, Stop> {
        let found = self
            .cache
            .look_up(&*self.store, &self.options.key, &self.run.meter)
            .await;
        let (pointer, object, etag) = match found {
            Ok(Found::Pointer(pointer, etag)) => (Some(*pointer), None, Some(etag)),
            Ok(Found::Single(object)) => (None, Some(object.clone()), Some(object.etag)),
            Err(not_found) => match (not_found.outcome, not_found.etag) {
                (RestoreOutcome::Miss, _) => (None, None, None),
                // Damaged: no use to anybody, so it is replaced. What somebody else signed is theirs.
                (RestoreOutcome::Corrupt, Some(etag)) => (None, None, Some(etag)),
                (outcome, _) => return Err(Stop(same(outcome), not_found.reason)),
            },
        };
        if let Some(ticket) = &self.options.ticket
            && !ticket.matches(&self.options.key, etag.as_deref())
        {
            return Err(Stop(
                SnapshotOutcome::Superseded,
                "another generation was published since the restore of this ticket".to_owned(),
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

    /// Whether the current generation is worth keeping: no restore found it damaged, and its blob is there, which
    /// a lifecycle rule may have removed. Else 'unchanged' would leave the key broken for ever.
    async fn is_restorable(&self, pointer: &Pointer, current: &Current) -> Answer<bool> {
        if current.is_damaged {
            return Ok(false);
        }
        let path = self.options.key.blob(&pointer.sha256);
        match self.store.stat(&path, &self.run.meter).await {
            Ok(blob) => Ok(blob.size == pointer.size && blob.etag == pointer.etag),
            // Without s3:ListBucket an object that is not there is 'denied'.
            Err(failure) if matches!(failure.kind, Kind::NotFound | Kind::Denied) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// The tree is what the current generation holds: nothing is sent. Made by another machine or for another lock
    /// file it gets a pointer of its own to the same blob, else `expect` would never find it.
    async fn keep(
        &mut self,
        current: &Pointer,
        condition: &Condition,
    ) -> std::result::Result<SnapshotOutcome, Stop> {
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
            created: store::rfc3339(store::now_ms()),
            producer: producer.clone(),
            hmac: None,
            ..current.clone()
        };
        self.report.guarded = self
            .cache
            .honours_conditions(&*self.store, &self.options.key, &self.run.meter)
            .await?;
        if !self.run.may_commit() {
            return Err(Stop(SnapshotOutcome::Aborted, "the call has ended".to_owned()));
        }
        self.run.enter(Stage::Commit);
        self.put_pointer(&pointer, condition).await?;
        self.report.generation = Some(pointer.generation);
        Ok(SnapshotOutcome::Uploaded)
    }

    /// Whether the store tells two writers of this key apart. An object in several parts is guarded by the condition
    /// on their completion, which some stores ignore that honour it otherwise.
    async fn is_guarded(&self, packed: &Packed, condition: &Condition) -> Answer<bool> {
        let (key, meter) = (&self.options.key, &self.run.meter);
        if !self.cache.honours_conditions(&*self.store, key, meter).await? {
            return Ok(false);
        }
        let is_in_parts = key.single_object().is_some() && packed.spool.size > PART_BYTES;
        if !is_in_parts || !self.store.conditions_are_uncertain() {
            return Ok(true);
        }
        crate::core::caches::conditions::honours_in_parts(&*self.store, key, condition, meter).await
    }

    fn check_guards(&self, packed: &Packed, current: &Current) -> std::result::Result<(), Stop> {
        let tree = Amount {
            files: packed.files,
            bytes: packed.bytes,
        };
        let before = current.pointer.as_ref().map(|pointer| Amount {
            files: pointer.files,
            bytes: pointer.bytes,
        });
        if let Some((outcome, reason)) = self.options.guard.refuse(tree, before) {
            return Err(Stop(outcome, reason));
        }
        // One object says nothing of its files; its size is the only measure.
        let object = current.object.as_ref().map(|object| Amount {
            files: packed.files,
            bytes: object.size,
        });
        let archive = Amount {
            files: packed.files.max(self.options.guard.min_files),
            bytes: packed.spool.size.max(self.options.guard.min_bytes),
        };
        match self.options.guard.refuse(archive, object) {
            Some((outcome, reason)) => Err(Stop(outcome, format!("{reason} (compressed bytes)"))),
            None => Ok(()),
        }
    }

    async fn put_generation(
        &mut self,
        packed: Packed,
        current: Current,
    ) -> std::result::Result<SnapshotOutcome, Stop> {
        let pointer_first = fault::mutant("pointer-before-blob");
        let mut pointer = self.pointer(&packed, current.pointer.as_ref());
        if pointer_first {
            self.put_pointer(&pointer, &current.condition).await?;
        }
        pointer.etag = self.put_blob(&pointer, &packed.spool).await?;
        if !pointer_first {
            if !self.run.may_commit() {
                return Err(Stop(SnapshotOutcome::Aborted, "the call has ended".to_owned()));
            }
            self.run.enter(Stage::Commit);
            self.put_pointer(&pointer, &current.condition).await?;
        }
        self.report.generation = Some(pointer.generation.clone());
        pack_job::remember(&self.options, &pointer.generation, packed.tree);
        Ok(SnapshotOutcome::Uploaded)
    }

    fn pointer(&self, packed: &Packed, parent: Option<&Pointer>) -> Pointer {
        Pointer {
            v: VERSION,
            generation: uuid::Uuid::new_v4().simple().to_string(),
            parent: parent.map(|pointer| pointer.generation.clone()),
            blob: format!("{}.tar.zst", packed.sha256),
            size: packed.spool.size,
            etag: String::new(),
            sha256: packed.sha256.clone(),
            tree: packed.digest.clone(),
            files: packed.files,
            bytes: packed.bytes,
            window_log: packed.window_log,
            frames: packed.frames,
            created: store::rfc3339(store::now_ms()),
            producer: self.options.producer.clone(),
            hmac: None,
        }
    }

    /// The blob, if it is not there already, and proof that its bytes can be read back.
    async fn put_blob(&self, pointer: &Pointer, spool: &Arc<Spool>) -> Answer<String> {
        let path = self.options.key.blob(&pointer.sha256);
        let meter = &self.run.meter;
        let body = Body::Spool(Arc::clone(spool));
        let etag = self.send(&path, &body).await?;
        self.run.enter(Stage::Verify);
        if self.is_as_promised(pointer, &path, &etag).await? {
            return Ok(etag);
        }
        // A damaged blob under its final name would break the key for ever (decocms/studio#5399).
        self.run.enter(Stage::Upload);
        let etag = self.store.write(&path, body, Condition::Always, meter).await?;
        self.run.enter(Stage::Verify);
        if self.is_as_promised(pointer, &path, &etag).await? {
            return Ok(etag);
        }
        Err(Failure::new(
            Kind::Malformed,
            "what the store gives back is not what was sent",
        ))
    }

    /// Sends the blob unless it is there: of the same bytes written before, or left of a killed upload. The name says
    /// what they must be, reading them back says what they are.
    async fn send(&self, path: &str, body: &Body) -> Answer<String> {
        let meter = &self.run.meter;
        let (condition, known) = match self.store.stat(path, meter).await {
            Ok(blob) if !is_older(&blob, YOUNG) => return Ok(blob.etag),
            // An old one is written again, so that it is young: a prune may have its eye on it.
            Ok(blob) => (Condition::Version(blob.etag.clone()), Some(blob.etag)),
            // Without s3:ListBucket an object that is not there is 'denied'.
            Err(failure) if matches!(failure.kind, Kind::NotFound | Kind::Denied) => {
                (Condition::Absent, None)
            }
            Err(failure) => return Err(failure),
        };
        match (
            self.store.write(path, body.clone(), condition, meter).await,
            known,
        ) {
            // Another snapshot of this tree was faster, and may point to what it wrote.
            (Err(failure), _) if matches!(failure.kind, Kind::Changed | Kind::Conflict) => {
                Ok(self.store.stat(path, meter).await?.etag)
            }
            // A policy under which nothing is overwritten.
            (Err(failure), Some(etag)) if failure.kind == Kind::Denied => Ok(etag),
            (written, _) => written,
        }
    }

    async fn is_as_promised(&self, pointer: &Pointer, path: &str, etag: &str) -> Answer<bool> {
        let object = Listed {
            path: path.to_owned(),
            size: pointer.size,
            etag: etag.to_owned(),
            modified_ms: 0,
        };
        if self.store.stat(path, &self.run.meter).await?.size != pointer.size {
            return Ok(false);
        }
        pack_job::hash_object(&self.store, object, &self.run.meter)
            .await
            .map(|sha256| sha256 == pointer.sha256)
    }

    async fn put_pointer(&self, pointer: &Pointer, condition: &Condition) -> std::result::Result<(), Stop> {
        let key = &self.options.key;
        let bytes = Bytes::from(pointer.to_bytes(key, self.cache.secret.as_deref()));
        let condition = if self.report.guarded {
            condition.clone()
        } else {
            Condition::Always
        };
        let path = key.pointer();
        let written = self
            .store
            .write(&path, Body::Bytes(bytes), condition, &self.run.meter)
            .await;
        let Err(failure) = written else { return Ok(()) };
        // The answer to a write that did happen can be lost, and its repetition then fails.
        let is_uncertain = matches!(
            failure.kind,
            Kind::Changed | Kind::Conflict | Kind::Unavailable | Kind::Broken | Kind::Stalled
        );
        if is_uncertain && self.is_current(pointer).await {
            return Ok(());
        }
        Err(failure.into())
    }

    async fn is_current(&self, pointer: &Pointer) -> bool {
        let found = self
            .cache
            .look_up(&*self.store, &self.options.key, &self.run.meter)
            .await;
        matches!(found, Ok(Found::Pointer(current, _)) if current.generation == pointer.generation)
    }

    /// A key that is one object: its own version is what is compared.
    async fn put_object(
        &mut self,
        packed: Packed,
        current: Current,
    ) -> std::result::Result<SnapshotOutcome, Stop> {
        if let Some(object) = current.object.filter(|object| object.size == packed.spool.size) {
            let etag = object.etag.clone();
            if pack_job::hash_object(&self.store, object, &self.run.meter).await? == packed.sha256 {
                self.report.generation = Some(etag.trim_matches('"').to_owned());
                return Ok(SnapshotOutcome::Unchanged);
            }
        }
        let condition = if self.report.guarded {
            current.condition
        } else {
            Condition::Always
        };
        let run = Arc::clone(&self.run);
        let may_show = Arc::new(move || {
            let may = run.may_commit();
            if may {
                run.enter(Stage::Commit);
            }
            may
        });
        let (path, body) = (self.options.key.as_str(), Body::Spool(Arc::clone(&packed.spool)));
        let written = self
            .store
            .write_if(path, body, condition, may_show, &self.run.meter)
            .await;
        let etag = match written {
            Ok(etag) => etag,
            // The answer to a write that did happen can be lost, and its repetition then fails.
            Err(failure) => self.find_written(&packed, &failure).await.ok_or(failure)?,
        };
        self.report.generation = Some(etag.trim_matches('"').to_owned());
        Ok(SnapshotOutcome::Uploaded)
    }

    /// The version of the one object, if it is what was written although the write failed.
    async fn find_written(&self, packed: &Packed, failure: &Failure) -> Option<String> {
        if !matches!(
            failure.kind,
            Kind::Changed | Kind::Conflict | Kind::Unavailable | Kind::Broken | Kind::Stalled
        ) {
            return None;
        }
        let meter = &self.run.meter;
        let object = self.store.stat(self.options.key.as_str(), meter).await.ok()?;
        let (size, etag) = (object.size, object.etag.clone());
        let sha256 = pack_job::hash_object(&self.store, object, meter).await.ok()?;
        (size == packed.spool.size && sha256 == packed.sha256).then_some(etag)
    }
}

/// What a restore must be given, because its defaults refuse this tree.
fn note(leaving_links: u64, needs: &Needs) -> Option<String> {
    let links = (leaving_links > 0).then(|| {
        format!(
            "{leaving_links} symbolic links lead out of the tree: a restore refuses it unless its symlinks are 'relative' or 'verbatim'"
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

/// The same word in the other set.
fn same(outcome: RestoreOutcome) -> SnapshotOutcome {
    match outcome {
        RestoreOutcome::Timeout => SnapshotOutcome::Timeout,
        RestoreOutcome::Aborted => SnapshotOutcome::Aborted,
        RestoreOutcome::Corrupt => SnapshotOutcome::Corrupt,
        RestoreOutcome::Incompatible => SnapshotOutcome::Incompatible,
        RestoreOutcome::Denied | RestoreOutcome::Refused => SnapshotOutcome::Denied,
        RestoreOutcome::NoSpace => SnapshotOutcome::NoSpace,
        RestoreOutcome::Superseded => SnapshotOutcome::Superseded,
        RestoreOutcome::Unavailable => SnapshotOutcome::Unavailable,
        _ => SnapshotOutcome::Error,
    }
}
