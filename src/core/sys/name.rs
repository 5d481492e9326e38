//! Conversion between file names and the bytes in archives and manifests.

use std::ffi::OsStr;

use crate::core::sys::platform;

/// Bytes of a name or path.
pub fn as_bytes(name: &OsStr) -> &[u8] {
    platform::name::as_bytes(name)
}

/// Name or path with these bytes.
pub fn from_bytes(bytes: &[u8]) -> &OsStr {
    platform::name::from_bytes(bytes)
}

/// Why this system does not support a name. `None` if it does.
pub fn refusal(name: &[u8]) -> Option<&'static str> {
    platform::name::refusal(name)
}
