//! Archives written block by block, as no honest program would, and trees to compare.

use std::fmt::Write as _;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use warmswap::core::archives::codec::Format;
use warmswap::core::archives::failure::{Failure, Result};
use warmswap::core::archives::{self, ExtractOptions, ExtractSummary, WriteOptions, WriteSummary};

/// A tar archive under construction.
#[derive(Default, Clone)]
pub(crate) struct Raw(pub(crate) Vec<u8>);

impl Raw {
    /// An entry whose header can be changed before its checksum is made.
    pub(crate) fn with(
        mut self,
        flag: u8,
        name: &[u8],
        link: &[u8],
        data: &[u8],
        change: impl FnOnce(&mut [u8; 512]),
    ) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(flag));
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(data.len() as u64);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name);
        old.linkname[..link.len()].copy_from_slice(link);
        let mut block = *header.as_bytes();
        change(&mut block);
        let mut header = tar::Header::from_byte_slice(&block).clone();
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.with(b'0', name.as_bytes(), b"", data, |_| {})
    }

    pub(crate) fn directory(self, name: &str) -> Self {
        self.with(b'5', name.as_bytes(), b"", b"", |_| {})
    }

    pub(crate) fn symlink(self, name: &str, target: &str) -> Self {
        self.with(b'2', name.as_bytes(), target.as_bytes(), b"", |_| {})
    }

    pub(crate) fn hard_link(self, name: &str, target: &str) -> Self {
        self.with(b'1', name.as_bytes(), target.as_bytes(), b"", |_| {})
    }

    pub(crate) fn pax(self, records: &[u8]) -> Self {
        self.with(b'x', b"PaxHeader", b"", records, |_| {})
    }

    /// With the end marker.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// One pax record with the right length.
pub(crate) fn record(key: &str, value: &str) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let digits = (1..9)
        .find(|digits| (rest + digits).to_string().len() == *digits)
        .expect("a short record");
    format!("{} {key}={value}\n", rest + digits).into_bytes()
}

/// Packs with standard options.
pub(crate) fn pack(root: &Path) -> (Vec<u8>, WriteSummary) {
    pack_as(root, Format::TarZst)
}

pub(crate) fn pack_as(root: &Path, format: Format) -> (Vec<u8>, WriteSummary) {
    let mut bytes = Vec::new();
    let level = if format == Format::TarGz { 1 } else { 3 };
    let summary = archives::write(
        root,
        &mut bytes,
        &WriteOptions {
            format,
            level,
            ..WriteOptions::default()
        },
    )
    .expect("packed");
    (bytes, summary)
}

/// Extracts into a new directory, which is returned also after a failure.
pub(crate) fn extract(bytes: &[u8], options: &ExtractOptions) -> (tempfile::TempDir, Result<ExtractSummary>) {
    let stage = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let result = archives::extract(bytes, stage.path(), options);
    (stage, result)
}

pub(crate) fn extract_error(bytes: &[u8]) -> Failure {
    extract(bytes, &ExtractOptions::default())
        .1
        .expect_err("it must be refused")
}

/// Everything of a tree that a round trip keeps, one line for each entry.
pub(crate) fn describe(root: &Path) -> String {
    let mut text = String::new();
    describe_below(root, root, &mut text);
    text
}

fn describe_below(root: &Path, directory: &Path, text: &mut String) {
    let mut entries: Vec<_> = fs::read_dir(directory)
        .expect("readdir")
        .map(|entry| entry.expect("entry").path())
        .collect();
    entries.sort();
    for path in entries {
        let stat = fs::symlink_metadata(&path).expect("stat");
        let name = path
            .strip_prefix(root)
            .expect("below")
            .as_os_str()
            .as_encoded_bytes()
            .escape_ascii()
            .to_string();
        let mode = stat.permissions().mode() & 0o7777;
        let time = format!("@{}.{:09}", stat.mtime(), stat.mtime_nsec());
        if stat.is_symlink() {
            let target = fs::read_link(&path).expect("readlink");
            writeln!(
                text,
                "{name} -> {} {time}",
                target.as_os_str().as_encoded_bytes().escape_ascii()
            )
            .expect("text");
        } else if stat.is_dir() {
            writeln!(text, "{name}/ {mode:o} {time}").expect("text");
            describe_below(root, &path, text);
        } else {
            let hash = fs::read(&path).map(|bytes| blake3::hash(&bytes).to_hex());
            writeln!(
                text,
                "{name} {mode:o} {} {} {time}",
                stat.len(),
                hash.expect("readable")
            )
            .expect("text");
        }
    }
}

/// Compares two descriptions and shows only where they differ first.
pub(crate) fn assert_same(got: &str, wanted: &str, what: &str) {
    if got != wanted {
        let (one, other) = got
            .lines()
            .zip(wanted.lines())
            .find(|(one, other)| one != other)
            .unwrap_or(("the end", "or more"));
        panic!("{what}: first difference: got {one:.300} but wanted {other:.300}");
    }
}

/// A call of archive-child that is held at one of its fault points.
pub(crate) struct Held {
    child: Child,
    /// The child goes on when this is closed.
    gate: OwnedFd,
    directory: tempfile::TempDir,
}

impl Held {
    /// Starts it and waits until it is held. `fault` is a `WARMSWAP_FAULT` with 'HOLD' in it.
    pub(crate) fn start(arguments: &[&Path], fault: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let fifo = directory.path().join("fifo");
        let made = Command::new("mkfifo").arg(&fifo).status().expect("started");
        assert!(made.success(), "mkfifo");
        let mut child = Command::new(env!("CARGO_BIN_EXE_archive-child"))
            .args(arguments)
            .env("WARMSWAP_FAULT", fault)
            .env("WARMSWAP_FAULT_FIFO", &fifo)
            .env("WARMSWAP_FAULT_LOG", directory.path().join("log"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let gate = wait_until_held(&mut child, &fifo, fault);
        Self {
            child,
            gate,
            directory,
        }
    }

    /// Lets it go on. Returns what it wrote, and how many of the points that its fault counts it came by.
    pub(crate) fn release(self) -> (String, usize) {
        drop(self.gate);
        let output = self.child.wait_with_output().expect("a child of ours");
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).expect("text");
        let log = fs::read_to_string(self.directory.path().join("log")).expect("a log");
        (said, log.lines().count())
    }

    /// Kills it where it is held.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("reaped");
    }
}

fn wait_until_held(child: &mut Child, fifo: &Path, fault: &str) -> OwnedFd {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    loop {
        match rustix::fs::open(fifo, flags, Mode::empty()) {
            Ok(gate) => return gate,
            // A held child reads it; until then nobody does.
            Err(errno) => assert_eq!(errno, Errno::NXIO, "{}", fifo.display()),
        }
        let ended = child.try_wait().expect("a child of ours");
        assert_eq!(ended, None, "it ended and was never held at {fault}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Numbers that look random and are the same in every run with the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A tree with everything that a tree can have.
pub(crate) fn random_tree(root: &Path, random: &mut Random) {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    let mut directories = vec![root.to_path_buf()];
    let mut files: Vec<std::path::PathBuf> = Vec::new();
    for number in 0..20 + random.below(60) {
        let parent =
            directories[usize::try_from(random.below(directories.len() as u64)).expect("small")].clone();
        let name = match random.below(6) {
            0 => format!("n{number}").into_bytes(),
            1 => [b"x".repeat(200), format!("{number}").into_bytes()].concat(),
            2 => format!("größe {number} \"'\n").into_bytes(),
            3 => [b"\xff\xfe".to_vec(), format!("{number}").into_bytes()].concat(),
            4 => format!("-{number}.js").into_bytes(),
            _ => format!("{number}\\back").into_bytes(),
        };
        let path = parent.join(OsStr::from_bytes(&name));
        match random.below(10) {
            0..=2 => {
                fs::create_dir(&path).expect("mkdir");
                directories.push(path);
            }
            3 => std::os::unix::fs::symlink(format!("nowhere/{number}"), &path).expect("symlink"),
            4 if !files.is_empty() => {
                let existing = &files[usize::try_from(random.below(files.len() as u64)).expect("small")];
                fs::hard_link(existing, &path).expect("link");
            }
            _ => {
                let size = match random.below(8) {
                    0 => 0,
                    1 => 512,
                    2 => 1_200_000 + random.below(6_000_000),
                    _ => random.below(9000),
                };
                let bytes: Vec<u8> = (0..size)
                    .map(|at| (random.0 >> (at % 50)) as u8 ^ at as u8)
                    .collect();
                random.next();
                fs::write(&path, bytes).expect("write");
                let mode =
                    [0o644, 0o755, 0o600, 0o444, 0o777][usize::try_from(random.below(5)).expect("small")];
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
                files.push(path);
            }
        }
    }
    for directory in directories.iter().skip(1) {
        let mode = [0o755, 0o700, 0o777][usize::try_from(random.below(3)).expect("small")];
        fs::set_permissions(directory, fs::Permissions::from_mode(mode)).expect("chmod");
    }
}
