//! Calls that Linux and macOS share.

pub(crate) mod child_file;
pub(crate) mod errno;
pub(crate) mod files;
pub(crate) mod host;
pub(crate) mod lock;
pub(crate) mod name;
pub(crate) mod pointer;
