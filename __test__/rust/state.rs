//! The state core against its invariants, each test named after the one it holds.
