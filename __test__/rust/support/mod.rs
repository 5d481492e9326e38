//! Helpers that the suites of archives and caches share.

pub(crate) mod held;
pub(crate) mod kills;
pub(crate) mod machine;
mod packing;
mod raw;
pub(crate) mod seeded_bugs;
mod trees;

pub(crate) use held::Held;
pub(crate) use packing::{extract, extract_error, pack, pack_as, replace};
pub(crate) use raw::{Raw, record};
pub(crate) use trees::{Random, assert_same, describe, random_tree};
