//! The bundles core against its invariants, each test named after the one it holds.

#[path = "bundles/durability.rs"]
mod durability;
#[path = "bundles/faults.rs"]
mod faults;
#[path = "bundles/fixture.rs"]
mod fixture;
#[path = "bundles/harm.rs"]
mod harm;
#[path = "bundles/intervals.rs"]
mod intervals;
#[path = "bundles/links.rs"]
mod links;
#[path = "bundles/mutants.rs"]
mod mutants;
#[path = "bundles/storm.rs"]
mod storm;
