//! Packing of a directory to a stream. One thread plans the frames and reads large files. Several threads read small
//! files and compress frames (frames.rs). The calling thread writes the frames in order.
//!
//! Order of the archive: files above 1 MiB, other files, further hard links, symbolic links, each sorted. Then
//! directories follow, the deepest first (tail.rs). No entry needs a later one, and a reader can set the mode and time
//! of a directory after everything in it was created. (Otherwise GNU tar would set the time of each directory that does
//! not directly precede its content too early.)

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

/// Result of packing.
#[derive(Debug)]
pub struct WriteSummary {
    /// Number of regular files, further hard links included.
    pub files: u64,
    /// Total bytes of the files.
    pub bytes: u64,
    /// Bytes that were written to the sink.
    pub compressed_bytes: u64,
    /// Bytes of the tar stream.
    pub decoded_bytes: u64,
    /// Number of compressed frames.
    pub frames: u64,
    /// All entries with their stats, and with hashes if they were requested.
    pub tree: Tree,
    /// Entries that exist but are not in the archive: removed in the meantime, sockets, live databases.
    pub skipped: Vec<Skipped>,
    /// Number of symbolic links that lead out of the tree. A restore with `symlinks: 'contained'` refuses them.
    pub leaving_links: u64,
    /// Number of those links that are absolute. A restore accepts them only with `symlinks: 'verbatim'`.
    pub absolute_links: u64,
}

/// Packs a directory. Links at the end of its own path are followed. The bytes in the sink are an archive only if this
/// returns `Ok`. A file that changes while it is being read, twice in a row, ends the call with the cause `Unstable`.
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

/// Checked before anything is written: a cache that is never cleaned can exceed the disk that stores its archive.
fn check_size(tree: &Tree, options: &WriteOptions) -> Result<()> {
    let (files, bytes) = tree.totals();
    for (what, limit, value, most) in [
        ("files", "maxFiles", files, options.max_files),
        ("bytes", "maxBytes", bytes, options.max_bytes),
    ] {
        if value > most {
            let message = format!("the tree has {value} {what}. Expected at most {most} (limits.{limit})");
            return Err(Error::new(Code::TooLarge, message).into());
        }
    }
    Ok(())
}

/// Entries that need no file to be read come last.
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
