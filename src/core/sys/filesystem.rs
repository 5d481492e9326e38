//! Which filesystem a path is on, and whether its kernel locks can be trusted: decided by statfs, before any
//! lock call, from an allow list. Everything else is refused or leased, never pretended (docker/for-mac#7004,
//! rust-lang/cargo#2615).

use std::path::Path;

use crate::core::error::Result;
use crate::core::sys::fs::call;

/// A filesystem as statfs names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filesystem {
    /// Short name, such as `ext4` or `tmpfs`; `unknown` where the magic number is not in the table.
    pub name: &'static str,
    /// The magic number of statfs.
    pub magic: u64,
    /// Whether flock excludes between all processes that see the directory.
    pub trusted: bool,
}

impl Filesystem {
    /// Whether no call on it waits for a disk or a network.
    pub fn is_in_memory(&self) -> bool {
        self.name == "tmpfs"
    }
}

/// Magic numbers of linux/magic.h and of the filesystems' own headers.
#[cfg(target_os = "linux")]
const TABLE: &[(u64, &str, bool)] = &[
    (0xef53, "ext4", true),
    (0x5846_5342, "xfs", true),
    (0x9123_683e, "btrfs", true),
    (0xf2f5_2010, "f2fs", true),
    (0x2fc1_2fc1, "zfs", true),
    (0x0102_1994, "tmpfs", true),
    (0x794c_7630, "overlayfs", true),
    (0x6969, "nfs", false),
    (0x0102_1997, "9p", false),
    (0x6573_5546, "fuse", false),
    (0x6a65_6a63, "virtiofs", false),
    (0xff53_4d42, "cifs", false),
    (0xfe53_4d42, "smb2", false),
    (0x4d44, "vfat", false),
    (0x2011_bab0, "exfat", false),
    (0x8584_58f6, "ramfs", false),
];

/// The filesystem of an existing path.
///
/// In builds with the feature `testing`, `WARMSWAP_FILESYSTEM=<name>` pretends that every path is on that one.
#[cfg(target_os = "linux")]
pub fn of(path: &Path) -> Result<Filesystem> {
    let stat = call("statfs", path, || rustix::fs::statfs(path))?;
    // The field's type differs between architectures; all magic numbers fit in 32 bits.
    #[expect(clippy::cast_sign_loss, reason = "magic numbers are 32-bit patterns")]
    let magic = stat.f_type as u64 & 0xffff_ffff;
    #[cfg(feature = "testing")]
    if let Some(pretended) = pretended() {
        return Ok(pretended);
    }
    Ok(by_magic(magic))
}

#[cfg(target_os = "linux")]
fn by_magic(magic: u64) -> Filesystem {
    TABLE.iter().find(|row| row.0 == magic).map_or(
        Filesystem {
            name: "unknown",
            magic,
            trusted: false,
        },
        |row| Filesystem {
            name: row.1,
            magic,
            trusted: row.2,
        },
    )
}

#[cfg(all(target_os = "linux", feature = "testing"))]
fn pretended() -> Option<Filesystem> {
    let wanted = std::env::var("WARMSWAP_FILESYSTEM").ok()?;
    TABLE
        .iter()
        .find(|row| row.1 == wanted)
        .map(|row| by_magic(row.0))
}

/// The filesystem of an existing path.
#[cfg(target_os = "macos")]
pub fn of(path: &Path) -> Result<Filesystem> {
    let stat = call("statfs", path, || rustix::fs::statfs(path))?;
    let bytes: Vec<u8> = stat
        .f_fstypename
        .iter()
        .take_while(|byte| **byte != 0)
        .map(|byte| byte.cast_unsigned())
        .collect();
    Ok(match bytes.as_slice() {
        b"apfs" => Filesystem {
            name: "apfs",
            magic: 0,
            trusted: true,
        },
        b"hfs" => Filesystem {
            name: "hfs+",
            magic: 0,
            trusted: true,
        },
        _ => Filesystem {
            name: "unknown",
            magic: 0,
            trusted: false,
        },
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn tmpfs_is_trusted_and_proc_is_not() {
        assert_eq!(
            of(Path::new("/dev/shm")).map(|fs| (fs.name, fs.trusted)).ok(),
            Some(("tmpfs", true))
        );
        assert!(!of(Path::new("/proc")).expect("statfs of /proc").trusted);
    }

    #[test]
    fn an_unlisted_magic_number_is_not_trusted() {
        assert_eq!(
            by_magic(0x1234),
            Filesystem {
                name: "unknown",
                magic: 0x1234,
                trusted: false
            }
        );
    }
}
