//! The list of mounts.

use super::super::types::Mount;

/// Not read yet.
pub(crate) fn list() -> Vec<Mount> {
    Vec::new()
}
