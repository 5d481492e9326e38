//! Symbolic links and junctions.

use std::ffi::OsString;
use std::io;
use std::mem::offset_of;
use std::os::windows::ffi::OsStringExt as _;
use std::os::windows::io::{AsHandle as _, AsRawHandle as _};
use std::path::{Path, PathBuf};
use std::ptr;

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_OPEN_REPARSE_POINT, REPARSE_DATA_BUFFER, REPARSE_DATA_BUFFER_0_0, REPARSE_DATA_BUFFER_0_1,
};
use windows_sys::Win32::Foundation::{ERROR_INVALID_DATA, ERROR_NOT_A_REPARSE_POINT, ERROR_NOT_SUPPORTED};
use windows_sys::Win32::Storage::FileSystem::{
    CreateSymbolicLinkW, FILE_READ_ATTRIBUTES, MAXIMUM_REPARSE_DATA_BUFFER_SIZE,
    SYMBOLIC_LINK_FLAG_ALLOW_UNPRIVILEGED_CREATE, SYMBOLIC_LINK_FLAG_DIRECTORY,
};
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::FSCTL_GET_REPARSE_POINT;
use windows_sys::Win32::System::SystemServices::{IO_REPARSE_TAG_MOUNT_POINT, IO_REPARSE_TAG_SYMLINK};

use super::super::types::Kind;
use super::nt::{self, Base, Request};
use super::{errno, path, stat};

/// Text of a symbolic link, with `/` between its components as on other systems. For a junction, its absolute path.
pub(crate) fn read_link(base: Base<'_>, name: &Path) -> io::Result<PathBuf> {
    let link = nt::open(
        base,
        name,
        Request::existing(FILE_READ_ATTRIBUTES, FILE_OPEN_REPARSE_POINT),
    )?;
    let mut buffer = [0_u64; MAXIMUM_REPARSE_DATA_BUFFER_SIZE as usize / 8];
    let mut length = 0;
    // SAFETY: the handle is open, and the system writes at most the size of the buffer.
    let is_read = unsafe {
        DeviceIoControl(
            link.as_handle().as_raw_handle(),
            FSCTL_GET_REPARSE_POINT,
            ptr::null(),
            0,
            buffer.as_mut_ptr().cast(),
            MAXIMUM_REPARSE_DATA_BUFFER_SIZE,
            &raw mut length,
            ptr::null_mut(),
        )
    };
    if is_read == 0 {
        return Err(io::Error::last_os_error());
    }
    let units: Vec<u16> = buffer
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .take(length as usize)
        .collect::<Vec<u8>>()
        .chunks_exact(2)
        .map(|pair| u16::from_ne_bytes([pair[0], pair[1]]))
        .collect();
    text(&units)
}

/// Target in a reparse buffer of 16-bit units.
fn text(buffer: &[u16]) -> io::Result<PathBuf> {
    let unit = |at: usize| buffer.get(at / 2).copied();
    let data = offset_of!(REPARSE_DATA_BUFFER, Anonymous);
    let tag = u32::from(unit(0).unwrap_or(0)) | u32::from(unit(2).unwrap_or(0)) << 16;
    let names = data
        + match tag {
            IO_REPARSE_TAG_SYMLINK => offset_of!(REPARSE_DATA_BUFFER_0_0, PathBuffer),
            IO_REPARSE_TAG_MOUNT_POINT => offset_of!(REPARSE_DATA_BUFFER_0_1, PathBuffer),
            _ => return Err(errno::of(ERROR_NOT_A_REPARSE_POINT)),
        };
    // Both structures begin with offset and length of the name that the system uses.
    let target = unit(data).zip(unit(data + 2)).and_then(|(offset, length)| {
        let start = names / 2 + usize::from(offset) / 2;
        buffer.get(start..start + usize::from(length) / 2)
    });
    let Some(target) = target else {
        return Err(errno::of(ERROR_INVALID_DATA));
    };
    let target = OsString::from_wide(target);
    match target.to_str() {
        // A path in the NT namespace.
        Some(text) if text.starts_with(r"\??\") => {
            Ok(path::simplify(PathBuf::from(text.replacen(r"\??\", r"\\?\", 1))))
        }
        Some(text) if !text.starts_with('\\') => Ok(PathBuf::from(text.replace('\\', "/"))),
        _ => Ok(target.into()),
    }
}

/// Creates a symbolic link whose text is `target`. Fails with `ERROR_PRIVILEGE_NOT_HELD` without the privilege or
/// Developer Mode. A junction is no alternative: it contains an absolute path, and trees are moved after their
/// creation.
pub(crate) fn symlink(target: &Path, base: Base<'_>, name: &Path) -> io::Result<()> {
    // The first one marks a name that stands for bytes that are not UTF-8.
    if target
        .to_str()
        .is_none_or(|text| text.contains(['<', '>', '"', '|', '?', '*']))
    {
        return Err(errno::invalid_name());
    }
    let at = match base {
        Base::Current => name.to_path_buf(),
        Base::Open(directory) => {
            path::to_part(name)?;
            path::of_handle(directory)?.join(name)
        }
    };
    let beside = at.parent().unwrap_or(&at).join(target);
    let leads_to_directory =
        stat::at(Base::Current, &beside, true).is_ok_and(|found| found.kind == Kind::Directory);
    let mut flags = SYMBOLIC_LINK_FLAG_ALLOW_UNPRIVILEGED_CREATE;
    if leads_to_directory {
        flags |= SYMBOLIC_LINK_FLAG_DIRECTORY;
    }
    let text: PathBuf = target.components().collect();
    let (link, text) = (path::to_verbatim(&at)?, path::to_wide(&text));
    // SAFETY: both texts end with a NUL and outlive the call.
    if !unsafe { CreateSymbolicLinkW(link.as_ptr(), text.as_ptr(), flags) } {
        return Err(io::Error::last_os_error());
    }
    // Wine up to version 10 reports success and creates no link. The entry that the name referred to may also have
    // moved in between.
    match stat::at(base, name, false) {
        Ok(made) if made.kind == Kind::Symlink => Ok(()),
        _ => Err(errno::of(ERROR_NOT_SUPPORTED)),
    }
}
