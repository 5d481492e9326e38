//! Packs to memory, and extracts to a new directory.

use std::path::Path;

use warmswap::core::archives::codec::Format;
use warmswap::core::archives::commit::{Gate, TargetMode};
use warmswap::core::archives::pipeline::{Replacement, Unpacked};
use warmswap::core::archives::{self, ExtractOptions, ExtractSummary, WriteOptions, WriteSummary};
use warmswap::core::failure::{Failure, Result};

/// Packs with default options.
pub(crate) fn pack(root: &Path) -> (Vec<u8>, WriteSummary) {
    pack_as(root, Format::TarZst)
}

pub(crate) fn pack_as(root: &Path, format: Format) -> (Vec<u8>, WriteSummary) {
    let mut bytes = Vec::new();
    let level = if format == Format::TarGz { 1 } else { 3 };
    let summary = archives::write(
        root,
        &mut bytes,
        &WriteOptions {
            format,
            level,
            ..WriteOptions::default()
        },
    )
    .expect("packed");
    (bytes, summary)
}

/// Extracts into a new directory, which is returned even after a failure.
pub(crate) fn extract(bytes: &[u8], options: &ExtractOptions) -> (tempfile::TempDir, Result<ExtractSummary>) {
    let stage = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let result = archives::extract(bytes, stage.path(), options);
    (stage, result)
}

pub(crate) fn extract_error(bytes: &[u8]) -> Failure {
    extract(bytes, &ExtractOptions::default())
        .1
        .expect_err("it must be refused")
}

/// Unpacks like a call that has not ended.
pub(crate) fn replace(
    bytes: &[u8],
    target: &Path,
    mode: TargetMode,
    options: &ExtractOptions,
) -> Result<Unpacked> {
    let gate = Gate::new();
    let replacement = Replacement {
        target,
        mode,
        options,
        gate: &gate,
    };
    replacement.run(bytes, |_| Ok(()), drop)
}
