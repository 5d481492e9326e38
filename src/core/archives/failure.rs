//! The failure of archives and caches, by its former name.

pub use crate::core::failure::{Cause, Failure, Result};
