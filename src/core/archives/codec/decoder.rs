//! Decodes archives of all three formats. Magic bytes select the format, never a file name.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use flate2::bufread::GzDecoder;

use crate::core::archives::codec::foreign;
use crate::core::archives::codec::format::Format;
use crate::core::archives::codec::zstd_frames::{Frames, WindowLimits};
use crate::core::archives::format::header;
use crate::core::failure::{Failure, Result};

const TAR_MAGIC_AT: usize = 257;
/// Maximum number of decoded bytes that are read to find damage in data that is not a tar archive.
const MAX_READ_OVER: u64 = 64 << 20;

/// Detects the format of an archive by its first bytes.
pub fn sniff(start: &[u8]) -> Option<Format> {
    match start {
        [0x1f, 0x8b, ..] => Some(Format::TarGz),
        // A skippable frame may come first (pzstd, seekable writers).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Format::TarZst),
        _ if start.len() >= 512 && (&start[TAR_MAGIC_AT..TAR_MAGIC_AT + 5] == b"ustar" || is_v7(start)) => {
            Some(Format::Tar)
        }
        _ => None,
    }
}

/// Whether this is a tar archive without magic bytes: a header from before 1988 has a valid checksum, and an empty
/// archive consists of two zero blocks.
fn is_v7(start: &[u8]) -> bool {
    let block = &start[..512];
    block.iter().all(|byte| *byte == 0) || header::has_valid_checksum(block)
}

/// The tar stream in an archive of any compression.
pub struct Decoder<S: Read> {
    codec: Codec<Whole<S>>,
    /// Decoded bytes that were inspected.
    start: Cursor<Vec<u8>>,
}

type Whole<S> = BufReader<Chain<Cursor<Vec<u8>>, S>>;

enum Codec<R> {
    Plain(R),
    Gzip(Members<R>),
    Zstd(Frames<R>),
}

impl<S: Read> Decoder<S> {
    /// Inspects the first bytes of the archive and of its tar stream.
    pub fn new(mut source: S, limits: WindowLimits) -> Result<Self> {
        let start = first_block(&mut source).map_err(Failure::of_read)?;
        let Some(format) = sniff(&start) else {
            return Err(no_archive(&start));
        };
        let whole = BufReader::with_capacity(256 << 10, Cursor::new(start).chain(source));
        let codec = match format {
            Format::Tar => Codec::Plain(whole),
            Format::TarGz => Codec::Gzip(Members::new(whole)),
            Format::TarZst => Codec::Zstd(Frames::new(whole, limits).map_err(Failure::of_read)?),
        };
        let mut decoder = Self {
            codec,
            start: Cursor::default(),
        };
        if format != Format::Tar {
            let start = first_block(&mut decoder.codec).map_err(Failure::of_read)?;
            if sniff(&start) != Some(Format::Tar) {
                return Err(no_tar(format, &start, &mut decoder.codec));
            }
            decoder.start = Cursor::new(start);
        }
        Ok(decoder)
    }

    /// Whether the end of the compressed data proves that nothing is missing after it.
    pub fn proves_its_end(&self) -> bool {
        match &self.codec {
            Codec::Plain(_) => false,
            Codec::Gzip(members) => members.proves_its_end(),
            Codec::Zstd(frames) => frames.proves_its_end(),
        }
    }
}

impl<S: Read> Read for Decoder<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.start.read(buffer)? {
            0 => self.codec.read(buffer),
            count => Ok(count),
        }
    }
}

impl<R: BufRead> Read for Codec<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Gzip(reader) => reader.read(buffer),
            Self::Zstd(reader) => reader.read(buffer),
        }
    }
}

fn first_block(source: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(512);
    source.take(512).read_to_end(&mut start)?;
    Ok(start)
}

/// Failure for bytes that are not an archive. Data of another known format is not damaged.
fn no_archive(start: &[u8]) -> Failure {
    if start.is_empty() {
        return Failure::corrupt("the archive is empty");
    }
    // Checked first, because the first byte of zstd is a letter.
    if is_beginning(start) {
        return Failure::corrupt(format!("the archive is cut off after {} bytes", start.len()));
    }
    if let Some(name) = foreign::name(start) {
        return Failure::refused(format!("expected a tar, tar.gz or tar.zst archive, got {name}"));
    }
    Failure::corrupt(
        "the data has no magic bytes of tar, gzip or zstd. Either its format has none (brotli, raw deflate), or its beginning is damaged. Check what it is before you replace it",
    )
}

/// Whether these bytes, which are not an archive, are the beginning of one.
fn is_beginning(start: &[u8]) -> bool {
    let is_of_magic = |magic: &[u8]| start.len() < magic.len() && magic.starts_with(start);
    is_of_magic(&[0x1f, 0x8b]) || is_of_magic(&[0x28, 0xb5, 0x2f, 0xfd]) || is_beginning_of_tar(start)
}

/// Whether the bytes are a name that ends in NULs, followed by digits.
fn is_beginning_of_tar(start: &[u8]) -> bool {
    let (name, numbers) = start.split_at(start.len().min(100));
    let Some(end) = name.iter().position(|byte| *byte == 0) else {
        return false;
    };
    let is_number = |byte: &u8| matches!(byte, 0 | b' ' | b'0'..=b'7');
    start.len() < 512
        && name[..end].iter().all(|byte| *byte >= b' ')
        && name[end..].iter().all(|byte| *byte == 0)
        && numbers.iter().take(48).all(is_number)
}

/// Failure for decoded bytes that are not a tar archive. The rest is read too, because damaged compressed data can
/// decode to anything, and its checksum reveals the damage.
fn no_tar(format: Format, start: &[u8], rest: &mut impl Read) -> Failure {
    let outer = if format == Format::TarGz { "gzip" } else { "zstd" };
    if let Err(error) = io::copy(&mut rest.take(MAX_READ_OVER), &mut io::sink()) {
        return Failure::of_read(error);
    }
    if start.is_empty() {
        return Failure::corrupt(format!(
            "the {outer} data is empty. The program that created the archive has probably failed"
        ));
    }
    if is_beginning(start) {
        return Failure::corrupt(format!(
            "the archive was cut off after {} bytes before it was compressed",
            start.len()
        ));
    }
    let inner = match sniff(start) {
        Some(Format::TarGz) => Some("gzip"),
        Some(Format::TarZst) => Some("zstd"),
        _ => foreign::compression(start),
    };
    let name = foreign::name(start).unwrap_or("other bytes");
    let name = name.split(", probably").next().unwrap_or(name);
    Failure::refused(match inner {
        Some(inner) => format!(
            "expected a tar archive within {outer}, got {inner} within {outer}. Archives that are compressed twice are not supported"
        ),
        None => format!("expected a tar archive within {outer}, got {name}. The {outer} data is not damaged"),
    })
}

/// Reads the members of a gzip file one after another, and the zero padding of tapes and block devices.
struct Members<R> {
    present: Option<GzDecoder<R>>,
    ended: u64,
    /// Whether the header has an extra field. Writers of many members use one (bgzip).
    has_extra: bool,
}

impl<R: BufRead> Members<R> {
    fn new(source: R) -> Self {
        Self {
            present: Some(GzDecoder::new(source)),
            ended: 0,
            has_extra: false,
        }
    }

    /// The trailer of a single member contains length and checksum of the whole data. A trailer of one of many members
    /// proves nothing about the others.
    fn proves_its_end(&self) -> bool {
        self.present.is_none() && self.ended == 1 && !self.has_extra
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(mut member) = self.present.take() {
            let count = member.read(buffer).map_err(of_gzip)?;
            if count > 0 || buffer.is_empty() {
                self.present = Some(member);
                return Ok(count);
            }
            self.ended += 1;
            self.has_extra |= member.header().is_some_and(|header| header.extra().is_some());
            let mut source = member.into_inner();
            if has_another_member(&mut source)? {
                self.present = Some(GzDecoder::new(source));
            }
        }
        Ok(0)
    }
}

/// The decoder has several error kinds for data that ends early.
fn of_gzip(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return io::Error::new(error.kind(), "the gzip data is cut off");
    }
    error
}

fn has_another_member(source: &mut impl BufRead) -> io::Result<bool> {
    let mut is_padded = false;
    loop {
        let bytes = source.fill_buf()?;
        if bytes.is_empty() {
            return Ok(false);
        }
        if !is_padded && bytes[0] == 0x1f {
            return Ok(true);
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "there are bytes after the end of the gzip data",
            ));
        }
        let count = bytes.len();
        source.consume(count);
        is_padded = true;
    }
}
