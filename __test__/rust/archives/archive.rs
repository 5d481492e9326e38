//! archives/verified-before-commit, archives/limits-are-counted, archives/round-trip: a packed tree is extracted
//! unchanged, and a damaged, truncated or too large archive is refused.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use warmswap::core::archives::codec::Format;
use warmswap::core::archives::{Duplicates, Expected, ExtractOptions, Limits, Symlinks};
use warmswap::core::failure::Cause;

use super::support::{
    Held, Random, Raw, assert_same, describe, extract, extract_error, pack, pack_as, random_tree,
};

/// Number of rounds. `WARMSWAP_LONG=1` selects the longer form.
fn often(short: u64, long: u64) -> u64 {
    if std::env::var("WARMSWAP_LONG").is_ok_and(|value| value == "1") {
        long
    } else {
        short
    }
}

#[test]
fn random_trees_survive_the_round_trip() {
    for seed in 1..=often(12, 200) {
        let source = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
        random_tree(source.path(), &mut Random(seed * 7919));
        let format = [Format::TarZst, Format::TarGz, Format::Tar][usize::try_from(seed % 3).expect("small")];
        let (bytes, summary) = pack_as(source.path(), format);
        let (stage, result) = extract(
            &bytes,
            &ExtractOptions {
                hash: true,
                ..ExtractOptions::default()
            },
        );
        let extracted = result.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        assert_same(
            &describe(stage.path()),
            &describe(source.path()),
            &format!("seed {seed}"),
        );
        assert_eq!(extracted.tree.digest(), summary.tree.digest(), "seed {seed}");
        assert_eq!(
            (extracted.files, extracted.bytes),
            (summary.files, summary.bytes),
            "seed {seed}"
        );
    }
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    let source = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    random_tree(source.path(), &mut Random(5));
    assert_eq!(pack(source.path()).0, pack(source.path()).0);
}

#[test]
fn a_frame_is_at_most_4_mib_and_the_seek_table_names_them_all() {
    let source = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    fs::write(source.path().join("large"), vec![3; 9 << 20]).expect("write");
    fs::write(source.path().join("small"), b"small").expect("write");
    let (bytes, summary) = pack(source.path());
    let (footer_at, magic) = (bytes.len() - 9, 0x8F92_EAB1_u32.to_le_bytes());
    assert_eq!(bytes[bytes.len() - 4..], magic);
    let count = u32::from_le_bytes(bytes[footer_at..footer_at + 4].try_into().expect("four bytes"));
    assert_eq!(u64::from(count), summary.frames);
    let table = &bytes[footer_at - 8 * count as usize..footer_at];
    let mut at = 0;
    for entry in table.chunks_exact(8) {
        let compressed = u32::from_le_bytes(entry[..4].try_into().expect("four bytes")) as usize;
        let raw = u32::from_le_bytes(entry[4..].try_into().expect("four bytes")) as usize;
        assert!(raw <= 4 << 20);
        let decoded = zstd::decode_all(&bytes[at..at + compressed]).expect("a frame of its own");
        assert_eq!(decoded.len(), raw);
        at += compressed;
    }
    assert_eq!(at, bytes.len() - 8 - table.len() - 9);
}

/// Packs a tree that fills several frames.
fn several_frames() -> Vec<u8> {
    let source = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let mut random = Random(77);
    for number in 0..40 {
        let bytes: Vec<u8> = (0..300_000)
            .map(|_| b"0123456789abcdef \n"[usize::try_from(random.below(18)).expect("small")])
            .collect();
        fs::write(source.path().join(format!("{number}.js")), bytes).expect("write");
    }
    pack(source.path()).0
}

#[test]
fn each_of_400_flipped_bits_is_detected() {
    let bytes = several_frames();
    let mut random = Random(99);
    // Only the seek table, which readers skip, is not covered by a checksum.
    let covered = (bytes.len() - 9 - 8 * 8) as u64 * 8;
    for _ in 0..often(60, 400) {
        let bit = usize::try_from(random.below(covered)).expect("small");
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let failure = extract_error(&damaged);
        assert_eq!(failure.cause, Cause::Corrupt, "bit {bit}: {failure}");
    }
}

#[test]
fn each_truncation_is_detected() {
    let bytes = several_frames();
    let count = u32::from_le_bytes(
        bytes[bytes.len() - 9..bytes.len() - 5]
            .try_into()
            .expect("four bytes"),
    ) as usize;
    let table = bytes.len() - 9 - 8 * count;
    let mut at = 0;
    let mut cuts = vec![0, 1, 3, bytes.len() / 3];
    for entry in bytes[table..table + 8 * count].chunks_exact(8) {
        at += u32::from_le_bytes(entry[..4].try_into().expect("four bytes")) as usize;
        // Without its last frame, the archive has no end marker. With it, only the seek table is missing.
        if at < table - 8 {
            cuts.extend([at - 1, at, at + 1]);
        }
    }
    for cut in cuts {
        assert_eq!(extract_error(&bytes[..cut]).cause, Cause::Corrupt, "cut at {cut}");
    }
}

#[test]
fn a_tar_cut_between_entries_or_with_trailing_bytes_is_detected() {
    let raw = Raw::default().file("a", b"1").file("b", b"2");
    assert_eq!(extract_error(&raw.0).cause, Cause::Corrupt);
    assert_eq!(
        extract_error(&[raw.0.clone(), vec![0; 512]].concat()).cause,
        Cause::Corrupt
    );
    assert_eq!(
        extract_error(&[raw.clone().end(), b"x".to_vec()].concat()).cause,
        Cause::Corrupt
    );
    let hidden = [raw.clone().end(), Raw::default().file("c", b"3").end()].concat();
    assert_eq!(extract_error(&hidden).cause, Cause::Corrupt);
    let padded = [raw.end(), vec![0; 10_240]].concat();
    assert!(extract(&padded, &ExtractOptions::default()).1.is_ok());
}

#[test]
fn a_wrong_checksum_after_the_end_of_the_tar_is_detected() {
    // Padded like an archive on a tape, so that a reader that stops at the end marker has not read the checksum.
    let tar = [Raw::default().file("a", b"1").end(), vec![0; 600 << 10]].concat();
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).expect("encoder");
    encoder.include_checksum(true).expect("checksum");
    std::io::Write::write_all(&mut encoder, &tar).expect("encoded");
    let mut bytes = encoder.finish().expect("finished");
    assert!(extract(&bytes, &ExtractOptions::default()).1.is_ok());
    *bytes.last_mut().expect("bytes") ^= 1;
    assert_eq!(extract_error(&bytes).cause, Cause::Corrupt);
}

#[test]
fn a_mismatch_with_the_expected_tree_is_corrupt() {
    let bytes = Raw::default().file("a", b"12345").end();
    let promise = |files, size, digest: Option<&str>| {
        let expected = Some(Expected {
            files,
            bytes: size,
            digest: digest.map(str::to_owned),
        });
        extract(
            &bytes,
            &ExtractOptions {
                hash: true,
                expected,
                ..ExtractOptions::default()
            },
        )
        .1
    };
    let digest = promise(1, 5, None).expect("as promised").tree.digest();
    assert!(promise(1, 5, Some(&digest)).is_ok());
    for wrong in [
        promise(2, 5, None),
        promise(1, 4, None),
        promise(1, 5, Some("00")),
    ] {
        assert_eq!(wrong.expect_err("not as promised").cause, Cause::Corrupt);
    }
}

fn limited(bytes: &[u8], limits: Limits) -> Cause {
    let options = ExtractOptions {
        limits,
        ..ExtractOptions::default()
    };
    extract(bytes, &options).1.expect_err("over a limit").cause
}

#[test]
fn each_limit_is_enforced() {
    let standard = Limits::default();
    let bytes = Raw::default()
        .file("a", &[1; 5000])
        .file("b", &[2; 5000])
        .directory("c")
        .end();
    assert_eq!(
        limited(
            &bytes,
            Limits {
                max_bytes: 9999,
                ..standard
            }
        ),
        Cause::Refused
    );
    assert_eq!(
        limited(
            &bytes,
            Limits {
                max_file_bytes: 4999,
                ..standard
            }
        ),
        Cause::Refused
    );
    assert_eq!(
        limited(
            &bytes,
            Limits {
                max_files: 1,
                ..standard
            }
        ),
        Cause::Refused
    );
    assert_eq!(
        limited(
            &bytes,
            Limits {
                min_free_bytes: u64::MAX,
                ..standard
            }
        ),
        Cause::NoSpace
    );
}

#[test]
fn decompression_bombs_end_early() {
    // 10 GiB of zeros, which are decoded only up to the ratio.
    let header = Raw::default().with(b'0', b"zeros", b"", b"", |block| {
        block[124..136].copy_from_slice(b"120000000000")
    });
    let frame = zstd::bulk::compress(&vec![0; 64 << 20], 3).expect("compressed");
    let mut bomb = zstd::bulk::compress(&header.0, 3).expect("compressed");
    for _ in 0..160 {
        bomb.extend_from_slice(&frame);
    }
    assert_eq!(extract_error(&bomb).cause, Cause::Refused);
    // A pax header that claims 256 MiB.
    let pax = Raw::default().with(b'x', b"PaxHeader", b"", b"", |block| {
        block[124..136].copy_from_slice(b"02000000000\0")
    });
    assert_eq!(extract_error(&pax.end()).cause, Cause::Refused);
    // Zeros after the end are padding, but their number is limited.
    let zeros = [Raw::default().file("a", b"1").end(), vec![0; 256 << 20]].concat();
    let zeros = zstd::bulk::compress(&zeros, 1).expect("compressed");
    assert_eq!(extract_error(&zeros).cause, Cause::Refused);
}

#[test]
fn an_impossible_size_is_refused() {
    let sized = |field: [u8; 12]| {
        Raw::default()
            .with(b'0', b"a", b"", b"", |block| {
                block[124..136].copy_from_slice(&field)
            })
            .end()
    };
    // Negative in base 256 (Go's neg-size.tar), and 8 EiB.
    assert_eq!(extract_error(&sized([0xff; 12])).cause, Cause::Refused);
    let mut huge = [0; 12];
    huge[0] = 0x80;
    huge[4] = 0x7f;
    assert_eq!(extract_error(&sized(huge)).cause, Cause::Refused);
    // A valid size, but its bytes are missing.
    assert_eq!(extract_error(&sized(*b"00000100000\0")).cause, Cause::Corrupt);
    // A sparse file of 8 EiB without data.
    let sparse = Raw::default().with(b'S', b"s", b"", b"", |block| {
        block[257..265].copy_from_slice(b"ustar  \0");
        // Its map is one empty piece at the end.
        block[386] = 0x80;
        block[390] = 0x7f;
        block[483] = 0x80;
        block[487] = 0x7f;
    });
    assert_eq!(extract_error(&sparse.end()).cause, Cause::Refused);
}

#[test]
fn a_window_beyond_the_memory_limit_is_refused() {
    let tar = Raw::default().file("a", &vec![7; 1 << 20]).end();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("encoder");
    encoder.window_log(27).expect("window");
    encoder.long_distance_matching(true).expect("long");
    std::io::Write::write_all(&mut encoder, &tar).expect("encoded");
    let bytes = encoder.finish().expect("finished");
    assert!(
        extract(&bytes, &ExtractOptions::default()).1.is_ok(),
        "zstd --long=27 is read"
    );
    let limits = Limits {
        max_memory_bytes: 40 << 20,
        ..Limits::default()
    };
    assert_eq!(limited(&bytes, limits), Cause::Refused);
}

/// The output of `actions/cache`: `zstd --long=30` over a pipe.
#[test]
fn a_long_window_is_accepted_or_named_with_the_limit() {
    let tar = Raw::default().file("a", &vec![7; 1 << 20]).end();
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("encoder");
    encoder.window_log(30).expect("window");
    encoder.long_distance_matching(true).expect("long");
    std::io::Write::write_all(&mut encoder, &tar).expect("encoded");
    let long = encoder.finish().expect("finished");
    // The window of a later frame counts too.
    let second = [zstd::bulk::compress(&[], 1).expect("a frame"), long.clone()].concat();
    for bytes in [long, second] {
        let failure = extract_error(&bytes);
        let message = failure.to_string();
        assert_eq!(failure.cause, Cause::Refused, "{message}");
        for part in [
            "1073741824 bytes",
            "--long=30",
            "201326592",
            "maxMemoryBytes",
            "1107296256",
        ] {
            assert!(message.contains(part), "{part} in {message}");
        }
        let limits = Limits {
            max_memory_bytes: 1_107_296_256,
            ..Limits::default()
        };
        let options = ExtractOptions {
            limits,
            ..ExtractOptions::default()
        };
        assert_eq!(extract(&bytes, &options).1.expect("extracted").files, 1);
    }
}

#[test]
fn unsupported_formats_are_named_and_not_reported_as_damage() {
    let tar = Raw::default().file("a", b"1").end();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
        std::io::Write::write_all(&mut encoder, bytes).expect("encoded");
        encoder.finish().expect("finished")
    };
    // A frame of one segment has its dictionary's id behind the descriptor of its header, which says how long the id is.
    let mut with_dictionary = zstd::bulk::compress(&tar, 3).expect("compressed");
    with_dictionary[4] |= 1;
    with_dictionary.insert(5, 7);
    let cases = [
        (gzip(&gzip(&tar)), "gzip within gzip"),
        (
            gzip(&zstd::bulk::compress(&tar, 1).expect("compressed")),
            "zstd within gzip",
        ),
        (b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F".to_vec(), "xz"),
        (b"PK\x03\x04\x14\0\0\0".to_vec(), "zip"),
        (b"<!doctype html><title>502 Bad Gateway</title>".to_vec(), "HTML"),
        (b"BZh91AY&SY".to_vec(), "bzip2"),
        (with_dictionary, "dictionary"),
    ];
    for (bytes, named) in cases {
        let failure = extract_error(&bytes);
        assert_eq!(failure.cause, Cause::Refused, "{failure}");
        assert!(failure.to_string().contains(named), "{named} in {failure}");
    }
    // The data may be damaged, or in a format without magic bytes such as brotli.
    let failure = extract_error(b"\x1b\x07\x80 anything else");
    assert_eq!(failure.cause, Cause::Corrupt);
    assert!(failure.to_string().contains("before you replace it"), "{failure}");
}

/// The length of a plain file proves nothing, and neither does that of one of several frames.
#[test]
fn a_missing_end_marker_needs_external_proof() {
    let tar = Raw::default().file("a", b"1").0;
    let half = [&tar[..], &[0; 512]].concat();
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
        std::io::Write::write_all(&mut encoder, bytes).expect("encoded");
        encoder.finish().expect("finished")
    };
    let streamed = |bytes: &[u8]| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("encoder");
        std::io::Write::write_all(&mut encoder, bytes).expect("encoded");
        encoder.finish().expect("finished")
    };
    for bytes in [&tar, &half] {
        assert_eq!(extract_error(bytes).cause, Cause::Corrupt, "a plain archive");
        let declared = |size| ExtractOptions {
            declared_bytes: Some(size),
            ..ExtractOptions::default()
        };
        let size = bytes.len() as u64;
        assert!(extract(bytes, &declared(size)).1.is_ok(), "of the declared size");
        let failure = extract(bytes, &declared(size + 512)).1.expect_err("another size");
        assert_eq!(failure.cause, Cause::Corrupt, "{failure}");
        for whole in [gzip(bytes), streamed(bytes)] {
            assert!(
                extract(&whole, &ExtractOptions::default()).1.is_ok(),
                "one member, one frame"
            );
            assert_eq!(extract_error(&whole[..whole.len() - 1]).cause, Cause::Corrupt);
            let more = [&whole[..], &whole[..whole.len() - 3]].concat();
            assert_eq!(extract_error(&more).cause, Cause::Corrupt);
        }
        let members = [gzip(&bytes[..512]), gzip(&bytes[512..])].concat();
        assert_eq!(extract_error(&members).cause, Cause::Corrupt, "two members");
        let frames = [streamed(&bytes[..512]), streamed(&bytes[512..])].concat();
        assert_eq!(extract_error(&frames).cause, Cause::Corrupt, "two frames");
    }
}

#[test]
fn a_repeated_path_is_replaced_or_rejected() {
    let outside = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let canary = outside.path().join("canary");
    fs::write(&canary, "kept").expect("write");
    let options = |duplicates| ExtractOptions {
        symlinks: Symlinks::Verbatim,
        hash: true,
        duplicates,
        ..ExtractOptions::default()
    };
    let large = vec![b'x'; 3 << 20];
    let bytes = Raw::default()
        .symlink("link", canary.to_str().expect("text"))
        .file("small", b"a longer text than the later one")
        .file("large", &large)
        .hard_link("name", "large")
        .file("link", b"not through it")
        .file("small", b"later")
        .file("large", b"later")
        .hard_link("name", "large")
        .end();
    let (stage, result) = extract(&bytes, &options(Duplicates::Replace));
    let summary = result.expect("extracted");
    assert_eq!(fs::read(&canary).expect("read"), b"kept");
    let read = |name: &str| fs::read(stage.path().join(name)).expect("read");
    assert_eq!(read("link"), b"not through it");
    assert_eq!(
        (read("small"), read("large"), read("name")),
        (b"later".to_vec(), b"later".to_vec(), b"later".to_vec())
    );
    assert_eq!((summary.files, summary.bytes), (4, 14 + 5 + 5 + 5));
    // The tree equals that of an archive without repetitions.
    let once = Raw::default()
        .file("link", b"not through it")
        .file("small", b"later")
        .file("large", b"later")
        .hard_link("name", "large")
        .end();
    let digest = extract(&once, &options(Duplicates::Reject))
        .1
        .expect("extracted")
        .tree
        .digest();
    assert_eq!(summary.tree.digest(), digest);
    let failure = extract(&bytes, &options(Duplicates::Reject))
        .1
        .expect_err("rejected");
    assert_eq!(failure.cause, Cause::Refused, "{failure}");
}

#[test]
fn pipes_and_devices_are_skipped_and_reported() {
    let raw = [b'3', b'4', b'6'].iter().fold(Raw::default(), |raw, flag| {
        raw.with(*flag, &[b'd', b'/', *flag], b"", b"", |_| {})
    });
    let (stage, result) = extract(&raw.file("a", b"1").end(), &ExtractOptions::default());
    let summary = result.expect("extracted");
    let skipped: Vec<_> = summary
        .skipped
        .iter()
        .map(|skipped| (&*skipped.path, skipped.why))
        .collect();
    assert_eq!(
        skipped,
        [
            ("d/3", "character device"),
            ("d/4", "block device"),
            ("d/6", "pipe")
        ]
    );
    assert_eq!(fs::read_dir(stage.path()).expect("readdir").count(), 1);
    let below = Raw::default()
        .with(b'6', b"p", b"", b"", |_| {})
        .file("p/f", b"1")
        .end();
    assert_eq!(extract_error(&below).cause, Cause::Refused);
}

#[test]
fn a_file_that_changes_while_it_is_packed_fails_the_pack() {
    /// Changes the file when the first bytes of the archive arrive. At that time more of the file is unread than the
    /// buffers can contain.
    struct Meddler(std::path::PathBuf);
    impl std::io::Write for Meddler {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let mut file = fs::OpenOptions::new().append(true).open(&self.0)?;
            std::io::Write::write_all(&mut file, b"more")?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let source = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let path = source.path().join("log");
    fs::write(&path, vec![1; 96 << 20]).expect("write");
    let options = warmswap::core::archives::WriteOptions::default();
    let result = warmswap::core::archives::write(source.path(), &mut Meddler(path), &options);
    assert_eq!(
        result.map(|summary| summary.files).expect_err("torn").cause,
        Cause::Unstable
    );
}

/// Points at which a packer of small files is held: before it opens 'victim', before it reads it, and before it checks
/// whether it has changed.
const MOMENTS: [&str; 3] = [
    "1:HOLD:openat:victim",
    "1:HOLD:pread:victim",
    "2:HOLD:fstat:victim",
];

fn open(path: &Path) -> fs::File {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).open(path).expect("open")
}

/// A directory `tree` with three small files of 3000 bytes. They are old, so that their times show each change, even
/// with a coarse clock.
fn small_files() -> tempfile::TempDir {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let tree = root.path().join("tree");
    fs::create_dir(&tree).expect("mkdir");
    for name in ["before", "victim", "zombie"] {
        let path = tree.join(name);
        fs::write(&path, name.repeat(500)).expect("write");
        let old = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        open(&path).set_modified(old).expect("utimes");
    }
    root
}

/// Further hard links to 'victim', which is the first one.
fn small_files_with_links() -> tempfile::TempDir {
    let root = small_files();
    let tree = root.path().join("tree");
    for name in ["w", "x"] {
        fs::hard_link(tree.join("victim"), tree.join(name)).expect("link");
    }
    root
}

fn grow(path: &Path) {
    open(path).write_all_at(b"more", 3000).expect("write");
}

fn shrink(path: &Path) {
    open(path).set_len(7).expect("truncate");
}

fn overwrite(path: &Path) {
    open(path).write_all_at(b"OTHER", 1000).expect("write");
}

fn replace(path: &Path) {
    let new = path.with_extension("new");
    fs::write(&new, "another inode").expect("write");
    fs::rename(&new, path).expect("rename");
}

fn remove(path: &Path) {
    fs::remove_file(path).expect("unlink");
}

fn describe_tree(root: &tempfile::TempDir) -> String {
    describe(&root.path().join("tree"))
}

/// Packs in a child that is held at `moment` while `change` is applied to 'victim'. Returns its output, and the number
/// of such points that it has passed.
fn pack_while(root: &tempfile::TempDir, moment: &str, change: fn(&Path)) -> (String, usize) {
    let (tree, archive) = (root.path().join("tree"), root.path().join("archive"));
    let held = Held::start(&[Path::new("pack"), &tree, &archive], moment);
    change(&tree.join("victim"));
    held.release()
}

/// Checks that the archive contains this tree, and that the packer's report is correct.
fn assert_packed(root: &tempfile::TempDir, wanted: &str, said: &str, skipped: &str, what: &str) {
    assert!(said.starts_with("packed "), "{what}: {said}");
    let bytes = fs::read(root.path().join("archive")).expect("an archive");
    let options = ExtractOptions {
        hash: true,
        ..ExtractOptions::default()
    };
    let (stage, result) = extract(&bytes, &options);
    let extracted = result.unwrap_or_else(|failure| panic!("{what}: {failure}"));
    assert_same(&describe(stage.path()), wanted, what);
    let (files, digest) = (extracted.files, extracted.tree.digest());
    assert_eq!(said, format!("packed {files} {digest}\n{skipped}"), "{what}");
}

#[test]
fn a_small_file_that_changes_while_it_is_packed_is_read_again() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 4] = [
        ("it grows", grow),
        ("it shrinks", shrink),
        ("it gets other bytes", overwrite),
        ("it becomes another inode", replace),
    ];
    for (what, change) in changes {
        for moment in MOMENTS {
            let root = small_files();
            let (said, _) = pack_while(&root, moment, change);
            let wanted = describe_tree(&root);
            assert_packed(&root, &wanted, &said, "", &format!("{what} at {moment}"));
        }
    }
}

#[test]
fn a_small_file_that_changes_in_both_reads_fails_the_pack() {
    let root = small_files();
    // Larger than a small file can be: the second read is torn too, without a concurrent change.
    let (said, looks) = pack_while(&root, "2:HOLD:fstat:victim", |path| {
        open(path).set_len(5 << 20).expect("truncate");
    });
    assert_eq!(said, "unstable\n");
    assert_eq!(
        looks, 3,
        "two checks for the first read, and one for the second read"
    );
}

#[test]
fn a_small_file_that_is_removed_during_the_pack_is_skipped_and_reported() {
    for moment in MOMENTS {
        let root = small_files();
        let (said, _) = pack_while(&root, moment, remove);
        assert_packed(&root, &describe_tree(&root), &said, "victim: vanished\n", moment);
    }
}

#[test]
fn a_hard_link_whose_first_name_is_removed_before_the_read_fails_the_pack() {
    for moment in MOMENTS {
        let (said, _) = pack_while(&small_files_with_links(), moment, remove);
        assert!(said.starts_with("unstable"), "{moment}: {said}");
    }
    // After its file was read, the name is in the archive, because it existed at the beginning.
    let root = small_files_with_links();
    let wanted = describe_tree(&root);
    let (said, _) = pack_while(&root, "1:HOLD:openat:zombie", remove);
    assert_packed(&root, &wanted, &said, "", "after it was read");
}

#[test]
fn a_live_sqlite_database_is_skipped_with_its_log() {
    let source = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    for (name, text) in [
        ("live.db", "x"),
        ("live.db-wal", "x"),
        ("live.db-shm", "x"),
        ("calm.db", "x"),
        ("calm.db-wal", ""),
    ] {
        fs::write(source.path().join(name), text).expect("write");
    }
    let (_, summary) = pack(source.path());
    let mut skipped: Vec<_> = summary.skipped.iter().map(|each| each.path.as_str()).collect();
    skipped.sort_unstable();
    assert_eq!(skipped, ["live.db", "live.db-shm", "live.db-wal"]);
    assert_eq!(summary.files, 2);
}

#[test]
fn zeros_after_gzip_data_are_padding_and_other_bytes_are_not() {
    let source = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    random_tree(source.path(), &mut Random(11));
    let (bytes, summary) = pack_as(source.path(), Format::TarGz);
    let options = ExtractOptions::default();
    let padded = [bytes.as_slice(), &[0; 10_000]].concat();
    let extracted = extract(&padded, &options).1.expect("padded");
    assert_eq!(extracted.files, summary.files);
    for behind in [&b"x"[..], b"\0\0x", b"\x1f\x8b\x08 cut"] {
        let bytes = [bytes.as_slice(), behind].concat();
        assert_eq!(
            extract_error(&bytes).cause,
            Cause::Corrupt,
            "{}",
            behind.escape_ascii()
        );
    }
    let in_two = pack_as(source.path(), Format::TarGz).0;
    let cut = &in_two[..in_two.len() - 4];
    assert_eq!(extract_error(cut).cause, Cause::Corrupt, "a cut trailer");
}

#[test]
fn names_of_255_bytes_survive_and_too_deep_paths_are_skipped() {
    let source = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let longest = source.path().join("n".repeat(255)).join("é".repeat(127));
    fs::create_dir_all(longest.parent().expect("a parent")).expect("mkdir");
    fs::write(&longest, "long").expect("write");
    let (bytes, summary) = pack(source.path());
    assert_eq!(summary.skipped, []);
    let (stage, result) = extract(&bytes, &ExtractOptions::default());
    result.expect("extracted");
    assert_same(&describe(stage.path()), &describe(source.path()), "long names");
    fs::create_dir_all(source.path().join("d/".repeat(260))).expect("mkdir");
    let (bytes, summary) = pack(source.path());
    assert_eq!(summary.skipped.len(), 1, "{:?}", summary.skipped);
    assert!(
        summary.skipped[0].why.contains("too deep"),
        "{:?}",
        summary.skipped
    );
    // The rest can be restored: warmswap accepts all of its own archives.
    extract(&bytes, &ExtractOptions::default()).1.expect("extracted");
}
