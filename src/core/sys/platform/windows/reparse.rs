//! Reparse points as bytes: the texts of symbolic links and junctions.

use std::ffi::OsString;
use std::io;
use std::mem::offset_of;
use std::os::windows::ffi::OsStringExt as _;
use std::os::windows::io::{AsRawHandle as _, BorrowedHandle};
use std::path::{Path, PathBuf};
use std::ptr;

use windows_sys::Wdk::Storage::FileSystem::{
    REPARSE_DATA_BUFFER, REPARSE_DATA_BUFFER_0_0, REPARSE_DATA_BUFFER_0_1,
};
use windows_sys::Win32::Foundation::{ERROR_INVALID_DATA, ERROR_NOT_A_REPARSE_POINT, ERROR_NOT_SUPPORTED};
use windows_sys::Win32::Storage::FileSystem::MAXIMUM_REPARSE_DATA_BUFFER_SIZE;
use windows_sys::Win32::System::IO::DeviceIoControl;
use windows_sys::Win32::System::Ioctl::{FSCTL_GET_REPARSE_POINT, FSCTL_SET_REPARSE_POINT};
use windows_sys::Win32::System::SystemServices::{IO_REPARSE_TAG_MOUNT_POINT, IO_REPARSE_TAG_SYMLINK};

use super::{errno, path};

/// Data of a reparse point: its tag, the length of what follows, and texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Data(Vec<u8>);

/// Where a reparse point leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// Text of a symbolic link, with `/` between the components of a relative one.
    Symlink(PathBuf),
    /// Absolute path of a junction.
    Junction(PathBuf),
}

impl Data {
    /// Reads the data of an open reparse point.
    pub(super) fn read(handle: BorrowedHandle<'_>) -> io::Result<Self> {
        let mut data = vec![0; MAXIMUM_REPARSE_DATA_BUFFER_SIZE as usize];
        let mut length = 0;
        // SAFETY: the handle is open, and the system writes at most the size of the buffer.
        let is_read = unsafe {
            DeviceIoControl(
                handle.as_raw_handle(),
                FSCTL_GET_REPARSE_POINT,
                ptr::null(),
                0,
                data.as_mut_ptr().cast(),
                MAXIMUM_REPARSE_DATA_BUFFER_SIZE,
                &raw mut length,
                ptr::null_mut(),
            )
        };
        if is_read == 0 {
            return Err(io::Error::last_os_error());
        }
        data.truncate(length as usize);
        Ok(Self(data))
    }

    /// Data of a junction to an absolute path on a local drive.
    pub(super) fn junction(target: &Path) -> io::Result<Self> {
        let units = path::to_nt(target)?;
        if units.starts_with(&[r"\??\UNC\".encode_utf16().collect::<Vec<u16>>()].concat()) {
            return Err(errno::of(ERROR_NOT_SUPPORTED));
        }
        // The name that the system uses, and the one that programs show. Each ends with a NUL that its length omits.
        let shown = units.get(4..).unwrap_or_default();
        let texts: Vec<u16> = units
            .iter()
            .chain(&[0])
            .chain(shown)
            .chain(&[0])
            .copied()
            .collect();
        let bytes = path::byte_length(&units)?;
        let shown = path::byte_length(shown)?;
        let length = path::byte_length(&texts)?
            .checked_add(8)
            .ok_or_else(|| errno::of(ERROR_INVALID_DATA))?;
        let mut data = IO_REPARSE_TAG_MOUNT_POINT.to_le_bytes().to_vec();
        for number in [length, 0, 0, bytes, bytes + 2, shown].into_iter().chain(texts) {
            data.extend(number.to_le_bytes());
        }
        if data.len() > MAXIMUM_REPARSE_DATA_BUFFER_SIZE as usize {
            return Err(errno::of(ERROR_INVALID_DATA));
        }
        Ok(Self(data))
    }

    /// Makes an open, empty directory a reparse point, or changes the data of one with the same tag.
    pub(super) fn write(&self, handle: BorrowedHandle<'_>) -> io::Result<()> {
        let mut length = 0;
        // SAFETY: the handle is open, and the system reads at most the size of the buffer.
        let is_written = unsafe {
            DeviceIoControl(
                handle.as_raw_handle(),
                FSCTL_SET_REPARSE_POINT,
                self.0.as_ptr().cast(),
                u32::try_from(self.0.len()).unwrap_or(0),
                ptr::null_mut(),
                0,
                &raw mut length,
                ptr::null_mut(),
            )
        };
        if is_written == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    fn unit(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(*self.0.get(at..at + 2)?.first_chunk()?))
    }

    fn tag(&self) -> u32 {
        u32::from(self.unit(0).unwrap_or(0)) | u32::from(self.unit(2).unwrap_or(0)) << 16
    }

    pub(super) fn is_junction(&self) -> bool {
        self.tag() == IO_REPARSE_TAG_MOUNT_POINT
    }

    pub(super) fn target(&self) -> io::Result<Target> {
        let data = offset_of!(REPARSE_DATA_BUFFER, Anonymous);
        let names = data
            + match self.tag() {
                IO_REPARSE_TAG_SYMLINK => offset_of!(REPARSE_DATA_BUFFER_0_0, PathBuffer),
                IO_REPARSE_TAG_MOUNT_POINT => offset_of!(REPARSE_DATA_BUFFER_0_1, PathBuffer),
                _ => return Err(errno::of(ERROR_NOT_A_REPARSE_POINT)),
            };
        // Both structures begin with offset and length of the name that the system uses.
        let text = self
            .unit(data)
            .zip(self.unit(data + 2))
            .and_then(|(offset, length)| {
                let start = names + usize::from(offset);
                (start..start + usize::from(length))
                    .step_by(2)
                    .map(|at| self.unit(at))
                    .collect::<Option<Vec<u16>>>()
            });
        let Some(text) = text else {
            return Err(errno::of(ERROR_INVALID_DATA));
        };
        let text = shown(OsString::from_wide(&text));
        Ok(if self.is_junction() {
            Target::Junction(text)
        } else {
            Target::Symlink(text)
        })
    }
}

fn shown(target: OsString) -> PathBuf {
    match target.to_str() {
        // A path in the NT namespace.
        Some(text) if text.starts_with(r"\??\") => {
            path::simplify(PathBuf::from(text.replacen(r"\??\", r"\\?\", 1)))
        }
        Some(text) if !text.starts_with('\\') => PathBuf::from(text.replace('\\', "/")),
        _ => target.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_of_a_junction_round_trips() {
        let data = Data::junction(Path::new(r"C:\a\b")).expect("an absolute path");
        assert!(data.is_junction());
        assert_eq!(
            data.target().expect("a junction"),
            Target::Junction(r"C:\a\b".into())
        );
        // Header, four numbers, `\??\C:\a\b` and `C:\a\b`, each with a NUL.
        assert_eq!(data.0.len(), 8 + 8 + 2 * (10 + 1 + 6 + 1));
        assert_eq!(data.unit(4).map(usize::from), Some(data.0.len() - 8));
        assert!(Data::junction(Path::new(r"\\server\share\a")).is_err());
        // The target ends after 16 + 20 bytes.
        for length in 0..36 {
            assert!(
                Data(data.0[..length].to_vec()).target().is_err(),
                "{length} bytes"
            );
        }
    }
}
