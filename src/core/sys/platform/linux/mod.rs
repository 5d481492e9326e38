//! Calls that only Linux has.

pub(crate) mod clock;
pub(crate) mod events;
pub(crate) mod filesystem;
pub(crate) mod limits;
pub(crate) mod mark;
pub(crate) mod mounts;
pub(crate) mod process;
pub(crate) mod users;
pub(crate) mod volume;
