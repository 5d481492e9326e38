//! The calls `pack` and `unpack` in the form of JavaScript.

mod options;
mod packer;
mod unpacker;

pub(crate) use options::{NativeDuplicates, NativeLimits, NativePreset, NativeSymlinks, NativeTargetMode};
