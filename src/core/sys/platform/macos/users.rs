//! Users as this process sees them.

/// There are no user namespaces: every user has its own uid.
pub(crate) fn unmapped() -> Option<u32> {
    None
}
