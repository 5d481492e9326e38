//! The lease of a participant: renewed while it builds, then replaced by the result or given up.

use super::event::{Action, Ending, Event, Leaving, Written};
use super::own::{OwnWrites, Trouble};
use super::record::{Condition, Found, State};
use super::rules::{Now, Rules};
use crate::core::sys::fault;

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Lease<V, R> {
    version: V,
    /// When the last write that landed was begun, by the boot clock.
    since: i64,
    request: Request,
    pub(super) goal: Goal<R>,
}

/// What the holder works at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Goal<R> {
    /// The build runs.
    Build,
    /// The result is to be published.
    Publish(R),
    /// The lease is to be given up, with a message if the build failed.
    Release(Option<String>),
}

/// The request to the store that is outstanding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Request {
    None,
    Writing(Kind),
    Reading {
        /// Whether a write was refused just before.
        after_refusal: bool,
    },
    /// The outcome of a write is unknown. It is read at this time of the monotonic clock.
    Waiting(i64),
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Renewal,
    Last,
}

/// What follows from an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// No request is outstanding: the next write, if one is due.
    Idle,
    Read,
    Wait,
    /// The last write has landed.
    Done,
    Lost,
    /// The last write may not have landed, and patience has run out.
    Impatient,
}

impl<V: Clone + Eq, R: Clone> Lease<V, R> {
    pub(super) fn new(version: V, begun: i64) -> Self {
        Self {
            version,
            since: begun,
            request: Request::None,
            goal: Goal::Build,
        }
    }

    pub(super) fn rebase(&mut self, by: i64) {
        self.since -= by;
        if let Request::Waiting(until) = &mut self.request {
            *until -= by;
        }
    }

    pub(super) fn is_late(&self, rules: &Rules, now: Now) -> bool {
        now.boot - self.since >= rules.stop_after()
    }

    pub(super) fn wakes_in(&self, rules: &Rules, now: Now) -> Option<i64> {
        let age = now.boot - self.since;
        let stop = matches!(self.goal, Goal::Build).then(|| rules.stop_after() - age);
        let next = match self.request {
            Request::None => Some(rules.renew_after() - age),
            Request::Waiting(until) => Some(until - now.monotonic),
            Request::Writing(_) | Request::Reading { .. } => None,
        };
        stop.into_iter().chain(next).min()
    }

    /// Handles an event.
    pub(super) fn on(
        &mut self,
        event: Event<V, R>,
        own: &mut OwnWrites,
        trouble: &mut Trouble,
        rules: &Rules,
        now: Now,
    ) -> Step {
        // Before each step, and before what an answer says: others may have taken over since.
        if matches!(self.goal, Goal::Build) && self.is_late(rules, now) {
            return Step::Lost;
        }
        match (event, self.request) {
            (Event::Written(written), Request::Writing(kind)) => {
                self.written(written, kind, own, trouble, rules, now)
            }
            (Event::Read(found), Request::Reading { after_refusal }) => {
                self.read(found, after_refusal, own, trouble, rules, now)
            }
            (Event::Wake, Request::Waiting(until)) if now.monotonic >= until => {
                self.request = Request::Reading { after_refusal: false };
                Step::Read
            }
            (Event::Wake, Request::None) => Step::Idle,
            _ => Step::Wait,
        }
    }

    fn written(
        &mut self,
        written: Written<V>,
        kind: Kind,
        own: &mut OwnWrites,
        trouble: &mut Trouble,
        rules: &Rules,
        now: Now,
    ) -> Step {
        match written {
            Written::Landed(version) => {
                trouble.end();
                let begun = own.confirm(own.last_seq()).unwrap_or(self.since);
                self.landed(version, begun, kind == Kind::Last, now)
            }
            Written::Refused if fault::is_seeded("ensure-412-is-loss") => Step::Lost,
            // An earlier copy of the same write may have landed: a repetition is refused then.
            Written::Refused => {
                self.request = Request::Reading { after_refusal: true };
                Step::Read
            }
            Written::Unknown => self.wait(trouble, rules, now),
        }
    }

    fn wait(&mut self, trouble: &mut Trouble, rules: &Rules, now: Now) -> Step {
        let pause = trouble.add(now, rules.patience_ms);
        match (pause, &self.goal) {
            (Some(pause), _) => self.request = Request::Waiting(now.monotonic + pause),
            // The age of the lease ends this, not patience.
            (None, Goal::Build) => self.request = Request::Waiting(now.monotonic + rules.poll_ms),
            (None, Goal::Publish(_) | Goal::Release(_)) => return Step::Impatient,
        }
        Step::Wait
    }

    fn read(
        &mut self,
        found: Option<Found<V, R>>,
        after_refusal: bool,
        own: &mut OwnWrites,
        trouble: &mut Trouble,
        rules: &Rules,
        now: Now,
    ) -> Step {
        let Some(found) = found else {
            return self.wait(trouble, rules, now);
        };
        match found {
            // The store refuses a write whose condition holds.
            Found::Record(version, record)
                if record.token == rules.token && after_refusal && version == self.version =>
            {
                self.wait(trouble, rules, now)
            }
            Found::Record(version, record) if record.token == rules.token => {
                if version != self.version {
                    trouble.end();
                }
                let begun = own.confirm(record.seq).unwrap_or(self.since);
                let is_last = !matches!(record.state, State::Building);
                self.landed(version, begun, is_last, now)
            }
            _ => Step::Lost,
        }
    }

    /// The record is this participant's own, in this version.
    fn landed(&mut self, version: V, begun: i64, is_last: bool, now: Now) -> Step {
        self.version = version;
        self.since = if fault::is_seeded("ensure-lease-from-answer") {
            now.boot
        } else {
            begun
        };
        self.request = Request::None;
        if is_last { Step::Done } else { Step::Idle }
    }

    /// The next write, if no request is outstanding and one is due.
    pub(super) fn next_write(
        &mut self,
        own: &mut OwnWrites,
        rules: &Rules,
        now: Now,
    ) -> Option<Action<V, R>> {
        if self.request != Request::None {
            return None;
        }
        let (state, kind) = match &self.goal {
            Goal::Build if now.boot - self.since < rules.renew_after() => return None,
            Goal::Build => (State::Building, Kind::Renewal),
            Goal::Publish(result) => (State::Ready(result.clone()), Kind::Last),
            Goal::Release(message) => (State::Failed(message.clone()), Kind::Last),
        };
        let unconditional = match &self.goal {
            Goal::Build => "ensure-renew-unconditionally",
            Goal::Publish(_) => "ensure-publish-unconditionally",
            Goal::Release(_) => "ensure-release-unconditionally",
        };
        let condition = if fault::is_seeded(unconditional) {
            Condition::Always
        } else {
            Condition::Version(self.version.clone())
        };
        self.request = Request::Writing(kind);
        let record = match kind {
            Kind::Renewal => own.renew(state, rules, now),
            Kind::Last => own.begin(state, rules, now),
        };
        Some(Action::Write { record, condition })
    }

    /// How the participant ends after its last write, or without knowing whether that has landed.
    pub(super) fn ending(self, leaving: Option<Leaving>) -> Ending<R> {
        match (self.goal, leaving) {
            (Goal::Publish(result), _) => Ending::Built(result),
            (Goal::Release(Some(message)), _) => Ending::Failed {
                message,
                is_shared: false,
            },
            (Goal::Release(None) | Goal::Build, Some(Leaving::Cancelled)) => Ending::Left(Leaving::Cancelled),
            (Goal::Release(None) | Goal::Build, _) => Ending::GivenUp,
        }
    }
}
