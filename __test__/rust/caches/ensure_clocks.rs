//! fleet/build-stops-in-time: the times of the protocol of `ensure`. Clocks run at other rates, wall clocks differ by days,
//! writes are slow, the holder cannot reach the store, or it is killed.

use warmswap::core::caches::ensure::protocol::{
    Action, Built, Condition, Ending, Event, Found, Now, Participant, Record, Rules, State, Written,
};

use super::support::seeded_bugs::is_killed_by;

type Version = Record<u8>;
type Actions = Vec<Action<Version, u8>>;

const TTL_MS: u64 = 3000;
const TTL: f64 = 3000.0;
const DAY_MS: u64 = 86_400_000;

/// A process with clocks of its own.
struct Process {
    participant: Participant<Version, u8>,
    rate: f64,
    wall: u64,
    /// When it wants to be woken, in real milliseconds.
    wake: Option<f64>,
}

impl Process {
    fn start(token: u128, rate: f64, wall: u64) -> (Self, Actions) {
        Self::patient(token, rate, wall, 60_000)
    }

    fn patient(token: u128, rate: f64, wall: u64, patience_ms: i64) -> (Self, Actions) {
        let rules = Rules {
            token,
            ttl_ms: TTL_MS,
            poll_ms: 300,
            patience_ms,
            may_write: true,
            shares_failures: true,
        };
        let (participant, actions) = Participant::start(rules);
        let process = Self {
            participant,
            rate,
            wall,
            wake: None,
        };
        (process, actions)
    }

    #[expect(clippy::cast_sign_loss, reason = "the time of the test is positive")]
    fn now(&self, real: f64) -> Now {
        let own = (real * self.rate) as i64;
        Now {
            monotonic: own,
            boot: own,
            wall: self.wall + real as u64,
        }
    }

    fn on(&mut self, event: Event<Version, u8>, real: f64) -> Actions {
        let now = self.now(real);
        let actions = self.participant.on(event, now);
        self.plan(real);
        actions
    }

    #[expect(clippy::cast_precision_loss, reason = "a few thousand milliseconds")]
    fn plan(&mut self, real: f64) {
        let wait = self.participant.wakes_in(self.now(real));
        // One more, because the clock of the process was rounded down.
        self.wake = wait.map(|wait| real + (wait as f64 + 1.0) / self.rate);
    }
}

/// What happened, in real milliseconds.
#[derive(Debug, Default)]
struct Timeline {
    last_landed: f64,
    build_stopped: Option<f64>,
    taken_over: Option<f64>,
}

/// How long a write needs to land, and its answer to come back, in real milliseconds.
#[derive(Debug, Clone, Copy)]
struct Latency {
    write: f64,
    answer: f64,
}

const fn latency(write: f64) -> Latency {
    Latency { write, answer: 0.0 }
}

/// Runs a holder and an observer for ten leases. No write lands or is answered that is begun after `cut`. With `is_killed`
/// the holder does nothing after `cut`.
fn run(rates: (f64, f64), wall: u64, latency: Latency, cut: f64, is_killed: bool) -> Timeline {
    let mut timeline = Timeline::default();
    let mut object: Option<Version> = None;
    let (mut holder, _) = Process::start(1, rates.0, DAY_MS);
    let (mut observer, _) = Process::start(2, rates.1, wall);
    let mut actions = holder.on(Event::Read(Some(Found::Nothing)), 0.0);
    let mut landing: Option<(f64, Version)> = None;
    let mut answer: Option<(f64, Version)> = None;
    let mut real = 0.0;
    // The first write of the holder has landed.
    observer.wake = Some(latency.write + 1.0);
    let mut observer_reads = true;
    while real < TTL * 10.0 {
        for action in std::mem::take(&mut actions) {
            match action {
                Action::Write { record, .. } if real < cut => landing = Some((real + latency.write, record)),
                Action::StopBuild => timeline.build_stopped = Some(real),
                _ => {}
            }
        }
        let at = |message: &Option<(f64, Version)>| message.as_ref().map(|(at, _)| *at);
        let next = [at(&landing), at(&answer), holder.wake, observer.wake];
        real = next.into_iter().flatten().fold(f64::INFINITY, f64::min);
        if is_killed && real >= cut {
            (holder.wake, landing, answer) = (None, None, None);
            real = observer.wake.expect("the observer waits");
        }
        if let Some((_, record)) = landing.take_if(|(at, _)| *at <= real) {
            object = Some(record.clone());
            timeline.last_landed = real;
            answer = Some((real + latency.answer, record));
        } else if let Some((_, record)) = answer.take_if(|(at, _)| *at <= real) {
            actions = holder.on(Event::Written(Written::Landed(record)), real);
        } else if holder.wake.is_some_and(|at| at <= real) {
            holder.wake = None;
            actions = holder.on(Event::Wake, real);
        } else {
            let found = object
                .clone()
                .map_or(Found::Nothing, |record| Found::Record(record.clone(), record));
            let answers = if std::mem::take(&mut observer_reads) {
                observer.on(Event::Read(Some(found)), real)
            } else {
                observer.on(Event::Wake, real)
            };
            for answer in answers {
                match answer {
                    Action::Read => (observer_reads, observer.wake) = (true, Some(real)),
                    Action::Write {
                        condition: Condition::Version(_),
                        ..
                    } => {
                        timeline.taken_over = Some(real);
                        return timeline;
                    }
                    _ => {}
                }
            }
        }
    }
    timeline
}

const RATES: [f64; 4] = [0.8, 0.9, 1.0, 1.25];

#[test]
fn a_live_holder_is_not_taken_over_whatever_the_clocks() {
    for holder in RATES {
        for observer in RATES {
            for wall in [0, DAY_MS, 40 * DAY_MS] {
                for latency in [1.0, 200.0, 600.0].map(latency) {
                    let timeline = run((holder, observer), wall, latency, f64::INFINITY, false);
                    let case =
                        format!("rates {holder} and {observer}, wall {wall}, {latency:?}: {timeline:?}");
                    assert!(
                        timeline.taken_over.is_none() && timeline.build_stopped.is_none(),
                        "{case}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_build_stops_before_its_lease_can_be_taken_over() {
    for holder in RATES {
        for observer in RATES {
            let late_answer = Latency {
                write: 1.0,
                answer: 900.0,
            };
            for latency in [latency(1.0), latency(600.0), latency(900.0), late_answer] {
                for cut in [700.0, 1500.0, 2600.0, 4100.0] {
                    let timeline = run((holder, observer), DAY_MS, latency, cut, false);
                    let case = format!("rates {holder} and {observer}, {latency:?}, cut {cut}: {timeline:?}");
                    let stopped = timeline
                        .build_stopped
                        .unwrap_or_else(|| panic!("not stopped: {case}"));
                    let taken = timeline
                        .taken_over
                        .unwrap_or_else(|| panic!("not taken over: {case}"));
                    assert!(stopped < taken, "{case}");
                }
            }
        }
    }
}

#[test]
fn a_killed_holder_is_taken_over_within_one_and_a_half_leases() {
    for cut in [700.0, 1500.0, 2600.0, 4100.0] {
        let timeline = run((1.0, 1.0), DAY_MS, latency(1.0), cut, true);
        let taken = timeline.taken_over.expect("taken over");
        let waited = taken - timeline.last_landed;
        assert!(waited <= TTL * 1.5, "{waited} ms: {timeline:?}");
    }
}

/// A bucket can answer reads and refuse, delay or lose writes, for example above its quota.
#[test]
fn a_store_that_answers_reads_only_ends_the_call_after_its_patience() {
    let (mut holder, _) = Process::start(1, 1.0, DAY_MS);
    let written = holder.on(Event::Read(Some(Found::Nothing)), 0.0);
    let [Action::Write { record, .. }] = written.as_slice() else {
        panic!("{written:?}");
    };
    for answer in [Written::Unknown, Written::Refused] {
        let (mut waiter, mut actions) = Process::start(2, 1.0, DAY_MS);
        let mut real = 0.0;
        let ending = loop {
            assert!(real < TTL * 2.0 + 60_000.0, "it still waits");
            actions = match actions.pop() {
                Some(Action::Read) => {
                    let found = Found::Record(record.clone(), record.clone());
                    waiter.on(Event::Read(Some(found)), real)
                }
                Some(Action::Write { .. }) => waiter.on(Event::Written(answer.clone()), real),
                Some(Action::End(ending)) => break ending,
                Some(action) => panic!("{action:?}"),
                None => {
                    real = waiter.wake.expect("it waits");
                    waiter.on(Event::Wake, real)
                }
            };
        };
        assert_eq!(ending, Ending::Trouble);
        assert!(real >= 60_000.0, "{real} ms");
    }
}

/// A lost race is no failure, however slow the store is: the record says who was faster.
#[test]
fn a_race_that_is_lost_after_failures_is_no_trouble() {
    let (mut caller, _) = Process::patient(2, 1.0, DAY_MS, 1500);
    let nothing = || Event::Read(Some(Found::Nothing));
    let is_write = |actions: &Actions| matches!(actions.as_slice(), [Action::Write { .. }]);
    // Each request takes 500 ms, and two writes get no answer.
    assert!(is_write(&caller.on(nothing(), 500.0)));
    assert_eq!(caller.on(Event::Written(Written::Unknown), 1000.0), vec![]);
    assert_eq!(caller.on(Event::Wake, 1101.0), vec![Action::Read]);
    assert!(is_write(&caller.on(nothing(), 1600.0)));
    assert_eq!(caller.on(Event::Written(Written::Unknown), 2100.0), vec![]);
    assert_eq!(caller.on(Event::Wake, 2301.0), vec![Action::Read]);
    // Patience runs out while the third one is on its way.
    assert!(is_write(&caller.on(nothing(), 2400.0)));
    let mut actions = caller.on(Event::Written(Written::Refused), 2600.0);
    // Other callers are faster ten times, and give up.
    for token in 10..20 {
        assert_eq!(actions, vec![Action::Read]);
        let record = Record {
            token,
            seq: 1,
            ttl_ms: TTL_MS,
            written_ms: 0,
            state: State::Failed(None),
        };
        assert!(is_write(
            &caller.on(Event::Read(Some(Found::Record(record.clone(), record))), 3100.0)
        ));
        actions = caller.on(Event::Written(Written::Refused), 3600.0);
    }
    assert_eq!(actions, vec![Action::Read]);
}

/// The end of a holder whose store answers reads, and refuses every write after the first one.
#[test]
fn a_holder_whose_writes_are_refused_pauses_and_ends() {
    let (mut holder, _) = Process::patient(1, 1.0, DAY_MS, 1500);
    let written = holder.on(Event::Read(Some(Found::Nothing)), 0.0);
    let [Action::Write { record, .. }] = written.as_slice() else {
        panic!("{written:?}");
    };
    let record = record.clone();
    assert_eq!(
        holder.on(Event::Written(Written::Landed(record.clone())), 1.0),
        vec![Action::Build]
    );
    let (mut real, mut writes) = (10.0, 0);
    let mut actions = holder.on(Event::BuildEnded(Built::Ready(7)), real);
    let ending = loop {
        actions = match actions.pop() {
            Some(Action::Write { .. }) => {
                writes += 1;
                assert!(writes < 20, "it does not pause");
                holder.on(Event::Written(Written::Refused), real)
            }
            Some(Action::Read) => {
                let found = Found::Record(record.clone(), record.clone());
                holder.on(Event::Read(Some(found)), real)
            }
            Some(Action::End(ending)) => break ending,
            Some(action) => panic!("{action:?}"),
            None => {
                real = holder.wake.expect("it waits");
                holder.on(Event::Wake, real)
            }
        };
    };
    assert_eq!(ending, Ending::Unpublished(7));
    assert!((1500.0..4000.0).contains(&real), "{real} ms");
}

#[test]
fn seeded_bugs_of_times_are_found() {
    for (bug, test) in [
        (
            "ensure-wall-clock",
            "a_live_holder_is_not_taken_over_whatever_the_clocks",
        ),
        (
            "ensure-same-bytes",
            "a_live_holder_is_not_taken_over_whatever_the_clocks",
        ),
        (
            "ensure-lease-from-answer",
            "a_build_stops_before_its_lease_can_be_taken_over",
        ),
    ] {
        is_killed_by(bug, &format!("caches::ensure_clocks::{test}"));
    }
}
