//! State: values that outlive the JavaScript module graph.
//!
//! Two things are called state, and only one of them is here:
//!
//! * The **registry** (`src/js/state`) keeps JavaScript objects of one thread. It needs no Rust beyond the way to
//!   the main realm, because a JavaScript object cannot leave its isolate.
//! * A [`cell`] is a versioned value that every thread of the process sees, as bytes.
//!
//! # Protocol of a cell
//! * A cell is made by whoever names it first and lives as long as the process: worker threads come and go, and
//!   the next one must find what the last one left. The addon therefore pins its own image, or Node would unload
//!   it, statics and all, with the last environment that loaded it.
//! * Its version is 0 before the first write and grows by one with each write. Value and version change together
//!   under one lock; a compare-and-set writes only onto the version that its caller has seen.
//! * The version is also published in a [word](Cell::word) that never moves and is never freed, so that a
//!   reader can look for a change without a call: each environment maps it as an ArrayBuffer. It is stored after
//!   the value, under the lock, so who sees a new version reads that value or a later one.
//! * Waiters are woken by each write and see the latest version, never each one in between.
//!
//! # What is not promised
//! * Nothing survives the process, and two copies of the addon (two paths) have two sets of cells.
//! * The bytes are JavaScript's structured clone (`v8.serialize`): the core does not read them.

mod cell;

pub use cell::{Cell, Snapshot, Swap, cell};
