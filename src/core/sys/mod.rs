//! The floor: the only code that talks to the operating system. Each call names its operation and its path
//! in the error, and is a fault point in test builds.

pub mod cancel;
pub mod clock;
pub mod deadline;
pub mod dir;
pub mod durability;
pub mod errno;
pub mod events;
pub mod fault;
pub mod filesystem;
pub mod flock;
pub mod fs;
pub mod identity;
pub mod lock_file;
pub mod lockers;
pub mod mark;
pub mod memory;
pub mod mounts;
pub mod name;
pub mod names;
pub mod path;
mod remove;
pub mod sync;
pub mod thread;
pub mod trust;
pub mod watch;
pub mod workers;
