//! archives/limits-are-counted: the claims of an archive cost no more entries, bytes, memory and time than the limits
//! allow.

use std::fs;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use warmswap::core::archives::{self, ExtractOptions, Limits};
use warmswap::core::failure::Cause;

use super::support::{Raw, extract, record};

fn outcome(bytes: &[u8], limits: Limits) -> Result<u64, Cause> {
    let options = ExtractOptions {
        limits,
        ..ExtractOptions::default()
    };
    let (_stage, result) = extract(bytes, &options);
    result
        .map(|summary| summary.files)
        .map_err(|failure| failure.cause)
}

#[test]
fn directories_without_an_entry_count_as_entries() {
    let limits = Limits {
        max_files: 10,
        ..Limits::default()
    };
    let named = (0..5000).fold(Raw::default(), |raw, number| raw.directory(&format!("d{number}")));
    assert_eq!(outcome(&named.end(), limits), Err(Cause::Refused));
    let implied = (0..20).fold(Raw::default(), |raw, number| {
        raw.file(&format!("{number}/a/b/c/f"), b"")
    });
    assert_eq!(outcome(&implied.end(), limits), Err(Cause::Refused));
    let fits = Raw::default().directory("d").file("d/f", b"").end();
    assert_eq!(outcome(&fits, limits), Ok(1));
}

#[test]
fn names_count_against_the_memory_limit() {
    // 250 directories for each file: half a megabyte of names per entry.
    let deep = (0..40).fold(Raw::default(), |raw, number| {
        let path = format!("{}f", format!("{number:014}/").repeat(250));
        raw.pax(&record("path", &path)).file("f", b"")
    });
    let limits = Limits {
        max_memory_bytes: 8 << 20,
        ..Limits::default()
    };
    assert_eq!(outcome(&deep.end(), limits), Err(Cause::Refused));
}

#[test]
fn hard_links_count_like_files() {
    let linked = (0..10).fold(Raw::default().file("f", &vec![7; 1 << 20]), |raw, number| {
        raw.hard_link(&format!("h{number}"), "f")
    });
    let limits = Limits {
        max_bytes: 2 << 20,
        ..Limits::default()
    };
    assert_eq!(outcome(&linked.clone().end(), limits), Err(Cause::Refused));
    assert_eq!(outcome(&linked.end(), Limits::default()), Ok(11));
}

#[test]
fn long_chains_of_links_end_quickly() {
    let hub = format!("{}{}hub", "d/".repeat(660), "../".repeat(660));
    let raw = Raw::default().pax(&record("linkpath", &hub)).symlink("hub", "x");
    let raw = (0..20_000).fold(raw, |raw, number| raw.symlink(&format!("l{number}"), "hub"));
    let started = Instant::now();
    assert_eq!(outcome(&raw.end(), Limits::default()), Err(Cause::Refused));
    // Without a limit they take minutes.
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "{:?}",
        started.elapsed()
    );
}

/// An endless archive of empty files.
struct Endless {
    number: u64,
    block: Vec<u8>,
    served: u64,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.block.is_empty() {
            self.number += 1;
            self.block = Raw::default().file(&format!("f{}", self.number), b"").0;
        }
        let count = buffer.len().min(self.block.len());
        buffer[..count].copy_from_slice(&self.block[..count]);
        self.block.drain(..count);
        self.served += count as u64;
        Ok(count)
    }
}

#[test]
fn an_endless_archive_ends_at_the_limit() {
    let stage = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let mut endless = Endless {
        number: 0,
        block: Vec::new(),
        served: 0,
    };
    let options = ExtractOptions {
        limits: Limits {
            max_files: 20_000,
            ..Limits::default()
        },
        ..ExtractOptions::default()
    };
    let failure = archives::extract(&mut endless, stage.path(), &options).expect_err("no end");
    assert_eq!(failure.cause, Cause::Refused, "{failure}");
    let made = fs::read_dir(stage.path()).expect("readdir").count();
    assert!(made <= 20_000, "{made} files");
    // The decoder reads only a few chunks ahead.
    assert!(
        endless.served < 20_000 * 512 + (8 << 20),
        "{} bytes were read",
        endless.served
    );
}
