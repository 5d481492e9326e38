//! Names and paths in the form that NT calls need.

use std::ffi::OsString;
use std::io;
use std::os::windows::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::windows::io::{AsRawHandle as _, BorrowedHandle};
use std::path::{Component, Path, PathBuf, Prefix};

use windows_sys::Win32::Foundation::ERROR_FILENAME_EXCED_RANGE;
use windows_sys::Win32::Storage::FileSystem::GetFinalPathNameByHandleW;

use super::errno;
use super::name::is_device;

/// Maximum path length of the wide calls without a verbatim prefix.
const MAX_PATH: usize = 260;

/// Converts an absolute path to the NT namespace. Calls with such a path have no limit of 260 units and no device
/// names.
pub(super) fn to_nt(path: &Path) -> io::Result<Vec<u16>> {
    let absolute = std::path::absolute(path)?;
    let units: Vec<u16> = absolute
        .as_os_str()
        .encode_wide()
        .map(|unit| {
            if unit == u16::from(b'/') {
                u16::from(b'\\')
            } else {
                unit
            }
        })
        .collect();
    let starts_with = |text: &str| units.iter().copied().take(text.len()).eq(text.encode_utf16());
    let (prefix, rest) = if starts_with(r"\\?\") || starts_with(r"\\.\") {
        (r"\??\", &units[4..])
    } else if starts_with(r"\\") {
        (r"\??\UNC\", &units[2..])
    } else {
        (r"\??\", &units[..])
    };
    Ok(prefix.encode_utf16().chain(rest.iter().copied()).collect())
}

/// Converts an absolute path for calls that accept no NT paths, without the limit of 260 units. Ends with a NUL.
pub(super) fn to_verbatim(path: &Path) -> io::Result<Vec<u16>> {
    let mut units = to_nt(path)?;
    units[1] = u16::from(b'\\');
    units.push(0);
    Ok(units)
}

/// Converts one component of a path. A name that is resolved from an open directory must not lead out of it, and must
/// not refer to a stream of a file.
pub(super) fn to_part(name: &Path) -> io::Result<Vec<u16>> {
    let units: Vec<u16> = name.as_os_str().encode_wide().collect();
    let is_part = !units.is_empty() && name != Path::new("..");
    let has_other = |unit: &u16| matches!(u8::try_from(*unit), Ok(0 | b'\\' | b'/' | b':'));
    if !is_part || units.iter().any(has_other) {
        return Err(errno::invalid_name());
    }
    Ok(units)
}

/// Converts a path to UTF-16 with a NUL at the end.
pub(super) fn to_wide(text: &Path) -> Vec<u16> {
    text.as_os_str().encode_wide().chain([0]).collect()
}

/// Size of a text in bytes, for a UNICODE_STRING.
pub(super) fn byte_length(units: &[u16]) -> io::Result<u16> {
    u16::try_from(units.len() * 2).map_err(|_| errno::of(ERROR_FILENAME_EXCED_RANGE))
}

/// Verbatim path of an open entry.
pub(super) fn of_handle(handle: BorrowedHandle<'_>) -> io::Result<PathBuf> {
    let mut buffer = vec![0_u16; 512];
    loop {
        let size = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        // SAFETY: the handle is open, and the buffer has `size` units.
        let length =
            unsafe { GetFinalPathNameByHandleW(handle.as_raw_handle(), buffer.as_mut_ptr(), size, 0) }
                as usize;
        match length {
            0 => return Err(io::Error::last_os_error()),
            _ if length < buffer.len() => return Ok(OsString::from_wide(&buffer[..length]).into()),
            _ => buffer.resize(length + 1, 0),
        }
    }
}

/// Removes `\\?\` from a verbatim path if the rest is an ordinary path with the same meaning.
pub(crate) fn simplify(path: PathBuf) -> PathBuf {
    let Some(Component::Prefix(prefix)) = path.components().next() else {
        return path;
    };
    let short = match prefix.kind() {
        Prefix::VerbatimDisk(disk) => format!("{}:", char::from(disk)),
        Prefix::VerbatimUNC(server, share) => {
            let (Some(server), Some(share)) = (server.to_str(), share.to_str()) else {
                return path;
            };
            format!(r"\\{server}\{share}")
        }
        _ => return path,
    };
    let is_ordinary = |component: Component<'_>| {
        component
            .as_os_str()
            .to_str()
            .is_some_and(|name| !name.ends_with(['.', ' ']) && !is_device(name))
    };
    let rest: PathBuf = path.components().skip(1).collect();
    if !rest.components().skip(1).all(is_ordinary) {
        return path;
    }
    let mut simple = OsString::from(short);
    simple.push(&rest);
    if simple.encode_wide().count() < MAX_PATH {
        simple.into()
    } else {
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_without_a_redundant_verbatim_prefix() {
        let simplified = |path: &str| simplify(PathBuf::from(path)).to_str().map(str::to_owned);
        assert_eq!(simplified(r"\\?\C:\a\b").as_deref(), Some(r"C:\a\b"));
        assert_eq!(simplified(r"\\?\C:\").as_deref(), Some(r"C:\"));
        assert_eq!(
            simplified(r"\\?\UNC\server\share\a").as_deref(),
            Some(r"\\server\share\a")
        );
        let long = format!(r"\\?\C:\{}", "x".repeat(260));
        for path in [
            r"\\?\C:\a\nul",
            r"\\?\C:\a.",
            r"\\?\Volume{1}\a",
            r"C:\a",
            long.as_str(),
        ] {
            assert_eq!(simplified(path).as_deref(), Some(path));
        }
    }

    #[test]
    fn a_component_does_not_lead_elsewhere() {
        for name in ["", "..", r"a\b", "a/b", "a:b", "C:"] {
            assert!(to_part(Path::new(name)).is_err(), "{name:?}");
        }
        assert_eq!(
            String::from_utf16_lossy(&to_nt(Path::new("C:/a/b")).expect("absolute")),
            r"\??\C:\a\b"
        );
    }
}
