//! Names of filesystems as statfs returns them.

use std::io;
use std::path::Path;

use super::super::types::Filesystem;

/// Filesystem of an existing path.
pub(crate) fn of(path: &Path) -> io::Result<Filesystem> {
    let stat = rustix::fs::statfs(path)?;
    let bytes: Vec<u8> = stat
        .f_fstypename
        .iter()
        .take_while(|byte| **byte != 0)
        .map(|byte| byte.cast_unsigned())
        .collect();
    let (name, trusted) = match bytes.as_slice() {
        b"apfs" => ("apfs", true),
        b"hfs" => ("hfs+", true),
        _ => ("unknown", false),
    };
    Ok(Filesystem {
        name,
        magic: 0,
        trusted,
    })
}

/// Tests cannot override the filesystem here.
#[cfg(feature = "testing")]
pub(crate) fn named(_name: &str) -> Option<Filesystem> {
    None
}
