//! Names of filesystems by their magic numbers (linux/magic.h and the headers of the filesystems).

use std::io;
use std::path::Path;

use super::super::types::Filesystem;

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

/// Filesystem of an existing path.
pub(crate) fn of(path: &Path) -> io::Result<Filesystem> {
    let stat = rustix::fs::statfs(path)?;
    // The type of the field differs between architectures. All magic numbers fit in 32 bits.
    #[expect(clippy::cast_sign_loss, reason = "magic numbers are 32-bit patterns")]
    let magic = stat.f_type as u64 & 0xffff_ffff;
    Ok(by_magic(magic))
}

/// Filesystem that a test sets.
#[cfg(feature = "testing")]
pub(crate) fn named(name: &str) -> Option<Filesystem> {
    TABLE.iter().find(|row| row.1 == name).map(|row| by_magic(row.0))
}

fn by_magic(magic: u64) -> Filesystem {
    let row = TABLE.iter().find(|row| row.0 == magic);
    let (name, trusted) = row.map_or(("unknown", false), |row| (row.1, row.2));
    Filesystem { name, magic, trusted }
}

#[cfg(test)]
mod tests {
    use super::*;

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
