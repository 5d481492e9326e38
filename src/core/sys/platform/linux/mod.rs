//! What only Linux has.

pub(crate) mod clock;
pub(crate) mod events;
pub(crate) mod filesystem;
pub(crate) mod mark;
pub(crate) mod process;
pub(crate) mod volume;
