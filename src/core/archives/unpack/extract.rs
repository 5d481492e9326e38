//! Extraction of a stream into an empty directory. One thread decodes, the calling thread parses and creates
//! directories, and several threads write files. Links are created last.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{channel, sync_channel};

use crate::core::archives::Skipped;
use crate::core::archives::codec;
use crate::core::archives::tree::Tree;
use crate::core::archives::unpack::decode::{Counters, decode};
use crate::core::archives::unpack::extraction::Extraction;
use crate::core::archives::unpack::options::ExtractOptions;
use crate::core::archives::unpack::stream::Stream;
use crate::core::archives::unpack::writers::Writers;
use crate::core::failure::{Cause, Failure, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::thread;

/// Number of chunks between decoder and parser.
const CHUNKS: usize = 8;

/// Result of an extraction.
#[derive(Debug)]
pub struct ExtractSummary {
    /// Number of regular files, further hard links included.
    pub files: u64,
    /// Total bytes of the files.
    pub bytes: u64,
    /// Bytes read from the source.
    pub compressed_bytes: u64,
    /// Bytes of the tar stream.
    pub decoded_bytes: u64,
    /// All entries without facts of the filesystem, with hashes if they were requested.
    pub tree: Tree,
    /// Pipes and devices of the archive, which are not created.
    pub skipped: Vec<Skipped>,
}

/// Extracts into `stage`, an empty directory that no other process writes to. After an error it contains a part of the
/// tree.
///
/// A blocked read of `source` must end with an error soon after `options.cancel` is raised. An error that wraps a
/// [`Failure`] is returned as it is.
pub fn extract(source: impl Read + Send, stage: &Path, options: &ExtractOptions) -> Result<ExtractSummary> {
    extract_into(source, Directory::open(stage)?, stage, Some(stage), options)
}

/// Extracts into an open directory, like [`extract`]. `stage` is its path, and `home` its path after the commit.
pub fn extract_into(
    source: impl Read + Send,
    root: Directory,
    stage: &Path,
    home: Option<&Path>,
    options: &ExtractOptions,
) -> Result<ExtractSummary> {
    let umask = umask(&root, stage)?;
    let compressed = AtomicU64::new(0);
    let decoded = AtomicU64::new(0);
    let is_complete = AtomicBool::new(false);
    let counters = Counters {
        compressed: &compressed,
        decoded: &decoded,
        is_complete: &is_complete,
    };
    std::thread::scope(|scope| {
        let (sender, chunks) = sync_channel(CHUNKS);
        let (spent, recycled) = channel();
        let writers = Writers::start(scope, umask, &options.progress)?;
        drop(thread::spawn_scoped(scope, "warmswap-decode", move || {
            decode(source, options, counters, &sender, &recycled);
        })?);
        let mut extraction = Extraction::new(options, stage, home, umask, root, writers);
        // The stream ends with this scope. The decoder, which may be waiting to send a chunk, ends with it.
        let mut stream = Stream::new(chunks, spent, options.cancel.clone(), &is_complete);
        let result = extraction
            .run(&mut stream)
            .map_err(|failure| damage_or(failure, &mut stream));
        drop(stream);
        let (tree, skipped) = extraction.finish(result)?;
        check_declared(options, compressed.load(Ordering::Relaxed))?;
        let (files, bytes) = tree.totals();
        check_expected(options, &tree, files, bytes)?;
        Ok(ExtractSummary {
            files,
            bytes,
            compressed_bytes: compressed.load(Ordering::Relaxed),
            decoded_bytes: decoded.load(Ordering::Relaxed),
            tree,
            skipped,
        })
    })
}

/// Distinguishes an invalid archive from a damaged one. The checksum that reveals a flipped bit is at the end of the
/// frame, so the rest of the frame is read, at most the size of one warmswap frame.
fn damage_or(failure: Failure, stream: &mut Stream<'_>) -> Failure {
    if !matches!(failure.cause, Cause::Refused | Cause::TooLarge) {
        return failure;
    }
    stream.damage_within(codec::FRAME_BYTES).unwrap_or(failure)
}

/// Mode bits that the process's umask or the directory's default ACL removes.
fn umask(root: &Directory, stage: &Path) -> Result<u32> {
    let name = OsStr::new(".warmswap-umask");
    root.make_directory(name, 0o777, stage)?;
    let mode = root.stat(name, stage)?.mode & 0o777;
    root.remove_directory(name, stage)?;
    Ok(0o777 & !mode)
}

/// Checks the declared size. The decoder reads to the end of the source, whatever the archive contains.
fn check_declared(options: &ExtractOptions, bytes: u64) -> Result<()> {
    match options.declared_bytes {
        Some(declared) if declared != bytes => Err(Failure::corrupt(format!(
            "expected an archive of {declared} bytes, got {bytes}"
        ))),
        _ => Ok(()),
    }
}

fn check_expected(options: &ExtractOptions, tree: &Tree, files: u64, bytes: u64) -> Result<()> {
    let Some(expected) = &options.expected else {
        return Ok(());
    };
    if (files, bytes) != (expected.files, expected.bytes) {
        return Err(expected.missed(files, bytes));
    }
    if expected
        .digest
        .as_ref()
        .is_some_and(|digest| *digest != tree.digest())
    {
        return Err(Failure::corrupt(
            "the digest of the tree does not match the pointer",
        ));
    }
    Ok(())
}
