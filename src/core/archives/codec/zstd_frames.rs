//! Decodes zstd frame by frame. Each header is read before its frame is decoded, so that an error can name an
//! unsupported feature with its numbers. The module also decides whether the end of the data proves that it is
//! complete.

use std::io::{self, BufRead, Read};

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

use crate::core::archives::codec::format::FRAME_BYTES;
use crate::core::failure::Failure;

const MAGIC: u32 = 0xFD2F_B528;
const SKIPPABLE: std::ops::RangeInclusive<u32> = 0x184D_2A50..=0x184D_2A5F;
const SEEKABLE_MAGIC: [u8; 4] = [0xB1, 0xEA, 0x92, 0x8F];
/// Maximum size of a header: magic number, descriptor, window, dictionary, content size.
const MAX_HEADER: usize = 18;
/// Size of the end of a seek table: number of frames, descriptor, magic number.
const SEEK_FOOTER: usize = 9;
/// Largest window that libzstd supports.
const MAX_WINDOW_LOG: u32 = if usize::BITS >= 64 { 31 } else { 30 };

/// Decodes the frames of a source one after another.
pub(super) struct Frames<R> {
    source: R,
    context: DCtx<'static>,
    limits: WindowLimits,
    /// Bytes of the next frame's header, which are decoded before those of `source`.
    head: Vec<u8>,
    is_between: bool,
    has_output: bool,
    seen: Seen,
}

/// Limits of the window, with the option that sets them.
#[derive(Debug, Clone, Copy)]
pub struct WindowLimits {
    /// Maximum size of a window in bytes.
    pub max_window: u64,
    /// Value of `limits.maxMemoryBytes`.
    pub max_memory: u64,
    /// Memory of the other buffers in bytes.
    pub buffers: u64,
}

/// Facts about the data so far that decide whether its end was reached.
#[derive(Default)]
struct Seen {
    data_frames: u32,
    /// Whether a skippable frame came before the first data frame.
    leading_skippable: bool,
    is_last_skippable: bool,
    is_like_ours: bool,
    tail: Vec<u8>,
}

/// Header of a data frame.
struct FrameHeader {
    window: u64,
    dictionary: u32,
    content: Option<u64>,
    has_checksum: bool,
}

impl<R: BufRead> Frames<R> {
    pub(super) fn new(source: R, limits: WindowLimits) -> io::Result<Self> {
        let mut context = DCtx::create();
        context.init().map_err(of_zstd)?;
        // The limit is checked for each header instead, so that the error can name it.
        context
            .set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG))
            .map_err(of_zstd)?;
        Ok(Self {
            source,
            context,
            limits,
            head: Vec::with_capacity(MAX_HEADER),
            is_between: true,
            has_output: false,
            seen: Seen::default(),
        })
    }

    /// Whether the end of the data proves that nothing is missing: there is a seek table that counts the frames, or a
    /// single frame. A frame like those of [`super::Envelope`] proves nothing alone, because others may have followed
    /// it.
    pub(super) fn proves_its_end(&self) -> bool {
        let seen = &self.seen;
        if seen.is_last_skippable
            && let Some(footer) = seen.tail.first_chunk::<SEEK_FOOTER>()
            && footer[5..] == SEEKABLE_MAGIC
        {
            return u32::from_le_bytes([footer[0], footer[1], footer[2], footer[3]]) == seen.data_frames;
        }
        seen.data_frames == 1 && !seen.leading_skippable && !seen.is_like_ours
    }

    /// Reads and checks the header of the next frame. Returns `false` at the end of the source.
    fn begin(&mut self) -> io::Result<bool> {
        while self.head.len() < MAX_HEADER {
            let available = self.source.fill_buf()?;
            let count = available.len().min(MAX_HEADER - self.head.len());
            if count == 0 {
                break;
            }
            self.head.extend_from_slice(&available[..count]);
            self.source.consume(count);
        }
        if self.head.is_empty() {
            return Ok(false);
        }
        let magic = self.head.first_chunk().map(|magic| u32::from_le_bytes(*magic));
        match magic {
            Some(magic) if SKIPPABLE.contains(&magic) => {
                self.seen.leading_skippable |= self.seen.data_frames == 0;
                self.seen.is_last_skippable = true;
            }
            Some(MAGIC) => {
                self.seen.is_last_skippable = false;
                self.seen.data_frames += 1;
                // A truncated header is left to the decoder, which reports it.
                if let Some(header) = read_header(&self.head) {
                    self.check(&header)?;
                    self.seen.is_like_ours =
                        header.has_checksum && header.content.is_some_and(|size| size <= FRAME_BYTES as u64);
                }
            }
            _ => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "there are bytes after the end of the zstd data",
                ));
            }
        }
        Ok(true)
    }

    fn check(&self, header: &FrameHeader) -> io::Result<()> {
        if header.dictionary != 0 {
            return Err(Failure::refused(format!(
                "the archive was compressed with a zstd dictionary (id {}), which is not supported. It is not damaged",
                header.dictionary
            ))
            .into());
        }
        let WindowLimits {
            max_window,
            max_memory,
            buffers,
        } = self.limits;
        if header.window <= max_window {
            return Ok(());
        }
        let most = 1_u64 << MAX_WINDOW_LOG;
        let way_out = if header.window > most {
            format!("The largest supported window has {most} bytes")
        } else {
            format!("Set limits.maxMemoryBytes to {} or more", header.window + buffers)
        };
        Err(Failure::over_limit(format!(
            "the archive needs a zstd window of {} bytes (zstd --long={}), but limits.maxMemoryBytes of {max_memory} allows {max_window}. It is not damaged. {way_out}",
            header.window,
            header.window.next_power_of_two().ilog2(),
        ))
        .into())
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() {
            if self.is_between && !self.begin()? {
                return Ok(0);
            }
            self.is_between = false;
            let is_head = !self.head.is_empty();
            let bytes = if is_head {
                &self.head
            } else {
                self.source.fill_buf()?
            };
            let is_ended = bytes.is_empty();
            let (mut input, mut output) = (InBuffer::around(bytes), OutBuffer::around(&mut *buffer));
            let left = match self.context.decompress_stream(&mut output, &mut input) {
                Ok(left) => left,
                Err(code) if self.has_output => return Err(of_zstd(code)),
                Err(code) => return Err(of_first_bytes(code)),
            };
            let (used, made) = (input.pos(), output.pos());
            self.seen.add(&bytes[..used]);
            if is_head {
                self.head.drain(..used);
            } else {
                self.source.consume(used);
            }
            self.is_between = left == 0;
            if made > 0 {
                self.has_output = true;
                return Ok(made);
            }
            if is_ended && left > 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the zstd data is cut off",
                ));
            }
        }
        Ok(0)
    }
}

impl Seen {
    fn add(&mut self, bytes: &[u8]) {
        let last = &bytes[bytes.len().saturating_sub(SEEK_FOOTER)..];
        let over = (self.tail.len() + last.len()).saturating_sub(SEEK_FOOTER);
        self.tail.drain(..over);
        self.tail.extend_from_slice(last);
    }
}

fn of_zstd(code: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, get_error_name(code))
}

/// Error at the first bytes of a frame. Data that needs a dictionary without naming it looks damaged from its first
/// byte.
fn of_first_bytes(code: usize) -> io::Error {
    let message = format!(
        "{}, or the data needs a zstd dictionary that it does not name",
        get_error_name(code)
    );
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Parses a frame header (RFC 8878, 3.1.1.1). Returns `None` if it is truncated.
fn read_header(bytes: &[u8]) -> Option<FrameHeader> {
    let descriptor = *bytes.get(4)?;
    let is_single_segment = descriptor & 0x20 != 0;
    let mut at = 5;
    let mut number = |width: usize| -> Option<u64> {
        let field = bytes.get(at..at + width)?;
        at += width;
        Some(
            field
                .iter()
                .rev()
                .fold(0, |value, byte| value << 8 | u64::from(*byte)),
        )
    };
    let window = if is_single_segment { None } else { Some(number(1)?) };
    let dictionary = number([0, 1, 2, 4][usize::from(descriptor & 3)])?;
    let content = match (descriptor >> 6, is_single_segment) {
        (0, false) => None,
        (0, true) => Some(number(1)?),
        (1, _) => Some(number(2)? + 256),
        (2, _) => Some(number(4)?),
        _ => Some(number(8)?),
    };
    let window = match window {
        Some(byte) => {
            let base = 1_u64 << (10 + (byte >> 3));
            base + base / 8 * (byte & 7)
        }
        None => content?,
    };
    Some(FrameHeader {
        window,
        dictionary: u32::try_from(dictionary).ok()?,
        content,
        has_checksum: descriptor & 4 != 0,
    })
}
