//! Names are bytes.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

/// The bytes of a name or path.
pub(crate) fn as_bytes(name: &OsStr) -> &[u8] {
    name.as_bytes()
}

/// The name or path of these bytes.
pub(crate) fn from_bytes(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// Why a directory cannot hold an entry of this name: never, because all names that archives keep are possible.
pub(crate) fn refusal(_name: &[u8]) -> Option<&'static str> {
    None
}
