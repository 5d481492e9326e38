//! The mounts that a server or another process answers for, by the text of their paths alone: asking one that hangs would
//! hang.

use std::path::{Path, PathBuf};

use crate::core::sys::{fs, name};

/// How the types of such filesystems begin.
const REMOTE: [&str; 10] = [
    "nfs", "fuse", "cifs", "smb", "9p", "virtiofs", "ceph", "afs", "autofs", "lustre",
];
const MOST_BYTES: u64 = 4 << 20;

/// Where something is mounted, and whether it is remote.
#[derive(Debug, Default)]
pub struct Mounts(Vec<(PathBuf, bool)>);

impl Mounts {
    /// Those of this process; none where the system has no such list.
    pub fn read() -> Self {
        let bytes = fs::read_capped(Path::new("/proc/self/mountinfo"), MOST_BYTES).unwrap_or_default();
        Self(bytes.split(|byte| *byte == b'\n').filter_map(parse).collect())
    }

    /// The remote mount that a path is on; the path itself where it is on none.
    pub fn place<'a>(&'a self, path: &'a Path) -> &'a Path {
        self.0
            .iter()
            .filter(|(mount, _)| path.starts_with(mount))
            .max_by_key(|(mount, _)| mount.as_os_str().len())
            .filter(|(_, is_remote)| *is_remote)
            .map_or(path, |(mount, _)| mount)
    }
}

/// A line of `/proc/self/mountinfo`: the fifth field is the path, the one after ` - ` the type.
fn parse(line: &[u8]) -> Option<(PathBuf, bool)> {
    let path = line.split(|byte| *byte == b' ').nth(4)?;
    let text = String::from_utf8_lossy(line);
    let kind = text.split_once(" - ")?.1.split(' ').next()?;
    let is_remote = REMOTE.iter().any(|remote| kind.starts_with(remote));
    Some((unescape(path), is_remote))
}

/// Spaces, tabs, newlines and backslashes are octal there, such as `\040`.
fn unescape(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    PathBuf::from(name::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_remote_mount_share_its_place() {
        let lines: [&[u8]; 3] = [
            b"21 1 8:1 / / rw - ext4 /dev/sda1 rw",
            b"22 21 0:40 / /mnt/a\\040b rw shared:1 - nfs4 server:/ rw",
            b"23 22 0:41 / /mnt/a\\040b/local rw - tmpfs tmpfs rw",
        ];
        let mounts = Mounts(lines.into_iter().filter_map(parse).collect());
        let place = |path: &'static str| mounts.place(Path::new(path)).to_path_buf();
        assert_eq!(place("/mnt/a b/x/y"), Path::new("/mnt/a b"));
        assert_eq!(place("/mnt/a b/local/x"), Path::new("/mnt/a b/local/x"));
        assert_eq!(place("/mnt/ab/x"), Path::new("/mnt/ab/x"));
        assert_eq!(place("/home"), Path::new("/home"));
    }
}
