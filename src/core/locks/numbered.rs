//! The numbered records, the truth in both modes: `.K.lease/<n>.json` while it is held, `<n>.free` once it was
//! given back. The highest counts.
//!
//! link(2) gives a finished file its number: create-if-absent, atomic, also on NFS. A rename would replace a
//! record that another taker has just linked. Giving back is one rename, because a new file that is renamed over
//! an old one is written out at once by ext4 (auto_da_alloc): 0.7 ms on a busy disk, against 0.02 ms.
//!
//! A slow taker can link a number that was given back meanwhile: then both names stand, and the held one counts
//! until that taker has looked, found that its record is not alone, and removed it.

use std::path::{Path, PathBuf};

use super::paths::LockPath;
use super::record::{self, Contents, Mode, Record};
use super::shared;
use crate::core::error::{Code, Error, Optional as _, Result};
use crate::core::sys::{fault, fs};

/// Largest number, and largest base, that is taken for one: their sum is exact in a JavaScript number.
pub(super) const MAX_NUMBER: u64 = 1 << 52;
/// On btrfs a listing lacks what is renamed after it was begun (39 of 15 982, under a heartbeat without a pause):
/// that there is nothing is believed when so many listings say it.
const EMPTY_LISTINGS: usize = 3;
/// Each time somebody was faster in giving the record back or in following it.
const MAX_REREADS: usize = 10_000;

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
    /// Given back: nobody holds the lock.
    pub(super) is_free: bool,
    /// `None` where it cannot be read: a torn write of a machine that lost power.
    pub(super) record: Option<Box<Record>>,
}

impl Top {
    /// Whether this record is the highest one or of a holder that it has followed.
    pub(super) fn reaches(&self, record: &Record) -> bool {
        let is_reached =
            |top: &Record| top.token == record.token || (top.base == record.base && record.n <= top.n);
        self.record.as_deref().is_some_and(is_reached)
    }
}

/// The name of one record, in the order in which they count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    n: u64,
    is_held: bool,
}

impl Name {
    fn held(n: u64) -> Self {
        Self { n, is_held: true }
    }

    fn free(n: u64) -> Self {
        Self { n, is_held: false }
    }

    fn parse(name: &str) -> Option<Self> {
        let (digits, ending) = name.split_once('.')?;
        let n = digits.parse().ok().filter(|n| (1..=MAX_NUMBER).contains(n))?;
        let name = match ending {
            "json" => Self::held(n),
            "free" => Self::free(n),
            _ => return None,
        };
        // `01.json` is not the file that number 1 would be read from.
        (n.to_string() == digits).then_some(name)
    }
}

impl Numbered {
    pub(super) fn of(lock: &LockPath) -> Self {
        Self {
            directory: lock.records(),
        }
    }

    /// The record of whoever holds this number.
    pub(super) fn path(&self, n: u64) -> PathBuf {
        self.path_of(Name::held(n))
    }

    fn path_of(&self, name: Name) -> PathBuf {
        let ending = if name.is_held { "json" } else { "free" };
        self.directory.join(format!("{}.{ending}", name.n))
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// All records that stand.
    fn names(&self) -> Result<Vec<Name>> {
        let entries = fs::read_directory(&self.directory)
            .optional()?
            .unwrap_or_default();
        let name = |entry: &fs::Entry| Name::parse(entry.name.to_str()?);
        Ok(entries.iter().filter_map(name).collect())
    }

    /// The highest record; `None` where none stands.
    pub(super) fn top(&self) -> Result<Option<Top>> {
        let mut empty = 0;
        for _ in 0..MAX_REREADS {
            let Some(name) = self.names()?.into_iter().max() else {
                empty += 1;
                if empty == EMPTY_LISTINGS {
                    return Ok(None);
                }
                continue;
            };
            // Gone between the two calls: it was given back, or a successor has removed it.
            if let Some((bytes, contents)) = record::read(&self.path_of(name))? {
                let record = match contents {
                    Contents::Record(record) => Some(record),
                    _ => None,
                };
                return Ok(Some(Top {
                    n: name.n,
                    bytes,
                    is_free: !name.is_held,
                    record,
                }));
            }
        }
        let message = format!(
            "the records in '{}' have been changing faster than they can be read",
            self.directory.display()
        );
        Err(Error::new(Code::Io, message).at(&self.directory))
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
            Err(error) if error.is_exists() => self.is_linked(finished, n),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) if has_no_links(&error) => Err(self.unsupported(error)),
            Err(error) => Err(error),
        }
    }

    /// NFS sends a link again whose answer was lost, and says that the name exists: two names tell (open(2), `O_EXCL`).
    fn is_linked(&self, finished: &Path, n: u64) -> Result<bool> {
        let ours = fs::stat(finished)?;
        if ours.links < 2 {
            return Ok(false);
        }
        let standing = fs::stat(&self.path(n)).optional()?;
        Ok(standing.is_some_and(|standing| (standing.device, standing.inode) == (ours.device, ours.inode)))
    }

    /// Whether our record of this number stands, and nothing beside or above it. What is below it then goes.
    pub(super) fn settle(&self, n: u64, mode: Mode) -> Result<bool> {
        let ours = Name::held(n);
        let mut names = self.names()?;
        if mode == Mode::Lease {
            // Nothing else stands between us and a holder that one listing lacks.
            names.extend(self.names()?);
        }
        let stands_alone = names.contains(&ours) && names.iter().all(|name| name.n < n || *name == ours);
        if !stands_alone && !fault::mutant("lock-no-check-after-link") {
            return Ok(false);
        }
        for below in names.into_iter().filter(|name| name.n < n) {
            fs::remove_file(&self.path_of(below)).optional()?;
        }
        Ok(true)
    }

    /// Gives a record back, in one step.
    pub(super) fn free(&self, n: u64) -> Result<()> {
        fs::rename(&self.path(n), &self.path_of(Name::free(n)))
    }

    /// Makes the directory, open to everybody who may use the one it is in.
    pub(super) fn ensure_directory(&self, temporary: &Path) -> Result<()> {
        shared::make_directory(&self.directory, temporary)
    }

    /// Removes a record that was held.
    pub(super) fn remove(&self, n: u64) -> Result<()> {
        fs::remove_file(&self.path(n)).optional().map(drop)
    }

    pub(super) fn exhausted(&self) -> Error {
        let message = format!(
            "the records in '{}' have reached the last number, {MAX_NUMBER}, which no taking makes: remove that directory while nobody has the lock",
            self.directory.display()
        );
        Error::new(Code::Format, message).at(&self.directory)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_whose_answer_was_lost_is_ours() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let numbered = Numbered {
            directory: root.path().to_path_buf(),
        };
        let [ours, anothers] = ["ours", "anothers"].map(|name| root.path().join(name));
        for finished in [&ours, &anothers] {
            fs::write_new(finished, b"{}", 0o644).expect("a finished record");
        }
        assert!(numbered.link(&ours, 1).expect("linked"));
        assert!(numbered.link(&ours, 1).expect("linked, and sent again"));
        assert!(!numbered.link(&anothers, 1).expect("taken"));
        assert!(numbered.link(&anothers, 2).expect("linked"));
        assert!(
            !numbered
                .link(&anothers, 1)
                .expect("it has two names, and 1 is another's")
        );
    }
}
