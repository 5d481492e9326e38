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

/// Whether the text of a symbolic link is an absolute path on this system.
pub fn is_absolute_link(text: &[u8]) -> bool {
    platform::name::is_absolute_link(text)
}

/// Why this system does not support the relative text of a symbolic link. `None` if it does.
pub fn link_refusal(text: &[u8]) -> Option<&'static str> {
    platform::name::link_refusal(text)
}

/// Why this system does not support a name. `None` if it does.
pub fn refusal(name: &[u8]) -> Option<&'static str> {
    platform::name::refusal(name)
}
