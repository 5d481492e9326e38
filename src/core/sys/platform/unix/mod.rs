//! The calls that Linux and macOS have in common.

pub(crate) mod errno;
pub(crate) mod files;
pub(crate) mod host;
pub(crate) mod lock;
pub(crate) mod name;
pub(crate) mod pointer;
