//! The bytes of a stamp, written and read entry by entry: a million entries are 80 MB.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::OFlags;

use crate::core::error::{Code, Error, Result};
use crate::core::sys::flock;
use crate::core::sys::fs::{self, Kind};

use crate::core::archives::site::{Site, Target, follow};
use crate::core::archives::tree::{Facts, Hash, NodeKind};

const MAGIC: &[u8; 16] = b"warmswap stamp 2";
/// Stands where the kind of an entry would.
const END: u8 = 0;
const BUFFER_BYTES: usize = 256 << 10;

/// Where the stamp of a target is: an open directory, and the name in it.
pub(super) struct Place {
    site: Arc<Site>,
    name: String,
}

impl Place {
    pub(super) fn of(target: &Path) -> Result<Self> {
        let path = follow(target)?;
        let inside = |site| Self {
            site: Arc::new(site),
            name: ".warmswap-stamp".to_owned(),
        };
        if path.file_name().is_none() {
            return Site::open_followed(&path).map(inside);
        }
        let target = Target::open(&path, false)?;
        if target.stat()?.is_some() && target.is_mount()? {
            return target.site().map(inside);
        }
        let hash = blake3::hash(target.name.as_encoded_bytes()).to_hex();
        Ok(Self {
            site: target.parent,
            name: format!(".warmswap-stamp-{}", &hash[..16]),
        })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.site.path.join(&self.name)
    }

    /// Fails if the name is a stranger's, or that of anything but a regular file.
    fn check(&self, name: &str) -> Result<()> {
        match self.site.check(name.as_ref())? {
            Some(stat) if stat.kind != Kind::File => Err(refused(&self.site.path.join(name))),
            _ => Ok(()),
        }
    }

    fn temporary(&self) -> (String, PathBuf) {
        let name = format!("{}.new", self.name);
        let path = self.site.path.join(&name);
        (name, path)
    }
}

fn refused(path: &Path) -> Error {
    let message = format!(
        "'{}' is not a stamp that may be replaced. Expected a regular file with one name. Remove it",
        path.display()
    );
    Error::new(Code::Untrusted, message).at(path)
}

/// What a stamp says of one entry.
pub(super) struct Record<'a> {
    pub(super) path: &'a [u8],
    pub(super) kind: NodeKind,
    pub(super) mode: u16,
    pub(super) size: u64,
    pub(super) facts: Facts,
}

/// A stamp that is being written, as `<name>.new`; it takes the place of the one before when it is finished.
/// One name and a kernel lock, so that the half stamp of a process that was killed is written over, not kept.
pub(super) struct StampWriter {
    place: Place,
    temporary: PathBuf,
    file: File,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    is_finished: bool,
}

impl StampWriter {
    pub(super) fn begin(place: Place, generation: &str, taken_ns: i64) -> Result<Self> {
        let (name, temporary) = place.temporary();
        // What finish() replaces, and what is written over.
        place.check(&place.name)?;
        place.check(&name)?;
        let mut file = place
            .site
            .directory
            .open_or_create(name.as_ref(), 0o644, &temporary)?;
        // It can have been made since, and a second name (a hard link) can be one of any file of this disk.
        let stat = fs::stat_file(&file, &temporary)?;
        if stat.links > 1 || !place.site.trusts(&stat) {
            return Err(refused(&temporary));
        }
        // Where there are no locks (an error) two writers at once leave a damaged stamp, which is none.
        if !flock::try_exclusive(&file, &temporary).unwrap_or(true) {
            return Err(Error::new(Code::Io, "the stamp is being written by another call"));
        }
        fs::truncate(&mut file, 0, &temporary)?;
        let mut writer = Self {
            place,
            file,
            temporary,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            hasher: blake3::Hasher::new(),
            is_finished: false,
        };
        writer.buffer.extend_from_slice(MAGIC);
        writer.buffer.extend_from_slice(&taken_ns.to_le_bytes());
        writer.text(generation.as_bytes());
        Ok(writer)
    }

    pub(super) fn add(&mut self, record: &Record<'_>, hash: Hash) -> Result<()> {
        let out = &mut self.buffer;
        out.push(record.kind as u8);
        out.extend_from_slice(&record.mode.to_le_bytes());
        out.extend_from_slice(&record.size.to_le_bytes());
        out.extend_from_slice(&hash);
        out.extend_from_slice(&record.facts.inode.to_le_bytes());
        out.extend_from_slice(&record.facts.modified_ns.to_le_bytes());
        out.extend_from_slice(&record.facts.changed_ns.to_le_bytes());
        self.text(record.path);
        if self.buffer.len() >= BUFFER_BYTES - (8 << 10) {
            self.flush()?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.buffer.push(END);
        self.flush()?;
        let sum = self.hasher.finalize();
        fs::write_all(&mut self.file, sum.as_bytes(), &self.temporary)?;
        let (directory, name) = (&self.place.site.directory, self.place.temporary().0);
        let path = self.place.path();
        directory.rename(name.as_ref(), directory, self.place.name.as_ref(), &path)?;
        self.is_finished = true;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.hasher.update(&self.buffer);
        fs::write_all(&mut self.file, &self.buffer, &self.temporary)?;
        self.buffer.clear();
        Ok(())
    }

    fn text(&mut self, text: &[u8]) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "paths are shorter than 4096 bytes"
        )]
        self.buffer.extend_from_slice(&(text.len() as u16).to_le_bytes());
        self.buffer.extend_from_slice(text);
    }
}

impl Drop for StampWriter {
    fn drop(&mut self) {
        if !self.is_finished {
            // The stamp is a hint; the error that matters is the one that ended it.
            let name = self.place.temporary().0;
            let directory = &self.place.site.directory;
            drop(directory.remove_file(name.as_ref(), &self.temporary));
        }
    }
}

/// A stamp that is read entry by entry. What it said is only true if it turns out to be whole at its end.
pub(super) struct StampReader {
    pub(super) taken_ns: i64,
    file: BufReader<File>,
    hasher: blake3::Hasher,
    path: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Whole,
    Damaged,
}

impl StampReader {
    /// The generation and the entries; `None` where there is no stamp of this version.
    pub(super) fn open(place: &Place) -> Result<Option<(String, Self)>> {
        let path = place.path();
        if place.site.stat(place.name.as_ref())?.is_none() {
            return Ok(None);
        }
        let file = place
            .site
            .directory
            .open_regular(place.name.as_ref(), OFlags::RDONLY, &path)?;
        if !place.site.trusts(&fs::stat_file(&file, &path)?) {
            return Ok(None);
        }
        let mut reader = Self {
            taken_ns: 0,
            file: BufReader::with_capacity(BUFFER_BYTES, file),
            hasher: blake3::Hasher::new(),
            path: Vec::new(),
            state: State::Reading,
        };
        Ok(reader.head().map(|generation| (generation, reader)))
    }

    fn head(&mut self) -> Option<String> {
        if self.take::<16>()? != *MAGIC {
            return None;
        }
        self.taken_ns = i64::from_le_bytes(self.take()?);
        self.text()?;
        String::from_utf8(std::mem::take(&mut self.path)).ok()
    }

    /// The next entry; `None` at the end, and where the stamp is damaged.
    pub(super) fn next(&mut self) -> Option<(Record<'_>, Hash)> {
        if self.state != State::Reading {
            return None;
        }
        // Until the entry is read.
        self.state = State::Damaged;
        let kind = match self.take::<1>()? {
            [END] => {
                self.end();
                return None;
            }
            [1] => NodeKind::File,
            [2] => NodeKind::Directory,
            [3] => NodeKind::Symlink,
            _ => return None,
        };
        let mode = u16::from_le_bytes(self.take()?);
        let size = u64::from_le_bytes(self.take()?);
        let hash = self.take()?;
        let facts = Facts {
            inode: u64::from_le_bytes(self.take()?),
            modified_ns: i64::from_le_bytes(self.take()?),
            changed_ns: i64::from_le_bytes(self.take()?),
        };
        self.text()?;
        self.state = State::Reading;
        let record = Record {
            path: &self.path,
            kind,
            mode,
            size,
            facts,
        };
        Some((record, hash))
    }

    /// Whether all entries were read and are what was written.
    pub(super) fn is_whole(&mut self) -> bool {
        self.next().is_none() && self.state == State::Whole
    }

    fn end(&mut self) {
        let sum = self.hasher.finalize();
        let mut stored = [0; 32];
        let is_right = self.file.read_exact(&mut stored).is_ok() && sum == blake3::Hash::from_bytes(stored);
        // Nothing may stand behind the end.
        if is_right && self.file.fill_buf().is_ok_and(<[u8]>::is_empty) {
            self.state = State::Whole;
        }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).ok()?;
        self.hasher.update(&bytes);
        Some(bytes)
    }

    fn text(&mut self) -> Option<()> {
        let length = usize::from(u16::from_le_bytes(self.take()?));
        self.path.resize(length, 0);
        self.file.read_exact(&mut self.path).ok()?;
        self.hasher.update(&self.path);
        Some(())
    }
}
