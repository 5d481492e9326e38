//! Compression: independent frames on the way out, any of three formats on the way in, told by magic bytes and
//! never by a name.

mod decoder;
mod encoder;
mod envelope;
mod format;

pub use decoder::{decoder, sniff};
pub use encoder::{Frame, FrameEncoder};
pub use envelope::Envelope;
pub use format::{DEFAULT_LEVEL, FRAME_BYTES, Format, MAX_WINDOW_LOG, check_level};
