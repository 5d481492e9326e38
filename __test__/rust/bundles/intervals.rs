//! I3: each pin returns a generation that was current at some instant between its call and its return, and no
//! reader goes backwards without a rollback in between. Writers log each publish and rollback, readers each pin,
//! all on `CLOCK_MONOTONIC`; the checker looks for instants that explain every reader's log.
//!
//! A pin that leaves out only its second look at the pointer is not among the mutants, because it keeps this
//! promise: the first look lies within the call, and the count of links under the lock refuses what was collected.

use std::collections::BTreeMap;
use std::io::Read as _;

use crate::fixture::Fixture;

const WRITERS: usize = 2;
const READERS: usize = 3;
const MILLISECONDS: &str = "2500";

/// One call: the generation, and the microseconds between which it ran.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Call {
    number: u64,
    before: u64,
    after: u64,
}

impl Call {
    /// Of a line `<kind> <number> <before> <after>`.
    fn parse(line: &str, kind: &str) -> Option<Self> {
        let mut fields = line.strip_prefix(kind)?.split_ascii_whitespace();
        let mut next = || fields.next()?.parse().ok();
        Some(Self {
            number: next()?,
            before: next()?,
            after: next()?,
        })
    }
}

/// The first pin that no instant explains. `flips` are in order and do not overlap; the i-th is current from
/// within its own interval until within that of the next.
fn unexplained(flips: &[Call], pins: &[Call]) -> Option<Call> {
    // A reader never looks at an earlier state of the pointer than before; the earliest that fits leaves the
    // most to the pins that follow.
    let mut reached = 0;
    for pin in pins {
        let fits = |index: usize| {
            let until = flips.get(index + 1).map_or(u64::MAX, |next| next.after);
            flips[index].number == pin.number && flips[index].before <= pin.after && pin.before <= until
        };
        match (reached..flips.len()).find(|index| fits(*index)) {
            Some(index) => reached = index,
            None => return Some(*pin),
        }
    }
    None
}

/// Lets writers and readers run side by side.
fn unexplained_pin_of_a_run(mutant: &str) -> Option<Call> {
    let fixture = Fixture::in_memory();
    assert!(fixture.child(&["publish"], &[]).succeeded);
    let start = |command: &str| fixture.spawn(&[command, MILLISECONDS], &[("WARMSWAP_MUTANT", mutant)]);
    let children: Vec<_> = (0..WRITERS + READERS)
        .map(|index| start(if index < WRITERS { "log-flips" } else { "log-pins" }))
        .collect();
    // All pipes are read at the same time, else a child would wait for its reader.
    let logs: Vec<String> = std::thread::scope(|scope| {
        let readers: Vec<_> = children
            .into_iter()
            .map(|mut child| {
                scope.spawn(move || {
                    let mut log = String::new();
                    child
                        .stdout
                        .take()
                        .expect("piped")
                        .read_to_string(&mut log)
                        .expect("a log");
                    assert!(child.wait().expect("ended").success(), "{log}");
                    log
                })
            })
            .collect();
        readers
            .into_iter()
            .map(|reader| reader.join().expect("a log"))
            .collect()
    });
    let calls = |log: &String, kind: &str| -> Vec<Call> {
        log.lines().filter_map(|line| Call::parse(line, kind)).collect()
    };
    let first = Call {
        number: 1,
        before: 0,
        after: 0,
    };
    let sequence: BTreeMap<u64, Call> = std::iter::once(first)
        .chain(logs.iter().flat_map(|log| calls(log, "flip ")))
        .map(|flip| (flip.before, flip))
        .collect();
    let flips: Vec<Call> = sequence.into_values().collect();
    assert!(
        flips.windows(2).all(|pair| pair[0].after <= pair[1].before),
        "the writer lock lets one writer in at a time"
    );
    assert!(flips.len() > 10, "{} flips", flips.len());
    assert!(
        flips.windows(2).any(|pair| pair[1].number < pair[0].number),
        "rollbacks are among them"
    );
    logs[WRITERS..].iter().find_map(|log| {
        let pins = calls(log, "pin ");
        assert!(!pins.is_empty(), "a reader pins");
        unexplained(&flips, &pins)
    })
}

#[test]
fn i3_each_pin_was_current_between_its_call_and_its_return() {
    assert_eq!(unexplained_pin_of_a_run(""), None);
}

#[test]
fn i3_the_check_of_intervals_notices_a_pin_that_trusts_what_is_held() {
    assert_ne!(unexplained_pin_of_a_run("held-before-pointer"), None);
}

#[test]
fn i3_the_check_of_intervals_fails_where_it_must() {
    let call = |(number, before, after)| Call {
        number,
        before,
        after,
    };
    // 2 is rolled back to 1 at 50 to 60.
    let flips = [(1, 0, 0), (2, 10, 20), (1, 50, 60), (3, 80, 90)].map(call);
    let bad = |pins: &[(u64, u64, u64)]| {
        let pins: Vec<Call> = pins.iter().copied().map(call).collect();
        unexplained(&flips, &pins).map(|pin| pin.number)
    };
    let right = [
        (1, 12, 13),
        (2, 14, 15),
        (2, 55, 56),
        (1, 57, 58),
        (1, 85, 86),
        (3, 87, 88),
    ];
    assert_eq!(bad(&right), None);
    assert_eq!(bad(&[(1, 21, 49)]), Some(1), "overtaken before the call");
    assert_eq!(bad(&[(2, 61, 62)]), Some(2), "overtaken by a rollback");
    assert_eq!(bad(&[(2, 5, 9)]), Some(2), "before it was published");
    assert_eq!(
        bad(&[(2, 14, 15), (1, 16, 17)]),
        Some(1),
        "backwards without a rollback"
    );
    assert_eq!(
        bad(&[(3, 85, 86), (1, 87, 88)]),
        Some(1),
        "backwards after the rollback"
    );
    assert_eq!(bad(&[(4, 0, 99)]), Some(4), "never current");
}
