//! Users as this process sees them.

use std::path::Path;

use crate::core::sys::fs;

/// Uid of all users that this user namespace does not map. `None` if all users are mapped.
pub(crate) fn unmapped() -> Option<u32> {
    let read = |path| fs::read_capped(Path::new(path), 4096).ok();
    let map = String::from_utf8(read("/proc/self/uid_map")?).ok()?;
    let overflow = String::from_utf8(read("/proc/sys/kernel/overflowuid")?).ok()?;
    let overflow = overflow.trim().parse().ok()?;
    let maps_it = map.lines().any(|line| {
        let fields: Vec<u64> = line
            .split_whitespace()
            .filter_map(|field| field.parse().ok())
            .collect();
        matches!(fields[..], [first, _, count] if (first..first + count).contains(&u64::from(overflow)))
    });
    (!maps_it).then_some(overflow)
}
