//! The core: four independent capabilities on one layer of system calls.

pub mod archives;
pub mod bundles;
pub mod caches;
pub mod error;
pub mod failure;
pub mod locks;
pub mod state;
pub mod sys;
