//! Trees to pack and to compare.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Describes everything of a tree that a round trip keeps, one line for each entry.
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

/// Compares two descriptions and shows only the first difference.
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

/// Pseudo-random numbers that are the same in every run with the same seed.
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

/// A tree with all kinds of entries.
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
