//! Symbolic links and junctions.
//!
//! A junction contains an absolute path and leads to a directory. It needs no privilege. The layers above see it as a
//! symbolic link with the relative path from its directory, so that an archive of a tree with junctions, such as the
//! `node_modules` of pnpm, is independent of the place of the tree.

use std::ffi::OsStr;
use std::io;
use std::os::windows::io::{AsHandle as _, OwnedHandle};
use std::path::{Component, Path, PathBuf};

use windows_sys::Wdk::Storage::FileSystem::{FILE_CREATE, FILE_DIRECTORY_FILE, FILE_OPEN_REPARSE_POINT};
use windows_sys::Win32::Foundation::ERROR_NOT_SUPPORTED;
use windows_sys::Win32::Storage::FileSystem::{
    CreateSymbolicLinkW, DELETE, FILE_ATTRIBUTE_NORMAL, FILE_READ_ATTRIBUTES, FILE_WRITE_ATTRIBUTES,
    SYMBOLIC_LINK_FLAG_ALLOW_UNPRIVILEGED_CREATE, SYMBOLIC_LINK_FLAG_DIRECTORY,
};

use super::super::types::{Kind, LinkUse};
use super::nt::{self, Base, Request};
use super::reparse::{Data, Target};
use super::{errno, path, stat};

/// Text of a symbolic link, with `/` between its components as on other systems. For a junction, the relative path from
/// its directory, or an absolute path if it leads to another volume.
pub(crate) fn read_link(base: Base<'_>, name: &Path) -> io::Result<PathBuf> {
    let request = Request::existing(FILE_READ_ATTRIBUTES, FILE_OPEN_REPARSE_POINT);
    let link = nt::open(base, name, request)?;
    match Data::read(link.as_handle())?.target()? {
        Target::Symlink(text) => Ok(text),
        Target::Junction(target) => {
            let home = match base {
                Base::Current => real(name.parent().unwrap_or(name))?,
                Base::Open(directory) => path::simplify(path::of_handle(directory)?),
            };
            Ok(relative(&home, &target).unwrap_or(target))
        }
    }
}

/// Creates a symbolic link whose text is `target`. Without the privilege or Developer Mode, a junction is created if
/// `link_use` says where the link is used and it leads to a directory. Otherwise fails with `ERROR_PRIVILEGE_NOT_HELD`.
pub(crate) fn symlink(target: &Path, base: Base<'_>, name: &Path, link_use: LinkUse<'_>) -> io::Result<()> {
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
    let leads_to_directory = link_use.to_directory || {
        let beside = resolve(at.parent().unwrap_or(&at), target);
        stat::at(Base::Current, &beside, true).is_ok_and(|found| found.kind == Kind::Directory)
    };
    let error = match create(target, &at, leads_to_directory) {
        // Wine up to version 10 reports success and creates no link. The entry that the name referred to may also have
        // moved in between.
        Ok(()) => match stat::at(base, name, false) {
            Ok(made) if made.kind == Kind::Symlink => return Ok(()),
            _ => errno::of(ERROR_NOT_SUPPORTED),
        },
        Err(error) => error,
    };
    match link_use.home {
        Some(home) if leads_to_directory && errno::is_unsupported(&error) => {
            create_junction(home, target, base, name).map_err(|failed| {
                if failed.kind() == io::ErrorKind::AlreadyExists {
                    failed
                } else {
                    error
                }
            })
        }
        _ => Err(error),
    }
}

fn create(target: &Path, at: &Path, leads_to_directory: bool) -> io::Result<()> {
    let mut flags = SYMBOLIC_LINK_FLAG_ALLOW_UNPRIVILEGED_CREATE;
    if leads_to_directory {
        flags |= SYMBOLIC_LINK_FLAG_DIRECTORY;
    }
    let text: PathBuf = target.components().collect();
    let (link, text) = (path::to_verbatim(at)?, path::to_wide(&text));
    // SAFETY: both texts end with a NUL and outlive the call.
    if unsafe { CreateSymbolicLinkW(link.as_ptr(), text.as_ptr(), flags) } {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Creates a junction that leads to `target` when it is used in the directory `home`. Fails if [`read_link`] would not
/// return `target` there.
fn create_junction(home: &Path, target: &Path, base: Base<'_>, name: &Path) -> io::Result<()> {
    let home = real(home)?;
    let resolved = resolve(&home, target);
    if target.is_relative()
        && relative(&home, &resolved).as_deref().map(Path::as_os_str) != Some(target.as_os_str())
    {
        return Err(errno::of(ERROR_NOT_SUPPORTED));
    }
    let data = Data::junction(&resolved)?;
    let request = Request {
        access: FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES | DELETE,
        disposition: FILE_CREATE,
        options: FILE_DIRECTORY_FILE,
        attributes: FILE_ATTRIBUTE_NORMAL,
    };
    let made = nt::open(base, name, request)?;
    data.write(made.as_handle()).inspect_err(|_| drop(remove(&made)))
}

/// Gives the link at `name` the target of the link `source`, and removes `source`. Returns `false` if one of them is no
/// link to a directory. The target of a junction is changed in place; a symbolic link is removed before, so that another
/// process may see no link for a moment.
pub(super) fn replace_link(
    source: &OwnedHandle,
    base: Base<'_>,
    name: &Path,
    rename: impl FnOnce() -> io::Result<()>,
) -> io::Result<bool> {
    let request = Request::existing(
        FILE_READ_ATTRIBUTES | FILE_WRITE_ATTRIBUTES | DELETE,
        FILE_DIRECTORY_FILE | FILE_OPEN_REPARSE_POINT,
    );
    let (Ok(new), Ok(existing)) = (Data::read(source.as_handle()), nt::open(base, name, request)) else {
        return Ok(false);
    };
    let Ok(old) = Data::read(existing.as_handle()) else {
        return Ok(false);
    };
    if new.is_junction() && old.is_junction() {
        new.write(existing.as_handle())?;
        remove(source)?;
        return Ok(true);
    }
    if new.target().is_err() || old.target().is_err() {
        return Ok(false);
    }
    remove(&existing)?;
    drop(existing);
    rename().map(|()| true)
}

fn remove(entry: &OwnedHandle) -> io::Result<()> {
    if nt::delete(entry.as_handle())? {
        Ok(())
    } else {
        nt::delete_at_last_close(entry.as_handle())
    }
}

/// Path of an entry without links, short names and `\\?\`. Components that do not exist are kept as they are.
fn real(entry: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(entry)?;
    let mut present = absolute.as_path();
    let mut missing = Vec::new();
    loop {
        match nt::open(Base::Current, present, Request::existing(FILE_READ_ATTRIBUTES, 0)) {
            Ok(found) => {
                let mut real = path::simplify(path::of_handle(found.as_handle())?);
                real.extend(missing.iter().rev());
                return Ok(real);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (Some(parent), Some(name)) = (present.parent(), present.file_name()) else {
                    return Err(error);
                };
                missing.push(name);
                present = parent;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The path that a link in the directory `home` leads to. Other links are not followed.
fn resolve(home: &Path, target: &Path) -> PathBuf {
    let mut path = path::simplify(home.to_path_buf());
    for component in target.components() {
        match component {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}

/// Relative path between two absolute paths, with `/` between its components. `None` if they are on different volumes.
fn relative(from: &Path, to: &Path) -> Option<PathBuf> {
    let same =
        |one: &Component<'_>, other: &Component<'_>| one.as_os_str().eq_ignore_ascii_case(other.as_os_str());
    let (mut from, mut to) = (from.components().peekable(), to.components().peekable());
    if !same(&from.next()?, &to.next()?) {
        return None;
    }
    while from
        .peek()
        .zip(to.peek())
        .is_some_and(|(one, other)| same(one, other))
    {
        from.next();
        to.next();
    }
    let up = from.map(|_| Some(".."));
    let parts: Option<Vec<&str>> = up.chain(to.map(|part| part.as_os_str().to_str())).collect();
    let text = parts?.join("/");
    Some(PathBuf::from(if text.is_empty() {
        OsStr::new(".")
    } else {
        OsStr::new(&text)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_junction_reads_as_a_relative_link() {
        let relative = |from: &str, to: &str| {
            relative(Path::new(from), Path::new(to)).and_then(|path| path.to_str().map(str::to_owned))
        };
        let packages = r"C:\app\node_modules";
        let cases = [
            (
                packages,
                r"c:\App\node_modules\.pnpm\a@1\node_modules\a",
                Some(".pnpm/a@1/node_modules/a"),
            ),
            (packages, r"C:\app\packages\b", Some("../packages/b")),
            (packages, packages, Some(".")),
            (packages, r"D:\a", None),
        ];
        for (from, to, expected) in cases {
            assert_eq!(relative(from, to).as_deref(), expected, "{to}");
        }
        assert_eq!(
            resolve(Path::new(packages), Path::new("../packages/b")),
            Path::new(r"C:\app\packages\b")
        );
        assert_eq!(
            resolve(Path::new(packages), Path::new(r"D:\a")),
            Path::new(r"D:\a")
        );
    }
}
