//! On Windows, pointers are files with the text that a symbolic link has on other systems. A link requires a privilege,
//! and a junction cannot be replaced atomically.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use windows_sys::Win32::Foundation::ERROR_INVALID_DATA;

use super::super::types::{Access, OpenOptions};
use super::errno;
use super::files;
use super::nt::CURRENT;

/// Description of a pointer.
pub const POINTER: &str = "a file";

/// Far more than the size of a pointer.
const MOST_BYTES: u64 = 4096;

/// Text of a pointer.
pub(crate) fn read_pointer(path: &Path) -> io::Result<PathBuf> {
    let file = File::from(files::open(CURRENT, path, OpenOptions::unknown(Access::Read))?);
    let mut text = String::new();
    let length = file.take(MOST_BYTES + 1).read_to_string(&mut text)? as u64;
    if length > MOST_BYTES {
        return Err(errno::of(ERROR_INVALID_DATA));
    }
    Ok(PathBuf::from(text))
}

/// Creates a pointer. [`files::rename`] can replace it atomically while others read it. Its text is flushed before its
/// name is created, because a link on other systems has no data that could be lost.
pub(crate) fn make_pointer(target: &Path, path: &Path) -> io::Result<()> {
    let text = target.to_str().ok_or_else(errno::invalid_name)?;
    let mut file = File::from(files::open(
        CURRENT,
        path,
        OpenOptions::new(Access::Write, 0o644),
    )?);
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
