//! The entry to lock: at a path, or in an open directory.

use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;

use crate::core::error::Result;
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::{self, Access, Stat};

/// The entry to lock.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry<'a> {
    At(&'a Path),
    In(&'a Directory, &'a OsStr, &'a Path),
}

impl<'a> Entry<'a> {
    pub(super) fn path(self) -> &'a Path {
        match self {
            Self::At(path) | Self::In(_, _, path) => path,
        }
    }

    pub(super) fn stat(self) -> Result<Stat> {
        match self {
            Self::At(path) => fs::stat(path),
            Self::In(directory, name, path) => directory.stat(name, path),
        }
    }

    pub(super) fn open(self, access: Access) -> Result<(File, Stat)> {
        match self {
            Self::At(path) => fs::open_regular_with_stat(path, access),
            Self::In(directory, name, path) => directory.open_regular_with_stat(name, access, path),
        }
    }

    pub(super) fn open_any(self) -> Result<File> {
        match self {
            Self::At(path) => fs::open_any(path),
            Self::In(directory, name, path) => directory.open_file(name, path),
        }
    }

    pub(super) fn open_or_create(self, mode: u32) -> Result<(File, Stat)> {
        match self {
            Self::At(path) => fs::open_or_create_with_stat(path, mode),
            Self::In(directory, name, path) => directory.open_or_create_with_stat(name, mode, path),
        }
    }

    pub(super) fn create_new(self, mode: u32) -> Result<File> {
        match self {
            Self::At(path) => fs::create_new(path, mode),
            Self::In(directory, name, path) => directory.create_new(name, mode, path),
        }
    }
}
