//! The system layer: the only code that calls the operating system. Each call adds operation and path to its error, and
//! is a fault injection point in test builds. Differences between systems are in `platform`.

mod call;
pub mod cancel;
pub mod child_file;
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
pub mod host_name;
pub mod identity;
pub mod lock_file;
pub mod lockers;
pub mod machine;
pub mod mark;
pub mod memory;
pub mod mounts;
pub mod name;
pub mod path;
mod platform;
pub mod sync;
pub mod thread;
pub mod trust;
pub mod watch;
pub mod workers;
