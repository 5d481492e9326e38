//! From a directory to a stream. One thread plans and reads large files, a few read small ones and compress
//! (frames.rs), the caller's writes their frames in order.
//!
//! Order of the archive: files above 1 MiB, other files, further hard links, symbolic links, each sorted; then
//! directories, the deepest first (tail.rs). So no entry needs a later one, and a reader that works entry by
//! entry sets a directory's mode and time when nothing will be made in it any more (GNU tar would otherwise set
//! the time of each directory that is not followed by its content too early).

use std::io::Write;
use std::path::Path;

use crate::core::error::{Code, Error};

use crate::core::archives::codec::Envelope;
use crate::core::archives::pack::frames::write_frames;
use crate::core::archives::pack::options::WriteOptions;
use crate::core::archives::pack::output::Output;
use crate::core::archives::pack::plan::Plan;
use crate::core::archives::pack::scan_result::ScanResult;
use crate::core::archives::pack::tail;
use crate::core::archives::pack::walk::{self, Skipped, Walk};
use crate::core::archives::shared_directory::follow;
use crate::core::archives::tree::Tree;
use crate::core::failure::{Failure, Result};

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
    /// Those of them that are absolute: only `symlinks: 'verbatim'` makes them.
    pub absolute_links: u64,
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
    let mut scan = ScanResult::new(walk.tree.take_hashes());
    let plan = Plan::new(directory, &walk, options)?;
    write_frames(&plan, &mut output, &mut scan)?;
    let gone = scan.apply(&mut walk.tree);
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
    let (leaving_links, absolute_links) =
        tail::write(directory, &mut tree, &hard_links, &mut gone, options, &mut output)?;
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
        absolute_links,
    })
}
