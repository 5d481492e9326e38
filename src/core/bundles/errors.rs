//! Errors about generations that several operations return.

use crate::core::error::{Code, Error};

use super::layout::Layout;

pub(super) fn nothing_published(layout: &Layout) -> Error {
    Error::new(
        Code::NoGeneration,
        format!("Nothing has been published in '{}' yet", layout.root().display()),
    )
}

pub(super) fn generation_gone(number: u64) -> Error {
    Error::new(
        Code::GenerationGone,
        format!(
            "Generation {number} does not exist: it was collected or never published. Pin the current generation with pin()"
        ),
    )
}

pub(super) fn corrupt(number: u64, why: &str) -> Error {
    Error::new(
        Code::GenerationCorrupt,
        format!(
            "Generation {number} is damaged: {why}. Open the store again to repair it, or publish a new generation"
        ),
    )
}
