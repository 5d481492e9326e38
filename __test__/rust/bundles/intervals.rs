//! bundles/pin-is-current: each pin returns a generation that was current at some moment between its call and its
//! return. No reader goes backwards without a rollback in between. Writers log each publish and rollback, and readers
//! log each pin, all with times of `CLOCK_MONOTONIC`. The checker searches for moments that explain every reader's log.
//! Kills do not prevent that: the next writer finds what a killed one could not log.
//!
//! A pin that only omits its second read of the pointer is not among the seeded bugs, because it keeps this guarantee.
//! The first read is within the call, and the check of the link count under the lock refuses a collected generation.

/// One call: the generation, and the times in microseconds between which it ran.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Call {
    pub(crate) number: u64,
    pub(crate) before: u64,
    pub(crate) after: u64,
}

/// One line of a child.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Line {
    /// Generation that a writer found current, under the lock, before it changed anything.
    Found(Call),
    /// A publish or rollback.
    Flip(Call),
    Pin(Call),
}

impl Line {
    /// Parses `<kind> <number> <before> <after>`.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let kind = match fields.next()? {
            "found" => Self::Found,
            "flip" => Self::Flip,
            "pin" => Self::Pin,
            _ => return None,
        };
        let mut next = || fields.next()?.parse().ok();
        Some(kind(Call {
            number: next()?,
            before: next()?,
            after: next()?,
        }))
    }
}

/// Orders the flips that the writers logged. `first` is the generation that was current before them.
pub(crate) fn sequence(first: u64, said: &[Line]) -> Vec<Call> {
    let mut said: Vec<(bool, Call)> = said
        .iter()
        .filter_map(|line| match line {
            Line::Found(call) => Some((false, *call)),
            Line::Flip(call) => Some((true, *call)),
            Line::Pin(_) => None,
        })
        .collect();
    // Flips happen under the lock, so they do not overlap. A writer logs what it found before it flips.
    said.sort_by_key(|(is_flip, call)| (call.before, *is_flip));
    let mut flips = vec![Call {
        number: first,
        before: 0,
        after: 0,
    }];
    let mut found_before = 0;
    for (is_flip, call) in said {
        let known = flips[flips.len() - 1].number;
        if is_flip {
            flips.push(call);
        } else if call.number != known {
            // The previous writer was killed between its flip and its log line.
            flips.push(Call {
                before: found_before,
                ..call
            });
        }
        if !is_flip {
            found_before = call.before;
        }
    }
    flips
}

/// Returns the first pin of one reader that no moment explains. `flips` are in order and do not overlap. The i-th
/// generation is current from within its own interval until within the next one.
pub(crate) fn unexplained(flips: &[Call], pins: &[Call]) -> Option<Call> {
    let until = |index: usize| flips.get(index + 1).map_or(u64::MAX, |next| next.after);
    // A reader never sees an earlier state of the pointer than before. The earliest matching state leaves the most
    // possibilities for the following pins.
    let mut reached = 0;
    for pin in pins {
        while reached < flips.len() && until(reached) < pin.before {
            reached += 1;
        }
        let fits = |index: &usize| flips[*index].number == pin.number && flips[*index].before <= pin.after;
        match (reached..flips.len()).find(fits) {
            Some(index) => reached = index,
            None => return Some(*pin),
        }
    }
    None
}

fn call((number, before, after): (u64, u64, u64)) -> Call {
    Call {
        number,
        before,
        after,
    }
}

#[test]
fn the_check_of_intervals_detects_violations() {
    // Generation 2 is rolled back to 1 between 50 and 60.
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

#[test]
fn the_unlogged_work_of_a_killed_writer_is_found_by_the_next() {
    let said = [
        Line::Found(call((4, 50, 50))),
        Line::Flip(call((2, 12, 14))),
        Line::Found(call((1, 11, 11))),
        // It published 4 and was killed without a log line.
        Line::Found(call((2, 20, 20))),
        Line::Flip(call((5, 51, 53))),
        // It was killed before it published anything.
        Line::Found(call((5, 60, 60))),
        Line::Found(call((5, 70, 70))),
    ];
    let expected = [(1, 0, 0), (2, 12, 14), (4, 20, 50), (5, 51, 53)].map(call);
    assert_eq!(sequence(1, &said), expected);
}
