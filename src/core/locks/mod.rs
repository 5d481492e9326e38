//! Locks: a killed holder never blocks anybody, a living one is never robbed.
