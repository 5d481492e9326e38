//! Users as this process sees them.

/// Users have no numbers.
pub(crate) fn unmapped() -> Option<u32> {
    None
}
