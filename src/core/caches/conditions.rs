//! What is done to a key besides restoring and snapshotting it: look, tidy up, remove; and what a store can
//! do, found out by trying, because some ignore conditions silently.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::cache::{Cache, Found, NotFound};
use super::key::Key;
use super::outcome::{RestoreOutcome, Stage};
use super::pointer::Producer;
use super::run::{Budget, Ended, Run};
use super::store::{Answer, Body, Condition, Failure, Kind, Listed, Meter, PART_BYTES, Spool, Store, now_ms};
use crate::core::sys::cancel::Cancel;

/// How one of these calls ended, and what it has to tell.
#[derive(Debug)]
pub struct Report<T> {
    /// How it ended.
    pub outcome: RestoreOutcome,
    /// Why, for people.
    pub reason: Option<String>,
    /// What it found or did.
    pub value: T,
    /// How long it took, in milliseconds.
    pub ms: f64,
}

impl<T> Report<T> {
    fn new(outcome: RestoreOutcome, value: T) -> Self {
        Self {
            outcome,
            reason: None,
            value,
            ms: 0.0,
        }
    }

    fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Name of the generation; the object's version where the key is one object.
    pub generation: String,
    /// Files; 0 where the key is one object.
    pub files: u64,
    /// Bytes of the files; 0 where the key is one object.
    pub bytes: u64,
    /// Bytes in the store.
    pub compressed_bytes: u64,
    /// When, as RFC 3339.
    pub created: String,
    /// Who.
    pub producer: Producer,
}

/// What a store can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts")]
pub struct Abilities {
    /// If-Match and If-None-Match on PUT are honoured.
    pub conditional_put: bool,
    /// If-None-Match on completing a multipart upload is honoured.
    pub conditional_multipart: bool,
    /// Ranges are answered exactly.
    pub ranged: bool,
    /// We may write.
    pub writable: bool,
}

/// A snapshot that finds its blob there writes it again unless it is younger than this, so that a prune finds it young
/// too.
pub(super) const YOUNG: Duration = Duration::from_mins(1);

/// Whether it was written so long ago.
pub(super) fn is_older(blob: &Listed, than: Duration) -> bool {
    let age = now_ms().saturating_sub(blob.modified_ms);
    u128::from(age) >= than.as_millis()
}

impl Cache {
    /// What a key holds.
    pub async fn inspect(&self, key: Key, budget: Budget, cancel: Cancel) -> Report<Option<Info>> {
        self.call(budget, cancel, None, move |cache, store, meter| async move {
            match cache.look_up(&*store, &key, &meter).await {
                Ok(Found::Pointer(pointer, _)) => Report::new(
                    RestoreOutcome::Restored,
                    Some(Info {
                        generation: pointer.generation,
                        files: pointer.files,
                        bytes: pointer.bytes,
                        compressed_bytes: pointer.size,
                        created: pointer.created,
                        producer: pointer.producer,
                    }),
                ),
                Ok(Found::Single(object)) => Report::new(
                    RestoreOutcome::Restored,
                    Some(Info {
                        generation: object.etag.trim_matches('"').to_owned(),
                        files: 0,
                        bytes: 0,
                        compressed_bytes: object.size,
                        created: super::store::rfc3339(object.modified_ms),
                        producer: Producer::default(),
                    }),
                ),
                Err(not_found) => Report::new(not_found.outcome, None).because(not_found.reason),
            }
        })
        .await
    }

    /// Removes the blobs of a key that are neither current, nor among the `keep` newest, nor younger than
    /// `older_than`: a snapshot that runs may be about to point to a young one.
    pub async fn prune(
        &self,
        key: Key,
        keep: u64,
        older_than: Duration,
        budget: Budget,
        cancel: Cancel,
    ) -> Report<Vec<Listed>> {
        if self.read_only {
            return Report::new(RestoreOutcome::Disabled, Vec::new()).because("this cache is read-only");
        }
        self.call(
            budget,
            cancel,
            Vec::new(),
            move |cache, store, meter| async move {
                let current = match cache.look_up(&*store, &key, &meter).await {
                    Ok(Found::Pointer(pointer, _)) => key.blob(&pointer.sha256),
                    Ok(Found::Single(_)) => return Report::new(RestoreOutcome::Pruned, Vec::new()),
                    // Without a pointer nothing is current, and what is old enough is nobody's.
                    Err(NotFound {
                        outcome: RestoreOutcome::Miss,
                        ..
                    }) => String::new(),
                    Err(not_found) => {
                        return Report::new(not_found.outcome, Vec::new()).because(not_found.reason);
                    }
                };
                let mut removed = Vec::new();
                match prune_blobs(&*store, &key, &current, keep, older_than, &meter, &mut removed).await {
                    Ok(()) => Report::new(RestoreOutcome::Pruned, removed),
                    Err(failure) => {
                        Report::new(RestoreOutcome::from(&failure), removed).because(failure.message)
                    }
                }
            },
        )
        .await
    }

    /// Removes a key: the pointer first, so that nobody is sent to a blob that is going.
    pub async fn remove(&self, key: Key, budget: Budget, cancel: Cancel) -> Report<Vec<Listed>> {
        if self.read_only {
            return Report::new(RestoreOutcome::Disabled, Vec::new()).because("this cache is read-only");
        }
        self.call(budget, cancel, Vec::new(), move |_, store, meter| async move {
            let mut removed = Vec::new();
            match remove_all(&*store, &key, &meter, &mut removed).await {
                Ok(()) => Report::new(RestoreOutcome::Removed, removed),
                Err(failure) => Report::new(RestoreOutcome::from(&failure), removed).because(failure.message),
            }
        })
        .await
    }

    /// What the store can do.
    pub async fn probe(&self, budget: Budget, cancel: Cancel) -> Report<Option<Abilities>> {
        let read_only = self.read_only;
        self.call(budget, cancel, None, move |_, store, meter| async move {
            if read_only {
                return Report::new(RestoreOutcome::Disabled, None)
                    .because("this cache is read-only, and a probe writes");
            }
            match probe(&*store, &meter).await {
                Ok(abilities) => Report::new(RestoreOutcome::Restored, Some(abilities)),
                Err(failure) => Report::new(RestoreOutcome::from(&failure), None).because(failure.message),
            }
        })
        .await
    }

    async fn call<T, F>(
        &self,
        budget: Budget,
        cancel: Cancel,
        nothing: T,
        work: impl FnOnce(Self, Arc<dyn Store>, Arc<Meter>) -> F,
    ) -> Report<T>
    where
        T: Send + 'static,
        F: Future<Output = Report<T>> + Send + 'static,
    {
        let Some(store) = self.store.clone() else {
            return Report::new(RestoreOutcome::Disabled, nothing);
        };
        let run = Run::start(budget, cancel, Stage::Lookup);
        let working = work(self.clone(), store, Arc::clone(&run.meter));
        let mut report = run
            .race(working, |ended| match ended {
                Ended::TimedOut(reason) => Report::new(RestoreOutcome::Timeout, nothing).because(reason),
                Ended::Aborted => Report::new(RestoreOutcome::Aborted, nothing),
                Ended::Panicked(reason) => Report::new(RestoreOutcome::Error, nothing).because(reason),
            })
            .await;
        report.ms = run.timings().last().map_or(0.0, |(_, total)| *total);
        report
    }
}

async fn prune_blobs(
    store: &dyn Store,
    key: &Key,
    current: &str,
    keep: u64,
    older_than: Duration,
    meter: &Arc<Meter>,
    removed: &mut Vec<Listed>,
) -> Answer<()> {
    let mut others = store.list(&key.blobs(), meter).await?;
    others.retain(|blob| blob.path != current);
    others.sort_by_key(|blob| std::cmp::Reverse(blob.modified_ms));
    let kept = usize::try_from(keep.saturating_sub(1)).unwrap_or(usize::MAX);
    let old = others
        .into_iter()
        .skip(kept)
        .filter(|blob| is_older(blob, older_than));
    for blob in old {
        if is_still_older(store, &blob, older_than, meter).await? {
            store.delete(&blob.path, meter).await?;
            removed.push(blob);
        }
    }
    Ok(())
}

/// A snapshot that found the blob since it was listed has written it again, and is about to point to it.
async fn is_still_older(
    store: &dyn Store,
    blob: &Listed,
    older_than: Duration,
    meter: &Arc<Meter>,
) -> Answer<bool> {
    match store.stat(&blob.path, meter).await {
        Ok(blob) => Ok(is_older(&blob, older_than)),
        Err(failure) if failure.kind == Kind::NotFound => Ok(false),
        Err(failure) => Err(failure),
    }
}

async fn remove_all(
    store: &dyn Store,
    key: &Key,
    meter: &Arc<Meter>,
    removed: &mut Vec<Listed>,
) -> Answer<()> {
    if key.single_object().is_some() {
        return store.delete(key.as_str(), meter).await;
    }
    store.delete(&key.pointer(), meter).await?;
    for blob in store.list(&key.blobs(), meter).await? {
        store.delete(&blob.path, meter).await?;
        removed.push(blob);
    }
    // What writers that may not delete have left. A young one may be of a probe that goes on: without its object it
    // would find that conditions are ignored.
    let probes = store.list(&probes_in(key.as_str()), meter).await?;
    for probe in probes.iter().filter(|probe| is_older(probe, YOUNG)) {
        store.delete(&probe.path, meter).await?;
    }
    Ok(())
}

/// Where the objects of probes lie in this folder of the store.
fn probes_in(folder: &str) -> String {
    if folder.is_empty() {
        ".warmswap-probe/".to_owned()
    } else {
        format!("{folder}/.warmswap-probe/")
    }
}

/// A path for an object of a probe in this folder of the store.
fn probe_path(folder: &str) -> String {
    probes_in(folder) + &uuid::Uuid::new_v4().simple().to_string()
}

/// Where the policy of a writer of this key lets it write: below the key, or beside the one object.
fn folder_of(key: &Key) -> &str {
    match key.single_object() {
        None => key.as_str(),
        Some(_) => key.as_str().rsplit_once('/').map_or("", |(folder, _)| folder),
    }
}

/// A version that no object has.
fn stale() -> Condition {
    Condition::Version("\"00000000000000000000000000000000\"".to_owned())
}

/// Whether the store honours the conditions of a writer of this key.
pub(super) async fn honours_conditions(store: &dyn Store, key: &Key, meter: &Arc<Meter>) -> Answer<bool> {
    match probe_conditions(store, folder_of(key), meter).await {
        // A policy so fine is of a store that has conditions: they are sent.
        Err(failure) if failure.kind == Kind::Denied => Ok(true),
        found => found,
    }
}

/// The same for an object in several parts: the condition is on their completion.
pub(super) async fn honours_in_parts(
    store: &dyn Store,
    key: &Key,
    condition: &Condition,
    meter: &Arc<Meter>,
) -> Answer<bool> {
    let path = probe_path(folder_of(key));
    let body = Body::Bytes(Bytes::from_static(b"warmswap probe"));
    match store.write(&path, body, Condition::Always, meter).await {
        Err(failure) if failure.kind == Kind::Denied => return Ok(true),
        written => written?,
    };
    let mistaken = match condition {
        Condition::Version(_) => stale(),
        Condition::Absent | Condition::Always => Condition::Absent,
    };
    let honoured = probe_multipart(store, &path, mistaken, meter).await;
    tidy_up(store, &path, meter).await;
    honoured
}

/// A writer may lack the right to delete: what stays is a few bytes. Also after the call has ended.
async fn tidy_up(store: &dyn Store, path: &str, meter: &Arc<Meter>) {
    let once = Arc::new(Meter::new(Cancel::new(), meter.idle, 1));
    drop(store.delete(path, &once).await);
}

/// Whether a write that must not happen is refused.
async fn probe_conditions(store: &dyn Store, folder: &str, meter: &Arc<Meter>) -> Answer<bool> {
    let path = probe_path(folder);
    let body = || Body::Bytes(Bytes::from_static(b"warmswap probe"));
    store.write(&path, body(), Condition::Absent, meter).await?;
    let honours = async {
        let absent = was_refused(store.write(&path, body(), Condition::Absent, meter).await)?;
        let version = was_refused(store.write(&path, body(), stale(), meter).await)?;
        Ok(absent && version)
    };
    let honours = honours.await;
    tidy_up(store, &path, meter).await;
    honours
}

fn was_refused(written: Answer<String>) -> Answer<bool> {
    match written {
        Ok(_) => Ok(false),
        Err(failure) if matches!(failure.kind, Kind::Changed | Kind::Conflict) => Ok(true),
        // A server that does not know the header may say so instead of ignoring it.
        Err(failure) if failure.kind == Kind::Misconfigured => Ok(false),
        Err(failure) => Err(failure),
    }
}

async fn probe(store: &dyn Store, meter: &Arc<Meter>) -> Answer<Abilities> {
    let path = probe_path("");
    let body = Body::Bytes(Bytes::from_static(b"0123456789"));
    let etag = match store.write(&path, body, Condition::Always, meter).await {
        Ok(etag) => etag,
        Err(failure) if failure.kind == Kind::Denied => {
            return Ok(Abilities {
                conditional_put: false,
                conditional_multipart: false,
                ranged: false,
                writable: false,
            });
        }
        Err(failure) => return Err(failure),
    };
    let ranged = match store.read(&path, 2..5, &etag, meter).await {
        Ok(bytes) => *bytes == *b"234",
        Err(failure) if matches!(failure.kind, Kind::RangeIgnored | Kind::Malformed) => false,
        Err(failure) => return Err(failure),
    };
    let conditional_put = !store.conditions_are_uncertain() || probe_conditions(store, "", meter).await?;
    let conditional_multipart = probe_multipart(store, &path, Condition::Absent, meter).await?
        && probe_multipart(store, &path, stale(), meter).await?;
    tidy_up(store, &path, meter).await;
    Ok(Abilities {
        conditional_put,
        conditional_multipart,
        ranged,
        writable: true,
    })
}

/// Two parts on top of an object that is there, under a condition that does not hold: must be refused at the end.
async fn probe_multipart(
    store: &dyn Store,
    path: &str,
    mistaken: Condition,
    meter: &Arc<Meter>,
) -> Answer<bool> {
    let size = PART_BYTES + 1;
    let file = crate::core::sys::fs::anonymous(&std::env::temp_dir()).map_err(Failure::from)?;
    file.set_len(size)
        .map_err(|error| Failure::new(Kind::Local, error.to_string()))?;
    let spool = Spool {
        file,
        size,
        path: std::env::temp_dir(),
    };
    was_refused(
        store
            .write(path, Body::Spool(Arc::new(spool)), mistaken, meter)
            .await,
    )
}
