//! Compression. Archives are written as independent frames. Three formats can be read, selected by magic bytes and
//! never by a file name.

mod decoder;
mod encoder;
mod envelope;
mod foreign;
mod format;
mod zstd_frames;

pub use decoder::{Decoder, sniff};
pub use encoder::{Frame, FrameEncoder};
pub use envelope::Envelope;
pub use format::{DEFAULT_LEVEL, FRAME_BYTES, Format, check_level};
pub use zstd_frames::WindowLimits;
