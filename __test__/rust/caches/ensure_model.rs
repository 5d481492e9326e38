//! fleet/every-order: the protocol of `ensure` is searched in every order of its messages, with three callers, one
//! object, requests that are lost, doubled and delayed, killed callers, a deleted object and a blob that no longer exists.
//!
//! The version of the object is its content, as the `ETag` of S3 can be. Time is relative to each caller: its timers may
//! fire at any moment, so that each order of a take-over and the holder's steps is searched.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use stateright::{Checker as _, Model, Property};
use warmswap::core::caches::ensure::protocol::{
    Action, Built, Condition, Ending, Event, Found, Leaving, Now, Participant, Record, Rules, State, Written,
};

use super::support::seeded_bugs::is_killed_by;

type Result = u8;
type Version = Record<Result>;

const NOW: Now = Now {
    monotonic: 0,
    boot: 0,
    wall: 0,
};

/// The size of the search.
struct Fleet {
    callers: u8,
    /// Largest number of a write.
    seq: u64,
    /// Most messages in flight, requests and answers.
    in_flight: usize,
    /// Most faults of all kinds.
    faults: u8,
    patience_ms: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    callers: Vec<Caller>,
    object: Option<Version>,
    messages: Vec<Message>,
    faults: u8,
    builds: u8,
    /// The object was deleted, or a blob was lost: two results can count then.
    is_damaged: bool,
    /// Results whose blobs no longer exist.
    lost_blobs: Vec<Result>,
    violation: Option<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Caller {
    participant: Option<Participant<Version, Result>>,
    /// Whether it waits for the answer to a write or to a read.
    awaits: Option<Kind>,
    is_building: bool,
    restoring: Option<Result>,
    end: Option<End>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum End {
    Killed,
    Restored(Result),
    Ended(Ending<Result>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Read,
    Write,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Message {
    caller: usize,
    /// The caller no longer waits for it.
    is_abandoned: bool,
    body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Body {
    Read,
    Write {
        record: Version,
        condition: Condition<Version>,
        /// Whether it acquires the lease. All other writes are those of a holder.
        acquires: bool,
    },
    Answer(Event<Version, Result>),
}

impl Message {
    /// Messages have no order of their own, and the same ones must be the same state.
    fn rank(&self) -> (usize, u64) {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        (self.caller, hasher.finish())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Start(usize),
    Deliver(usize),
    Wake(usize),
    Build(usize, bool),
    Restore(usize),
    // Faults.
    Lose(usize),
    Double(usize),
    Timeout(usize),
    Kill(usize),
    Cancel(usize),
    Delete,
    LoseBlob(Result),
}

impl World {
    fn send(&mut self, caller: usize, body: Body) {
        self.abandon(caller);
        self.callers[caller].awaits = Some(match body {
            Body::Read => Kind::Read,
            _ => Kind::Write,
        });
        self.put(Message {
            caller,
            is_abandoned: false,
            body,
        });
    }

    fn put(&mut self, message: Message) {
        self.messages.push(message);
        self.messages.sort_by_cached_key(Message::rank);
    }

    /// The caller no longer waits for its request. Reads and answers that nobody waits for change nothing.
    fn abandon(&mut self, caller: usize) {
        for message in self.messages.iter_mut().filter(|each| each.caller == caller) {
            message.is_abandoned = true;
        }
        self.messages
            .retain(|each| !each.is_abandoned || matches!(each.body, Body::Write { .. }));
        self.messages.sort_by_cached_key(Message::rank);
    }

    fn has_answer_coming(&self, caller: usize) -> bool {
        let mut messages = self.messages.iter();
        messages.any(|message| message.caller == caller && !message.is_abandoned)
    }

    fn handle(&mut self, index: usize, event: Event<Version, Result>) {
        let Some(mut participant) = self.callers[index].participant.take() else {
            return;
        };
        let held = participant.is_holding();
        let was_late = participant.is_late(NOW);
        let actions = participant.on(event, NOW);
        let has_lost = held && !participant.is_holding() && !participant.has_ended();
        let is_own = |record: &Version| record.token == index as u128;
        if has_lost && !was_late && !self.is_damaged && self.object.as_ref().is_some_and(is_own) {
            self.violation = Some("a holder took its own record for another one's");
        }
        self.callers[index].participant = Some(participant);
        self.execute(index, actions);
    }

    fn execute(&mut self, index: usize, actions: Vec<Action<Version, Result>>) {
        for action in actions {
            let caller = &mut self.callers[index];
            match action {
                Action::Read => self.send(index, Body::Read),
                Action::Write { record, condition } => {
                    let holds = caller.participant.as_ref().is_some_and(Participant::is_holding);
                    let acquires = !holds;
                    self.send(
                        index,
                        Body::Write {
                            record,
                            condition,
                            acquires,
                        },
                    );
                }
                Action::Build => caller.is_building = true,
                Action::StopBuild => {}
                Action::Restore(result) => caller.restoring = Some(result),
                Action::End(ending) => {
                    if caller.is_building {
                        self.violation = Some("a call ended while its build ran");
                    }
                    self.end(index, End::Ended(ending));
                }
            }
        }
    }

    fn end(&mut self, index: usize, end: End) {
        let caller = &mut self.callers[index];
        caller.end = Some(end);
        caller.participant = None;
        caller.awaits = None;
        caller.is_building = false;
        caller.restoring = None;
        self.abandon(index);
        let counted: Vec<Result> = self.callers.iter().filter_map(Caller::result).collect();
        if !self.is_damaged && counted.windows(2).any(|pair| pair[0] != pair[1]) {
            self.violation = Some("two results count");
        }
    }

    /// The store handles a request.
    fn serve(&mut self, body: Body) -> Event<Version, Result> {
        let (record, condition, acquires) = match body {
            Body::Read => {
                let found = match &self.object {
                    None => Found::Nothing,
                    Some(record) => Found::Record(record.clone(), record.clone()),
                };
                return Event::Read(Some(found));
            }
            Body::Write {
                record,
                condition,
                acquires,
            } => (record, condition, acquires),
            Body::Answer(answer) => return answer,
        };
        let holds = match &condition {
            Condition::Absent => self.object.is_none(),
            Condition::Version(version) => self.object.as_ref() == Some(version),
            Condition::Always => true,
        };
        if !holds {
            return Event::Written(Written::Refused);
        }
        let is_own = self.object.as_ref().is_some_and(|old| old.token == record.token);
        if !acquires && !is_own {
            self.violation = Some("a holder without the lease has written");
        }
        self.object = Some(record.clone());
        Event::Written(Written::Landed(record))
    }
}

impl Caller {
    fn result(&self) -> Option<Result> {
        match &self.end {
            Some(End::Restored(result) | End::Ended(Ending::Built(result))) => Some(*result),
            _ => None,
        }
    }
}

impl Fleet {
    fn rules(&self, caller: usize) -> Rules {
        Rules {
            token: caller as u128,
            ttl_ms: 3000,
            // The first pause ends when the lease does.
            poll_ms: i64::from(u16::MAX),
            patience_ms: self.patience_ms,
            may_write: true,
            shares_failures: true,
        }
    }

    fn faults_of(&self, world: &World, steps: &mut Vec<Step>) {
        if world.faults >= self.faults {
            return;
        }
        for (at, message) in world.messages.iter().enumerate() {
            // A read that is lost or doubled, and an answer that is lost, are the same as a timeout.
            if matches!(message.body, Body::Write { .. }) {
                steps.push(Step::Lose(at));
                steps.push(Step::Double(at));
            }
        }
        for (index, caller) in world.callers.iter().enumerate() {
            if caller.participant.is_none() {
                continue;
            }
            if caller.awaits.is_some() && world.has_answer_coming(index) {
                steps.push(Step::Timeout(index));
            }
            steps.push(Step::Kill(index));
            steps.push(Step::Cancel(index));
        }
        match &world.object {
            Some(Record {
                state: State::Ready(result),
                ..
            }) if !world.lost_blobs.contains(result) => {
                steps.push(Step::LoseBlob(*result));
                steps.push(Step::Delete);
            }
            Some(_) => steps.push(Step::Delete),
            None => {}
        }
    }
}

impl Model for Fleet {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let caller = Caller {
            participant: None,
            awaits: None,
            is_building: false,
            restoring: None,
            end: None,
        };
        vec![World {
            callers: vec![caller; usize::from(self.callers)],
            object: None,
            messages: Vec::new(),
            faults: 0,
            builds: 0,
            is_damaged: false,
            lost_blobs: Vec::new(),
            violation: None,
        }]
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        steps.extend((0..world.messages.len()).map(Step::Deliver));
        for (index, caller) in world.callers.iter().enumerate() {
            if caller.end.is_some() {
                continue;
            }
            let Some(participant) = &caller.participant else {
                // Callers are the same but for their names: they start in order.
                if index == 0 || world.callers[index - 1].has_started() {
                    steps.push(Step::Start(index));
                }
                continue;
            };
            if participant.wakes_in(NOW).is_some() {
                steps.push(Step::Wake(index));
            }
            if caller.awaits.is_some() && !world.has_answer_coming(index) {
                steps.push(Step::Timeout(index));
            }
            if caller.is_building {
                steps.push(Step::Build(index, true));
                steps.push(Step::Build(index, false));
            }
            if caller.restoring.is_some() {
                steps.push(Step::Restore(index));
            }
        }
        self.faults_of(world, steps);
    }

    fn next_state(&self, last: &World, step: Step) -> Option<World> {
        let mut world = last.clone();
        match step {
            Step::Start(index) => {
                let (participant, actions) = Participant::start(self.rules(index));
                world.callers[index].participant = Some(participant);
                world.execute(index, actions);
            }
            Step::Deliver(at) => {
                let message = world.messages.remove(at);
                let is_answer = matches!(message.body, Body::Answer(_));
                let answer = world.serve(message.body);
                if message.is_abandoned {
                    return Some(world);
                }
                if is_answer {
                    world.callers[message.caller].awaits = None;
                    world.handle(message.caller, answer);
                } else {
                    world.put(Message {
                        body: Body::Answer(answer),
                        ..message
                    });
                }
            }
            Step::Wake(index) => {
                let participant = world.callers[index].participant.as_mut()?;
                let wait = participant.wakes_in(NOW)?;
                participant.rebase(wait);
                world.handle(index, Event::Wake);
            }
            Step::Build(index, is_good) => {
                world.builds += 1;
                world.callers[index].is_building = false;
                let built = if is_good {
                    Built::Ready(world.builds)
                } else {
                    Built::Failed("no".to_owned())
                };
                world.handle(index, Event::BuildEnded(built));
            }
            Step::Restore(index) => {
                let result = world.callers[index].restoring.take()?;
                if world.lost_blobs.contains(&result) {
                    world.handle(index, Event::Unrestorable);
                } else {
                    world.end(index, End::Restored(result));
                }
            }
            fault => strike(&mut world, fault),
        }
        Some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always("safe", |_, world| world.violation.is_none()),
            Property::<Self>::always("every call ends", |model, world| {
                let mut steps = Vec::new();
                model.actions(world, &mut steps);
                !steps.is_empty() || world.callers.iter().all(|caller| caller.end.is_some())
            }),
            Property::<Self>::always(
                "without a fault, no call concludes that the store fails",
                |_, world| {
                    let concludes = |caller: &Caller| {
                        matches!(
                            &caller.end,
                            Some(End::Ended(
                                Ending::Trouble | Ending::Unpublished(_) | Ending::GivenUp
                            ))
                        )
                    };
                    world.faults > 0 || !world.callers.iter().any(concludes)
                },
            ),
            Property::<Self>::sometimes("one builds and the others restore", |_, world| {
                let results = world.callers.iter().filter_map(Caller::result).count();
                world.builds == 1 && results == world.callers.len()
            }),
            Property::<Self>::sometimes("a waiter shares a failure", |_, world| {
                let is_shared = |caller: &Caller| {
                    matches!(
                        &caller.end,
                        Some(End::Ended(Ending::Failed { is_shared: true, .. }))
                    )
                };
                world.callers.iter().any(is_shared)
            }),
        ]
    }

    fn within_boundary(&self, world: &World) -> bool {
        let is_small = |record: &Version| record.seq <= self.seq;
        world.messages.len() <= self.in_flight
            && world.object.as_ref().is_none_or(is_small)
            && world.messages.iter().all(|message| match &message.body {
                Body::Write { record, .. } => is_small(record),
                _ => true,
            })
    }
}

impl Caller {
    fn has_started(&self) -> bool {
        self.participant.is_some() || self.end.is_some()
    }
}

fn strike(world: &mut World, fault: Step) {
    // The loss of the message was the fault.
    let is_consequence = matches!(fault, Step::Timeout(index) if !world.has_answer_coming(index));
    world.faults += u8::from(!is_consequence);
    match fault {
        Step::Lose(at) => drop(world.messages.remove(at)),
        Step::Double(at) => {
            let copy = world.messages[at].clone();
            world.put(Message {
                is_abandoned: true,
                ..copy
            });
        }
        Step::Timeout(index) => {
            world.abandon(index);
            let event = match world.callers[index].awaits.take() {
                Some(Kind::Read) => Event::Read(None),
                _ => Event::Written(Written::Unknown),
            };
            world.handle(index, event);
        }
        Step::Kill(index) => world.end(index, End::Killed),
        Step::Cancel(index) => world.handle(index, Event::Leave(Leaving::Cancelled)),
        Step::Delete => {
            world.object = None;
            world.is_damaged = true;
        }
        Step::LoseBlob(result) => {
            world.lost_blobs.push(result);
            world.is_damaged = true;
        }
        _ => unreachable!("it is no fault"),
    }
}

fn is_long() -> bool {
    std::env::var_os("WARMSWAP_LONG").is_some()
}

/// Searches one fleet, with writes up to number 2 of each caller and two messages in flight. With `depth`, searches that
/// many steps only.
fn search(callers: u8, faults: u8, patience_ms: i64, depth: Option<usize>) {
    let fleet = Fleet {
        callers,
        seq: 2,
        in_flight: 2,
        faults,
        patience_ms,
    };
    let started = std::time::Instant::now();
    let search = fleet.checker().threads(2);
    let search = match depth {
        Some(depth) => search.target_max_depth(depth),
        None => search,
    };
    let checker = search.spawn_bfs().join();
    eprintln!(
        "{callers} callers, {faults} faults: {} states, {} of them different, depth {}, {:.1} s",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        started.elapsed().as_secs_f64()
    );
    checker.assert_properties();
}

#[test]
fn two_callers_and_faults() {
    search(2, if is_long() { 2 } else { 1 }, 200, None);
}

/// Without patience, a caller that took a lost race for a failure of the store would end.
#[test]
fn two_callers_without_patience() {
    search(2, 0, 0, None);
}

/// Without a fault, three callers have 800 000 states in 58 steps, which take 12 s of one core. Those of 30 steps take 2 s.
/// One fault makes 14 million of them, which take 300 s.
#[test]
fn three_callers_and_faults() {
    if is_long() {
        search(3, 1, 0, None);
    } else {
        search(3, 0, 0, Some(30));
    }
}

#[test]
fn seeded_bugs_of_conditions_are_found() {
    for bug in [
        "ensure-publish-unconditionally",
        "ensure-renew-unconditionally",
        "ensure-release-unconditionally",
        "ensure-412-is-loss",
    ] {
        is_killed_by(bug, "caches::ensure_model::two_callers_and_faults");
    }
    is_killed_by(
        "ensure-lost-race-is-trouble",
        "caches::ensure_model::two_callers_without_patience",
    );
}
