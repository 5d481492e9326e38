//! From a stream to an empty directory. Three kinds of threads: one decodes, the caller's parses and makes
//! directories, a few write files; links come last.

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

/// Chunks between decoder and parser.
const CHUNKS: usize = 8;

/// What was extracted.
#[derive(Debug)]
pub struct ExtractSummary {
    /// Regular files, further hard links included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes read from the source.
    pub compressed_bytes: u64,
    /// Bytes of the tar stream.
    pub decoded_bytes: u64,
    /// All entries; with hashes if they were asked for, without facts of the filesystem.
    pub tree: Tree,
    /// Pipes and devices of the archive, which are not made.
    pub skipped: Vec<Skipped>,
}

/// Extracts into `stage`, an empty directory that nobody else writes to. On an error it holds part of the tree.
///
/// A read of `source` that blocks must end with an error soon after `options.cancel` is raised; one that wraps a
/// [`Failure`] is passed through.
pub fn extract(source: impl Read + Send, stage: &Path, options: &ExtractOptions) -> Result<ExtractSummary> {
    extract_into(source, Directory::open(stage)?, stage, options)
}

/// Extracts into an open directory, as [`extract`] does; `stage` is its path.
pub fn extract_into(
    source: impl Read + Send,
    root: Directory,
    stage: &Path,
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
        let mut extraction = Extraction::new(options, stage, umask, root, writers);
        // The stream ends with this scope, and with it the decoder, which may be waiting to hand over a chunk.
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

/// What makes no sense was written so, or is what a flipped bit made of it: the checksum that tells stands at the end of
/// the frame. No further than one frame of ours is read for it.
fn damage_or(failure: Failure, stream: &mut Stream<'_>) -> Failure {
    if !matches!(failure.cause, Cause::Refused | Cause::TooLarge) {
        return failure;
    }
    stream.damage_within(codec::FRAME_BYTES).unwrap_or(failure)
}

/// The bits that the process's umask, or the directory's default ACL, takes away.
fn umask(root: &Directory, stage: &Path) -> Result<u32> {
    let name = OsStr::new(".warmswap-umask");
    root.make_directory(name, 0o777, stage)?;
    let mode = root.stat(name, stage)?.mode & 0o777;
    root.remove_directory(name, stage)?;
    Ok(0o777 & !mode)
}

/// The decoder reads to the end of the source, whatever the archive says.
fn check_declared(options: &ExtractOptions, bytes: u64) -> Result<()> {
    match options.declared_bytes {
        Some(declared) if declared != bytes => Err(Failure::corrupt(format!(
            "the archive should have {declared} bytes and has {bytes}"
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
            "the tree's digest is not the one that was promised",
        ));
    }
    Ok(())
}
