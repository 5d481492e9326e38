//! On Unix, names are bytes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

pub(crate) fn as_bytes(name: &OsStr) -> &[u8] {
    name.as_bytes()
}

/// Name or path with these bytes.
pub(crate) fn from_bytes(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// Why a name is not supported. Always `None`, because Unix supports all names that archives contain.
pub(crate) fn refusal(_name: &[u8]) -> Option<&'static str> {
    None
}

/// Whether the text of a symbolic link is an absolute path.
pub(crate) fn is_absolute_link(text: &[u8]) -> bool {
    text.starts_with(b"/")
}

/// Why the relative text of a symbolic link is not supported. Always `None`.
pub(crate) fn link_refusal(_text: &[u8]) -> Option<&'static str> {
    None
}
