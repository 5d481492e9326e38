//! Writer of a tree manifest, entry by entry.

use std::path::PathBuf;

use super::place::{Place, refused};
use super::record::{BUFFER_BYTES, END, MAGIC, Record};
use crate::core::archives::tree::Hash;
use crate::core::error::{Code, Error, Result};
use crate::core::sys::fs;
use crate::core::sys::lock_file::{Attempt, LockOptions, LockedFile};

/// Writes a tree manifest as `<name>.new` and renames it over the previous one when it is complete. It has a fixed name
/// and a kernel lock, so that the partial file of a killed process is overwritten instead of kept.
pub(super) struct ManifestWriter {
    place: Place,
    temporary: PathBuf,
    file: LockedFile,
    buffer: Vec<u8>,
    hasher: blake3::Hasher,
    is_finished: bool,
}

impl ManifestWriter {
    pub(super) fn begin(place: Place, generation: &str, taken_ns: i64) -> Result<Self> {
        let (name, temporary) = place.temporary();
        // The file that finish() replaces, and the file that is overwritten.
        place.check(&place.name)?;
        place.check(&name)?;
        let options = LockOptions::inside(&place.site.directory, name.as_ref(), &temporary)
            .or_create(0o644)
            .even_without_locks();
        let being_written = || Error::new(Code::Io, "the tree manifest is being written by another call");
        let file = options.open()?.ok_or_else(being_written)?;
        // It can have been created since the check. A second name (a hard link) can belong to any file on this disk.
        let stat = file.stat(&temporary)?;
        if stat.links > 1 || !file.is_writable() || !place.site.trusts(&stat) {
            return Err(refused(&temporary));
        }
        // On a filesystem without locks, two concurrent writers leave a damaged tree manifest, which counts as missing.
        let Attempt::Locked(file) = options.attempt(file)? else {
            return Err(being_written());
        };
        let mut file = file.until_closed();
        fs::truncate(file.file_mut(), 0, &temporary)?;
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
        fs::write_all(self.file.file_mut(), sum.as_bytes(), &self.temporary)?;
        let (directory, name) = (&self.place.site.directory, self.place.temporary().0);
        let path = self.place.path();
        directory.rename(name.as_ref(), directory, self.place.name.as_ref(), &path)?;
        self.is_finished = true;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.hasher.update(&self.buffer);
        fs::write_all(self.file.file_mut(), &self.buffer, &self.temporary)?;
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

impl Drop for ManifestWriter {
    fn drop(&mut self) {
        if !self.is_finished {
            // The tree manifest is a hint. The relevant error is the one that ended the write.
            let name = self.place.temporary().0;
            let directory = &self.place.site.directory;
            drop(directory.remove_file(name.as_ref(), &self.temporary));
        }
    }
}
