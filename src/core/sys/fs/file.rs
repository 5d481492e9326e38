//! Content of files.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use super::entry::{remove_file, rename};
use super::open::{create_new, open, open_regular};
use crate::core::error::{At as _, Code, Error, Optional as _, Result};
use crate::core::sys::call::{call, point};
use crate::core::sys::clock;
use crate::core::sys::platform::{Access, OpenOptions, Times, files, volume};

/// Writes all bytes to an open file.
pub fn write_all(file: &mut File, bytes: &[u8], path: &Path) -> Result<()> {
    point("write", path)?;
    file.write_all(bytes).at("write", path)
}

/// Creates a new file with these bytes and exactly this mode.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut file = create_new(path, mode)?;
    write_all(&mut file, bytes, path)?;
    set_file_mode(&file, mode, path)
}

/// Replaces a small file atomically: writes a temporary file next to it and renames it. `temporary` must be a name that
/// only this writer uses. The leftover of a killed writer is replaced.
pub fn replace(path: &Path, temporary: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    remove_file(temporary).optional()?;
    write_new(temporary, bytes, mode)?;
    rename(temporary, path)
}

/// Truncates an open file to this length and continues to write there.
pub fn truncate(file: &mut File, length: u64, path: &Path) -> Result<()> {
    set_size(file, length, path)?;
    call("lseek", path, || files::seek(file, length))
}

/// Copies the bytes of a file to a new one with exactly this mode.
pub fn copy_file(from: &Path, to: &Path, mode: u32) -> Result<()> {
    let mut source = open(from, OpenOptions::READ)?;
    let mut copy = create_new(to, mode)?;
    point("copy_file_range", to)?;
    // std uses copy_file_range, sendfile or read and write, depending on what the kernel supports for the two files.
    io::copy(&mut source, &mut copy).at("copy_file_range", to)?;
    set_file_mode(&copy, mode, to)
}

/// Creates a new file that shares its blocks with another one. Returns `false` and creates no file if the filesystem
/// does not support that.
pub fn clone_file(from: &Path, to: &Path, mode: u32) -> Result<bool> {
    let source = open(from, OpenOptions::READ)?;
    match call("ficlone", to, || volume::clone_file(&source, to, mode)) {
        Ok(copy) => set_file_mode(&copy, mode, to).map(|()| true),
        Err(error) if error.is_exists() => Err(error),
        Err(_) => Ok(false),
    }
}

/// Whether files in this directory can share blocks.
pub fn can_clone(directory: &Path) -> bool {
    volume::can_clone_blocks(directory)
}

/// Reads the next bytes of an open file. Returns 0 at its end.
pub fn read_into(mut file: &File, buffer: &mut [u8], path: &Path) -> Result<usize> {
    call("read", path, || file.read(buffer))
}

/// Number of the descriptor, which a child process can inherit.
pub fn descriptor(file: &File) -> i32 {
    files::descriptor(file)
}

/// Sets the mode of an open file, independent of the umask.
pub fn set_file_mode(file: &File, mode: u32, path: &Path) -> Result<()> {
    call("fchmod", path, || files::set_mode(file, mode))
}

/// Reads a whole regular file. The last component of the path must not be a link.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let mut file = open_regular(path, Access::Read)?;
    let mut bytes = Vec::new();
    point("read", path)?;
    io::copy(&mut file, &mut bytes).at("read", path)?;
    Ok(bytes)
}

/// Reads at most `limit` bytes of a regular file. Fails with `ERR_TOO_LARGE` if it has more, whatever its size claims.
pub fn read_capped(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = open_regular(path, Access::Read)?;
    // Initial capacity for a small file. Otherwise std reads it in growing pieces, starting with 32 bytes.
    let mut bytes = Vec::with_capacity(4096);
    point("read", path)?;
    file.take(limit + 1).read_to_end(&mut bytes).at("read", path)?;
    if bytes.len() as u64 > limit {
        let message = format!("'{}' is larger than {limit} bytes", path.display());
        return Err(Error::new(Code::TooLarge, message).at(path));
    }
    Ok(bytes)
}

/// Sets both times of an open file to the exact current time. Times set by the kernel are as coarse as its tick.
pub fn touch_exactly(file: &File, path: &Path) -> Result<()> {
    let now = Times::Both(clock::wall_nanos().into());
    call("futimens", path, || files::set_times(file, now))
}

/// Sets the modification time of an open file.
pub fn set_file_modified(file: &File, modified_ns: i128, path: &Path) -> Result<()> {
    call("futimens", path, || {
        files::set_times(file, Times::Modified(modified_ns))
    })
}

/// Sets the size of an open file. Unwritten parts become holes.
pub fn set_size(file: &File, size: u64, path: &Path) -> Result<()> {
    call("ftruncate", path, || files::set_length(file, size))
}

/// Writes all bytes at this offset.
pub fn write_at(file: &File, bytes: &[u8], offset: u64, path: &Path) -> Result<()> {
    call("pwrite", path, || files::write_all_at(file, bytes, offset))
}

/// Reads until `buffer` is full. Reads fewer bytes only at the end of the file.
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64, path: &Path) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        let at = offset + filled as u64;
        let count = call("pread", path, || files::read_at(file, &mut buffer[filled..], at))?;
        if count == 0 {
            break;
        }
        filled += count;
    }
    Ok(filled)
}

/// Reads exactly `buffer.len()` bytes at this offset. Fails if the file ends before.
pub fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64, path: &Path) -> Result<()> {
    call("pread", path, || files::read_exact_at(file, buffer, offset))
}

/// Appends the first `size` bytes of a file, without zeroing the buffer first. Appends fewer bytes at the end of the
/// file, and possibly more if the file and the buffer allow it.
pub fn append_from(file: &File, bytes: &mut Vec<u8>, size: usize, path: &Path) -> Result<usize> {
    let start = bytes.len();
    bytes.reserve(size);
    while bytes.len() - start < size {
        let at = (bytes.len() - start) as u64;
        let count = call("pread", path, || files::append_at(file, bytes, at))?;
        if count == 0 {
            break;
        }
    }
    Ok(bytes.len() - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_capped_refuses_longer_files() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let file = root.path().join("file");
        write_new(&file, b"12345", 0o644).expect("write");
        assert_eq!(read_capped(&file, 5).expect("five bytes"), b"12345");
        let error = read_capped(&file, 4).expect_err("five bytes are too many");
        assert_eq!(error.code, Code::TooLarge);
    }
}
