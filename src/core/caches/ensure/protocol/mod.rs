//! The protocol of one build among many machines, as pure functions: no I/O, no clock, no randomness.
//!
//! A [`Participant`] is one call of `ensure`. The driver hands it an [`Event`], together with the time, and executes the
//! [`Action`]s that it returns: read the record, write the record under a condition, build, restore, end. The model
//! checker of `__test__/rust/caches/ensure_model.rs` executes the same actions in every order.
//!
//! docs/protocol/ensure.md has the rules and the reason for each.

mod event;
mod lease;
mod own;
mod participant;
mod record;
mod rules;

pub use event::{Action, Built, Ending, Event, Leaving, Written};
pub use participant::Participant;
pub use record::{Condition, Found, Record, State};
pub use rules::{Now, Rules};
