//! State: values that outlive the JavaScript module graph.
//!
//! There are two kinds of state, and only the second one is implemented here:
//!
//! * The **registry** (`src/js/state`) keeps JavaScript objects of one thread. A JavaScript object cannot leave its
//!   isolate, so the registry needs no Rust except the access to the main realm.
//! * A [`cell`] is a versioned value that every thread of the process can read and write, as bytes.
//!
//! # Protocol of a cell
//! * The first call that names a cell creates it, and it exists until the process ends. Worker threads start and end,
//!   and a new worker must find the value that an earlier one wrote. The addon therefore pins its own image. Otherwise
//!   Node would unload it, with all statics, when the last environment that loaded it ends.
//! * The version is 0 before the first write and grows by one with each write. Value and version change together
//!   under one lock. A compare-and-set writes only if the version is the one that its caller has read.
//! * The version is also published in a [word](Cell::word) that never moves and is never freed, so a reader can detect
//!   a change without a call: each environment maps the word as an ArrayBuffer. The word is stored after the value,
//!   under the lock. A reader that sees a new version therefore reads that value or a later one.
//! * Each write wakes the waiters. They see the latest version and can miss versions in between.
//!
//! # Limits
//! * Nothing survives the process. Two copies of the addon (two paths) have two independent sets of cells.
//! * The bytes are JavaScript's structured clone (`v8.serialize`). The core does not interpret them.

mod cell;

pub use cell::{Cell, Snapshot, Swap, cell};
