//! From a directory to a stream. One thread plans and reads large files, a few read small ones and compress
//! (frames.rs), the caller's writes their frames in order.
//!
//! Order of the archive: files above 1 MiB, other files, further hard links, symbolic links, each sorted; then
//! directories, the deepest first (tail.rs). So no entry needs a later one, and a reader that works entry by
//! entry sets a directory's mode and time when nothing will be made in it any more (GNU tar would otherwise set
//! the time of each directory that is not followed by its content too early).

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use crate::core::error::{Code, Error};
use crate::core::sys::cancel::Cancel;

use crate::core::archives::Progress;
use crate::core::archives::codec::{self, Envelope, Format, Frame};
use crate::core::archives::exclude::Excludes;
use crate::core::archives::pack::frames::{Learned, Plan};
use crate::core::archives::pack::tail;
use crate::core::archives::pack::walk::{self, Skipped, Walk};
use crate::core::archives::site::follow;
use crate::core::archives::tree::Tree;
use crate::core::failure::{Failure, Result};

/// How to pack.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// How the archive is compressed.
    pub format: Format,
    /// The codec's level; see [`codec::check_level`].
    pub level: i32,
    /// What is left out.
    pub excludes: Excludes,
    /// Most files of the tree; one with more is not begun.
    pub max_files: u64,
    /// Most bytes of its files.
    pub max_bytes: u64,
    /// Whether files are hashed, for the digest of [`WriteSummary::tree`].
    pub hash: bool,
    /// Raised to stop.
    pub cancel: Cancel,
    /// Counted while it happens.
    pub progress: Arc<Progress>,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self {
            format: Format::TarZst,
            level: codec::DEFAULT_LEVEL,
            excludes: Excludes::default(),
            max_files: u64::MAX,
            max_bytes: u64::MAX,
            hash: true,
            cancel: Cancel::new(),
            progress: Arc::default(),
        }
    }
}

/// What was packed.
#[derive(Debug)]
pub struct WriteSummary {
    /// Regular files, further hard links included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes handed to the sink.
    pub compressed_bytes: u64,
    /// Bytes of the tar stream.
    pub decoded_bytes: u64,
    /// Compressed frames.
    pub frames: u64,
    /// All entries, with what stat said of them, and with hashes if they were asked for.
    pub tree: Tree,
    /// What is there but is not in the archive: what vanished meanwhile, sockets, live databases.
    pub skipped: Vec<Skipped>,
    /// Symbolic links that leave the tree: a restore with `symlinks: 'contained'` refuses them.
    pub leaving_links: u64,
}

/// Packs a directory; links at the end of its own path are followed. The bytes that a sink was given are only an archive if this returns `Ok`: a file that
/// changes while it is read, twice in a row, ends it with the outcome 'unstable'.
pub fn write(directory: &Path, sink: &mut dyn Write, options: &WriteOptions) -> Result<WriteSummary> {
    let directory = &*follow(directory)?;
    let mut walk = walk::walk(directory, &options.excludes, &options.cancel)?;
    check_size(&walk.tree, options)?;
    let mut output = Output {
        sink,
        envelope: Envelope::new(options.format),
        bytes: 0,
    };
    let head = output.envelope.head();
    output.send(head)?;
    let mut learned = Learned::new(walk.tree.take_hashes());
    Plan::new(directory, &walk, options)?.run(&mut output, &mut learned)?;
    let gone = learned.apply(&mut walk.tree);
    finish(directory, walk, gone, options, output)
}

/// Before anything is written: a cache that never evicts can have more bytes than the disk that takes its archive.
fn check_size(tree: &Tree, options: &WriteOptions) -> Result<()> {
    let (files, bytes) = tree.totals();
    for (what, limit, value, most) in [
        ("files", "maxFiles", files, options.max_files),
        ("bytes", "maxBytes", bytes, options.max_bytes),
    ] {
        if value > most {
            let message = format!("the tree has {value} {what}, more than limits.{limit} allows ({most})");
            return Err(Error::new(Code::TooLarge, message).into());
        }
    }
    Ok(())
}

/// The entries that need no file to be read come last.
fn finish(
    directory: &Path,
    walk: Walk,
    mut gone: Vec<bool>,
    options: &WriteOptions,
    mut output: Output<'_>,
) -> Result<WriteSummary> {
    let Walk {
        mut tree,
        hard_links,
        mut skipped,
    } = walk;
    let leaving_links = tail::write(directory, &mut tree, &hard_links, &mut gone, options, &mut output)?;
    let end = output.envelope.tail();
    output.send(&end)?;
    output.sink.flush().map_err(Failure::of_read)?;
    for (node, _) in tree.nodes().iter().zip(&gone).filter(|(_, gone)| **gone) {
        skipped.push(Skipped::new(tree.path(node), "vanished"));
    }
    tree.retain(|index| !gone[index]);
    let (files, bytes) = tree.totals();
    Ok(WriteSummary {
        files,
        bytes,
        compressed_bytes: output.bytes,
        decoded_bytes: output.envelope.raw_bytes(),
        frames: output.envelope.frames(),
        tree,
        skipped,
        leaving_links,
    })
}

/// The sink and what was sent to it.
pub(in crate::core::archives) struct Output<'a> {
    sink: &'a mut dyn Write,
    envelope: Envelope,
    bytes: u64,
}

impl Output<'_> {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.sink.write_all(bytes).map_err(Failure::of_read)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    pub(in crate::core::archives) fn frame(&mut self, frame: &Frame) -> Result<()> {
        self.envelope.add(frame)?;
        self.send(&frame.bytes)
    }
}
