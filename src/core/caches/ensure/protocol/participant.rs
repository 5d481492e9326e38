//! One call of `ensure`: it looks for the result, waits, acquires the lease, and holds it.

use super::event::{Action, Built, Ending, Event, Leaving, Written};
use super::lease::{Goal, Lease, Step};
use super::own::{OwnWrites, Trouble};
use super::record::{Condition, Found, State};
use super::rules::{Now, Rules};
use crate::core::sys::fault;

type Actions<V, R> = Vec<Action<V, R>>;

/// One call of `ensure`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Participant<V, R> {
    rules: Rules,
    own: OwnWrites,
    phase: Phase<V, R>,
    /// The version of another participant's record, and since when it has been seen.
    sight: Option<(V, i64)>,
    /// The participant whose build this one has waited for.
    waited_for: Option<u128>,
    /// The version of the record whose result did not verify.
    unusable: Option<V>,
    /// The last write that should have acquired the lease, until a record of another participant explains its end.
    attempt: Option<Attempt<V>>,
    trouble: Trouble,
    leaving: Option<Leaving>,
}

/// A write that should have acquired the lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Attempt<V> {
    condition: Condition<V>,
    /// Whether it was refused, and the record has not been read since.
    was_refused: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Phase<V, R> {
    /// A read is outstanding.
    Reading,
    /// Between two reads, until this time of the monotonic clock.
    Pausing(i64),
    /// A write that acquires the lease is outstanding.
    Acquiring,
    /// The result of the record of this version is being restored.
    Restoring(V),
    /// It has the lease.
    Holding(Lease<V, R>),
    /// It has lost the lease, and its build has not ended yet.
    Draining,
    Ended,
}

impl<V: Clone + Eq, R: Clone> Participant<V, R> {
    /// A participant, and what it does first.
    pub fn start(rules: Rules) -> (Self, Actions<V, R>) {
        let participant = Self {
            rules,
            own: OwnWrites::default(),
            phase: Phase::Reading,
            sight: None,
            waited_for: None,
            unusable: None,
            attempt: None,
            trouble: Trouble::default(),
            leaving: None,
        };
        (participant, vec![Action::Read])
    }

    /// Whether it has the lease, as far as it knows.
    pub fn is_holding(&self) -> bool {
        matches!(self.phase, Phase::Holding(_))
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Whether its lease is so old that others may take over soon.
    pub fn is_late(&self, now: Now) -> bool {
        match &self.phase {
            Phase::Holding(lease) => lease.is_late(&self.rules, now),
            _ => false,
        }
    }

    /// Milliseconds until it wants [`Event::Wake`].
    pub fn wakes_in(&self, now: Now) -> Option<i64> {
        let wait = match &self.phase {
            Phase::Pausing(until) => until - now.monotonic,
            Phase::Holding(lease) => lease.wakes_in(&self.rules, now)?,
            _ => return None,
        };
        Some(wait.max(0))
    }

    /// Milliseconds until the lease of the observed holder has expired.
    pub fn lease_left(&self, ttl_ms: u64, now: Now) -> i64 {
        let since = self.sight.as_ref().map_or(now.monotonic, |(_, since)| *since);
        (since + Rules::expires_after(ttl_ms) - now.monotonic).max(0)
    }

    /// Moves all its times. The protocol depends on differences only, so a model needs no growing clock.
    pub fn rebase(&mut self, by: i64) {
        self.own.rebase(by);
        self.sight = self.sight.take().map(|(version, since)| (version, since - by));
        self.trouble.rebase(by);
        match &mut self.phase {
            Phase::Pausing(until) => *until -= by,
            Phase::Holding(lease) => lease.rebase(by),
            _ => {}
        }
    }

    /// Handles one event.
    pub fn on(&mut self, event: Event<V, R>, now: Now) -> Actions<V, R> {
        if let Event::Leave(why) = event {
            return self.leave(why);
        }
        match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Holding(lease) => self.hold(lease, event, now),
            Phase::Reading => match event {
                Event::Read(Some(found)) => self.found(found, now),
                Event::Read(None) => self.back_off(now),
                _ => self.stay(Phase::Reading),
            },
            Phase::Acquiring => match event {
                Event::Written(written) => self.acquired(written, now),
                _ => self.stay(Phase::Acquiring),
            },
            Phase::Pausing(until) => match event {
                Event::Wake if now.monotonic >= until => self.look(),
                _ => self.stay(Phase::Pausing(until)),
            },
            Phase::Restoring(version) => match event {
                Event::Unrestorable => {
                    self.unusable = Some(version.clone());
                    self.acquire(Condition::Version(version), now)
                }
                _ => self.stay(Phase::Restoring(version)),
            },
            Phase::Draining => match event {
                Event::BuildEnded(_) => match self.leaving {
                    Some(Leaving::Cancelled) => self.end(Ending::Left(Leaving::Cancelled)),
                    _ => self.look(),
                },
                _ => self.stay(Phase::Draining),
            },
            Phase::Ended => Vec::new(),
        }
    }

    fn stay(&mut self, phase: Phase<V, R>) -> Actions<V, R> {
        self.phase = phase;
        Vec::new()
    }

    fn end(&mut self, ending: Ending<R>) -> Actions<V, R> {
        self.phase = Phase::Ended;
        vec![Action::End(ending)]
    }

    fn left(&mut self) -> Actions<V, R> {
        let why = self.leaving.unwrap_or(Leaving::Cancelled);
        self.end(Ending::Left(why))
    }

    fn look(&mut self) -> Actions<V, R> {
        self.phase = Phase::Reading;
        vec![Action::Read]
    }

    fn back_off(&mut self, now: Now) -> Actions<V, R> {
        if self.leaving.is_some() && !self.own.is_unresolved() {
            return self.left();
        }
        match self.trouble.add(now, self.rules.patience_ms) {
            Some(pause) => self.stay(Phase::Pausing(now.monotonic + pause)),
            None if self.leaving.is_some() => self.left(),
            None => self.end(Ending::Trouble),
        }
    }

    fn leave(&mut self, why: Leaving) -> Actions<V, R> {
        self.leaving = Some(why);
        match &self.phase {
            // A lease that no caller uses would block the others: the outcome of the write is found out.
            Phase::Pausing(_) if self.own.is_unresolved() => self.look(),
            Phase::Reading if self.own.is_unresolved() => Vec::new(),
            Phase::Reading | Phase::Pausing(_) => self.end(Ending::Left(why)),
            Phase::Restoring(_) if why == Leaving::Cancelled => self.end(Ending::Left(why)),
            Phase::Holding(lease) if why == Leaving::Cancelled && matches!(lease.goal, Goal::Build) => {
                vec![Action::StopBuild]
            }
            _ => Vec::new(),
        }
    }

    /// A look for the result found this.
    fn found(&mut self, found: Found<V, R>, now: Now) -> Actions<V, R> {
        let (version, record) = match found {
            Found::Nothing => return self.acquire(Condition::Absent, now),
            Found::Unreadable(version) => return self.acquire(Condition::Version(version), now),
            Found::Record(version, record) => (version, record),
        };
        let is_own = record.token == self.rules.token;
        match record.state {
            State::Ready(_) if self.leaving == Some(Leaving::Cancelled) => self.left(),
            State::Ready(result) if self.unusable.as_ref() != Some(&version) => {
                self.trouble.end();
                self.phase = Phase::Restoring(version);
                vec![Action::Restore(result)]
            }
            State::Building if is_own => self.found_own(record.seq, version, now),
            State::Building if self.leaving.is_some() => self.left(),
            State::Building => self.wait_for(record.token, record.ttl_ms, record.written_ms, version, now),
            State::Failed(Some(message))
                if self.rules.shares_failures && self.waited_for == Some(record.token) =>
            {
                let is_shared = true;
                self.end(Ending::Failed { message, is_shared })
            }
            State::Failed(_) | State::Ready(_) => self.acquire(Condition::Version(version), now),
        }
    }

    /// The answer to a write of this participant was lost, and the write has landed.
    fn found_own(&mut self, seq: u64, version: V, now: Now) -> Actions<V, R> {
        let begun = self.own.confirm(seq);
        match begun.filter(|begun| now.boot - begun < self.rules.stop_after()) {
            Some(begun) => self.start_holding(version, begun, now),
            None => self.acquire(Condition::Version(version), now),
        }
    }

    fn wait_for(
        &mut self,
        holder: u128,
        ttl_ms: u64,
        written_ms: u64,
        version: V,
        now: Now,
    ) -> Actions<V, R> {
        self.waited_for = Some(holder);
        if self.sight.as_ref().is_none_or(|(seen, _)| *seen != version) {
            self.sight = Some((version.clone(), now.monotonic));
        }
        let left = if fault::is_seeded("ensure-wall-clock") {
            let age = i64::try_from(now.wall).unwrap_or(0) - i64::try_from(written_ms).unwrap_or(0);
            Rules::expires_after(ttl_ms) - age
        } else {
            self.lease_left(ttl_ms, now)
        };
        if left <= 0 {
            // Patience goes on: the store can answer every read and no write.
            return self.acquire(Condition::Version(version), now);
        }
        self.trouble.end();
        self.attempt = None;
        self.stay(Phase::Pausing(now.monotonic + self.rules.poll_ms.min(left)))
    }

    fn acquire(&mut self, condition: Condition<V>, now: Now) -> Actions<V, R> {
        if self.leaving.is_some() {
            return self.left();
        }
        if !self.rules.may_write {
            return self.end(Ending::ReadOnly);
        }
        let last = self.attempt.take().filter(|last| last.condition == condition);
        let is_refused = last.as_ref().is_some_and(|last| last.was_refused);
        self.attempt = Some(Attempt {
            condition: condition.clone(),
            was_refused: false,
        });
        if last.is_none() {
            // Nobody has tried to replace this version: the store works.
            self.trouble.end();
        } else if is_refused {
            // The store refuses a write whose condition holds.
            return self.back_off(now);
        } else if self.trouble.is_over(now, self.rules.patience_ms) {
            return self.end(Ending::Trouble);
        }
        self.phase = Phase::Acquiring;
        let record = self.own.begin(State::Building, &self.rules, now);
        vec![Action::Write { record, condition }]
    }

    fn acquired(&mut self, written: Written<V>, now: Now) -> Actions<V, R> {
        match written {
            Written::Landed(version) => {
                let seq = self.own.last_seq();
                self.found_own(seq, version, now)
            }
            Written::Refused if fault::is_seeded("ensure-lost-race-is-trouble") => self.back_off(now),
            // Usually another participant was faster, and the record says so. Then this is no failure, however slow the
            // store is.
            Written::Refused => {
                if let Some(attempt) = &mut self.attempt {
                    attempt.was_refused = true;
                }
                self.look()
            }
            Written::Unknown => match self.trouble.add(now, self.rules.patience_ms) {
                Some(pause) => self.stay(Phase::Pausing(now.monotonic + pause)),
                // It can have landed.
                None => self.look(),
            },
        }
    }

    fn start_holding(&mut self, version: V, begun: i64, now: Now) -> Actions<V, R> {
        self.trouble.end();
        self.sight = None;
        self.unusable = None;
        self.attempt = None;
        let mut lease = Lease::new(version, begun);
        if self.leaving == Some(Leaving::Cancelled) {
            lease.goal = Goal::Release(None);
            return self.hold(lease, Event::Wake, now);
        }
        self.phase = Phase::Holding(lease);
        vec![Action::Build]
    }

    /// Handles an event of the holder.
    fn hold(&mut self, mut lease: Lease<V, R>, event: Event<V, R>, now: Now) -> Actions<V, R> {
        let is_cancelled = self.leaving == Some(Leaving::Cancelled);
        if let Event::BuildEnded(built) = event {
            lease.goal = match built {
                _ if is_cancelled => Goal::Release(None),
                Built::Ready(result) => Goal::Publish(result),
                Built::Failed(message) => Goal::Release(Some(message)),
                Built::GivenUp => Goal::Release(None),
            };
            return self.step(lease, Step::Idle, now);
        }
        let step = lease.on(event, &mut self.own, &mut self.trouble, &self.rules, now);
        self.step(lease, step, now)
    }

    fn step(&mut self, mut lease: Lease<V, R>, step: Step, now: Now) -> Actions<V, R> {
        match step {
            Step::Idle => {
                let writes = lease.next_write(&mut self.own, &self.rules, now);
                self.phase = Phase::Holding(lease);
                writes.into_iter().collect()
            }
            Step::Read => {
                self.phase = Phase::Holding(lease);
                vec![Action::Read]
            }
            Step::Wait => self.stay(Phase::Holding(lease)),
            Step::Done => {
                let ending = lease.ending(self.leaving);
                self.end(ending)
            }
            Step::Lost => self.lose(lease),
            Step::Impatient => {
                let ending = match lease.goal {
                    Goal::Publish(result) => Ending::Unpublished(result),
                    Goal::Build | Goal::Release(_) => lease.ending(self.leaving),
                };
                self.end(ending)
            }
        }
    }

    /// The lease is lost. A build that runs is stopped, and what others made is looked for.
    fn lose(&mut self, lease: Lease<V, R>) -> Actions<V, R> {
        self.trouble.end();
        match lease.goal {
            Goal::Build => {
                self.phase = Phase::Draining;
                // A cancelled build was stopped before.
                let is_stopped = self.leaving == Some(Leaving::Cancelled);
                (!is_stopped).then_some(Action::StopBuild).into_iter().collect()
            }
            Goal::Publish(_) => self.look(),
            Goal::Release(_) => {
                let ending = lease.ending(self.leaving);
                self.end(ending)
            }
        }
    }
}
