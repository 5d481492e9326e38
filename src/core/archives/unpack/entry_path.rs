//! Normalised paths of entries.

use crate::core::failure::{Failure, Result};
use crate::core::sys::path::MAX_NAME_BYTES;

/// Whether only a directory can have this name.
pub(super) fn is_of_directory(path: &[u8]) -> bool {
    path.ends_with(b"/") || path.ends_with(b"/.")
}

/// Normalises a path: removes `.` components and repeated and trailing slashes. Refuses a path that could lead out of
/// the tree.
pub(super) fn normalize(path: &[u8]) -> Result<Vec<u8>> {
    let refuse = |why: &str| {
        Err(Failure::refused(format!(
            "the path '{}' {why}",
            path.escape_ascii()
        )))
    };
    if path.starts_with(b"/") {
        return refuse("is absolute");
    }
    if path.is_empty() {
        return refuse("is empty");
    }
    let mut whole = Vec::with_capacity(path.len());
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => continue,
            b".." => return refuse("has a '..' component"),
            _ if name.len() > MAX_NAME_BYTES => return refuse("has a component of more than 255 bytes"),
            _ => {}
        }
        if !whole.is_empty() {
            whole.push(b'/');
        }
        whole.extend_from_slice(name);
    }
    if whole.starts_with(crate::core::archives::exclude::OWN_PREFIX) {
        return refuse("has a name that is reserved for stages");
    }
    Ok(whole)
}
