//! Executes the protocol for one call: requests to the store, timers, and the checks and runs of the caller.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use tokio::sync::mpsc;

use super::options::LeaseOptions;
use super::report::{LeaseEnd, LeaseEvent, LeaseHolder, LeaseSettled, LeaseStep};
use crate::core::caches::cache::Cache;
use crate::core::caches::ensure::pace::{self, Awake, Pending};
use crate::core::caches::ensure::precise;
use crate::core::caches::ensure::protocol::{
    Action, Built, Condition, Ending, Event, Found, Leaving, Participant, Record, State,
};
use crate::core::caches::ensure::requests::{Answer, RecordStore};
use crate::core::caches::ensure::wire::{self, Elsewhere, Facts, RecordHolder};
use crate::core::caches::store::Store;
use crate::core::failure::{Cause, Failure};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::{clock, sync};

type Settled = mpsc::UnboundedReceiver<LeaseSettled>;

/// Longest time between two reports of a holder that does not change.
const REPORT: Duration = Duration::from_secs(10);
/// Longest silence of a connection.
const IDLE: Duration = Duration::from_secs(3);
/// How often one request of the probe may be tried.
const ATTEMPTS: u32 = 3;

/// The side of the caller.
pub(super) struct Caller {
    pub(super) cancel: Cancel,
    pub(super) phase: Arc<sync::Mutex<String>>,
    pub(super) listener: Box<dyn Fn(LeaseEvent) + Send + Sync>,
    pub(super) steps: mpsc::UnboundedSender<LeaseStep>,
    pub(super) settled: mpsc::UnboundedReceiver<LeaseSettled>,
}

/// One call.
pub(super) struct Driver {
    options: LeaseOptions,
    records: RecordStore,
    cancel: Cancel,
    phase: Arc<sync::Mutex<String>>,
    listener: Box<dyn Fn(LeaseEvent) + Send + Sync>,
    steps: mpsc::UnboundedSender<LeaseStep>,
    settled: Option<Settled>,
    started: Instant,
    pending: Pending<Answer<Elsewhere>, Work>,
    has_answered: bool,
    token: u128,
    /// The number of this call's acquisition, or of the last one that it has read.
    generation: u64,
    /// When this call acquired the lease, by the wall clock. For humans.
    since: String,
    /// The holder of the lease that was read last.
    holder: Option<LeaseHolder>,
    /// What was reported of it last, and when.
    reported: Option<(Facts, Instant)>,
    /// Why the last request failed.
    failure: Option<Failure>,
}

/// What the caller answered.
enum Work {
    Checked(Option<LeaseSettled>, Settled),
    Ran(Option<LeaseSettled>, Settled),
}

impl Driver {
    pub(super) fn new(
        (cache, store): (Cache, Arc<dyn Store>),
        token: u128,
        options: LeaseOptions,
        caller: Caller,
    ) -> Self {
        let records = RecordStore {
            cache,
            store,
            path: wire::lease_path(&options.key),
            key: options.key.clone(),
            fingerprint: String::new(),
            idle: IDLE,
            limit: options.ttl / 6,
            attempts: ATTEMPTS,
        };
        Self {
            options,
            records,
            cancel: caller.cancel,
            phase: caller.phase,
            listener: caller.listener,
            steps: caller.steps,
            settled: Some(caller.settled),
            started: Instant::now(),
            pending: Pending::nothing(),
            has_answered: false,
            token,
            generation: 0,
            since: String::new(),
            holder: None,
            reported: None,
            failure: None,
        }
    }

    pub(super) async fn run(mut self) {
        let end = self.coordinate().await;
        self.answer(end);
    }

    fn answer(&mut self, end: LeaseEnd) {
        if !std::mem::replace(&mut self.has_answered, true) {
            let waited_ms = pace::elapsed_ms(self.started);
            drop(self.steps.send(LeaseStep::End { end, waited_ms }));
        }
    }

    /// Runs the protocol to its end.
    async fn coordinate(&mut self) -> LeaseEnd {
        let rules = pace::rules(self.token, self.options.ttl, true, self.options.shares_failures);
        let (mut participant, actions) = Participant::start(rules);
        let mut actions: VecDeque<_> = actions.into();
        let late_at = self
            .options
            .timeout
            .and_then(|limit| self.started.checked_add(limit));
        let (mut has_left, mut is_late, mut has_looked) = (false, false, false);
        loop {
            while let Some(action) = actions.pop_front() {
                if let Action::End(ending) = action {
                    return self.conclude(ending);
                }
                self.execute(action, &participant);
            }
            if has_left && self.pending.work.is_none() && !participant.is_holding() {
                // What is left is to find out the outcome of a write, and to give up a lease that this call may have.
                self.answer(LeaseEnd::Step(Cancel::error().into()));
            }
            let pause = participant.wakes_in(pace::now(self.started));
            // A call with a timeout of 0 looks once, and checks once.
            let late = late_at.filter(|_| has_looked && !is_late && self.pending.work.is_none());
            let cancel = Some(&self.cancel).filter(|_| !has_left);
            let event = match self.pending.wait(pause, late, cancel).await {
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
                    Err(end) => return end,
                },
                Awake::Answer(answer) => match self.read_answer(answer, &participant) {
                    Ok(event) => event,
                    Err(end) => return end,
                },
            };
            let was_holding = participant.is_holding();
            actions.extend(participant.on(event, pace::now(self.started)));
            let is_waiting = !participant.is_holding() && !participant.has_ended();
            if was_holding && is_waiting && !actions.contains(&Action::StopBuild) {
                // The run had ended before the lease was lost.
                (self.listener)(LeaseEvent::Lost);
            }
            has_looked = true;
            self.report(&participant);
        }
    }

    fn execute(&mut self, action: Action<String, Elsewhere>, participant: &Participant<String, Elsewhere>) {
        match action {
            Action::Read => self.pending.request = Some(self.records.clone().read().boxed()),
            Action::Write { record, condition } => self.write(record, condition, participant),
            Action::Restore(Elsewhere) => self.ask(LeaseStep::Check, Work::Checked),
            Action::Build => {
                self.phase.lock().clear();
                let run = LeaseStep::Run {
                    generation: self.generation,
                    took_over_from: self.holder.take().map(Box::new),
                    waited_ms: pace::elapsed_ms(self.started),
                };
                self.reported = None;
                self.ask(run, Work::Ran);
            }
            Action::StopBuild => (self.listener)(LeaseEvent::Lost),
            Action::End(_) => {}
        }
    }

    /// Hands the caller a step, and waits for its answer concurrently with the requests.
    fn ask(&mut self, step: LeaseStep, work: fn(Option<LeaseSettled>, Settled) -> Work) {
        let Some(mut settled) = self.settled.take() else {
            return;
        };
        drop(self.steps.send(step));
        self.pending.work = Some(
            async move {
                let answer = settled.recv().await;
                work(answer, settled)
            }
            .boxed(),
        );
    }

    fn write(
        &mut self,
        record: Record<Elsewhere>,
        condition: Condition<String>,
        participant: &Participant<String, Elsewhere>,
    ) {
        let is_holding = participant.is_holding();
        if !is_holding {
            self.generation += 1;
            self.since = clock::iso8601();
        }
        let facts = Facts {
            holder: RecordHolder::this_process(),
            phase: if is_holding {
                self.phase.lock().clone()
            } else {
                String::new()
            },
            since: self.since.clone(),
            generation: self.generation,
            metadata: self.options.metadata.clone(),
        };
        let writing = self.records.clone().write(record, condition, facts, !is_holding);
        self.pending.request = Some(writing.boxed());
    }

    /// What an answer of the caller means for the protocol.
    fn finish(&mut self, work: Work) -> Result<Event<String, Elsewhere>, LeaseEnd> {
        match work {
            Work::Checked(Some(LeaseSettled::Ready), _) => Err(LeaseEnd::Ready),
            Work::Checked(_, settled) => {
                self.settled = Some(settled);
                Ok(Event::Unrestorable)
            }
            Work::Ran(answer, settled) => {
                self.settled = Some(settled);
                Ok(Event::BuildEnded(match answer {
                    Some(LeaseSettled::Ready) => Built::Ready(Elsewhere),
                    Some(LeaseSettled::Failed(message)) => Built::Failed(message),
                    Some(LeaseSettled::NotReady) | None => Built::GivenUp,
                }))
            }
        }
    }

    fn read_answer(
        &mut self,
        answer: Answer<Elsewhere>,
        participant: &Participant<String, Elsewhere>,
    ) -> Result<Event<String, Elsewhere>, LeaseEnd> {
        let is_running = participant.is_holding() || self.pending.work.is_some();
        match answer {
            Answer::Event(event, facts) => {
                if !participant.is_holding() {
                    self.note(&event, facts);
                }
                Ok(event)
            }
            Answer::Failed(event, failure) => {
                self.failure = Some(failure);
                Ok(event)
            }
            Answer::Unconditional => Err(LeaseEnd::Unsupported),
            // A run goes on until its lease is too old.
            Answer::Hopeless(event, failure) if is_running => {
                self.failure = Some(failure);
                Ok(event)
            }
            Answer::Hopeless(_, failure) if failure.cause == Cause::Unguarded => Err(LeaseEnd::Unsupported),
            Answer::Hopeless(_, failure) => Err(LeaseEnd::Step(failure)),
        }
    }

    /// Remembers the holder and the number of the record that a look has found.
    fn note(&mut self, event: &Event<String, Elsewhere>, facts: Option<Facts>) {
        let Event::Read(Some(found)) = event else {
            return;
        };
        let (Found::Record(_, record), Some(facts)) = (found, facts) else {
            self.holder = None;
            return;
        };
        self.generation = facts.generation;
        if record.token == self.token {
            return;
        }
        let is_held = record.state == State::Building;
        self.holder = is_held.then_some(LeaseHolder {
            facts,
            written_ms: record.written_ms,
            ttl_ms: record.ttl_ms,
        });
    }

    /// Reports the holder, if it has changed or after a while.
    fn report(&mut self, participant: &Participant<String, Elsewhere>) {
        let Some(holder) = self.holder.as_ref().filter(|_| !participant.is_holding()) else {
            return;
        };
        let is_known = self
            .reported
            .as_ref()
            .is_some_and(|(facts, at)| *facts == holder.facts && at.elapsed() < REPORT);
        if is_known {
            return;
        }
        let lease_left = participant.lease_left(holder.ttl_ms, pace::now(self.started));
        (self.listener)(LeaseEvent::Waiting {
            holder: holder.clone(),
            waited_ms: pace::elapsed_ms(self.started),
            lease_left_ms: precise(lease_left),
        });
        self.reported = Some((holder.facts.clone(), Instant::now()));
    }

    fn conclude(&mut self, ending: Ending<Elsewhere>) -> LeaseEnd {
        match ending {
            // Without a record that says so the waiters find the result when the lease has expired.
            Ending::Built(_) | Ending::Unpublished(_) => LeaseEnd::Ready,
            Ending::Failed {
                message,
                is_shared: true,
            } => LeaseEnd::SharedFailure(message),
            Ending::Failed { .. } | Ending::GivenUp => LeaseEnd::Failed,
            Ending::Left(Leaving::Deadline) => LeaseEnd::TimedOut(self.holder.take().map(Box::new)),
            Ending::Left(Leaving::Cancelled) => LeaseEnd::Step(Cancel::error().into()),
            // ReadOnly does not come: every caller may write.
            Ending::Trouble | Ending::ReadOnly => {
                let last = self.failure.take();
                let (cause, why) = last.map_or((Cause::Unavailable, String::new()), |last| {
                    (last.cause, format!(": {}", last.error.message))
                });
                // Other causes, such as a 412, are answers. There were too many of them.
                let cause = if cause == Cause::Timeout {
                    cause
                } else {
                    Cause::Unavailable
                };
                LeaseEnd::Step(Failure::new(cause, format!("the store cannot be used{why}")))
            }
        }
    }
}
