//! The numbered records, the truth in both modes: `.K.lease/<n>.json`, of which the highest counts.
//!
//! link(2) gives a finished file its number: create-if-absent, atomic, also on NFS. A rename would replace a
//! record that another taker has just linked.

use std::path::{Path, PathBuf};

use super::paths::LockPath;
use super::record::{self, Contents, Record};
use crate::core::error::{Code, Error, Optional as _, Result};
use crate::core::sys::{fault, fs};

/// The directory of one lock's records.
#[derive(Debug, Clone)]
pub(super) struct Numbered {
    directory: PathBuf,
}

/// The highest record.
#[derive(Debug, Clone)]
pub(super) struct Top {
    pub(super) n: u64,
    pub(super) bytes: Vec<u8>,
    /// `None` where it cannot be read: a torn write of a machine that lost power.
    pub(super) record: Option<Box<Record>>,
}

impl Numbered {
    pub(super) fn of(lock: &LockPath) -> Self {
        Self {
            directory: lock.records(),
        }
    }

    pub(super) fn path(&self, n: u64) -> PathBuf {
        self.directory.join(format!("{n}.json"))
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// All numbers that stand.
    pub(super) fn numbers(&self) -> Result<Vec<u64>> {
        let entries = fs::read_directory(&self.directory)
            .optional()?
            .unwrap_or_default();
        let number = |entry: &fs::Entry| entry.name.to_str()?.strip_suffix(".json")?.parse().ok();
        Ok(entries.iter().filter_map(number).collect())
    }

    /// The highest record; `None` where none stands.
    pub(super) fn top(&self) -> Result<Option<Top>> {
        loop {
            let Some(n) = self.numbers()?.into_iter().max() else {
                return Ok(None);
            };
            // Gone between the two calls: a successor has removed it.
            if let Some((bytes, contents)) = record::read(&self.path(n))? {
                let record = match contents {
                    Contents::Record(record) => Some(record),
                    _ => None,
                };
                return Ok(Some(Top { n, bytes, record }));
            }
        }
    }

    /// Gives a finished record its number. `false` where another taker was first, or the directory is gone.
    pub(super) fn link(&self, finished: &Path, n: u64) -> Result<bool> {
        if fault::mutant("lock-take-by-rename") {
            let copy = finished.with_extension("mutant");
            fs::write_new(&copy, &fs::read(finished)?, 0o644)?;
            return fs::rename(&copy, &self.path(n)).map(|()| true);
        }
        match fs::link(finished, &self.path(n)) {
            Ok(()) => Ok(true),
            Err(error) if error.is_exists() || error.is_not_found() => Ok(false),
            Err(error) if has_no_links(&error) => Err(self.unsupported(error)),
            Err(error) => Err(error),
        }
    }

    /// Makes the directory, open to everybody who may use the one it is in.
    pub(super) fn ensure_directory(&self) -> Result<()> {
        match fs::create_directory(&self.directory, 0o777) {
            Ok(()) => {
                let parent = self.directory.parent().unwrap_or(Path::new("/"));
                fs::set_mode(&self.directory, fs::stat_followed(parent)?.mode & 0o777)
            }
            Err(error) if error.is_exists() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes one record.
    pub(super) fn remove(&self, n: u64) -> Result<()> {
        fs::remove_file(&self.path(n)).optional().map(drop)
    }

    /// Removes what a taker has followed.
    pub(super) fn remove_below(&self, n: u64) -> Result<()> {
        self.numbers()?
            .into_iter()
            .filter(|number| *number < n)
            .try_for_each(|number| self.remove(number))
    }

    fn unsupported(&self, error: Error) -> Error {
        Error {
            code: Code::Unsupported,
            message: format!(
                "the filesystem of '{}' has no hard links, which locks are taken with: use a lock path on another filesystem",
                self.directory.display()
            ),
            ..error
        }
    }
}

fn has_no_links(error: &Error) -> bool {
    let errno = error.errno();
    [
        rustix::io::Errno::PERM,
        rustix::io::Errno::NOTSUP,
        rustix::io::Errno::OPNOTSUPP,
        rustix::io::Errno::NOSYS,
        rustix::io::Errno::MLINK,
    ]
    .iter()
    .any(|each| errno == Some(each.raw_os_error()))
}
