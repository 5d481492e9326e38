//! Binding of `core/bundles`.

mod build_lock;
mod options;
mod reports;
mod stage;
mod store;
