//! One restore: tries the keys in turn, with lookup, transfer and commit for each.

use std::path::Path;
use std::sync::{Arc, MutexGuard};

use super::options::RestoreOptions;
use super::pipeline::RestorePipeline;
use super::report::RestoreReport;
use super::source::Source;
use crate::core::archives::Progress;
use crate::core::archives::pipeline::Unpacked;
use crate::core::caches::cache::{Cache, KeyTarget};
use crate::core::caches::key::Key;
use crate::core::caches::outcome::RestoreOutcome;
use crate::core::caches::pointer::{Pointer, Producer};
use crate::core::caches::run::Run;
use crate::core::caches::store::{ObjectMeta, PART_BYTES, Store, download, during};
use crate::core::caches::thread;
use crate::core::caches::ticket::{Seen, Ticket};
use crate::core::error::{self, Error};
use crate::core::failure::{Cause, Failure, Result, Stage};
use crate::core::sys::sync::Mutex;

impl Cache {
    /// Restores the first available key. `run` measures the time and receives the progress.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` if the target is a file.
    pub async fn restore(&self, options: RestoreOptions, run: Arc<Run>) -> error::Result<RestoreReport> {
        check_target(&options.into, &run).await?;
        let Some(store) = self.store.clone() else {
            return Ok(RestoreReport::new(RestoreOutcome::Disabled));
        };
        let seen = Arc::<SharedTicket>::default();
        let call = Restore {
            cache: self.clone(),
            store,
            options,
            run: Arc::clone(&run),
            report: RestoreReport::new(RestoreOutcome::Error),
            ticket: Arc::clone(&seen),
        };
        let stage = Arc::clone(&run);
        let mut report = run
            .race(call.work(), move |failure| failed_report(failure, stage.stage()))
            .await;
        report.ticket = seen.to_text();
        report.timings = run.timings();
        report.retries = run.context.retries();
        Ok(report)
    }
}

/// Ends at the deadline of the call, because the disk of the target can hang.
pub(super) async fn check_target(into: &Path, run: &Run) -> error::Result<()> {
    let target = into.to_path_buf();
    let is_file = tokio::select! {
        is_file = thread::on_disk(into, move || target.is_file()) => matches!(is_file, Ok(true)),
        () = run.call.deadline_passed() => false,
    };
    if is_file {
        return Err(Error::argument(
            "options.into",
            format!("'{}' is a file", into.display()),
            "a directory or a missing path",
        ));
    }
    Ok(())
}

pub(super) fn failed_report(failure: Failure, stage: Stage) -> RestoreReport {
    let mut report = RestoreReport::new(failure.cause.into());
    report.reason = (failure.cause != Cause::Aborted).then_some(failure.error.message);
    report.stage = Some(stage);
    report
}

pub(super) struct Restore {
    pub(super) cache: Cache,
    pub(super) store: Arc<dyn Store>,
    pub(super) options: RestoreOptions,
    pub(super) run: Arc<Run>,
    pub(super) report: RestoreReport,
    pub(super) ticket: Arc<SharedTicket>,
}

/// Version of the first key, kept even if the call ends before its work. After a timeout, a caller may install from
/// scratch. Its snapshot must still not replace a generation that another process has published in the meantime.
#[derive(Default)]
pub(super) struct SharedTicket(Mutex<Option<Ticket>>);

impl SharedTicket {
    fn get(&self) -> MutexGuard<'_, Option<Ticket>> {
        self.0.lock()
    }

    fn to_text(&self) -> Option<String> {
        self.get().as_ref().map(Ticket::to_text)
    }
}

impl Restore {
    async fn work(mut self) -> RestoreReport {
        match self.attempt().await {
            Ok(outcome) => self.report.outcome = outcome,
            Err(failure) => {
                self.report.outcome = failure.cause.into();
                self.report.stage = failure.stage.or_else(|| Some(self.run.stage()));
                self.report.reason = Some(failure.error.message);
            }
        }
        self.report
    }

    /// Reads from this place from now on.
    fn read_from(&mut self, place: &Cache) {
        self.cache = place.clone();
        if let Some(store) = &place.store {
            self.store = Arc::clone(store);
        }
    }

    /// Tries the keys in turn, each at all trust levels, until one is restored or a failure ends the call. If an earlier key was unusable and no
    /// later one is restored, its failure is reported. It is more useful than a missing fallback key.
    async fn attempt(&mut self) -> Result<RestoreOutcome> {
        let mut first: Option<(Failure, RestoreReport)> = None;
        let places = self.cache.places();
        let keys = self.options.keys.clone();
        for at in 0..keys.len() * places.len() {
            let (key, place) = (&keys[at / places.len()], &places[at % places.len()]);
            self.read_from(place);
            let is_first = at < places.len() && place.is_home();
            let failure = match self.attempt_key(key, is_first).await {
                Ok(outcome) => return Ok(outcome),
                Err(failure) => failure.during(self.run.stage()),
            };
            let outcome = RestoreOutcome::from(failure.cause);
            if is_first && outcome == RestoreOutcome::Corrupt {
                let mut ticket = self.ticket.get();
                *ticket = ticket.take().map(Ticket::of_damaged);
            }
            // A policy for each trust level can deny one and allow the next.
            if !(is_of_its_key(outcome) || places.len() > 1 && outcome == RestoreOutcome::Denied) {
                return Err(failure);
            }
            let report = std::mem::replace(&mut self.report, RestoreReport::new(RestoreOutcome::Error));
            match &first {
                Some((reported, _))
                    if reported.cause != Cause::NotFound || outcome == RestoreOutcome::Miss => {}
                _ => first = Some((failure, report)),
            }
        }
        let (failure, report) = first.expect("there is a first key");
        self.report = report;
        Err(failure)
    }

    async fn attempt_key(&mut self, key: &Key, is_first: bool) -> Result<RestoreOutcome> {
        let mut is_second = false;
        loop {
            let found = self.look_up(key, is_first).await?;
            self.report.key = Some(key.as_str().to_owned());
            self.report.level = self.cache.level_name();
            match self.restore_found(key, found, is_second).await {
                // The object was replaced or pruned during the read. Start again from the pointer.
                Err(failure) if is_missing(failure.cause) && !is_second => is_second = true,
                Err(failure) if failure.cause == Cause::NotFound => return Err(without_object(&failure)),
                ended => return ended,
            }
        }
    }

    /// Finds what the key currently refers to. The ticket always belongs to the first key, because a snapshot writes to
    /// that one.
    async fn look_up(&mut self, key: &Key, is_first: bool) -> Result<KeyTarget> {
        self.run.enter(Stage::Lookup);
        let found = self.cache.look_up(&*self.store, key, &self.run.context).await;
        let seen = match &found {
            Ok(KeyTarget::Pointer(_, etag)) => Some(Seen::Version(etag.clone())),
            Ok(KeyTarget::Object(object)) => Some(Seen::Version(object.etag.clone())),
            Err(failure) => (failure.cause == Cause::NotFound).then_some(Seen::Nothing),
        };
        if let Some(seen) = seen.filter(|_| is_first) {
            *self.ticket.get() = Some(Ticket::new(key, seen));
        }
        found
    }

    /// The second attempt accepts any version of the blob. Its sha256 proves the bytes, and the store may have assigned
    /// a new version.
    pub(super) async fn restore_found(
        &mut self,
        key: &Key,
        found: KeyTarget,
        is_second: bool,
    ) -> Result<RestoreOutcome> {
        let (pointer, object) = match found {
            KeyTarget::Object(object) => {
                self.check_unknown_producer()?;
                (None, object)
            }
            KeyTarget::Pointer(pointer, _) => {
                self.check_producer(&pointer.producer)?;
                let mut object = ObjectMeta {
                    path: key.blob(&pointer.sha256),
                    size: pointer.size,
                    etag: pointer.etag.clone(),
                    modified_ms: 0,
                };
                if is_second {
                    let known = self.store.stat(&object.path, &self.run.context).await;
                    object.etag = known.map_err(of_transfer)?.etag;
                }
                (Some(*pointer), object)
            }
        };
        let version = object.etag.trim_matches('"').to_owned();
        let generation = pointer.as_ref().map(|pointer| pointer.generation.clone());
        self.report.generation = Some(generation.unwrap_or_else(|| version.clone()));
        self.report.compressed_bytes = object.size;
        let pipeline = RestorePipeline::new(
            &self.options,
            pointer.as_ref().map_or(version, Pointer::manifest_name),
            pointer.as_ref(),
            &self.cache,
            &self.run,
        );
        let checking = pipeline.clone();
        let unchanged = thread::run(&self.options.into, move || checking.find_unchanged()).await;
        if let Ok(Some((files, bytes))) = unchanged {
            (self.report.files, self.report.bytes) = (files, bytes);
            return Ok(RestoreOutcome::Unchanged);
        }
        if let Some(Pointer {
            files, bytes, size, ..
        }) = pointer
        {
            let limits = &self.options.limits;
            limits
                .check_declared(files, bytes, size)
                .map_err(|failure| of_archive(failure, self.run.stage()))?;
        }
        self.run
            .expect_bytes(pointer.as_ref().map_or(0, |pointer| pointer.bytes));
        let placed = self.transfer(pipeline, pointer, object).await?;
        self.report.files = placed.files;
        self.report.bytes = placed.bytes;
        self.report.skipped_files = placed.kept;
        self.report.skipped = placed.skipped;
        self.report.commit = Some(placed.method.as_str());
        Ok(RestoreOutcome::Restored)
    }

    async fn transfer(
        &self,
        pipeline: RestorePipeline,
        pointer: Option<Pointer>,
        object: ObjectMeta,
    ) -> Result<Unpacked> {
        self.run.enter(Stage::Download);
        let size = object.size;
        let chunks = download(
            Arc::clone(&self.store),
            object,
            self.options
                .limits
                .connections(self.options.concurrency, PART_BYTES),
            Arc::clone(&self.run.context),
        );
        let failure = chunks.failure();
        let source = Source::new(chunks, size, pointer.map(|pointer| pointer.sha256), &self.run);
        let progress = Arc::new(Progress::default());
        let counted = Arc::clone(&progress);
        let run = Arc::clone(&self.run);
        let pipeline = thread::run(&self.options.into, move || {
            let placed = pipeline.place(source, counted);
            placed.map_err(|failure| of_archive(failure, run.stage()))
        });
        let placed = self.run.follow(pipeline, &progress).await;
        // The failure that ended the stream is the cause, not the error that the decoder derived from it.
        placed.map_err(|placed| of_transfer(failure.get().cloned().unwrap_or(placed)))
    }

    /// A single object does not record the machine that created it.
    fn check_unknown_producer(&self) -> Result<()> {
        if self.options.expect == Producer::default() {
            return Ok(());
        }
        Err(incompatible(
            "a key that is a single object does not record its producer. With options.expect, use a key without a file extension such as .tar.zst",
        ))
    }

    fn check_producer(&self, producer: &Producer) -> Result<()> {
        let expect = &self.options.expect;
        for (name, wanted, is) in [
            ("platform", &expect.platform, &producer.platform),
            ("arch", &expect.arch, &producer.arch),
            ("libc", &expect.libc, &producer.libc),
            ("fingerprint", &expect.fingerprint, &producer.fingerprint),
        ] {
            if !wanted.is_empty() && wanted != is {
                return Err(incompatible(format!(
                    "expect.{name} is '{wanted}', but the generation has '{is}'"
                )));
            }
        }
        Ok(())
    }
}

fn incompatible(message: impl Into<String>) -> Failure {
    Failure::new(Cause::Incompatible, message).during(Stage::Lookup)
}

/// Whether the failure concerns only this key, so that the next key may work.
fn is_of_its_key(outcome: RestoreOutcome) -> bool {
    matches!(
        outcome,
        RestoreOutcome::Miss
            | RestoreOutcome::Corrupt
            | RestoreOutcome::Incompatible
            | RestoreOutcome::Refused
    )
}

pub(super) fn is_missing(cause: Cause) -> bool {
    matches!(cause, Cause::Changed | Cause::NotFound)
}

/// Failure of a pointer whose object does not exist.
pub(super) fn without_object(failure: &Failure) -> Failure {
    let message = format!(
        "the pointer names an object that does not exist ({})",
        failure.error.message
    );
    Failure {
        stage: failure.stage,
        ..Failure::corrupt(message)
    }
}

/// Failure of the store during the transfer of the object.
fn of_transfer(failure: Failure) -> Failure {
    during(failure, Stage::Download)
}

/// Failure of the archive or of the target's disk, in a call whose current stage is `now`.
fn of_archive(failure: Failure, now: Stage) -> Failure {
    let stage = match failure.cause {
        Cause::Corrupt | Cause::Refused | Cause::TooLarge => Stage::Decode,
        Cause::NoSpace | Cause::Denied => Stage::Write,
        Cause::TargetNotEmpty => Stage::Commit,
        _ => now,
    };
    Failure {
        stage: Some(stage),
        ..failure
    }
}
