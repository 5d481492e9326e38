//! Binding of `pack` and `unpack`.

mod options;
mod packer;
mod unpacker;

pub(crate) use options::{NativeDuplicates, NativeLimits, NativePreset, NativeSymlinks, NativeTargetMode};
