//! archives/limits-are-counted: the compression ratio. Zeros are accepted if their number is declared, and a bomb is
//! refused in every form.

use std::fs;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use warmswap::core::archives::{self, Expected, ExtractOptions, Limits};
use warmswap::core::failure::Cause;

use super::support::{Raw, extract, pack, record};

const ZEROS: u64 = 128 << 20;

/// An archive of a file of zeros, as warmswap packs it.
fn zeros() -> (Vec<u8>, Expected) {
    let source = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let file = fs::File::create(source.path().join("data.mdb")).expect("created");
    file.set_len(ZEROS).expect("extended");
    let (bytes, summary) = pack(source.path());
    let expected = Expected {
        files: summary.files,
        bytes: summary.bytes,
        digest: Some(summary.tree.digest()),
    };
    (bytes, expected)
}

fn options(
    compressed_bytes: Option<u64>,
    expected: Option<Expected>,
    max_ratio: Option<u64>,
) -> ExtractOptions {
    ExtractOptions {
        limits: Limits {
            max_ratio,
            ..Limits::default()
        },
        hash: true,
        expected,
        compressed_bytes,
        ..ExtractOptions::default()
    }
}

#[test]
fn declared_bytes_are_exempt_from_the_default_ratio() {
    let (bytes, expected) = zeros();
    let size = Some(bytes.len() as u64);
    assert!(bytes.len() < 1 << 17, "zeros have {} bytes", bytes.len());
    let declared = extract(&bytes, &options(size, Some(expected.clone()), None)).1;
    assert_eq!(declared.expect("extracted").bytes, ZEROS);
    for (expected, ratio) in [(Some(expected), Some(1000)), (None, None)] {
        let refused = extract(&bytes, &options(size, expected, ratio))
            .1
            .expect_err("refused");
        assert_eq!(refused.cause, Cause::Refused);
        assert!(refused.error.message.contains("limits.maxRatio"), "{refused}");
    }
    assert!(extract(&bytes, &options(None, None, Some(100_000))).1.is_ok());
}

#[test]
fn the_ratio_of_a_known_size_covers_the_whole_archive() {
    // More than 1000 times what a decoder reads ahead.
    let header = Raw::default().with(b'0', b"zeros", b"", b"", |block| {
        block[124..136].copy_from_slice(b"03000000000\0")
    });
    let mut bytes = zstd::bulk::compress(&header.0, 3).expect("compressed");
    let frame = zstd::bulk::compress(&vec![0; 64 << 20], 3).expect("compressed");
    for _ in 0..6 {
        bytes.extend_from_slice(&frame);
    }
    // Noise in uncompressed blocks.
    let noise: Vec<u8> = (0..1_u32 << 18)
        .flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let rest = Raw::default().file("noise", &noise).end();
    bytes.extend_from_slice(&zstd::bulk::compress(&rest, -7).expect("compressed"));
    let size = bytes.len() as u64;
    assert!(size > (384 << 20) / 1000, "{size} bytes");
    assert!(extract(&bytes, &options(Some(size), None, None)).1.is_ok());
    let running = extract(&bytes, &options(None, None, None))
        .1
        .expect_err("the total size is unknown");
    assert_eq!(running.cause, Cause::Refused);
}

/// A first part, followed by endless copies of one frame.
struct Endless {
    start: Vec<u8>,
    frame: Vec<u8>,
    at: usize,
    read: Arc<AtomicU64>,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let piece = if self.at < self.start.len() {
            &self.start[self.at..]
        } else {
            &self.frame[(self.at - self.start.len()) % self.frame.len()..]
        };
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        self.at += count;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Extracts an archive that starts like this and continues with endless zeros. Returns the cause of the failure, the
/// bytes read, and the bytes in the stage.
fn explode(start: &[u8], options: &ExtractOptions) -> (Cause, u64, u64) {
    let read = Arc::<AtomicU64>::default();
    let bomb = Endless {
        start: zstd::bulk::compress(start, 3).expect("compressed"),
        frame: zstd::bulk::compress(&vec![0; 64 << 20], 3).expect("compressed"),
        at: 0,
        read: Arc::clone(&read),
    };
    let stage = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let failure = archives::extract(bomb, stage.path(), options).expect_err("a bomb");
    let written = fs::read_dir(stage.path())
        .expect("readdir")
        .map(|entry| entry.expect("entry").metadata().expect("stat").len());
    (failure.cause, read.load(Ordering::Relaxed), written.sum())
}

#[test]
fn a_bomb_ends_early_whatever_is_declared() {
    let huge = |name: &[u8]| {
        Raw::default()
            .with(b'0', name, b"", b"", |block| {
                block[124..136].copy_from_slice(b"120000000000")
            })
            .0
    };
    let declared = |files, bytes| {
        Some(Expected {
            files,
            bytes,
            digest: None,
        })
    };
    // 10 GiB of zeros in a stream: the ratio over what was read so far.
    let (outcome, read, written) = explode(&huge(b"bomb"), &options(None, None, None));
    assert_eq!(outcome, Cause::Refused);
    assert!(
        read < 1 << 20 && written <= 65 << 20,
        "{read} bytes were read, {written} written"
    );
    // More than was declared: no byte beyond that is written.
    let (outcome, _, written) = explode(&huge(b"bomb"), &options(Some(1000), declared(1, 1000), None));
    assert_eq!((outcome, written), (Cause::Corrupt, 0));
    // One file too many.
    let small = Raw::default().file("a", b"a").file("b", b"b").0;
    assert_eq!(
        explode(&small, &options(Some(1000), declared(1, 1 << 30), None)).0,
        Cause::Corrupt
    );
    // The declared bytes, followed by endless headers, which the ratio applies to.
    let start = Raw::default().file("a", b"a").0;
    let (outcome, read, written) = explode(&start, &options(Some(1000), declared(1, 1), None));
    assert_eq!(outcome, Cause::Refused);
    assert!(
        read < 1 << 20 && written <= 1,
        "{read} bytes were read, {written} written"
    );
}

#[test]
fn extension_headers_are_not_exempt_from_the_ratio() {
    // Directories, each with a pax header of 1 MiB. None of these bytes belong to a file.
    let comment = record("comment", &"x".repeat((1 << 20) - 64));
    let mut raw = Raw::default();
    for number in 0..80 {
        raw = raw.pax(&comment).directory(&format!("d{number}"));
    }
    let bytes = zstd::bulk::compress(&raw.end(), 19).expect("compressed");
    let expected = Some(Expected {
        files: 0,
        bytes: 0,
        digest: None,
    });
    let size = bytes.len() as u64;
    assert!(size < 80 << 10, "{size} bytes");
    let result = extract(&bytes, &options(Some(size), expected, None)).1;
    assert_eq!(result.expect_err("a bomb of headers").cause, Cause::Refused);
}
