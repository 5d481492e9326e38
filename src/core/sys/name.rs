//! Names of files as the bytes that archives and manifests keep.

use std::ffi::OsStr;

use crate::core::sys::platform;

/// The bytes of a name or path.
pub fn as_bytes(name: &OsStr) -> &[u8] {
    platform::name::as_bytes(name)
}

/// The name or path of these bytes.
pub fn from_bytes(bytes: &[u8]) -> &OsStr {
    platform::name::from_bytes(bytes)
}

/// Why a directory of this system cannot hold an entry of this name; `None` if it can.
pub fn refusal(name: &[u8]) -> Option<&'static str> {
    platform::name::refusal(name)
}
