//! Users as this process sees them.

/// Windows users have no numeric ids.
pub(crate) fn unmapped() -> Option<u32> {
    None
}
