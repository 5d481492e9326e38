//! archives/one-meaning: every archive has a single meaning. An archive that GNU tar, bsdtar and Python's tarfile
//! interpret differently is refused, or read as GNU tar reads it. The table `ambiguous.txt` lists both cases, with the
//! results of the three tools. `WARMSWAP_WRITE_TABLE=1` rewrites the table.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use warmswap::core::archives::{ExtractOptions, Symlinks, UnpackOutcome};
use warmswap::core::failure::Cause;

use super::support::{Raw, describe, extract, extract_error, record};

const PEERS: [&[&str]; 2] = [
    &["tar", "--no-same-owner", "-xf"],
    &["bsdtar", "--no-same-owner", "-xf"],
];

/// Extracts each archive `N.tar` of a directory to `N` next to it, and prints whether that succeeded. One process for
/// all, because Python takes longer to start than to extract.
const PYTHON: &str = "
import os, sys, tarfile
os.chdir(sys.argv[1])
for number in range(int(sys.argv[2])):
    os.mkdir(str(number))
    try:
        tarfile.open(f'{number}.tar').extractall(str(number), filter='tar')
        print('good')
    except Exception:
        print('error')
";

fn sized(field: &[u8; 12]) -> impl FnOnce(&mut [u8; 512]) {
    let field = *field;
    move |block| block[124..136].copy_from_slice(&field)
}

fn cases() -> Vec<(&'static str, Vec<u8>)> {
    let path = |name: &str| record("path", name);
    vec![
        (
            "the same file twice",
            Raw::default().file("a", b"1").file("a", b"1").end(),
        ),
        (
            "a file, then a directory",
            Raw::default().file("a", b"1").directory("a").end(),
        ),
        (
            "a directory, then a file",
            Raw::default().directory("a").file("a", b"1").end(),
        ),
        (
            "a file, then something in it",
            Raw::default().file("a", b"1").file("a/b", b"1").end(),
        ),
        (
            "two pax headers",
            Raw::default()
                .pax(&path("a"))
                .pax(&path("b"))
                .file("c", b"1")
                .end(),
        ),
        (
            "a pax key twice",
            Raw::default()
                .pax(&[path("a"), path("b")].concat())
                .file("c", b"1")
                .end(),
        ),
        (
            "GNU and pax names",
            Raw::default()
                .with(b'L', b"././@LongLink", b"", b"a\0", |_| {})
                .pax(&path("b"))
                .file("c", b"1")
                .end(),
        ),
        (
            "two GNU names",
            Raw::default()
                .with(b'L', b"l", b"", b"a\0", |_| {})
                .with(b'L', b"l", b"", b"b\0", |_| {})
                .file("c", b"1")
                .end(),
        ),
        (
            "NUL in a GNU name",
            Raw::default()
                .with(b'L', b"l", b"", b"a\0b\0", |_| {})
                .file("c", b"1")
                .end(),
        ),
        (
            "NUL in a pax name",
            Raw::default().pax(&record("path", "a\0b")).file("c", b"1").end(),
        ),
        (
            "an unterminated record",
            Raw::default().pax(b"10 path=ab").file("c", b"1").end(),
        ),
        (
            "a global path",
            Raw::default()
                .with(b'g', b"g", b"", &path("a"), |_| {})
                .file("c", b"1")
                .end(),
        ),
        (
            "an unknown version",
            Raw::default()
                .with(b'0', b"a", b"", b"1", |block| {
                    block[263..265].copy_from_slice(b"\0\0")
                })
                .end(),
        ),
        (
            "a directory with data",
            Raw::default().with(b'5', b"a", b"", b"data", |_| {}).end(),
        ),
        (
            "a link with data",
            Raw::default()
                .file("f", b"x")
                .with(b'1', b"a", b"f", b"data", |_| {})
                .end(),
        ),
        (
            "a file with a directory's name",
            Raw::default().file("a/", b"1").end(),
        ),
        ("an empty name", Raw::default().file("", b"1").end()),
        ("a file as root", Raw::default().file("./", b"1").end()),
        (
            "a name of ours",
            Raw::default().file(".warmswap-stage-x", b"1").end(),
        ),
        (
            "a long part",
            Raw::default().pax(&path(&"x".repeat(256))).file("c", b"1").end(),
        ),
        (
            "a deep path",
            Raw::default().pax(&path(&"x/".repeat(300))).file("c", b"1").end(),
        ),
        (
            "pax size over a ustar size of 0",
            Raw::default()
                .pax(&record("size", "5"))
                .with(b'0', b"a", b"", b"12345", sized(b"00000000000\0"))
                .end(),
        ),
        (
            "pax size over a larger ustar size",
            Raw::default()
                .pax(&record("size", "5"))
                .with(b'0', b"a", b"", b"12345", sized(b"00000001000\0"))
                .file("b", b"1")
                .end(),
        ),
        (
            "a pax size that is negative",
            Raw::default().pax(&record("size", "-1")).file("a", b"1").end(),
        ),
        (
            "a pax header before another's extension",
            Raw::default()
                .pax(&path("a"))
                .with(b'L', b"l", b"", b"b\0", |_| {})
                .file("c", b"1")
                .end(),
        ),
        (
            "an empty pax path",
            Raw::default().pax(&record("path", "")).file("a", b"1").end(),
        ),
        (
            "an empty pax header",
            Raw::default().pax(b"").file("a", b"1").end(),
        ),
        (
            "pax keys nobody knows",
            Raw::default()
                .pax(&[record("comment", "x"), record("VENDOR.x", "y")].concat())
                .file("a", b"1")
                .end(),
        ),
        (
            "a pax time with an exponent",
            Raw::default().pax(&record("mtime", "1e9")).file("a", b"1").end(),
        ),
        (
            "a pax time before 1970",
            Raw::default().pax(&record("mtime", "-1.5")).file("a", b"1").end(),
        ),
        (
            "a global time",
            Raw::default()
                .with(b'g', b"g", b"", &record("mtime", "1"), |_| {})
                .file("a", b"1")
                .end(),
        ),
        (
            "a global comment (git archive)",
            Raw::default()
                .with(b'g', b"g", b"", &record("comment", "5eed"), |_| {})
                .file("a", b"1")
                .end(),
        ),
        (
            "a global size",
            Raw::default()
                .with(b'g', b"g", b"", &record("size", "1"), |_| {})
                .file("a", b"1")
                .end(),
        ),
        (
            "a GNU long name without its NUL",
            Raw::default()
                .with(b'L', b"l", b"", b"abc", |_| {})
                .file("c", b"1")
                .end(),
        ),
        (
            "a GNU long link at a file",
            Raw::default()
                .with(b'K', b"l", b"", b"x\0", |_| {})
                .file("a", b"1")
                .end(),
        ),
        (
            "a size with a letter in it",
            Raw::default()
                .with(b'0', b"a", b"", b"1", sized(b"0000000000x\0"))
                .end(),
        ),
        (
            "a size that is spaces",
            Raw::default()
                .with(b'0', b"a", b"", b"", sized(b"            "))
                .file("b", b"1")
                .end(),
        ),
        (
            "a size with leading spaces",
            Raw::default()
                .with(b'0', b"a", b"", b"1", sized(b"          1\0"))
                .end(),
        ),
        (
            "a size in base 256",
            Raw::default()
                .with(b'0', b"a", b"", b"1", sized(b"\x80\0\0\0\0\0\0\0\0\0\0\x01"))
                .end(),
        ),
        (
            "a size that is negative in base 256",
            Raw::default()
                .with(b'0', b"a", b"", b"", sized(&[0xff; 12]))
                .end(),
        ),
        (
            "a contiguous file",
            Raw::default().with(b'7', b"a", b"", b"1", |_| {}).end(),
        ),
        (
            "a vendor's type",
            Raw::default().with(b'A', b"a", b"", b"1", |_| {}).end(),
        ),
        (
            "an old file with a directory's name in ustar",
            Raw::default().with(0, b"a/", b"", b"", |_| {}).end(),
        ),
        (
            "a prefix that ends in a slash",
            Raw::default()
                .with(b'0', b"a", b"", b"1", |block| {
                    block[345..347].copy_from_slice(b"p/")
                })
                .end(),
        ),
        (
            "a prefix",
            Raw::default()
                .with(b'0', b"a", b"", b"1", |block| block[345] = b'p')
                .end(),
        ),
        (
            "a name of 100 bytes without NUL",
            Raw::default().with(b'0', &[b'n'; 100], b"", b"1", |_| {}).end(),
        ),
        (
            "the same directory twice",
            Raw::default()
                .directory("d")
                .directory("d")
                .file("d/a", b"1")
                .end(),
        ),
        (
            "the same directory twice, with another mode",
            Raw::default()
                .directory("d")
                .with(b'5', b"d", b"", b"", |block| {
                    block[100..108].copy_from_slice(b"0000700\0");
                })
                .end(),
        ),
        (
            "a name and the same below ./",
            Raw::default().file("a", b"1").file("./a", b"2").end(),
        ),
        (
            "a link, then a file of its name",
            Raw::default().symlink("a", "b").file("a", b"1").end(),
        ),
        ("a hard link to itself", Raw::default().hard_link("a", "a").end()),
        (
            "a hard link to what comes later",
            Raw::default().hard_link("a", "b").file("b", b"1").end(),
        ),
        (
            "a hard link whose target ends in a slash",
            Raw::default().file("a", b"1").hard_link("b", "a/").end(),
        ),
        (
            "a symbolic link without text",
            Raw::default().symlink("a", "").end(),
        ),
        (
            "one zero block, then entries",
            [
                Raw::default().file("a", b"1").0,
                vec![0; 512],
                Raw::default().file("b", b"2").end(),
            ]
            .concat(),
        ),
        (
            "two archives, one behind the other",
            [
                Raw::default().file("a", b"1").end(),
                Raw::default().file("b", b"2").end(),
            ]
            .concat(),
        ),
        (
            "bytes behind the end",
            [Raw::default().file("a", b"1").end(), b"garbage".repeat(80)].concat(),
        ),
        (
            "one zero block at the end",
            [Raw::default().file("a", b"1").0, vec![0; 512]].concat(),
        ),
        ("no zero block at the end", Raw::default().file("a", b"1").0),
        ("a checksum that is wrong", {
            let mut bytes = Raw::default().file("a", b"1").end();
            bytes[0] = b'b';
            bytes
        }),
        ("a backslash in a name", Raw::default().file("a\\b", b"1").end()),
        (
            "names that differ in case",
            Raw::default().file("a", b"1").file("A", b"2").end(),
        ),
        (
            "sparse of pax format 0.0",
            Raw::default()
                .pax(
                    &[
                        record("GNU.sparse.size", "2"),
                        record("GNU.sparse.numblocks", "1"),
                    ]
                    .concat(),
                )
                .file("a", b"12")
                .end(),
        ),
        (
            "sparse without its map",
            Raw::default()
                .pax(&[record("GNU.sparse.major", "1"), record("GNU.sparse.minor", "0")].concat())
                .file("a", b"12")
                .end(),
        ),
        (
            "the same file twice, with other bytes",
            Raw::default()
                .file("a", b"1")
                .file("b", b"1")
                .file("a", b"22")
                .end(),
        ),
        (
            "a file, then a link of its name",
            Raw::default()
                .file("a", b"1")
                .file("b", b"2")
                .symlink("a", "b")
                .end(),
        ),
        (
            "a directory, then a link of its name",
            Raw::default()
                .directory("a")
                .file("b/c", b"1")
                .symlink("a", "b")
                .end(),
        ),
        (
            "a link, then a directory of its name",
            Raw::default()
                .file("b/c", b"1")
                .symlink("a", "b")
                .directory("a")
                .end(),
        ),
        (
            "a link, then a file below it",
            Raw::default()
                .file("b/c", b"1")
                .symlink("a", "b")
                .file("a/d", b"2")
                .end(),
        ),
        (
            "a file and its further name, each twice",
            Raw::default()
                .file("a", b"1")
                .hard_link("b", "a")
                .file("a", b"2")
                .hard_link("b", "a")
                .end(),
        ),
        (
            "a further name of a file that is replaced",
            Raw::default()
                .file("a", b"1")
                .hard_link("b", "a")
                .file("a", b"2")
                .end(),
        ),
        (
            "a hard link to a symbolic link",
            Raw::default()
                .file("f", b"1")
                .symlink("a", "f")
                .hard_link("b", "a")
                .end(),
        ),
        (
            "'.' parts and repeated slashes",
            Raw::default().file("d/./e//a", b"1").file("./d//b", b"2").end(),
        ),
        (
            "a file whose name ends in '/.'",
            Raw::default().file("a/.", b"1").end(),
        ),
        (
            "a prefix with another version",
            Raw::default()
                .with(b'0', b"a", b"", b"1", |block| {
                    block[263..265].copy_from_slice(b"\0\0");
                    block[345] = b'p';
                })
                .end(),
        ),
        (
            "a prefix with another magic",
            Raw::default()
                .with(b'0', b"a", b"", b"1", |block| {
                    block[257..265].copy_from_slice(b"ustarxyz");
                    block[345] = b'p';
                })
                .end(),
        ),
        (
            "another magic without a prefix",
            Raw::default()
                .with(b'0', b"a", b"", b"1", |block| {
                    block[257..265].copy_from_slice(b"ustar  x");
                })
                .end(),
        ),
        (
            "NULs at the end of a GNU name",
            Raw::default()
                .with(b'L', b"l", b"", b"abc\0\0\0\0", |_| {})
                .file("c", b"1")
                .end(),
        ),
        (
            "NULs at the end of a pax header",
            Raw::default()
                .pax(&[path("a"), vec![0; 20]].concat())
                .file("c", b"1")
                .end(),
        ),
        (
            "GNU and pax names that are the same",
            Raw::default()
                .with(b'L', b"././@LongLink", b"", b"a\0", |_| {})
                .pax(&path("a"))
                .file("c", b"1")
                .end(),
        ),
        (
            "a pax record twice",
            Raw::default()
                .pax(&[path("a"), path("a")].concat())
                .file("c", b"1")
                .end(),
        ),
        (
            "a directory with a size and no data",
            Raw::default()
                .with(b'5', b"d", b"", b"", sized(b"00000010000\0"))
                .file("d/a", b"1")
                .end(),
        ),
        (
            "links with a size and no data",
            Raw::default()
                .file("f", b"x")
                .with(b'1', b"a", b"f", b"", sized(b"00000010000\0"))
                .with(b'2', b"b", b"f", b"", sized(b"00000000001\0"))
                .end(),
        ),
        (
            "a hard link with a size and no data in a pax archive",
            Raw::default()
                .pax(&record("mtime", "1"))
                .file("f", b"x")
                .with(b'1', b"a", b"f", b"", sized(b"00000001000\0"))
                .file("b", b"1")
                .end(),
        ),
        ("a label of a volume", {
            Raw::default()
                .with(b'V', b"label", b"", b"", |_| {})
                .file("a", b"1")
                .end()
        }),
        (
            "a dump of a directory",
            Raw::default()
                .with(b'D', b"d/", b"", b"Ya\0\0", |_| {})
                .file("d/a", b"1")
                .end(),
        ),
        (
            "a volume that continues another",
            Raw::default().with(b'M', b"a", b"", b"1", |_| {}).end(),
        ),
        (
            "2 MiB of zeros at the end",
            [Raw::default().file("a", b"1").end(), vec![0; 2 << 20]].concat(),
        ),
        ("a checksum of signed bytes", {
            let mut bytes = Raw::default().file("\u{e4}", b"1").end();
            let sum: i64 = bytes[..512]
                .iter()
                .enumerate()
                .map(|(at, byte)| {
                    i64::from(if (148..156).contains(&at) { b' ' } else { *byte }.cast_signed())
                })
                .sum();
            bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            bytes
        }),
        (
            "sparse of pax format 0.0 with its map",
            Raw::default()
                .pax(
                    &[
                        record("GNU.sparse.size", "1026"),
                        record("GNU.sparse.numblocks", "2"),
                        record("GNU.sparse.offset", "1"),
                        record("GNU.sparse.numbytes", "512"),
                        record("GNU.sparse.offset", "1024"),
                        record("GNU.sparse.numbytes", "2"),
                    ]
                    .concat(),
                )
                .file("a", &[b'x'; 514])
                .end(),
        ),
        (
            "sparse of pax format 0.1",
            Raw::default()
                .pax(
                    &[
                        record("GNU.sparse.size", "1026"),
                        record("GNU.sparse.numblocks", "2"),
                        record("GNU.sparse.name", "a"),
                        record("GNU.sparse.map", "1,512,1024,2"),
                    ]
                    .concat(),
                )
                .file("GNUSparseFile.1/a", &[b'x'; 514])
                .end(),
        ),
        (
            "sparse of pax format 0.1 with pieces that are no blocks",
            Raw::default()
                .pax(
                    &[
                        record("GNU.sparse.size", "6"),
                        record("GNU.sparse.numblocks", "3"),
                        record("GNU.sparse.name", "a"),
                        record("GNU.sparse.map", "1,1,3,1,6,0"),
                    ]
                    .concat(),
                )
                .file("GNUSparseFile.1/a", b"12")
                .end(),
        ),
        (
            "sparse of pax format 0.1 whose pieces overlap",
            Raw::default()
                .pax(
                    &[
                        record("GNU.sparse.size", "6"),
                        record("GNU.sparse.numblocks", "2"),
                        record("GNU.sparse.name", "a"),
                        record("GNU.sparse.map", "1,1,1,1"),
                    ]
                    .concat(),
                )
                .file("GNUSparseFile.1/a", b"12")
                .end(),
        ),
        (
            "a pax time out of range",
            Raw::default()
                .pax(&record("mtime", "99999999999999999999"))
                .file("a", b"1")
                .end(),
        ),
        (
            "a time in base 256 out of range",
            Raw::default()
                .with(b'0', b"a", b"", b"1", |block| {
                    block[136..148].copy_from_slice(b"\x80\0\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff");
                })
                .end(),
        ),
        (
            "a pax header by the tar of Solaris",
            Raw::default()
                .with(b'X', b"PaxHeader", b"", &path("b"), |_| {})
                .file("a", b"1")
                .end(),
        ),
        (
            "a pax size of a directory, which hides an entry",
            Raw::default()
                .pax(&record("size", "1024"))
                .directory("d")
                .file("hidden", b"1")
                .end(),
        ),
        (
            "a pax size of a link, which hides an entry",
            Raw::default()
                .file("a", b"1")
                .pax(&record("size", "1024"))
                .symlink("l", "a")
                .file("hidden", b"1")
                .end(),
        ),
        (
            "the size of a file with holes by star",
            Raw::default()
                .pax(&record("SCHILY.realsize", "1000"))
                .file("a", b"1")
                .end(),
        ),
        (
            "a global character set",
            Raw::default()
                .with(b'g', b"g", b"", &record("hdrcharset", "BINARY"), |_| {})
                .file("a", b"1")
                .end(),
        ),
        (
            "a file, then a hard link to itself",
            Raw::default().file("a", b"1").hard_link("a", "a").end(),
        ),
        (
            "half a block of zeros at the end",
            [Raw::default().file("a", b"1").0, vec![0; 1000]].concat(),
        ),
        ("a pax header of nothing", Raw::default().pax(&path("a")).end()),
    ]
}

/// Content of a directory in one line: names, and the bytes of files.
fn content(root: &Path) -> String {
    let mut found = Vec::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).expect("readdir") {
            let path = entry.expect("entry").path();
            let name = shorten(&path.strip_prefix(root).expect("below").to_string_lossy());
            let stat = fs::symlink_metadata(&path).expect("stat");
            if stat.is_dir() {
                found.push(format!("{name}/"));
                left.push(path);
            } else if stat.is_symlink() {
                found.push(format!(
                    "{name}→{}",
                    fs::read_link(&path).expect("link").display()
                ));
            } else {
                let bytes = fs::read(&path).expect("read");
                found.push(format!("{name}={}", shorten(&bytes.escape_ascii().to_string())));
            }
        }
    }
    found.sort();
    match found.len() {
        0 => "nothing".to_owned(),
        1..=8 => found.join(" "),
        count => format!("{count} entries"),
    }
}

fn shorten(text: &str) -> String {
    if text.len() <= 16 {
        text.to_owned()
    } else {
        format!("{}…{}", text.chars().take(6).collect::<String>(), text.len())
    }
}

fn ours(bytes: &[u8]) -> String {
    let options = ExtractOptions {
        symlinks: Symlinks::Verbatim,
        ..ExtractOptions::default()
    };
    let (stage, result) = extract(bytes, &options);
    match result {
        Ok(_) => content(stage.path()),
        Err(failure) => UnpackOutcome::from(failure.cause).as_str().to_owned(),
    }
}

/// Content that another program extracts. `None` if it is not installed.
fn theirs(command: &[&str], bytes: &[u8]) -> Option<String> {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let (archive, out) = (root.path().join("a.tar"), root.path().join("out"));
    fs::write(&archive, bytes).expect("write");
    fs::create_dir(&out).expect("mkdir");
    let status = Command::new(command[0])
        .args(&command[1..])
        .arg(&archive)
        .current_dir(&out)
        .env("LC_ALL", "C.UTF-8")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .ok()?;
    Some(if status.success() {
        content(&out)
    } else {
        "error".to_owned()
    })
}

/// Content that Python extracts from each archive.
fn pythons(archives: &[&[u8]]) -> Vec<Option<String>> {
    let root = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    for (number, bytes) in archives.iter().enumerate() {
        fs::write(root.path().join(format!("{number}.tar")), bytes).expect("write");
    }
    let output = Command::new("python3")
        .args(["-c", PYTHON])
        .arg(root.path())
        .arg(archives.len().to_string())
        .env("LC_ALL", "C.UTF-8")
        .output();
    let Ok(output) = output else {
        return vec![None; archives.len()];
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.lines().count(), archives.len(), "{output:?}");
    said.lines()
        .enumerate()
        .map(|(number, said)| {
            Some(match said {
                "good" => content(&root.path().join(number.to_string())),
                _ => "error".to_owned(),
            })
        })
        .collect()
}

fn table() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("__test__/rust/archives/ambiguous.txt")
}

#[test]
fn ambiguous_archives_are_refused_or_read_like_gnu_tar() {
    let mut text = String::from("archive | warmswap | GNU tar | bsdtar | Python\n");
    let mut guessed = Vec::new();
    let cases = cases();
    let archives: Vec<&[u8]> = cases.iter().map(|(_, bytes)| &**bytes).collect();
    let pythons = pythons(&archives);
    for ((what, bytes), python) in cases.iter().zip(&pythons) {
        let ours = ours(bytes);
        let [gnu, bsd] = &PEERS.map(|command| theirs(command, bytes));
        let is_refused = ours == "refused" || ours == "corrupt";
        // An archive that GNU tar refuses may be read like another tool.
        let is_read_so = |peer: &Option<String>| peer.as_ref().is_none_or(|peer| *peer == ours);
        let is_agreed = match gnu.as_deref() {
            Some("error") => is_read_so(bsd) || is_read_so(python),
            _ => is_read_so(gnu),
        };
        if !is_refused && !is_agreed {
            guessed.push(*what);
        }
        let shown = |peer: &Option<String>| peer.clone().unwrap_or_else(|| "not installed".to_owned());
        writeln!(
            text,
            "{what} | {ours} | {} | {} | {}",
            shown(gnu),
            shown(bsd),
            shown(python)
        )
        .expect("text");
    }
    if std::env::var_os("WARMSWAP_WRITE_TABLE").is_some() {
        fs::write(table(), &text).expect("write");
    }
    assert_eq!(
        guessed,
        Vec::<&str>::new(),
        "neither refused nor read like GNU tar"
    );
    // Other versions of the three tools may differ. The result of warmswap may not.
    let column = |text: &str| -> Vec<String> {
        let of_line = |line: &str| line.split(" | ").take(2).collect::<Vec<_>>().join(" | ");
        text.lines().map(of_line).collect()
    };
    let checked_in = fs::read_to_string(table()).expect("the table");
    assert_eq!(column(&text), column(&checked_in));
}

#[test]
fn the_size_in_a_pax_header_counts() {
    let raw =
        Raw::default()
            .pax(&record("size", "5"))
            .with(b'0', b"a", b"", b"12345", sized(b"00000000000\0"));
    let (stage, result) = extract(&raw.end(), &ExtractOptions::default());
    result.expect("extracted");
    let tree = describe(stage.path());
    assert!(tree.starts_with("a 644 5 "), "{tree}");
}

#[test]
fn a_pax_header_without_an_entry_is_corrupt() {
    let bytes = Raw::default().pax(&record("path", "a")).end();
    assert_eq!(extract_error(&bytes).cause, Cause::Corrupt);
}
