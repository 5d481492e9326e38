//! The tar stream inside an archive of any of the three formats, told by magic bytes and never by a name.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::GzDecoder;
use zstd::zstd_safe::DParameter;

use crate::core::archives::codec::format::Format;
use crate::core::archives::format::header;
use crate::core::failure::{Failure, Result};

const TAR_MAGIC_AT: usize = 257;

/// The format of an archive that starts with these bytes.
pub fn sniff(start: &[u8]) -> Option<Format> {
    match start {
        [0x1f, 0x8b, ..] => Some(Format::TarGz),
        // A skippable frame may stand first (pzstd, seekable writers).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Format::TarZst),
        _ if start.len() >= 512 && (&start[TAR_MAGIC_AT..TAR_MAGIC_AT + 5] == b"ustar" || is_v7(start)) => {
            Some(Format::Tar)
        }
        _ => None,
    }
}

/// A header of before 1988 has no magic, but its checksum is right. An archive of nothing is two empty blocks.
fn is_v7(start: &[u8]) -> bool {
    let block = &start[..512];
    block.iter().all(|byte| *byte == 0) || header::has_valid_checksum(block)
}

/// The tar stream inside an archive, whatever its compression. `max_window_log` bounds the decoder's memory.
pub fn decoder<'a>(source: impl Read + 'a, max_window_log: u32) -> Result<(Format, Box<dyn Read + 'a>)> {
    let mut source = source;
    let mut start = Vec::with_capacity(512);
    source
        .by_ref()
        .take(512)
        .read_to_end(&mut start)
        .map_err(Failure::of_read)?;
    let Some(format) = sniff(&start) else {
        return Err(Failure::corrupt(if start.is_empty() {
            "the archive is empty".to_owned()
        } else {
            "the bytes are not a tar, tar.gz or tar.zst archive".to_owned()
        }));
    };
    let whole = Cursor::new(start).chain(source);
    let reader: Box<dyn Read + 'a> = match format {
        Format::Tar => Box::new(whole),
        Format::TarGz => Box::new(Members::new(BufReader::with_capacity(256 << 10, whole))),
        Format::TarZst => Box::new(
            zstd_decoder(BufReader::with_capacity(256 << 10, whole), max_window_log)
                .map_err(Failure::of_read)?,
        ),
    };
    Ok((format, reader))
}

/// The members of a gzip file, one behind the other, and the zeros that tapes and block devices fill it up with.
struct Members<R>(Option<GzDecoder<R>>);

impl<R: BufRead> Members<R> {
    fn new(source: R) -> Self {
        Self(Some(GzDecoder::new(source)))
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(mut member) = self.0.take() {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                self.0 = Some(member);
                return Ok(count);
            }
            let mut source = member.into_inner();
            if has_another_member(&mut source)? {
                self.0 = Some(GzDecoder::new(source));
            }
        }
        Ok(0)
    }
}

fn has_another_member(source: &mut impl BufRead) -> io::Result<bool> {
    let mut is_padded = false;
    loop {
        let bytes = source.fill_buf()?;
        if bytes.is_empty() {
            return Ok(false);
        }
        if !is_padded && bytes[0] != 0 {
            return Ok(true);
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "there are bytes behind the end of the gzip data",
            ));
        }
        let count = bytes.len();
        source.consume(count);
        is_padded = true;
    }
}

fn zstd_decoder<R: BufRead>(source: R, max_window_log: u32) -> io::Result<zstd::Decoder<'static, R>> {
    let mut decoder = zstd::Decoder::with_buffer(source)?;
    decoder.set_parameter(DParameter::WindowLogMax(max_window_log))?;
    Ok(decoder)
}
