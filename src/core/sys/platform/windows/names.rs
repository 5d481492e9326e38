//! Creates, changes and removes the names of entries.

use std::io;
use std::os::windows::io::{AsHandle as _, OwnedHandle};
use std::path::Path;

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_DIRECTORY_FILE, FILE_NON_DIRECTORY_FILE, FILE_OPEN_REPARSE_POINT,
    FILE_RENAME_IGNORE_READONLY_ATTRIBUTE, FILE_RENAME_POSIX_SEMANTICS, FILE_RENAME_REPLACE_IF_EXISTS,
    FileLinkInformation, FileRenameInformation, FileRenameInformationEx,
};
use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_DIR_NOT_EMPTY, ERROR_DIRECTORY, ERROR_DIRECTORY_NOT_SUPPORTED,
    ERROR_NOT_SUPPORTED, ERROR_SHARING_VIOLATION,
};
use windows_sys::Win32::Storage::FileSystem::{
    DELETE, FILE_ATTRIBUTE_DIRECTORY, FILE_GENERIC_READ, FILE_READ_ATTRIBUTES, FILE_WRITE_ATTRIBUTES,
};

use super::super::types::Kind;
use super::listing::Entries;
use super::nt::{self, Base, IN_USE, Request};
use super::{errno, links, stat};

/// Creates a hard link.
pub(crate) fn link(from: Base<'_>, existing: &Path, base: Base<'_>, name: &Path) -> io::Result<()> {
    let file = nt::open(
        from,
        existing,
        Request::existing(FILE_WRITE_ATTRIBUTES, FILE_OPEN_REPARSE_POINT),
    )?;
    nt::set_name(file.as_handle(), FileLinkInformation, 0, base, name)
}

fn open_to_remove(base: Base<'_>, name: &Path, options: u32) -> io::Result<OwnedHandle> {
    let access = DELETE | FILE_READ_ATTRIBUTES;
    nt::open(
        base,
        name,
        Request::existing(access, options | FILE_OPEN_REPARSE_POINT),
    )
}

/// Renames an entry. Replaces a file, link or empty directory with the new name, even if other processes have it open.
pub(crate) fn rename(from: Base<'_>, name: &Path, to: Base<'_>, new: &Path) -> io::Result<()> {
    let source = open_to_remove(from, name, 0)?;
    nt::while_in_use(&IN_USE, || {
        let error = match replace(&source, to, new) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match stat::at(to, new, false) {
            Ok(found) if found.kind == Kind::Directory => {
                let is_directory = stat::attributes(source.as_handle())? & FILE_ATTRIBUTE_DIRECTORY != 0;
                if !is_directory {
                    return Err(errno::of(ERROR_DIRECTORY_NOT_SUPPORTED));
                }
                // The filesystem cannot replace directories. For a moment, another process may see no directory.
                remove_directory(to, new)?;
                replace(&source, to, new)
            }
            // Filesystems that cannot replace a link to a directory either.
            Ok(found)
                if found.kind == Kind::Symlink
                    && links::replace_link(&source, to, new, || replace(&source, to, new))? =>
            {
                Ok(())
            }
            _ => Err(error),
        }
    })
}

fn replace(source: &OwnedHandle, to: Base<'_>, new: &Path) -> io::Result<()> {
    let flags =
        FILE_RENAME_REPLACE_IF_EXISTS | FILE_RENAME_POSIX_SEMANTICS | FILE_RENAME_IGNORE_READONLY_ATTRIBUTE;
    match nt::set_name(source.as_handle(), FileRenameInformationEx, flags, to, new) {
        // Filesystems without POSIX semantics, and Wine.
        Err(error) if errno::is_unsupported(&error) => nt::set_name(
            source.as_handle(),
            FileRenameInformation,
            FILE_RENAME_REPLACE_IF_EXISTS,
            to,
            new,
        ),
        renamed => renamed,
    }
}

/// Renames an entry. Fails if the new name is in use.
pub(crate) fn rename_new(from: Base<'_>, name: &Path, to: Base<'_>, new: &Path) -> io::Result<()> {
    let source = open_to_remove(from, name, 0)?;
    nt::while_in_use(&IN_USE, || {
        nt::set_name(source.as_handle(), FileRenameInformation, 0, to, new)
    })
}

/// Not supported.
pub(crate) fn exchange(_from: Base<'_>, _name: &Path, _to: Base<'_>, _other: &Path) -> io::Result<()> {
    Err(errno::of(ERROR_NOT_SUPPORTED))
}

/// Converts the error for a file that another program has open without sharing deletion. This user cannot remove it
/// now, so it counts like a file that access rights protect.
fn as_denied(error: io::Error) -> io::Error {
    if errno::is_one_of(&error, &[ERROR_SHARING_VIOLATION]) {
        errno::of(ERROR_ACCESS_DENIED)
    } else {
        error
    }
}

/// Removes a file or a link.
pub(crate) fn remove_file(base: Base<'_>, name: &Path) -> io::Result<()> {
    remove_entry(base, name).map_err(as_denied)
}

fn remove_entry(base: Base<'_>, name: &Path) -> io::Result<()> {
    let entry = match open_to_remove(base, name, FILE_NON_DIRECTORY_FILE) {
        // A link to a directory counts as a directory.
        Err(error) if errno::is_one_of(&error, &[ERROR_DIRECTORY_NOT_SUPPORTED]) => {
            let entry = open_to_remove(base, name, 0)?;
            if stat::reparse_kind(entry.as_handle())? != Some(Kind::Symlink) {
                return Err(error);
            }
            entry
        }
        opened => opened?,
    };
    if nt::while_in_use(&[ERROR_SHARING_VIOLATION], || nt::delete(entry.as_handle()))? {
        return Ok(());
    }
    // The name must be free immediately, even if other processes have the file open.
    let unused = format!(".warmswap-removed-{}", uuid::Uuid::new_v4().simple());
    let beside = match base {
        Base::Current => name.with_file_name(unused),
        Base::Open(_) => unused.into(),
    };
    nt::set_name(entry.as_handle(), FileRenameInformation, 0, base, &beside)?;
    nt::delete_at_last_close(entry.as_handle()).inspect_err(|_| {
        // Such a filesystem removes no read-only file. It must keep its name then.
        drop(nt::set_name(
            entry.as_handle(),
            FileRenameInformation,
            0,
            base,
            name,
        ));
    })
}

/// Removes an empty directory.
pub(crate) fn remove_directory(base: Base<'_>, name: &Path) -> io::Result<()> {
    let directory = open_to_remove(base, name, FILE_DIRECTORY_FILE)?;
    if stat::reparse_kind(directory.as_handle())? == Some(Kind::Symlink) {
        return Err(errno::of(ERROR_DIRECTORY));
    }
    // Wine removes a directory even if it is not empty.
    if let Some(entry) = Entries::of(nt::reopen(
        directory.as_handle(),
        Request::existing(FILE_GENERIC_READ, FILE_DIRECTORY_FILE),
    )?)?
    .next()
    {
        return entry.and(Err(errno::of(ERROR_DIR_NOT_EMPTY)));
    }
    if nt::while_in_use(&[ERROR_SHARING_VIOLATION], || nt::delete(directory.as_handle()))? {
        return Ok(());
    }
    nt::delete_at_last_close(directory.as_handle())
}
