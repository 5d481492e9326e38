//! The pointer `current`, the one authority on what is current, and its mirror `current.json`.

use std::ffi::OsStr;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::fs;

use super::layout::{Layout, name_of, number_of};

/// The number of the current generation; `None` where nothing has been published.
pub(super) fn read(layout: &Layout) -> Result<Option<u64>> {
    let path = layout.pointer();
    let Some(target) = fs::read_link(&path).optional()? else {
        return Ok(None);
    };
    parse(&target).map(Some).ok_or_else(|| {
        Error::new(
            Code::Format,
            format!(
                "'{}' points to '{}', which is no generation of this store; remove the link to start over",
                path.display(),
                target.display()
            ),
        )
        .at(&path)
    })
}

fn parse(target: &Path) -> Option<u64> {
    let mut parts = target.components();
    let shape = (parts.next()?, parts.next()?, parts.next()?, parts.next());
    match shape {
        (Component::Normal(gens), Component::Normal(name), Component::Normal(tree), None)
            if gens == OsStr::new("gens") && tree == OsStr::new("tree") =>
        {
            number_of(name)
        }
        _ => None,
    }
}

/// Makes `number` current in one step. Only under writer.lock, which makes the temporary name ours.
pub(super) fn flip(layout: &Layout, number: u64) -> Result<()> {
    let temporary = layout.file("current.tmp");
    // A writer that was killed between symlink and rename left it.
    fs::remove_file(&temporary).optional()?;
    fs::symlink(Path::new(&format!("gens/{}/tree", name_of(number))), &temporary)?;
    fs::rename(&temporary, &layout.pointer())
}

/// A generation that was current once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Former {
    pub(super) number: u64,
    /// When it stopped being current, milliseconds since the epoch.
    pub(super) until: u64,
}

/// What `current.json` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mirror {
    /// The current generation.
    pub(super) number: Option<u64>,
    pub(super) digest: String,
    /// When it became current, milliseconds since the epoch.
    pub(super) at: u64,
    /// What was current before and still exists, the latest last.
    pub(super) history: Vec<Former>,
    /// The highest number ever given out: numbers are never used twice.
    pub(super) highest: u64,
    /// The highest fence ever published.
    pub(super) fence: u64,
}

/// Far more than a history of living generations needs; a larger file is not ours.
const MAX_MIRROR_BYTES: u64 = 1 << 22;

impl Mirror {
    /// `None` where there is none or power loss tore it.
    pub(super) fn read(layout: &Layout) -> Result<Option<Self>> {
        let bytes = fs::read_capped(&layout.mirror(), MAX_MIRROR_BYTES).optional()?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Records that `number` became current at `now`.
    pub(super) fn advance(&mut self, number: Option<u64>, digest: String, now: u64) {
        if let Some(former) = self.number.filter(|former| Some(*former) != number) {
            self.history.push(Former {
                number: former,
                until: now,
            });
        }
        self.history.retain(|former| Some(former.number) != number);
        self.number = number;
        self.digest = digest;
        self.at = now;
        self.highest = self.highest.max(number.unwrap_or(0));
    }

    /// Prepares the file beside the old one: what can fail for want of space fails before the pointer moves.
    pub(super) fn prepare(&self, layout: &Layout) -> Result<()> {
        let temporary = layout.file("current.json.tmp");
        let text = serde_json::to_vec(self)
            .map_err(|error| Error::new(Code::Io, format!("serialize current.json: {error}")))?;
        fs::remove_file(&temporary).optional()?;
        fs::write_new(&temporary, &text, 0o644)
    }

    /// Puts the prepared file in place.
    pub(super) fn commit(layout: &Layout) -> Result<()> {
        fs::rename(&layout.file("current.json.tmp"), &layout.mirror())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_shape_is_a_pointer() {
        assert_eq!(parse(Path::new("gens/000017/tree")), Some(17));
        for other in [
            "gens/17/tree",
            "/gens/000017/tree",
            "gens/000017",
            "gens/000017/tree/x",
            "../gens/000017/tree",
        ] {
            assert_eq!(parse(Path::new(other)), None, "{other}");
        }
    }

    #[test]
    fn history_holds_each_former_generation_once_the_latest_last() {
        let mut mirror = Mirror::default();
        for (number, now) in [(1, 10), (2, 20), (1, 30), (3, 40)] {
            mirror.advance(Some(number), String::new(), now);
        }
        let former: Vec<_> = mirror
            .history
            .iter()
            .map(|former| (former.number, former.until))
            .collect();
        assert_eq!((former, mirror.highest), (vec![(2, 30), (1, 40)], 3));
    }
}
