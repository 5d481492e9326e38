//! Entries of directories.

use std::ffi::OsString;
use std::io;
use std::mem::offset_of;
use std::os::windows::ffi::OsStringExt as _;
use std::os::windows::io::{AsHandle as _, AsRawHandle as _, BorrowedHandle, OwnedHandle};
use std::path::Path;

use windows_sys::Wdk::Storage::FileSystem::FILE_DIRECTORY_FILE;
use windows_sys::Win32::Foundation::{ERROR_FILE_NOT_FOUND, ERROR_NO_MORE_FILES};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_GENERIC_READ, FILE_ID_BOTH_DIR_INFO, FileIdBothDirectoryInfo, FileIdBothDirectoryRestartInfo,
    GetFileInformationByHandleEx,
};

use super::super::types::Entry;
use super::nt::{self, Base, Request};
use super::{errno, stat};

/// 64 KiB. Some network filesystems refuse more.
const BUFFER_WORDS: usize = (64 << 10) / 8;

/// Entries of a directory, in the order of the filesystem.
pub(crate) struct Entries {
    directory: OwnedHandle,
    batch: std::vec::IntoIter<Entry>,
    is_begun: bool,
    has_ended: bool,
}

impl Entries {
    /// Lists through this handle.
    pub(crate) fn of(directory: OwnedHandle) -> io::Result<Self> {
        Ok(Self {
            directory,
            batch: Vec::new().into_iter(),
            is_begun: false,
            has_ended: false,
        })
    }

    /// Opens the directory a second time, because the position of a listing belongs to its handle.
    pub(crate) fn of_open(directory: Base<'_>) -> io::Result<Self> {
        let request = Request::existing(FILE_GENERIC_READ, FILE_DIRECTORY_FILE);
        Self::of(nt::open(directory, Path::new("."), request)?)
    }
}

impl Iterator for Entries {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.batch.next() {
                return Some(Ok(entry));
            }
            if self.has_ended {
                return None;
            }
            match read_batch(self.directory.as_handle(), !self.is_begun) {
                Ok(Some(batch)) => self.batch = batch.into_iter(),
                Ok(None) => self.has_ended = true,
                Err(error) => {
                    self.has_ended = true;
                    return Some(Err(error));
                }
            }
            self.is_begun = true;
        }
    }
}

/// Lists all entries from the first one.
pub(super) fn all(directory: BorrowedHandle<'_>) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut is_begun = false;
    while let Some(batch) = read_batch(directory, !is_begun)? {
        entries.extend(batch);
        is_begun = true;
    }
    Ok(entries)
}

/// Returns the next entries, or `None` after the last one.
fn read_batch(directory: BorrowedHandle<'_>, from_start: bool) -> io::Result<Option<Vec<Entry>>> {
    let mut buffer = vec![0_u64; BUFFER_WORDS];
    let class = if from_start {
        FileIdBothDirectoryRestartInfo
    } else {
        FileIdBothDirectoryInfo
    };
    let size = u32::try_from(BUFFER_WORDS * 8).unwrap_or(u32::MAX);
    // SAFETY: the handle is open, and the buffer has `size` bytes.
    let is_read = unsafe {
        GetFileInformationByHandleEx(directory.as_raw_handle(), class, buffer.as_mut_ptr().cast(), size)
    };
    if is_read == 0 {
        let error = io::Error::last_os_error();
        let is_end = errno::is_one_of(&error, &[ERROR_NO_MORE_FILES])
            || from_start && errno::is_one_of(&error, &[ERROR_FILE_NOT_FOUND]);
        return if is_end { Ok(None) } else { Err(error) };
    }
    // SAFETY: the system has filled the buffer with a chain of these structures, each followed by its name.
    Ok(Some(unsafe { parse(buffer.as_ptr().cast()) }))
}

/// # Safety
/// `first` begins a chain of `FILE_ID_BOTH_DIR_INFO`, each followed by its name.
unsafe fn parse(first: *const u8) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut at = first;
    loop {
        // SAFETY: all these fields are 32-bit numbers in one structure of the chain.
        let number = |offset: usize| unsafe { at.add(offset).cast::<u32>().read_unaligned() };
        let length = number(offset_of!(FILE_ID_BOTH_DIR_INFO, FileNameLength)) as usize / 2;
        let units: Vec<u16> = (0..length)
            .map(|index| {
                let offset = offset_of!(FILE_ID_BOTH_DIR_INFO, FileName) + index * 2;
                // SAFETY: the name has this length.
                unsafe { at.add(offset).cast::<u16>().read_unaligned() }
            })
            .collect();
        let name = OsString::from_wide(&units);
        if name != "." && name != ".." {
            // For a reparse point, the size field of the extended attributes contains its tag.
            let tag = number(offset_of!(FILE_ID_BOTH_DIR_INFO, EaSize));
            let attributes = number(offset_of!(FILE_ID_BOTH_DIR_INFO, FileAttributes));
            entries.push(Entry {
                name,
                kind: Some(stat::kind(attributes, tag)),
            });
        }
        match number(offset_of!(FILE_ID_BOTH_DIR_INFO, NextEntryOffset)) as usize {
            0 => return entries,
            // SAFETY: the next structure begins there.
            next => at = unsafe { at.add(next) },
        }
    }
}
