//! The list of mounts in /proc.

use std::path::{Path, PathBuf};

use super::super::types::Mount;
use crate::core::sys::{fs, name};

/// Prefixes of the types of remote filesystems.
const REMOTE: [&str; 10] = [
    "nfs", "fuse", "cifs", "smb", "9p", "virtiofs", "ceph", "afs", "autofs", "lustre",
];
const MOST_BYTES: u64 = 4 << 20;

/// Mounts that this process sees. Empty if the list cannot be read.
pub(crate) fn list() -> Vec<Mount> {
    let bytes = fs::read_capped(Path::new("/proc/self/mountinfo"), MOST_BYTES).unwrap_or_default();
    bytes.split(|byte| *byte == b'\n').filter_map(parse).collect()
}

/// Parses a line of `/proc/self/mountinfo`. The fifth field is the path, and the field after ` - ` is the type.
fn parse(line: &[u8]) -> Option<Mount> {
    let path = line.split(|byte| *byte == b' ').nth(4)?;
    let text = String::from_utf8_lossy(line);
    let kind = text.split_once(" - ")?.1.split(' ').next()?;
    let is_remote = REMOTE.iter().any(|remote| kind.starts_with(remote));
    Some(Mount {
        path: unescape(path),
        is_remote,
    })
}

/// Decodes spaces, tabs, newlines and backslashes, which are octal in the file, such as `\040`.
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
    fn paths_are_decoded_and_remote_types_are_known() {
        let mount = |path: &str, is_remote| {
            let path = PathBuf::from(path);
            Some(Mount { path, is_remote })
        };
        assert_eq!(parse(b"21 1 8:1 / / rw - ext4 /dev/sda1 rw"), mount("/", false));
        assert_eq!(
            parse(b"22 21 0:40 / /mnt/a\\040b rw shared:1 - nfs4 server:/ rw"),
            mount("/mnt/a b", true)
        );
        assert_eq!(parse(b"cut off"), None);
    }
}
