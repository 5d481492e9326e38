//! The numbered records, which decide in both modes: `.K.lease/<n>.json` while the lock is held, `<n>.free` after its
//! release. The highest number counts.
//!
//! link(2) gives a complete file its number. It creates the name only if it does not exist, atomically, also on NFS. A
//! rename would replace a record that another acquirer has just linked. A release is one rename to a new name. If it
//! replaced an existing file, ext4 would write the file out immediately (auto_da_alloc): 0.7 ms on a busy disk,
//! compared with 0.02 ms.
//!
//! A slow acquirer can link a number that was released in the meantime. Then both names exist. The held one counts
//! until that acquirer has checked, found the second name and removed its own record.
//!
//! The directory may belong to another user, who can replace it with another directory or a link at any time. It is
//! therefore opened once per acquisition, and all operations are relative to that descriptor, so that a rename stays
//! inside it. An entry that is not a regular file is not a record, whatever its name, but its number is not used.

use std::path::{Path, PathBuf};

use super::neighbours::{self, Neighbours};
use super::path::LockPath;
use super::prepared_directory::PreparedDirectory;
use super::record::{self, Contents, LockMode, Record};
use super::record_name::{MAX_NUMBER, RecordName};
use super::shared;
use crate::core::error::{Code, Error, Optional as _, Result};
use crate::core::sys::dir::Directory;
use crate::core::sys::fs::{Entry, Kind, Stat};
use crate::core::sys::{errno, fault, fs};

/// Number of empty listings that prove an empty directory. On btrfs, a listing can miss entries that are renamed after
/// it was started (39 of 15 982 listings, with continuous heartbeats).
const EMPTY_LISTINGS: usize = 3;
/// Maximum number of listings. Each repetition means that another process has released or superseded the record.
const MAX_REREADS: usize = 10_000;

/// Device and inode of the directory of a lock's records.
pub(super) type RecordsId = (u64, u64);

/// The open directory of one lock's records.
#[derive(Debug)]
pub(super) struct RecordLog {
    directory: Directory,
    path: PathBuf,
    id: RecordsId,
}

/// Content of the directory of one lock's records.
#[derive(Debug, Default)]
pub(super) struct Highest {
    pub(super) top: Option<TopRecord>,
    /// Highest number in use, including entries that are not records.
    pub(super) taken: u64,
}

/// The highest record.
#[derive(Debug, Clone)]
pub(super) struct TopRecord {
    pub(super) bytes: Vec<u8>,
    /// Whether it was released, so that the lock is free.
    pub(super) is_free: bool,
    /// `None` if it cannot be read: a torn write of a machine that lost power.
    pub(super) record: Option<Box<Record>>,
}

impl TopRecord {
    /// Whether this record is the highest one or belongs to a holder that the highest one has superseded.
    pub(super) fn reaches(&self, record: &Record) -> bool {
        let is_reached =
            |top: &Record| top.token == record.token || (top.base == record.base && record.n <= top.n);
        self.record.as_deref().is_some_and(is_reached)
    }
}

/// All records in the directory, and the highest number in use.
#[derive(Default)]
struct Names {
    records: Vec<RecordName>,
    taken: u64,
}

impl RecordLog {
    /// Opens the directory of a lock's records and reads the highest one. Returns `None` if the directory does not
    /// exist. A caller that is about to write passes `neighbours`.
    ///
    /// # Errors
    /// `ERR_UNTRUSTED` if it belongs to another user and not everybody may change it. Its owner could then make this
    /// process remove or replace files that only this process may change.
    pub(super) fn open_and_read(
        lock: &LockPath,
        neighbours: Option<&Neighbours>,
    ) -> Result<(Option<Self>, Highest)> {
        let Some(log) = Self::open(lock, neighbours)? else {
            return Ok((None, Highest::default()));
        };
        let listing = log.directory.fresh_entries(&log.path)?;
        let highest = log.highest_of(listing)?;
        Ok((Some(log), highest))
    }

    fn open(lock: &LockPath, neighbours: Option<&Neighbours>) -> Result<Option<Self>> {
        let path = lock.records();
        let directory = match Directory::open(&path) {
            Err(error) if error.is_not_found() => return Ok(None),
            opened => opened
                .map_err(|error| neighbours::explain(error, &path, "records", Kind::Directory, neighbours))?,
        };
        let stat = directory.own_stat(&path)?;
        if let Some(neighbours) = neighbours.filter(|_| !is_writable_by_all(&stat)) {
            neighbours.check(&stat, &path)?;
        }
        Ok(Some(Self {
            directory,
            path,
            id: id_of(&stat),
        }))
    }

    /// Opens the directory, and creates it if it is missing, with the permissions of its parent.
    pub(super) fn open_or_make(lock: &LockPath, neighbours: &Neighbours) -> Result<Option<Self>> {
        shared::make_directory(&lock.records(), &lock.next())?;
        Self::open(lock, Some(neighbours))
    }

    /// Identity of the directory.
    pub(super) fn id(&self) -> RecordsId {
        self.id
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(super) fn directory_path(&self) -> &Path {
        &self.path
    }

    /// Whether the open directory is still the one at its path.
    pub(super) fn is_current(&self) -> Result<bool> {
        if fault::is_seeded("lock-records-by-path") {
            return Ok(true);
        }
        self.is_at(&self.path)
    }

    /// Whether the open directory is the one at this path.
    pub(super) fn is_at(&self, path: &Path) -> Result<bool> {
        let stat = fs::stat(path).optional()?;
        Ok(stat.is_some_and(|stat| id_of(&stat) == self.id))
    }

    /// Path of the record with this number while it is held.
    pub(super) fn path(&self, n: u64) -> PathBuf {
        self.path.join(RecordName::held(n).text())
    }

    fn names(&self) -> Result<Names> {
        Ok(self.names_of(self.directory.entries(&self.path)?))
    }

    fn names_of(&self, entries: Vec<Entry>) -> Names {
        let mut names = Names::default();
        for entry in entries {
            let Some(name) = entry.name.to_str().and_then(RecordName::parse) else {
                continue;
            };
            names.taken = names.taken.max(name.n);
            let kind = entry.kind.or_else(|| {
                let stat = self.directory.stat(&entry.name, &self.path.join(&entry.name));
                Some(stat.ok()?.kind)
            });
            if kind == Some(Kind::File) {
                names.records.push(name);
            }
        }
        names
    }

    /// Returns the highest record, or `None` if there is no record.
    pub(super) fn top(&self) -> Result<Option<TopRecord>> {
        let entries = self.directory.entries(&self.path)?;
        Ok(self.highest_of(entries)?.top)
    }

    fn highest_of(&self, entries: Vec<Entry>) -> Result<Highest> {
        let mut names = self.names_of(entries);
        let mut empty = 0;
        for _ in 0..MAX_REREADS {
            let taken = names.taken;
            if let Some(name) = names.records.into_iter().max() {
                // Removed between the two calls: it was released, or a successor has removed it.
                if let Some((bytes, contents)) = self.read(name)? {
                    let record = match contents {
                        Contents::Record(record) => Some(record),
                        _ => None,
                    };
                    let top = Some(TopRecord {
                        bytes,
                        is_free: !name.is_held,
                        record,
                    });
                    return Ok(Highest { top, taken });
                }
            } else {
                empty += 1;
                if empty == EMPTY_LISTINGS {
                    return Ok(Highest { top: None, taken });
                }
            }
            names = self.names()?;
        }
        let message = format!(
            "The records in '{}' change faster than they can be read. Try again",
            self.path.display()
        );
        Err(Error::new(Code::Io, message).at(&self.path))
    }

    fn read(&self, name: RecordName) -> Result<Option<(Vec<u8>, Contents)>> {
        let text = name.text();
        record::read_in(&self.directory, &text, &self.path.join(&text))
    }

    /// Returns the record with this number, if it is held and can be read.
    pub(super) fn held(&self, n: u64) -> Result<Option<Box<Record>>> {
        Ok(match self.read(RecordName::held(n))? {
            Some((_, Contents::Record(record))) => Some(record),
            _ => None,
        })
    }

    /// Links a complete record with its number. Returns `false` if another acquirer was first or the directory no
    /// longer exists.
    pub(super) fn link(&self, finished: &PreparedDirectory, n: u64) -> Result<bool> {
        let path = self.path(n);
        if fault::is_seeded("lock-take-by-rename") {
            let copy = self.path.with_extension(uuid::Uuid::new_v4().to_string());
            fs::write_new(&copy, &fs::read(&finished.path.join("owner.json"))?, 0o644)?;
            return fs::rename(&copy, &path).map(|()| true);
        }
        match finished.link_owner(&self.directory, &RecordName::held(n).text(), &path) {
            Ok(()) => Ok(true),
            Err(error) if error.is_exists() => self.is_linked(finished, n),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) if errno::lacks_hard_links(&error) => Err(self.unsupported(error)),
            Err(error) => Err(error),
        }
    }

    /// Whether the record was linked despite the error. NFS repeats a link whose response was lost and then reports
    /// that the name exists. A link count of two proves the link (open(2), `O_EXCL`).
    fn is_linked(&self, finished: &PreparedDirectory, n: u64) -> Result<bool> {
        let ours = finished.record_file.stat_now(&self.path(n))?;
        if ours.links < 2 {
            return Ok(false);
        }
        let name = RecordName::held(n).text();
        let existing = self.directory.stat(&name, &self.path(n)).optional()?;
        Ok(existing.is_some_and(|existing| id_of(&existing) == id_of(&ours)))
    }

    /// Whether our record with this number exists, without a higher one or a second name. Removes the lower records if
    /// so.
    pub(super) fn confirm_and_prune(&self, n: u64, mode: LockMode) -> Result<bool> {
        let ours = RecordName::held(n);
        let mut names = self.names()?.records;
        if mode == LockMode::Lease {
            // Listed a second time, because one listing can miss a holder, and the directory may have been replaced.
            names.extend(self.names()?.records);
            if !self.is_current()? {
                return Ok(false);
            }
        }
        let stands_alone = names.contains(&ours) && names.iter().all(|name| name.n < n || *name == ours);
        if !stands_alone && !fault::is_seeded("lock-no-check-after-link") {
            return Ok(false);
        }
        for below in names.into_iter().filter(|name| name.n < n) {
            self.remove_name(below).optional()?;
        }
        Ok(true)
    }

    /// Releases a record atomically.
    pub(super) fn free(&self, n: u64) -> Result<()> {
        let free = RecordName::free(n).text();
        self.directory.rename(
            &RecordName::held(n).text(),
            &self.directory,
            &free,
            &self.path.join(&free),
        )
    }

    /// Replaces a held record. `next` is a path that only this call uses.
    pub(super) fn replace(&self, n: u64, next: &Path, bytes: &[u8]) -> Result<()> {
        let path = self.path(n);
        fs::write_new(next, bytes, 0o644)
            .and_then(|()| {
                if fault::is_seeded("lock-records-by-path") {
                    return fs::rename(next, &path);
                }
                self.directory
                    .rename_into(next, &RecordName::held(n).text(), &path)
            })
            .inspect_err(|_| drop(fs::remove_file(next)))
    }

    /// Removes a held record.
    pub(super) fn remove(&self, n: u64) -> Result<()> {
        self.remove_name(RecordName::held(n)).optional().map(drop)
    }

    fn remove_name(&self, name: RecordName) -> Result<()> {
        let text = name.text();
        self.directory.remove_file(&text, &self.path.join(&text))
    }

    fn unsupported(&self, error: Error) -> Error {
        Error {
            code: Code::Unsupported,
            message: format!(
                "The filesystem of '{}' does not support hard links, which locks require. Use a lock path on another filesystem",
                self.path.display()
            ),
            ..error
        }
    }
}

/// `ERR_FORMAT` for a lock whose highest number is in use.
pub(super) fn exhausted(lock: &LockPath) -> Error {
    let path = lock.records();
    let message = format!(
        "The records in '{}' have reached the highest number, {MAX_NUMBER}, although acquisitions alone cannot reach it. Remove that directory while the lock is not held",
        path.display()
    );
    Error::new(Code::Format, message).at(&path)
}

fn id_of(stat: &Stat) -> RecordsId {
    (stat.device, stat.inode)
}

/// Whether everybody may change everything in this directory, so that this process's operations in it give an attacker
/// nothing. The directory of records has such a mode if its parent is writable by everybody.
fn is_writable_by_all(stat: &Stat) -> bool {
    const OTHERS_MAY_WRITE: u32 = 0o002;
    const STICKY: u32 = 0o1000;
    stat.mode & (OTHERS_MAY_WRITE | STICKY) == OTHERS_MAY_WRITE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_with_a_lost_response_is_recognised() {
        let root = tempfile::tempdir().expect("a temporary directory");
        let lock = LockPath::parse(&root.path().join("key.lock").to_string_lossy()).expect("a path");
        let neighbours = Neighbours::of(root.path()).expect("stat");
        let log = RecordLog::open_or_make(&lock, &neighbours)
            .expect("made")
            .expect("there");
        let [ours, anothers] = ["ours", "anothers"].map(|name| {
            PreparedDirectory::make(&lock, &lock.prepared(name), b"{}", &neighbours)
                .expect("a finished record")
        });
        assert!(log.link(&ours, 1).expect("linked"));
        assert!(log.link(&ours, 1).expect("linked, and repeated"));
        assert!(!log.link(&anothers, 1).expect("taken"));
        assert!(log.link(&anothers, 2).expect("linked"));
        assert!(
            !log.link(&anothers, 1)
                .expect("it has two names, and number 1 belongs to another")
        );
    }
}
