//! Tests of the core of bundles. Each file covers a group of guarantees.

#[path = "bundles/collecting.rs"]
mod collecting;
#[path = "bundles/damage.rs"]
mod damage;
#[path = "bundles/durability.rs"]
mod durability;
#[path = "bundles/faults.rs"]
mod faults;
#[path = "bundles/fixture.rs"]
mod fixture;
#[path = "bundles/forks.rs"]
mod forks;
#[path = "bundles/intervals.rs"]
mod intervals;
#[path = "bundles/links.rs"]
mod links;
#[path = "bundles/owners.rs"]
mod owners;
#[path = "bundles/pins.rs"]
mod pins;
#[path = "bundles/publishing.rs"]
mod publishing;
#[path = "bundles/stages.rs"]
mod stages;
#[path = "bundles/storm.rs"]
mod storm;
#[path = "bundles/support.rs"]
mod support;
