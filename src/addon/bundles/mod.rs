//! Bundles: `core/bundles` for JavaScript.

mod build_lock;
mod options;
mod reports;
mod stage;
mod store;
