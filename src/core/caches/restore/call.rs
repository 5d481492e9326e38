//! Restore: a key's tree appears at the target in full, or the target stays as it was.
//!
//! Lookup, then ranged reads of one version, decoded and written beside the target while they arrive, then the
//! proof (size, sha256, files, bytes, digest: all from the pointer, none from the stream), then the commit, if
//! the call has not settled by then.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

use super::pipeline::{Placed, Placing};
use crate::core::archives::commit::Mode;
use crate::core::archives::failure::{Cause, Failure as ArchiveFailure};
use crate::core::archives::{Limits, Progress, Symlinks};
use crate::core::caches::cache::{Cache, Found};
use crate::core::caches::key::Key;
use crate::core::caches::outcome::{RestoreOutcome, Stage};
use crate::core::caches::pointer::{Pointer, Producer, hex};
use crate::core::caches::run::{Ended, Run};
use crate::core::caches::snapshot::follow;
use crate::core::caches::store::{Chunks, Failure, Kind, Listed, PART_BYTES, Store, download};
use crate::core::caches::thread;
use crate::core::caches::ticket::{Seen, Ticket};
use crate::core::sys::fault;

/// What to restore and where.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Tried in turn.
    pub keys: Vec<Key>,
    /// The target.
    pub into: PathBuf,
    /// What may be there.
    pub mode: Mode,
    /// Which links are made.
    pub symlinks: Symlinks,
    /// What the producer must have been; empty fields accept everything.
    pub expect: Producer,
    /// What is accepted at most.
    pub limits: Limits,
    /// Connections at once.
    pub concurrency: usize,
}

/// How a restore ended.
#[derive(Debug, Clone)]
pub struct RestoreReport {
    /// In one word.
    pub outcome: RestoreOutcome,
    /// For people.
    pub reason: Option<String>,
    /// Which of the keys.
    pub key: Option<String>,
    /// Which generation.
    pub generation: Option<String>,
    /// What was being done when it failed.
    pub stage: Option<Stage>,
    /// Files in the tree.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Bytes of the archive.
    pub compressed_bytes: u64,
    /// Files that were there already and stay, in mode merge.
    pub skipped_files: u64,
    /// Requests that were repeated.
    pub retries: u32,
    /// How it was committed.
    pub commit: Option<&'static str>,
    /// Milliseconds by stage.
    pub timings: Vec<(&'static str, f64)>,
    /// For the snapshot that builds on it.
    pub ticket: Option<String>,
}

impl RestoreReport {
    fn new(outcome: RestoreOutcome) -> Self {
        Self {
            outcome,
            reason: None,
            key: None,
            generation: None,
            stage: None,
            files: 0,
            bytes: 0,
            compressed_bytes: 0,
            skipped_files: 0,
            retries: 0,
            commit: None,
            timings: Vec::new(),
            ticket: None,
        }
    }
}

/// An early end: the outcome, why, and in which stage if not the present one.
pub(in crate::core::caches) struct Stop {
    outcome: RestoreOutcome,
    reason: String,
    stage: Option<Stage>,
}

impl Stop {
    /// Whether another key can be better: nothing is there, or nobody can use what is.
    fn is_of_its_key(&self) -> bool {
        matches!(
            self.outcome,
            RestoreOutcome::Miss
                | RestoreOutcome::Corrupt
                | RestoreOutcome::Incompatible
                | RestoreOutcome::Refused
        )
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        let stage = match failure.kind {
            Kind::CredentialsMissing | Kind::CredentialsTimeout => Stage::Credentials,
            _ => Stage::Download,
        };
        Self {
            outcome: RestoreOutcome::from(&failure),
            reason: failure.message,
            stage: Some(stage),
        }
    }
}

impl From<ArchiveFailure> for Stop {
    fn from(failure: ArchiveFailure) -> Self {
        let (outcome, stage) = match failure.cause {
            Cause::Corrupt => (RestoreOutcome::Corrupt, Some(Stage::Decode)),
            Cause::Refused | Cause::TooLarge => (RestoreOutcome::Refused, Some(Stage::Decode)),
            Cause::TargetNotEmpty => (RestoreOutcome::TargetNotEmpty, Some(Stage::Commit)),
            Cause::Busy => (RestoreOutcome::Busy, None),
            Cause::NoSpace => (RestoreOutcome::NoSpace, Some(Stage::Write)),
            Cause::Denied => (RestoreOutcome::Denied, Some(Stage::Write)),
            Cause::Timeout => (RestoreOutcome::Timeout, None),
            Cause::Aborted => (RestoreOutcome::Aborted, None),
            _ => (RestoreOutcome::Error, None),
        };
        Self {
            outcome,
            reason: failure.error.message,
            stage,
        }
    }
}

impl Cache {
    /// Restores the first of the keys that is there. `run` has the time and is where progress is told.
    pub async fn restore(&self, options: RestoreOptions, run: Arc<Run>) -> RestoreReport {
        let Some(store) = self.store.clone() else {
            return RestoreReport::new(RestoreOutcome::Disabled);
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
            .race(call.work(), move |ended| settle(ended, stage.stage()))
            .await;
        report.ticket = seen.to_text();
        report.timings = run.timings();
        report.retries = run.meter.retries();
        report
    }
}

fn settle(ended: Ended, stage: Stage) -> RestoreReport {
    let (outcome, reason) = match ended {
        Ended::TimedOut(reason) => (RestoreOutcome::Timeout, Some(reason)),
        Ended::Aborted => (RestoreOutcome::Aborted, None),
        Ended::Panicked(reason) => (RestoreOutcome::Error, Some(reason)),
    };
    let mut report = RestoreReport::new(outcome);
    report.reason = reason;
    report.stage = Some(stage);
    report
}

struct Restore {
    cache: Cache,
    store: Arc<dyn Store>,
    options: RestoreOptions,
    run: Arc<Run>,
    report: RestoreReport,
    ticket: Arc<SharedTicket>,
}

/// What was seen of the first key, also by a call that ended before its work did: who installs afresh after a timeout
/// still must not replace what another one has published meanwhile.
#[derive(Default)]
struct SharedTicket(Mutex<Option<Ticket>>);

impl SharedTicket {
    fn get(&self) -> MutexGuard<'_, Option<Ticket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn to_text(&self) -> Option<String> {
        self.get().as_ref().map(Ticket::to_text)
    }
}

impl Restore {
    async fn work(mut self) -> RestoreReport {
        match self.attempt().await {
            Ok(outcome) => self.report.outcome = outcome,
            Err(stop) => {
                self.report.outcome = stop.outcome;
                self.report.reason = Some(stop.reason);
                self.report.stage = stop.stage.or_else(|| Some(self.run.stage()));
            }
        }
        self.report
    }

    /// The keys in turn, until one is restored or the world ends the call. What an unusable key was is told if no
    /// later one is restored: it says more than that a fallback is not there.
    async fn attempt(&mut self) -> Result<RestoreOutcome, Stop> {
        let mut first: Option<(Stop, RestoreReport)> = None;
        for (index, key) in self.options.keys.clone().into_iter().enumerate() {
            let mut stop = match self.attempt_key(&key, index == 0).await {
                Ok(outcome) => return Ok(outcome),
                Err(stop) => stop,
            };
            stop.stage.get_or_insert_with(|| self.run.stage());
            if index == 0 && stop.outcome == RestoreOutcome::Corrupt {
                let mut ticket = self.ticket.get();
                *ticket = ticket.take().map(Ticket::of_damaged);
            }
            if !stop.is_of_its_key() {
                return Err(stop);
            }
            let report = std::mem::replace(&mut self.report, RestoreReport::new(RestoreOutcome::Error));
            match &first {
                Some((told, _))
                    if told.outcome != RestoreOutcome::Miss || stop.outcome == RestoreOutcome::Miss => {}
                _ => first = Some((stop, report)),
            }
        }
        let (stop, report) = first.expect("there is a first key");
        self.report = report;
        Err(stop)
    }

    async fn attempt_key(&mut self, key: &Key, is_first: bool) -> Result<RestoreOutcome, Stop> {
        let mut is_second = false;
        loop {
            let found = self.look_up(key, is_first).await?;
            self.report.key = Some(key.as_str().to_owned());
            match self.take(key, found, is_second).await {
                // The object was replaced or pruned while it was read: once more from the pointer.
                Err(failure) if is_gone(&failure) && !is_second => is_second = true,
                Err(Broken::Transfer(failure)) => {
                    let mut stop = Stop::from(failure);
                    if stop.outcome == RestoreOutcome::Miss {
                        stop.outcome = RestoreOutcome::Corrupt;
                        stop.reason =
                            format!("the pointer names an object that is not there ({})", stop.reason);
                    }
                    return Err(stop);
                }
                Err(Broken::Stop(stop)) => return Err(stop),
                Ok(outcome) => return Ok(outcome),
            }
        }
    }

    /// What the key means now. The ticket is always of the first key: a snapshot goes to that one.
    async fn look_up(&mut self, key: &Key, is_first: bool) -> Result<Found, Stop> {
        self.run.enter(Stage::Lookup);
        let found = self.cache.look_up(&*self.store, key, &self.run.meter).await;
        let seen = match &found {
            Ok(found) => Some(seen(found)),
            Err(not_found) => (not_found.outcome == RestoreOutcome::Miss).then_some(Seen::Nothing),
        };
        if let Some(seen) = seen.filter(|_| is_first) {
            *self.ticket.get() = Some(Ticket::new(key, seen));
        }
        found.map_err(|not_found| Stop {
            outcome: not_found.outcome,
            reason: not_found.reason,
            stage: Some(not_found.stage),
        })
    }

    /// The second time in whatever version the blob has: its sha256 proves the bytes, and a store may name them anew.
    async fn take(&mut self, key: &Key, found: Found, is_second: bool) -> Result<RestoreOutcome, Broken> {
        let (pointer, object) = match found {
            Found::Single(object) => {
                self.check_unknown_producer()?;
                (None, object)
            }
            Found::Pointer(pointer, _) => {
                self.check_producer(&pointer.producer)?;
                let mut object = Listed {
                    path: key.blob(&pointer.sha256),
                    size: pointer.size,
                    etag: pointer.etag.clone(),
                    modified_ms: 0,
                };
                if is_second {
                    object.etag = self.store.stat(&object.path, &self.run.meter).await?.etag;
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
        let placing = Placing::new(&self.options, generation, pointer.as_ref(), &self.run);
        let looking = placing.clone();
        let unchanged = thread::run(&self.options.into, move || looking.find_unchanged()).await;
        if let Ok(Some((files, bytes))) = unchanged {
            (self.report.files, self.report.bytes) = (files, bytes);
            return Ok(RestoreOutcome::Unchanged);
        }
        if let Some(Pointer {
            files, bytes, size, ..
        }) = pointer
        {
            self.options.limits.check_declared(files, bytes, size)?;
        }
        self.run
            .expect_bytes(pointer.as_ref().map_or(0, |pointer| pointer.bytes));
        let placed = self.transfer(placing, pointer, object).await?;
        self.report.files = placed.files;
        self.report.bytes = placed.bytes;
        self.report.skipped_files = placed.skipped_files;
        self.report.commit = Some(placed.commit);
        Ok(RestoreOutcome::Restored)
    }

    async fn transfer(
        &self,
        placing: Placing,
        pointer: Option<Pointer>,
        object: Listed,
    ) -> Result<Placed, Broken> {
        self.run.enter(Stage::Download);
        let size = object.size;
        let chunks = download(
            Arc::clone(&self.store),
            object,
            self.options
                .limits
                .connections(self.options.concurrency, PART_BYTES),
            Arc::clone(&self.run.meter),
        );
        let failure = chunks.failure();
        let source = Source {
            chunks,
            run: Arc::clone(&self.run),
            hasher: Sha256::new(),
            count: 0,
            size,
            sha256: pointer.map(|pointer| pointer.sha256),
        };
        let progress = Arc::new(Progress::default());
        let counted = Arc::clone(&progress);
        let work = thread::run(&self.options.into, move || {
            placing.place(source, counted).map_err(Broken::from)
        });
        follow(work, &progress, &self.run).await.map_err(|broken| {
            // What ended the stream is the cause; what the decoder made of it is not.
            failure
                .get()
                .map_or(broken, |failure| Broken::Transfer(failure.clone()))
        })
    }

    /// One object says nothing of the machine that made it.
    fn check_unknown_producer(&self) -> Result<(), Stop> {
        if self.options.expect == Producer::default() {
            return Ok(());
        }
        Err(Stop {
            outcome: RestoreOutcome::Incompatible,
            reason: "a key that is one object does not say what made it; with expect use a key without such an ending".to_owned(),
            stage: Some(Stage::Lookup),
        })
    }

    fn check_producer(&self, producer: &Producer) -> Result<(), Stop> {
        let expect = &self.options.expect;
        for (name, wanted, is) in [
            ("platform", &expect.platform, &producer.platform),
            ("arch", &expect.arch, &producer.arch),
            ("libc", &expect.libc, &producer.libc),
            ("fingerprint", &expect.fingerprint, &producer.fingerprint),
        ] {
            if !wanted.is_empty() && wanted != is {
                return Err(Stop {
                    outcome: RestoreOutcome::Incompatible,
                    reason: format!("expect.{name} is '{wanted}', the generation has '{is}'"),
                    stage: Some(Stage::Lookup),
                });
            }
        }
        Ok(())
    }
}

fn seen(found: &Found) -> Seen {
    Seen::Version(match found {
        Found::Pointer(_, etag) => etag.clone(),
        Found::Single(object) => object.etag.clone(),
    })
}

/// Why a transfer ended early.
enum Broken {
    /// The store.
    Transfer(Failure),
    /// Everything else.
    Stop(Stop),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Transfer(failure)
    }
}

impl From<Stop> for Broken {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<ArchiveFailure> for Broken {
    fn from(failure: ArchiveFailure) -> Self {
        Self::Stop(failure.into())
    }
}

fn is_gone(broken: &Broken) -> bool {
    matches!(broken, Broken::Transfer(failure) if matches!(failure.kind, Kind::Changed | Kind::NotFound))
}

/// The bytes of an object on their way to the decoder, counted and hashed.
pub(in crate::core::caches) struct Source {
    chunks: Chunks,
    run: Arc<Run>,
    hasher: Sha256,
    count: u64,
    size: u64,
    sha256: Option<String>,
}

impl Source {
    /// The size of the object, which [`Source::verify`] proves.
    pub(in crate::core::caches) fn size(&self) -> u64 {
        self.size
    }

    /// Proves that the whole object went by and is the one that the pointer means.
    pub(in crate::core::caches) fn verify(mut self) -> Result<(), ArchiveFailure> {
        // Whatever the decoder left unread is part of the object too.
        let rest = io::copy(&mut self, &mut io::sink());
        rest.map_err(ArchiveFailure::of_read)?;
        if self.count != self.size {
            return Err(ArchiveFailure::corrupt(format!(
                "the object has {} bytes, promised were {}",
                self.count, self.size
            )));
        }
        let Some(promised) = self.sha256 else {
            return Ok(());
        };
        if hex(&self.hasher.finalize()) != promised && !fault::mutant("trust-the-bytes") {
            return Err(ArchiveFailure::corrupt(
                "the sha256 of the object is not the one that was promised",
            ));
        }
        Ok(())
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Told apart for timings, and for the reason of a call that ends here.
        self.run.enter(Stage::Download);
        let read = self.chunks.read(buffer);
        self.run.enter(Stage::Write);
        let count = read?;
        self.hasher.update(&buffer[..count]);
        self.count += count as u64;
        Ok(count)
    }
}
