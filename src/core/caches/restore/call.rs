//! One call of a restore: the keys in turn, and for each the lookup, the transfer and the commit.

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
    /// Restores the first of the keys that is there. `run` has the time and is where progress is told.
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

/// Ends with the call's time: the target's disk can stall.
pub(super) async fn check_target(into: &Path, run: &Run) -> error::Result<()> {
    let target = into.to_path_buf();
    let is_file = tokio::select! {
        is_file = thread::on_disk(into, move || target.is_file()) => matches!(is_file, Ok(true)),
        () = run.call.deadline_passed() => false,
    };
    if is_file {
        return Err(Error::argument(
            "options.into",
            format!("'{}', a file", into.display()),
            "a directory, or a path where nothing is",
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

/// What was seen of the first key, also by a call that ended before its work did: who installs afresh after a timeout
/// still must not replace what another one has published meanwhile.
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

    /// The keys in turn, until one is restored or the world ends the call. What an unusable key was is told if no
    /// later one is restored: it says more than that a fallback is not there.
    async fn attempt(&mut self) -> Result<RestoreOutcome> {
        let mut first: Option<(Failure, RestoreReport)> = None;
        for (index, key) in self.options.keys.clone().into_iter().enumerate() {
            let failure = match self.attempt_key(&key, index == 0).await {
                Ok(outcome) => return Ok(outcome),
                Err(failure) => failure.during(self.run.stage()),
            };
            let outcome = RestoreOutcome::from(failure.cause);
            if index == 0 && outcome == RestoreOutcome::Corrupt {
                let mut ticket = self.ticket.get();
                *ticket = ticket.take().map(Ticket::of_damaged);
            }
            if !is_of_its_key(outcome) {
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
            match self.restore_found(key, found, is_second).await {
                // The object was replaced or pruned while it was read: once more from the pointer.
                Err(failure) if is_missing(failure.cause) && !is_second => is_second = true,
                Err(failure) if failure.cause == Cause::NotFound => return Err(without_object(&failure)),
                ended => return ended,
            }
        }
    }

    /// What the key means now. The ticket is always of the first key: a snapshot goes to that one.
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

    /// The second time in whatever version the blob has: its sha256 proves the bytes, and a store may name them anew.
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
        self.report.generation = Some(pointer.as_ref().map_or_else(
            || object.etag.trim_matches('"').to_owned(),
            |pointer| pointer.generation.clone(),
        ));
        self.report.compressed_bytes = object.size;
        let generation = self.report.generation.clone().unwrap_or_default();
        let pipeline = RestorePipeline::new(
            &self.options,
            generation,
            pointer.as_ref(),
            self.cache.declares_sizes,
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
        // What ended the stream is the cause; what the decoder made of it is not.
        placed.map_err(|placed| of_transfer(failure.get().cloned().unwrap_or(placed)))
    }

    /// One object says nothing of the machine that made it.
    fn check_unknown_producer(&self) -> Result<()> {
        if self.options.expect == Producer::default() {
            return Ok(());
        }
        Err(incompatible(
            "a key that is one object does not say what made it; with expect use a key without such an ending",
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
                    "expect.{name} is '{wanted}', the generation has '{is}'"
                )));
            }
        }
        Ok(())
    }
}

fn incompatible(message: impl Into<String>) -> Failure {
    Failure::new(Cause::Incompatible, message).during(Stage::Lookup)
}

/// Whether another key can be better: nothing is there, or nobody can use what is.
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

/// The failure of a pointer whose object does not exist.
pub(super) fn without_object(failure: &Failure) -> Failure {
    let message = format!(
        "the pointer names an object that is not there ({})",
        failure.error.message
    );
    Failure {
        stage: failure.stage,
        ..Failure::corrupt(message)
    }
}

/// A failure of the store while the object is read.
fn of_transfer(failure: Failure) -> Failure {
    during(failure, Stage::Download)
}

/// A failure of the archive, or of the target's disk, in a call that is at `now`.
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
