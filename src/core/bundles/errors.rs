//! The errors about generations that several operations return.

use crate::core::error::{Code, Error};

use super::layout::Layout;

pub(super) fn nothing_published(layout: &Layout) -> Error {
    Error::new(
        Code::NoGeneration,
        format!("nothing has been published in '{}' yet", layout.root().display()),
    )
}

pub(super) fn generation_gone(number: u64) -> Error {
    Error::new(
        Code::GenerationGone,
        format!(
            "generation {number} is not there: it was collected, or never published; pin() the current one"
        ),
    )
}

pub(super) fn corrupt(number: u64, why: &str) -> Error {
    Error::new(
        Code::GenerationCorrupt,
        format!("generation {number} is damaged: {why}; open the store again to repair it, or publish anew"),
    )
}
