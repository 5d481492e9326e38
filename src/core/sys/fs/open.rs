//! Opening files by path.

use std::fs::File;
use std::io;
use std::path::Path;

use super::entry::{remove_file, stat, stat_file};
use crate::core::error::{Error, Result};
use crate::core::sys::call::call;
use crate::core::sys::errno;
use crate::core::sys::platform::files::{self, CURRENT};
use crate::core::sys::platform::{self, Access, Create, Kind, OpenOptions, Stat, volume};

/// Opens an entry.
pub(crate) fn open(path: &Path, options: OpenOptions) -> Result<File> {
    call("open", path, || files::open(CURRENT, path, options)).map(File::from)
}

/// Opens an existing entry of any kind for reading. Does not follow links and never blocks. The caller checks the kind.
pub fn open_any(path: &Path) -> Result<File> {
    open(path, OpenOptions::unknown(Access::Read))
}

/// Opens an existing regular file. Any other kind of entry is an error that names it. Never blocks: opening a FIFO
/// would wait for its other end, and opening a device can have any effect.
pub fn open_regular(path: &Path, access: Access) -> Result<File> {
    open_regular_with_stat(path, access).map(|(file, _)| file)
}

/// Like [`open_regular`], also returns the stat of the open file.
pub fn open_regular_with_stat(path: &Path, access: Access) -> Result<(File, Stat)> {
    checked(open(path, OpenOptions::unknown(access)), path)
}

fn checked(opened: Result<File>, path: &Path) -> Result<(File, Stat)> {
    match opened {
        Ok(file) => {
            let stat = stat_file(&file, path)?;
            expect_regular(stat, path).map(|()| (file, stat))
        }
        Err(error) => Err(explain(error, || stat(path), path)),
    }
}

/// Names the kind of the entry in the error, because `open` only returned an errno.
pub(in super::super) fn explain(error: Error, stat: impl Fn() -> Result<Stat>, path: &Path) -> Error {
    if !errno::is_wrong_kind(&error) {
        return error;
    }
    match stat().and_then(|stat| expect_regular(stat, path)) {
        Err(named) if !named.is_not_found() => named,
        _ => error,
    }
}

/// Fails if an entry is not a regular file, with a message that names its kind.
pub(in super::super) fn expect_regular(stat: Stat, path: &Path) -> Result<()> {
    let found = match stat.kind {
        Kind::File => return Ok(()),
        Kind::Directory => "a directory",
        Kind::Symlink => "a symbolic link",
        Kind::Other => "a pipe, socket or device",
    };
    let mut error = Error::io("open", path, platform::errno::wrong_kind(stat.kind));
    error.message = format!(
        "'{}' is {found} of uid {}. Expected a regular file. Remove it, or use another path",
        path.display(),
        stat.uid
    );
    Err(error)
}

/// Opens a file for reading and follows links. For paths that the caller passed.
pub fn open_followed(path: &Path) -> Result<File> {
    open(
        path,
        OpenOptions {
            follow: true,
            ..OpenOptions::READ
        },
    )
}

/// Opens a file for reading and writing, and creates it if it does not exist. The last component must not be a link. An
/// existing entry must be a regular file, as in [`open_regular`].
pub fn open_or_create(path: &Path, mode: u32) -> Result<File> {
    open_or_create_with_stat(path, mode).map(|(file, _)| file)
}

/// Like [`open_or_create`], also returns the stat of the open file.
pub fn open_or_create_with_stat(path: &Path, mode: u32) -> Result<(File, Stat)> {
    let options = OpenOptions {
        create: Create::IfMissing(mode),
        ..OpenOptions::unknown(Access::ReadWrite)
    };
    checked(open(path, options), path)
}

/// Creates a new file. Fails with `AlreadyExists` if the name is in use.
pub fn create_new(path: &Path, mode: u32) -> Result<File> {
    open(path, OpenOptions::new(Access::Write, mode))
}

/// Creates a file without a name in `directory`, for reading and writing. It is removed when it is closed, also by a
/// kill.
pub fn anonymous(directory: &Path) -> Result<File> {
    match call("open", directory, || volume::open_anonymous(directory)) {
        // For filesystems without such files: a name that is removed immediately.
        Err(error)
            if matches!(
                error.kind(),
                Some(io::ErrorKind::Unsupported | io::ErrorKind::IsADirectory)
            ) => {}
        opened => return opened.map(File::from),
    }
    let path = directory.join(format!(".warmswap-spool-{}", uuid::Uuid::new_v4().simple()));
    let file = open(&path, OpenOptions::new(Access::ReadWrite, 0o600))?;
    remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::sys::fs::{create_directory, read, read_capped, symlink};

    #[test]
    fn only_regular_files_are_opened_and_no_call_blocks() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| root.path().join(name);
        create_directory(&at("directory"), 0o755).expect("mkdir");
        symlink(Path::new("directory"), &at("link")).expect("symlink");
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{CWD, FileType, Mode, mknodat};

            mknodat(CWD, at("pipe"), FileType::Fifo, Mode::from_raw_mode(0o666), 0).expect("mkfifo");
        }
        let entries = [
            ("directory", "a directory"),
            ("link", "a symbolic link"),
            #[cfg(target_os = "linux")]
            ("pipe", "a pipe"),
        ];
        for (name, found) in entries {
            let path = at(name);
            let calls = [
                read(&path).map(drop),
                read_capped(&path, 9).map(drop),
                open_regular(&path, Access::ReadWrite).map(drop),
                open_or_create(&path, 0o644).map(drop),
            ];
            for result in calls {
                let error = result.expect_err(name);
                assert!(error.message.contains(found), "{name}: {}", error.message);
            }
        }
    }

    #[test]
    fn an_error_contains_operation_path_and_errno() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let missing = root.path().join("at all");
        let error = read(&missing).expect_err("a missing path");
        assert_eq!((error.op, error.errno()), (Some("open"), Some(2)));
        assert_eq!(error.path, Some(missing));
    }
}
