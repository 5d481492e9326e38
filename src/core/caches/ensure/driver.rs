//! Executes the protocol for one call: requests to the store, timers, the build, the restore and the commit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt as _;
use tokio::sync::mpsc;

use super::build::{BuildEnd, BuildJob, OwnedStage, deadline_of};
use super::options::EnsureOptions;
use super::pace::{self, Awake, Pending};
use super::protocol::{Action, Condition, Event, Found, Leaving, Now, Participant, Record, State};
use super::report::{EnsureEvent, EnsureFailure, EnsureReport, EnsureStep};
use super::requests::{Answer, RecordStore};
use super::wire::{Facts, RecordHolder};
use crate::core::caches::cache::Cache;
use crate::core::caches::pointer::Pointer;
use crate::core::caches::restore::RestoreReport;
use crate::core::caches::run::Run;
use crate::core::caches::snapshot::UploadedTree;
use crate::core::caches::store::Store;
use crate::core::error;
use crate::core::failure::{Cause, Failure, Stage};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::{clock, sync};

type Result = Box<Pointer>;
pub(super) type Ended = std::result::Result<EnsureReport, EnsureFailure>;
type Builds = mpsc::UnboundedReceiver<Option<String>>;

/// One call.
pub(super) struct Driver {
    pub(super) cache: Cache,
    pub(super) options: Arc<EnsureOptions>,
    pub(super) cancel: Cancel,
    phase: Arc<sync::Mutex<String>>,
    listener: Box<dyn Fn(EnsureEvent) + Send + Sync>,
    pub(super) steps: mpsc::UnboundedSender<error::Result<EnsureStep>>,
    pub(super) builds: Option<Builds>,
    pub(super) started: Instant,
    pending: Pending<Answer<Result>, Work>,
    /// Raised when the build that runs must stop.
    stop: Cancel,
    /// The tree that was built, until it is committed.
    pub(super) built: Option<(OwnedStage, Option<Box<UploadedTree>>)>,
    /// Why the last build or the last request failed.
    pub(super) failure: Option<Failure>,
    token: u128,
    /// When the lease was acquired, by the wall clock. For humans.
    since: String,
    pub(super) waits_for: Option<Facts>,
    has_answered: bool,
}

/// What runs concurrently with the requests.
pub(super) enum Work {
    Build(Box<BuildEnd>, Builds),
    Restore(Box<error::Result<RestoreReport>>),
}

/// How the protocol ended for this call.
pub(super) enum Outcome {
    Ended(Box<Ended>),
    /// The tree is to be built without others.
    Alone(String),
}

impl Outcome {
    pub(super) fn of(ended: Ended) -> Self {
        Self::Ended(Box::new(ended))
    }
}

impl Driver {
    pub(super) fn new(
        cache: Cache,
        options: EnsureOptions,
        cancel: Cancel,
        phase: Arc<sync::Mutex<String>>,
        listener: Box<dyn Fn(EnsureEvent) + Send + Sync>,
        steps: mpsc::UnboundedSender<error::Result<EnsureStep>>,
        builds: Builds,
    ) -> Self {
        Self {
            cache,
            options: Arc::new(options),
            cancel,
            phase,
            listener,
            steps,
            builds: Some(builds),
            started: Instant::now(),
            pending: Pending::nothing(),
            stop: Cancel::new(),
            built: None,
            failure: None,
            token: uuid::Uuid::new_v4().as_u128(),
            since: String::new(),
            waits_for: None,
            has_answered: false,
        }
    }

    pub(super) async fn run(mut self) {
        let outcome = match self.cache.store.clone() {
            Some(store) => match self.restore_from_levels().await {
                Some(outcome) => outcome,
                None => self.coordinate(store).await,
            },
            None => Outcome::Alone("the cache has no store".to_owned()),
        };
        let ended = match outcome {
            Outcome::Ended(ended) => *ended,
            Outcome::Alone(reason) => self.build_alone(reason).await,
        };
        self.answer(ended);
    }

    fn answer(&mut self, ended: Ended) {
        if !std::mem::replace(&mut self.has_answered, true) {
            drop(self.steps.send(Ok(EnsureStep::End(Box::new(ended)))));
        }
    }

    fn now(&self) -> Now {
        pace::now(self.started)
    }

    /// Runs the protocol to its end.
    async fn coordinate(&mut self, store: Arc<dyn Store>) -> Outcome {
        let records = self.records(self.cache.clone(), store);
        let deadline = deadline_of(&self.options, self.started);
        let (ttl, may_write) = (self.options.ttl, !self.cache.read_only);
        let rules = pace::rules(self.token, ttl, may_write, self.options.shares_failures);
        let (mut participant, actions) = Participant::start(rules);
        let mut actions: VecDeque<_> = actions.into();
        let (mut has_left, mut is_late) = (false, false);
        loop {
            while let Some(action) = actions.pop_front() {
                if let Action::End(ending) = action {
                    return self.conclude(ending).await;
                }
                self.execute(action, &records, &participant);
            }
            if has_left && self.pending.work.is_none() && self.built.is_none() {
                // What is left is to give up a lease that this call may have.
                self.answer(Err(Failure::from(Cancel::error()).into()));
            }
            let pause = participant.wakes_in(self.now());
            let late = deadline.instant().filter(|_| !is_late);
            let cancel = Some(&self.cancel).filter(|_| !has_left);
            let awake = self.pending.wait(pause, late, cancel).await;
            let event = match awake {
                Awake::Timer => Event::Wake,
                Awake::Deadline => {
                    is_late = true;
                    Event::Leave(Leaving::Deadline)
                }
                Awake::Cancelled => {
                    has_left = true;
                    Event::Leave(Leaving::Cancelled)
                }
                Awake::Work(work) => match self.finish(work) {
                    Ok(event) => event,
                    Err(outcome) => return outcome,
                },
                Awake::Answer(answer) => match self.read_answer(answer, &participant) {
                    Ok(event) => event,
                    Err(outcome) => return outcome,
                },
            };
            actions.extend(participant.on(event, self.now()));
        }
    }

    fn execute(
        &mut self,
        action: Action<String, Result>,
        records: &RecordStore,
        participant: &Participant<String, Result>,
    ) {
        if !participant.is_holding() {
            self.built = None;
        }
        match action {
            Action::Read => self.pending.request = Some(records.clone().read().boxed()),
            Action::Write { record, condition } => self.write(record, condition, records, participant),
            Action::Build => self.build(Some(Arc::clone(&records.store)), None),
            Action::StopBuild => {
                self.stop.cancel();
                (self.listener)(EnsureEvent::Lost);
            }
            Action::Restore(pointer) => {
                let (cache, key) = (self.cache.clone(), self.options.key.clone());
                let options = self.options.restore.clone();
                let run = Run::start(self.options.restore_budget, self.cancel.clone(), Stage::Download);
                self.pending.work = Some(
                    async move {
                        let restored = cache.restore_pointer(key, *pointer, options, run).await;
                        Work::Restore(Box::new(restored))
                    }
                    .boxed(),
                );
            }
            Action::End(_) => {}
        }
    }

    fn write(
        &mut self,
        record: Record<Result>,
        condition: Condition<String>,
        records: &RecordStore,
        participant: &Participant<String, Result>,
    ) {
        let phase = match &record.state {
            State::Building if participant.is_holding() => self.phase.lock().clone(),
            _ => String::new(),
        };
        if !participant.is_holding() {
            self.since = clock::iso8601();
        }
        let facts = Facts {
            holder: RecordHolder::this_process(),
            phase,
            since: self.since.clone(),
            ..Facts::default()
        };
        let acquires = !participant.is_holding();
        let writing = records.clone().write(record, condition, facts, acquires);
        self.pending.request = Some(writing.boxed());
    }

    fn build(&mut self, store: Option<Arc<dyn Store>>, alone: Option<String>) {
        let Some(builds) = self.builds.take() else {
            return;
        };
        self.stop = Cancel::new();
        self.phase.lock().clear();
        self.waits_for = None;
        let job = BuildJob {
            cache: self.cache.clone(),
            options: Arc::clone(&self.options),
            store,
            stop: self.stop.clone(),
            steps: self.steps.clone(),
            alone,
        };
        let phase = Arc::clone(&self.phase);
        let on_upload = move || "upload".clone_into(&mut phase.lock());
        self.pending.work = Some(
            async move {
                let (end, builds) = job.run(builds, on_upload).await;
                Work::Build(Box::new(end), builds)
            }
            .boxed(),
        );
    }

    fn read_answer(
        &mut self,
        answer: Answer<Result>,
        participant: &Participant<String, Result>,
    ) -> std::result::Result<Event<String, Result>, Outcome> {
        match answer {
            Answer::Event(event, facts) => {
                self.note_holder(&event, facts, participant);
                Ok(event)
            }
            Answer::Failed(event, failure) => {
                self.failure = Some(failure);
                Ok(event)
            }
            Answer::Unconditional => Err(Outcome::Alone(
                "the store does not honour conditional writes, so that nothing can be coordinated over it"
                    .to_owned(),
            )),
            // A build goes on until its lease is too old.
            Answer::Hopeless(event, failure) if participant.is_holding() || self.pending.work.is_some() => {
                self.failure = Some(failure);
                Ok(event)
            }
            Answer::Hopeless(_, failure)
                if failure.cause == Cause::Refused || failure.cause == Cause::Unguarded =>
            {
                Err(Outcome::of(Err(failure.into())))
            }
            Answer::Hopeless(_, failure) => Err(Outcome::Alone(failure.error.message)),
        }
    }

    fn note_holder(
        &mut self,
        event: &Event<String, Result>,
        facts: Option<Facts>,
        participant: &Participant<String, Result>,
    ) {
        let Event::Read(Some(Found::Record(_, record))) = event else {
            return;
        };
        let is_awaited = record.state == State::Building && record.token != self.token;
        let Some(facts) = facts.filter(|_| is_awaited && !participant.is_holding()) else {
            return;
        };
        if self.waits_for.as_ref() != Some(&facts) {
            (self.listener)(EnsureEvent::Waiting {
                facts: facts.clone(),
                waited_ms: self.elapsed_ms(),
                lease_left_ms: precise(participant.lease_left(record.ttl_ms, self.now())),
            });
        }
        self.waits_for = Some(facts);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few hours at most")]
pub(in crate::core::caches) fn precise(milliseconds: i64) -> f64 {
    milliseconds as f64
}
