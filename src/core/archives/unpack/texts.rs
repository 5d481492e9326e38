//! Many short texts in one buffer. A `Vec` for each would need four times the memory.

use crate::core::failure::{Failure, Result};

/// Maximum total size of the texts of an archive's links, which are kept until its end.
const MOST_BYTES: usize = 64 << 20;

/// Buffer of all texts.
#[derive(Default)]
pub(super) struct Texts(Vec<u8>);

/// Position of one text.
#[derive(Clone, Copy)]
pub(super) struct Text {
    start: u32,
    length: u32,
}

impl Texts {
    #[expect(clippy::cast_possible_truncation, reason = "64 MiB in total")]
    pub(super) fn add(&mut self, text: &[u8]) -> Result<Text> {
        if self.0.len() + text.len() > MOST_BYTES {
            return Err(Failure::over_limit(
                "the symbolic links of the archive have more than 64 MiB of text",
            ));
        }
        let start = self.0.len() as u32;
        self.0.extend_from_slice(text);
        Ok(Text {
            start,
            length: text.len() as u32,
        })
    }

    pub(super) fn get(&self, text: Text) -> &[u8] {
        &self.0[text.start as usize..(text.start + text.length) as usize]
    }
}
