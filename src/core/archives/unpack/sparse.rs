//! Sparse files: GNU tar's own format and the pax formats 0.0, 0.1 and 1.0. Their maps have the same limits as other
//! metadata.

use crate::core::archives::format::limits::MAX_META_BYTES;
use crate::core::archives::format::pax::{self, SparseRecords};
use crate::core::archives::format::{BLOCK, header};
use crate::core::archives::unpack::stream::Stream;
use crate::core::failure::{Failure, Result};

/// Number of map entries in a GNU header, and in each block that extends it.
const IN_HEADER: usize = 4;
const IN_EXTENSION: usize = 21;
const FIELD: usize = 12;
/// Maximum number of pieces in one file: as many as fit into a map of 1 MiB.
const MAX_PIECES: usize = 40_000;

/// Map of a sparse file.
pub(super) struct Sparse {
    /// Size of the file, including holes.
    pub(super) size: u64,
    /// Offset and length of each piece, in the order of the stream.
    pub(super) pieces: Vec<(u64, u64)>,
    /// Number of bytes in the stream, which determines the padding.
    pub(super) stored: u64,
}

/// Reads a GNU header of type 'S': four pieces in the header, more in the blocks after it.
pub(super) fn read_gnu(stream: &mut Stream<'_>, stored: u64, block: &[u8; BLOCK]) -> Result<Sparse> {
    let size = unsigned(&block[483..495])?;
    let mut pieces = Vec::new();
    collect(&block[386..386 + 2 * FIELD * IN_HEADER], &mut pieces)?;
    let mut is_extended = block[482] != 0;
    while is_extended {
        let Some(extension) = stream.block()? else {
            return Err(Failure::corrupt("the archive is cut off"));
        };
        collect(&extension[..2 * FIELD * IN_EXTENSION], &mut pieces)?;
        is_extended = extension[504] != 0;
    }
    check(Sparse { size, pieces, stored }, stored)
}

fn collect(fields: &[u8], pieces: &mut Vec<(u64, u64)>) -> Result<()> {
    for piece in fields.chunks_exact(2 * FIELD) {
        if piece[0] == 0 && piece[FIELD] == 0 {
            continue;
        }
        pieces.push((unsigned(&piece[..FIELD])?, unsigned(&piece[FIELD..])?));
    }
    if pieces.len() > MAX_PIECES {
        return Err(Failure::over_limit("a sparse file has more than 40 000 pieces"));
    }
    Ok(())
}

fn unsigned(field: &[u8]) -> Result<u64> {
    u64::try_from(header::number(field, "sparse map")?)
        .map_err(|_| Failure::refused("a sparse map has a negative number"))
}

/// Reads a sparse file that pax records describe. Also returns its name, if the records contain one.
pub(super) fn read_records(
    stream: &mut Stream<'_>,
    stored: u64,
    records: SparseRecords,
) -> Result<(Option<Vec<u8>>, Sparse)> {
    let refuse = |why: &str| Err(Failure::refused(why));
    match (records.major, records.minor) {
        (Some(1), Some(0)) => {
            let (Some(name), Some(size)) = (records.name, records.real_size) else {
                return refuse("a sparse file has no name or no size");
            };
            Ok((Some(name), read_pax(stream, stored, size)?))
        }
        (None, None) | (Some(0), Some(0 | 1)) => {
            let (Some(size), Some(blocks)) = (records.size, records.blocks) else {
                return refuse("a sparse file has no size or no number of pieces");
            };
            if records.map.len() as u64 != blocks.saturating_mul(2) {
                return refuse("the number of pieces of a sparse file does not match its map");
            }
            if records.map.len() > 2 * MAX_PIECES {
                return Err(Failure::over_limit("a sparse file has more than 40 000 pieces"));
            }
            let pieces = records.map.chunks_exact(2).map(|pair| (pair[0], pair[1]));
            let sparse = Sparse {
                size,
                pieces: pieces.collect(),
                stored,
            };
            Ok((records.name, check(sparse, stored)?))
        }
        _ => refuse("a sparse file has an unknown pax format"),
    }
}

/// Reads the map of pax 1.0: decimal lines in the first blocks of the data.
fn read_pax(stream: &mut Stream<'_>, stored: u64, size: u64) -> Result<Sparse> {
    let mut map = Vec::new();
    let mut used = 0;
    let mut numbers = Vec::new();
    let mut wanted = 1;
    while numbers.len() < wanted {
        let Some(end) = map[used..].iter().position(|byte| *byte == b'\n') else {
            let Some(block) = stream.block()? else {
                return Err(Failure::corrupt("the archive is cut off"));
            };
            map.extend_from_slice(&block);
            if map.len() as u64 > MAX_META_BYTES.min(stored) {
                return Err(Failure::refused("the map of a sparse file is too large"));
            }
            continue;
        };
        let line = &map[used..used + end];
        let number =
            pax::decimal(line).ok_or_else(|| Failure::refused("the map of a sparse file is malformed"))?;
        numbers.push(number);
        used += end + 1;
        if numbers.len() == 1 {
            let count = usize::try_from(number).unwrap_or(usize::MAX);
            if count > MAX_PIECES {
                return Err(Failure::over_limit("a sparse file has more than 40 000 pieces"));
            }
            wanted = 1 + 2 * count;
        }
    }
    let pieces = numbers[1..]
        .chunks_exact(2)
        .map(|pair| (pair[0], pair[1]))
        .collect();
    let data = stored - map.len() as u64;
    check(
        Sparse {
            size,
            pieces,
            stored: data,
        },
        data,
    )
}

/// Checks a map: pieces follow each other inside the file, and their total size is the stored size. GNU tar reads each
/// piece from a separate block and ends the file with the last piece. Maps that depend on neither are the same for all
/// readers.
fn check(sparse: Sparse, data: u64) -> Result<Sparse> {
    let mut end = 0_u64;
    let mut sum = 0_u64;
    let mut is_aligned = true;
    for (offset, length) in &sparse.pieces {
        let piece_end = offset.checked_add(*length);
        let Some(piece_end) = piece_end.filter(|piece_end| *offset >= end && *piece_end <= sparse.size)
        else {
            return Err(Failure::refused(
                "the pieces of a sparse file overlap or exceed the file",
            ));
        };
        if *length > 0 && !is_aligned {
            return Err(Failure::refused(
                "a piece of a sparse file does not begin at a block of the archive",
            ));
        }
        is_aligned = length.is_multiple_of(BLOCK as u64) && is_aligned;
        end = piece_end;
        sum += length;
    }
    if sum != data {
        return Err(Failure::refused(
            "the pieces of a sparse file and its data differ in size",
        ));
    }
    if end != sparse.size {
        return Err(Failure::refused(
            "the map of a sparse file does not reach its end",
        ));
    }
    Ok(sparse)
}
