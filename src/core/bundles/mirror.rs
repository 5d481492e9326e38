//! `current.json`, the mirror of the pointer: what is current, what was current before, and the numbers that were issued.

use serde::{Deserialize, Serialize};

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::fs;
use crate::core::sys::{clock, fault};

use super::layout::{Layout, MAX_NUMBER};
use super::named::NamedPin;

/// A generation that was current before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FormerGeneration {
    pub(super) number: u64,
    /// Time at which it stopped being current, in milliseconds since the epoch.
    pub(super) until: u64,
    /// The same time on the monotonic clock of a boot, which is never adjusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<BootTime>,
}

/// A time on the monotonic clock of one boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BootTime {
    boot: String,
    ms: i64,
}

/// The present time on both clocks.
#[derive(Debug, Clone)]
pub(super) struct Now {
    pub(super) wall: u64,
    pub(super) since: Option<BootTime>,
}

impl Now {
    /// Reads the clocks. `boot` is the id of this boot.
    pub(super) fn of(boot: Option<&str>) -> Self {
        let ms = i64::try_from(clock::monotonic_micros() / 1000).unwrap_or(i64::MAX);
        Self {
            wall: clock::wall_millis(),
            since: boot.map(|boot| BootTime {
                boot: boot.to_owned(),
                ms,
            }),
        }
    }
}

impl FormerGeneration {
    pub(super) fn at(number: u64, now: &Now) -> Self {
        Self {
            number,
            until: now.wall,
            since: now.since.clone(),
        }
    }

    /// Milliseconds since it stopped being current. Uses the boot's clock if the boot is the same, otherwise the wall
    /// clock. A time in the future counts as now.
    pub(super) fn age(&self, now: &Now) -> u64 {
        self.age_in_this_boot(now)
            .unwrap_or_else(|| now.wall.saturating_sub(self.until))
    }

    fn age_in_this_boot(&self, now: &Now) -> Option<u64> {
        let (then, here) = (self.since.as_ref()?, now.since.as_ref()?);
        if then.boot != here.boot || fault::is_seeded("grace-by-wall-clock") {
            return None;
        }
        u64::try_from(here.ms.checked_sub(then.ms)?).ok()
    }

    /// Converts a time that another boot or version wrote to the clock of this boot. Returns `true` if it was in the
    /// future: the wall clock was set back, and the time would stay in the future until it is rewritten.
    fn rebase(&mut self, now: &Now) -> bool {
        if self.age_in_this_boot(now).is_some() {
            return false;
        }
        let age = i64::try_from(self.age(now)).unwrap_or(i64::MAX);
        let is_ahead = self.until > now.wall;
        self.until = self.until.min(now.wall);
        self.since = now.since.clone().map(|here| BootTime {
            ms: here.ms.saturating_sub(age),
            ..here
        });
        is_ahead
    }
}

/// Content of `current.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mirror {
    /// Current generation.
    pub(super) number: Option<u64>,
    pub(super) digest: String,
    /// Time at which it became current, in milliseconds since the epoch.
    pub(super) at: u64,
    /// Former generations that still exist, the latest last.
    pub(super) history: Vec<FormerGeneration>,
    /// Highest number ever issued. Numbers are never reused.
    pub(super) highest: u64,
    /// Highest fence ever published.
    pub(super) fence: u64,
}

/// When the last pin with a name ends, if the generation has one.
fn end_of_pins(named: &[NamedPin], number: u64) -> Option<u64> {
    let ends = named.iter().filter(|pin| pin.number == number);
    ends.map(|pin| pin.expires_at).max()
}

/// Far more than the history of existing generations needs. A larger file was not written by warmswap.
const MAX_MIRROR_BYTES: u64 = 1 << 22;

impl Mirror {
    /// Reads the mirror. Returns `None` if it is missing, torn by power loss, or contains numbers that no store issues.
    pub(super) fn read(layout: &Layout) -> Result<Option<Self>> {
        let bytes = fs::read_capped(&layout.mirror(), MAX_MIRROR_BYTES).optional()?;
        Ok(bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .filter(Self::is_plausible))
    }

    fn is_plausible(&self) -> bool {
        let mut given_out = self.history.iter().map(|former| former.number).chain(self.number);
        given_out.all(|number| (1..=MAX_NUMBER).contains(&number))
            && self.highest <= MAX_NUMBER
            && self.fence <= MAX_NUMBER
    }

    /// Converts all times to the clock of this boot, except those of generations with a name. Returns `true` if the
    /// result has to be written.
    pub(super) fn rebase(&mut self, now: &Now, named: &[NamedPin]) -> bool {
        let mut is_ahead = false;
        for former in &mut self.history {
            // The end of a generation with a name is that of its pin, in the future.
            if end_of_pins(named, former.number).is_none() {
                is_ahead |= former.rebase(now);
            }
        }
        is_ahead
    }

    /// Gives generations with a name the end of their pin, for programs that know no names.
    pub(super) fn extend_named(&mut self, named: &[NamedPin]) {
        for former in &mut self.history {
            if let Some(end) = end_of_pins(named, former.number) {
                former.until = end;
                // A program that has both goes by this one, and it has no future.
                former.since = None;
            }
        }
    }

    pub(super) fn has_been_current(&self, number: u64) -> bool {
        self.history.iter().any(|former| former.number == number)
    }

    /// Records that `number` became current at `now`.
    pub(super) fn advance(&mut self, number: Option<u64>, digest: String, now: &Now) {
        if let Some(former) = self.number.filter(|former| Some(*former) != number) {
            self.history.push(FormerGeneration::at(former, now));
        }
        self.history.retain(|former| Some(former.number) != number);
        self.number = number;
        self.digest = digest;
        self.at = now.wall;
        self.highest = self.highest.max(number.unwrap_or(0));
    }

    /// Writes the new file next to the old one, so that a lack of space is found before the pointer moves.
    pub(super) fn prepare(&self, layout: &Layout) -> Result<()> {
        let temporary = layout.file("current.json.tmp");
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::new(Code::Io, format!("Cannot serialize current.json: {error}")))?;
        fs::remove_file(&temporary).optional()?;
        fs::write_new(&temporary, &text, 0o644)
    }

    /// Replaces the mirror with the prepared file.
    pub(super) fn commit(layout: &Layout) -> Result<()> {
        fs::rename(&layout.file("current.json.tmp"), &layout.mirror())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(wall: u64) -> Now {
        Now { wall, since: None }
    }

    fn both(wall: u64, boot: &str, ms: i64) -> Now {
        let since = Some(BootTime {
            boot: boot.to_owned(),
            ms,
        });
        Now { wall, since }
    }

    #[test]
    fn the_age_of_a_former_generation_ignores_steps_of_the_wall_clock() {
        let former = FormerGeneration::at(1, &both(1000, "this", 50));
        assert_eq!(former.age(&both(9_000_000, "this", 60)), 10, "a step forward");
        assert_eq!(former.age(&both(10, "this", 60)), 10, "a step back");
        assert_eq!(former.age(&both(1500, "another", 7)), 500, "another boot");
        assert_eq!(
            former.age(&both(10, "another", 7)),
            0,
            "another boot, a step back"
        );
    }

    #[test]
    fn a_time_in_the_future_counts_as_now() {
        let mut mirror = Mirror {
            history: vec![
                FormerGeneration::at(1, &wall(5000)),
                FormerGeneration::at(2, &wall(900)),
            ],
            ..Mirror::default()
        };
        assert!(mirror.rebase(&both(1000, "this", 40), &[]));
        let ages = |ms| {
            let now = both(1, "this", ms);
            mirror
                .history
                .iter()
                .map(|former| former.age(&now))
                .collect::<Vec<_>>()
        };
        assert_eq!(ages(43), [3, 103]);
        let mut mirror = mirror.clone();
        assert!(
            !mirror.rebase(&both(2000, "this", 41), &[]),
            "it is on this boot's clock"
        );
        assert_eq!(mirror.history[0].until, 1000);
    }

    #[test]
    fn the_end_of_a_named_generation_is_that_of_its_pin() {
        let pin = |number, expires_at| NamedPin {
            name: format!("{number} until {expires_at}"),
            number,
            pinned_at: 1,
            expires_at,
        };
        let named = [pin(1, 7000), pin(1, 9000), pin(3, 8000)];
        let mut mirror = Mirror {
            history: vec![
                FormerGeneration::at(1, &both(500, "this", 10)),
                FormerGeneration::at(2, &wall(500)),
            ],
            ..Mirror::default()
        };
        mirror.extend_named(&named);
        assert_eq!((mirror.history[0].until, &mirror.history[0].since), (9000, &None));
        assert!(
            !mirror.rebase(&both(1000, "this", 40), &named),
            "it is no clock that stepped back"
        );
        assert_eq!((mirror.history[0].until, mirror.history[1].until), (9000, 500));
        assert!(
            mirror.rebase(&both(1000, "this", 40), &[]),
            "once it was released"
        );
        assert_eq!(mirror.history[0].until, 1000);
    }

    #[test]
    fn numbers_that_no_store_issues_make_a_mirror_unreadable() {
        let plausible = Mirror {
            number: Some(MAX_NUMBER),
            highest: MAX_NUMBER,
            ..Mirror::default()
        };
        assert!(plausible.is_plausible());
        for mirror in [
            Mirror {
                number: Some(0),
                ..Mirror::default()
            },
            Mirror {
                highest: MAX_NUMBER + 1,
                ..Mirror::default()
            },
            Mirror {
                fence: u64::MAX,
                ..Mirror::default()
            },
            Mirror {
                history: vec![FormerGeneration::at(u64::MAX, &wall(1))],
                ..Mirror::default()
            },
        ] {
            assert!(!mirror.is_plausible(), "{mirror:?}");
        }
    }

    #[test]
    fn history_contains_each_former_generation_once_the_latest_last() {
        let mut mirror = Mirror::default();
        for (number, now) in [(1, 10), (2, 20), (1, 30), (3, 40)] {
            mirror.advance(Some(number), String::new(), &wall(now));
        }
        let former: Vec<_> = mirror
            .history
            .iter()
            .map(|former| (former.number, former.until))
            .collect();
        assert_eq!((former, mirror.highest), (vec![(2, 30), (1, 40)], 3));
    }
}
