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
