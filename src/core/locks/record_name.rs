//! Names of records: `<n>.json` while the lock is held, `<n>.free` after its release.

use std::ffi::OsString;

/// Largest valid number and largest valid base. Their sum is exact in a JavaScript number.
pub(super) const MAX_NUMBER: u64 = 1 << 52;
/// Name of one record. The order is the order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecordName {
    pub(super) n: u64,
    pub(super) is_held: bool,
}

impl RecordName {
    pub(super) fn held(n: u64) -> Self {
        Self { n, is_held: true }
    }

    pub(super) fn free(n: u64) -> Self {
        Self { n, is_held: false }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        let (digits, ending) = name.split_once('.')?;
        let n = digits.parse().ok().filter(|n| (1..=MAX_NUMBER).contains(n))?;
        let name = match ending {
            "json" => Self::held(n),
            "free" => Self::free(n),
            _ => return None,
        };
        // `01.json` is not the file that number 1 would be read from.
        (n.to_string() == digits).then_some(name)
    }

    pub(super) fn text(self) -> OsString {
        let ending = if self.is_held { "json" } else { "free" };
        format!("{}.{ending}", self.n).into()
    }
}
