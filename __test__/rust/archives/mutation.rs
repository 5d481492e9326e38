//! Fuzzing of the reader without a nightly compiler: seeded random changes to archives that contain all features.
//! `WARMSWAP_FUZZ_ROUNDS` sets the number of rounds. The reader must never panic or write outside its stage.

// guarantee: archives/no-input-crashes

use std::fs;

use warmswap::core::archives::{self, ExtractOptions, Limits, Symlinks};

use super::support::{Random, Raw, describe, record};

const ROUNDS: u64 = 1500;

fn seeds() -> Vec<Vec<u8>> {
    let plain = Raw::default()
        .directory("d")
        .file("d/f", &[7; 1500])
        .symlink("d/l", "f")
        .hard_link("h", "d/f")
        .end();
    let extended = Raw::default()
        .pax(
            &[
                record("path", &"p/".repeat(60)),
                record("mtime", "1.5"),
                record("size", "5"),
            ]
            .concat(),
        )
        .file("short", b"12345")
        .with(
            b'L',
            b"././@LongLink",
            b"",
            &[&[b'n'; 180][..], b"\0"].concat(),
            |_| {},
        )
        .file("n", b"x")
        .end();
    let sparse = Raw::default()
        .with(b'S', b"s", b"", &[1; 512], |block| {
            block[257..265].copy_from_slice(b"ustar  \0");
            block[386..398].copy_from_slice(b"00000001000\0");
            block[398..410].copy_from_slice(b"00000001000\0");
            block[483..495].copy_from_slice(b"00000004000\0");
        })
        .end();
    vec![plain, extended, sparse]
}

/// Corrects the checksums of all blocks that look like headers, so that changes reach the parser.
fn repair(bytes: &mut [u8]) {
    for block in bytes
        .chunks_exact_mut(512)
        .filter(|block| block[257..262] == *b"ustar")
    {
        let mut header = tar::Header::from_byte_slice(block).clone();
        header.set_cksum();
        block.copy_from_slice(header.as_bytes());
    }
}

#[test]
fn random_changes_neither_crash_the_reader_nor_leave_the_stage() {
    let rounds = std::env::var("WARMSWAP_FUZZ_ROUNDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(ROUNDS);
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let canary = root.path().join("outside");
    fs::create_dir(&canary).expect("mkdir");
    fs::write(canary.join("kept"), "kept").expect("write");
    let before = describe(&canary);
    let mut random = Random(0x5eed);
    let limits = Limits {
        max_file_bytes: 1 << 24,
        max_bytes: 1 << 24,
        ..Limits::default()
    };
    let mut accepted = 0;
    for round in 0..rounds {
        let seeds = seeds();
        let mut bytes = seeds[usize::try_from(round).expect("small") % seeds.len()].clone();
        for _ in 0..=random.below(6) {
            let at = usize::try_from(random.below(bytes.len() as u64)).expect("small");
            bytes[at] = match random.below(4) {
                0 => b"/.\0 07xLKgS125"[usize::try_from(random.below(14)).expect("small")],
                1 => 0xff,
                2 => bytes[at] ^ (1 << random.below(8)),
                _ => random.next() as u8,
            };
        }
        if random.below(8) == 0 {
            bytes.truncate(usize::try_from(random.below(bytes.len() as u64)).expect("small"));
        }
        repair(&mut bytes);
        let stage = root.path().join("stage");
        fs::create_dir(&stage).expect("mkdir");
        let options = ExtractOptions {
            limits,
            symlinks: Symlinks::Verbatim,
            ..ExtractOptions::default()
        };
        accepted += u64::from(archives::extract(bytes.as_slice(), &stage, &options).is_ok());
        assert_eq!(describe(&canary), before, "round {round}");
        assert_eq!(
            fs::read_dir(root.path()).expect("readdir").count(),
            2,
            "round {round}"
        );
        fs::remove_dir_all(&stage).expect("rm");
    }
    assert!(
        accepted > 0 && accepted < rounds,
        "{accepted} of {rounds} were accepted: the changes prove nothing"
    );
}
