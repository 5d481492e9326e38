//! Tar headers: one block of 512 bytes. Written as POSIX ustar, parsed strictly.

use crate::core::archives::format::{BLOCK, padding, pax};
use crate::core::failure::{Failure, Result};

const NANOSECONDS: i64 = 1_000_000_000;
/// Largest value of eleven octal digits.
const MAX_OCTAL: u64 = (1 << 33) - 1;
const NAME_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;

/// Supported type flags.
pub(in crate::core::archives) mod flag {
    pub(in crate::core) const FILE: u8 = b'0';
    pub(in crate::core) const OLD_FILE: u8 = 0;
    pub(in crate::core) const CONTIGUOUS: u8 = b'7';
    pub(in crate::core) const LINK: u8 = b'1';
    pub(in crate::core) const SYMLINK: u8 = b'2';
    pub(in crate::core) const DIRECTORY: u8 = b'5';
    pub(in crate::core) const PAX: u8 = b'x';
    pub(in crate::core) const PAX_GLOBAL: u8 = b'g';
    /// A pax header as written by the tar of Solaris.
    pub(in crate::core) const PAX_SOLARIS: u8 = b'X';
    pub(in crate::core) const GNU_LONG_NAME: u8 = b'L';
    pub(in crate::core) const GNU_LONG_LINK: u8 = b'K';
    pub(in crate::core) const GNU_SPARSE: u8 = b'S';
    /// The name of a volume.
    pub(in crate::core) const GNU_LABEL: u8 = b'V';
    /// A directory of an incremental archive. Its data lists the names in it.
    pub(in crate::core) const GNU_DUMP: u8 = b'D';
    pub(in crate::core) const CHARACTER_DEVICE: u8 = b'3';
    pub(in crate::core) const BLOCK_DEVICE: u8 = b'4';
    pub(in crate::core) const FIFO: u8 = b'6';
}

/// Fields of one entry.
pub(in crate::core::archives) struct Fields<'a> {
    pub(in crate::core::archives) flag: u8,
    /// Path. The path of a directory ends in `/`.
    pub(in crate::core::archives) path: &'a [u8],
    pub(in crate::core::archives) link: &'a [u8],
    pub(in crate::core::archives) mode: u32,
    pub(in crate::core::archives) size: u64,
    pub(in crate::core::archives) modified_ns: i64,
}

/// Appends the header of an entry, preceded by a pax header for the values that ustar cannot represent.
pub(in crate::core::archives) fn append(out: &mut Vec<u8>, fields: &Fields<'_>) {
    let mut records = Vec::new();
    if split(fields.path).is_none() {
        pax::append(&mut records, b"path", fields.path);
    }
    if fields.link.len() > NAME_BYTES {
        pax::append(&mut records, b"linkpath", fields.link);
    }
    if fields.size > MAX_OCTAL {
        pax::append(&mut records, b"size", fields.size.to_string().as_bytes());
    }
    let seconds = fields.modified_ns.div_euclid(NANOSECONDS);
    if fields.modified_ns.rem_euclid(NANOSECONDS) != 0 || !(0..=MAX_OCTAL.cast_signed()).contains(&seconds) {
        pax::append(
            &mut records,
            b"mtime",
            pax::format_time(fields.modified_ns).as_bytes(),
        );
    }
    if !records.is_empty() {
        let name_is_text =
            std::str::from_utf8(fields.path).is_ok() && std::str::from_utf8(fields.link).is_ok();
        if !name_is_text {
            pax::append(&mut records, b"hdrcharset", b"BINARY");
        }
        let size = records.len() as u64;
        out.extend_from_slice(&block(flag::PAX, b"PaxHeader", b"", 0o644, size, 0));
        out.extend_from_slice(&records);
        out.resize(out.len() + padding(size), 0);
    }
    let size = if fields.size > MAX_OCTAL { 0 } else { fields.size };
    out.extend_from_slice(&block(
        fields.flag,
        fields.path,
        fields.link,
        fields.mode,
        size,
        seconds,
    ));
}

/// Position at which a path is split into prefix and name. `None` if it does not fit. 0 means no prefix.
fn split(path: &[u8]) -> Option<usize> {
    if path.len() <= NAME_BYTES {
        return Some(0);
    }
    let least = path.len() - NAME_BYTES - 1;
    // The slash at the end of a directory's path is part of the name.
    let most = PREFIX_BYTES.min(path.len() - 2);
    (least..=most).find(|at| path[*at] == b'/').filter(|at| *at > 0)
}

fn block(flag: u8, path: &[u8], link: &[u8], mode: u32, size: u64, seconds: i64) -> [u8; BLOCK] {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::new(flag));
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(size);
    header.set_mtime(u64::try_from(seconds).unwrap_or(0).min(MAX_OCTAL));
    if let Some(fields) = header.as_ustar_mut() {
        let cut = split(path);
        let (prefix, name) = match cut {
            Some(at) if at > 0 => (&path[..at], &path[at + 1..]),
            _ => (&path[..0], &path[..path.len().min(NAME_BYTES)]),
        };
        let link = &link[..link.len().min(NAME_BYTES)];
        fields.prefix[..prefix.len()].copy_from_slice(prefix);
        fields.name[..name.len()].copy_from_slice(name);
        fields.linkname[..link.len()].copy_from_slice(link);
    }
    header.set_cksum();
    *header.as_bytes()
}

/// A parsed header, without its extensions.
pub(in crate::core::archives) struct Header {
    pub(in crate::core::archives) flag: u8,
    pub(in crate::core::archives) path: Vec<u8>,
    pub(in crate::core::archives) link: Vec<u8>,
    pub(in crate::core::archives) mode: u32,
    pub(in crate::core::archives) size: u64,
    pub(in crate::core::archives) modified_ns: i64,
    pub(in crate::core::archives) is_gnu: bool,
    pub(in crate::core::archives) is_v7: bool,
}

/// Parses a header that is not all zeros.
pub(in crate::core::archives) fn parse(block: &[u8; BLOCK]) -> Result<Header> {
    if !has_valid_checksum(block) {
        return Err(Failure::corrupt(
            "the archive is damaged: a header's checksum is wrong",
        ));
    }
    let (magic, version) = (&block[257..263], &block[263..265]);
    let is_gnu = magic == b"ustar " && version == b" \0";
    // Readers accept any version, and one writer uses two NULs.
    let is_posix = magic == b"ustar\0";
    let is_v7 = block[257..265].iter().all(|byte| *byte == 0);
    let has_prefix = block[345..345 + PREFIX_BYTES].iter().any(|byte| *byte != 0);
    if has_prefix && !(is_gnu || is_posix || is_v7) {
        // Readers disagree whether the prefix of such a header counts.
        return Err(Failure::refused(
            "a header has a path prefix, but its format is neither POSIX nor GNU nor from before 1988",
        ));
    }
    let mut path = text(&block[..NAME_BYTES]).to_vec();
    let prefix = text(&block[345..345 + PREFIX_BYTES]);
    if is_posix && !prefix.is_empty() {
        path = [prefix, b"/", &path].concat();
    }
    if block[124..136].iter().all(|byte| *byte == b' ') {
        // Some readers treat it as zero, and GNU tar as an error.
        return Err(Failure::refused("an entry has a blank size"));
    }
    let size = number(&block[124..136], "size")?;
    let modified = time(&block[136..148])?;
    let mode = number(&block[100..108], "mode")?;
    Ok(Header {
        flag: block[156],
        path,
        link: text(&block[157..257]).to_vec(),
        mode: u32::try_from(mode & 0o777).unwrap_or(0),
        size: u64::try_from(size).map_err(|_| Failure::refused("an entry has a negative size"))?,
        modified_ns: modified.saturating_mul(NANOSECONDS),
        is_gnu,
        is_v7,
    })
}

/// Whether the checksum of the block is correct.
pub(in crate::core) fn has_valid_checksum(block: &[u8]) -> bool {
    // Old writers summed signed bytes.
    let (mut sum, mut signed) = (0_i64, 0_i64);
    for (at, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { *byte };
        sum += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    octal(&block[148..156]).is_some_and(|named| named == sum || named == signed)
}

/// Bytes before the first NUL.
pub(in crate::core::archives) fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Parses an octal field, or GNU's base 256.
pub(in crate::core::archives) fn number(field: &[u8], name: &str) -> Result<i64> {
    let value = match field[0] {
        0x80 | 0xff => base_256(field),
        _ => octal(field),
    };
    value.ok_or_else(|| Failure::refused(format!("a header's {name} is not a number")))
}

/// Parses seconds since the epoch. A time out of range becomes the nearest valid one, where readers differ anyway.
fn time(field: &[u8]) -> Result<i64> {
    if field[0] & 0x80 == 0 {
        return number(field, "mtime");
    }
    // Two's complement whose topmost bit is a marker. The next bit is the sign.
    let is_negative = field[0] & 0x40 != 0;
    let first = i128::from(field[0] & 0x3f) - if is_negative { 0x40 } else { 0 };
    let value = field[1..]
        .iter()
        .fold(first, |value, byte| value * 256 + i128::from(*byte));
    let bounds = i128::from(i64::MIN)..=i128::from(i64::MAX);
    let clamped = value.clamp(*bounds.start(), *bounds.end());
    Ok(i64::try_from(clamped).unwrap_or(i64::MAX))
}

/// Parses digits, with spaces before and spaces or NULs after them. An empty field is 0.
fn octal(field: &[u8]) -> Option<i64> {
    let field = field.trim_ascii_start();
    let digits = field
        .iter()
        .take_while(|byte| (b'0'..=b'7').contains(*byte))
        .count();
    if !field[digits..].iter().all(|byte| matches!(byte, 0 | b' ')) {
        return None;
    }
    field[..digits].iter().try_fold(0_i64, |value, digit| {
        value.checked_mul(8)?.checked_add(i64::from(digit - b'0'))
    })
}

/// Parses two's complement in all bytes after the first, which contains the sign. The width varies (`mode` has 8 bytes,
/// `size` 12).
fn base_256(field: &[u8]) -> Option<i64> {
    let sign = if field[0] == 0xff { -1 } else { 0 };
    field[1..].iter().try_fold(sign, |value: i64, byte| {
        value.checked_mul(256)?.checked_add(i64::from(*byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(path: &[u8], modified_ns: i64) -> (Vec<u8>, Header) {
        let mut out = Vec::new();
        let fields = Fields {
            flag: flag::FILE,
            path,
            link: b"",
            mode: 0o640,
            size: 5,
            modified_ns,
        };
        append(&mut out, &fields);
        let last: &[u8; BLOCK] = out[out.len() - BLOCK..].try_into().expect("a block");
        let header = parse(last).expect("a valid header");
        (out, header)
    }

    #[test]
    fn a_long_path_is_split_at_a_slash_or_put_into_pax() {
        let fits = [&[b'd'; 120][..], b"/", &[b'f'; 90]].concat();
        let (out, header) = round_trip(&fits, 0);
        assert_eq!((out.len(), header.path), (BLOCK, fits));
        let (out, _) = round_trip(&[b'x'; 150], 0);
        assert_eq!(out.len(), 3 * BLOCK);
    }

    #[test]
    fn only_nanoseconds_need_a_pax_header() {
        assert_eq!(round_trip(b"a", 7 * NANOSECONDS).0.len(), BLOCK);
        assert_eq!(round_trip(b"a", 7 * NANOSECONDS + 1).0.len(), 3 * BLOCK);
    }

    #[test]
    fn numbers_are_parsed_strictly() {
        assert_eq!(number(b"0000644\0", "mode").ok(), Some(0o644));
        assert_eq!(number(b"   644  ", "mode").ok(), Some(0o644));
        assert_eq!(
            number(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0], "size").ok(),
            Some(256)
        );
        assert_eq!(number(&[0xff; 12], "mtime").ok(), Some(-1));
        // Found by fuzzing: a mode in base 256 caused a panic.
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 0xa4], "mode").ok(), Some(0o644));
        assert_eq!(number(&[0xff; 8], "mode").ok(), Some(-1));
        assert!(number(&[0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0], "mtime").is_err());
        assert_eq!(time(&[0xff; 12]).ok(), Some(-1));
        assert_eq!(time(b"\x80\0\0\0\0\0\0\0\0\0\0\x07").ok(), Some(7));
        assert_eq!(
            time(&[0x80, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]).ok(),
            Some(i64::MAX)
        );
        assert_eq!(
            time(&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).ok(),
            Some(i64::MIN)
        );
        assert!(number(b"12x4567\0", "mode").is_err());
        assert!(number(&[0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], "size").is_err());
    }
}
