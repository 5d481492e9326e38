//! Parser for the entries of a tar stream. Anything that two readers would interpret differently is refused.

use crate::core::sys::fault;

use crate::core::archives::format::BLOCK;
use crate::core::archives::format::header::{self, Header, flag};
use crate::core::archives::format::limits;
use crate::core::archives::format::pax::{self, Records};
use crate::core::archives::unpack::entry_path::{is_of_directory, normalize};
use crate::core::archives::unpack::sparse::{self, Sparse};
use crate::core::archives::unpack::stream::Stream;
use crate::core::failure::{Failure, Result};

/// One entry. Its data, if it has any, follows in the stream.
pub(super) struct Entry {
    /// Relative path without `.`, `..` and empty components. Empty for the root itself.
    pub(super) path: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) mode: u32,
    pub(super) modified_ns: i64,
}

pub(super) enum EntryKind {
    /// A file. This number of data bytes follows.
    File(u64),
    /// A sparse file. The bytes of its pieces follow.
    SparseFile(Sparse),
    Directory,
    Symlink(Vec<u8>),
    /// A hard link to the path of an earlier entry, in the form of [`Entry::path`].
    HardLink(Vec<u8>),
    /// A valid entry that is not restored, with the reason.
    LeftOut(&'static str),
}

/// Parses the entries of one archive.
#[derive(Default)]
pub(super) struct Parser {
    /// Whether the size of the archive was declared and is checked. Then the end needs no two zero blocks.
    is_size_declared: bool,
    has_pax: bool,
    /// The last entry, if it has no data but a size in its header.
    sized: Option<Vec<u8>>,
}

/// Values of the extension headers for the next entry.
#[derive(Default)]
struct Extensions {
    pax: Option<Records>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl Parser {
    pub(super) fn new(is_size_declared: bool) -> Self {
        Self {
            is_size_declared,
            ..Self::default()
        }
    }

    /// Returns the next entry, or `None` after the end marker and everything after it were read.
    pub(super) fn next(&mut self, stream: &mut Stream<'_>) -> Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        loop {
            let block = stream.block()?;
            if block.is_none_or(|block| block == [0; BLOCK]) {
                if !extensions.is_empty() {
                    return Err(Failure::corrupt(
                        "an extension header is followed by the end of the archive",
                    ));
                }
                self.end(stream, block.is_some())?;
                return Ok(None);
            }
            let Some(block) = block else { continue };
            let header = header::parse(&block).map_err(|failure| self.explain(failure))?;
            self.sized = None;
            match header.flag {
                flag::PAX | flag::PAX_SOLARIS => {
                    self.has_pax = true;
                    extensions.add_pax(&stream.meta(header.size)?)?;
                }
                flag::PAX_GLOBAL => {
                    self.has_pax = true;
                    pax::check_global(&stream.meta(header.size)?)?;
                }
                flag::GNU_LONG_NAME => set_once(&mut extensions.long_name, long(stream, &header)?)?,
                flag::GNU_LONG_LINK => set_once(&mut extensions.long_link, long(stream, &header)?)?,
                flag::GNU_LABEL if header.size == 0 && extensions.is_empty() => {}
                _ => return self.entry(stream, extensions, header, &block).map(Some),
            }
        }
    }

    /// Checks the end. A single zero block or none ends the archive only if something other than the tar stream proves
    /// that nothing is missing.
    fn end(&self, stream: &mut Stream<'_>, has_zeros: bool) -> Result<()> {
        let is_marked = match has_zeros.then(|| stream.block()).transpose()?.flatten() {
            Some(block) if block == [0; BLOCK] => true,
            Some(_) => return Err(Failure::corrupt("there are bytes after the end of the archive")),
            None => false,
        };
        if !is_marked {
            return if self.is_size_declared || stream.is_complete() {
                Ok(())
            } else if has_zeros {
                Err(Failure::corrupt("the archive is cut off in its end marker"))
            } else {
                Err(Failure::corrupt(
                    "the archive is cut off, or it was written without an end marker. If it is complete, declare its size with contentLength",
                ))
            };
        }
        if fault::is_seeded("no-drain") {
            return Ok(());
        }
        stream.drain()
    }

    /// Explains an invalid header after an entry with a size but without data: the block is the data of that entry.
    fn explain(&self, failure: Failure) -> Failure {
        match &self.sized {
            Some(path) => has_data(path),
            None => failure,
        }
    }

    fn entry(
        &mut self,
        stream: &mut Stream<'_>,
        extensions: Extensions,
        header: Header,
        block: &[u8; BLOCK],
    ) -> Result<Entry> {
        let (entry, ignored) = extensions.apply(stream, header, block)?;
        if ignored > 0 {
            // Only in pax archives, libarchive reads data of a hard link.
            if self.has_pax && matches!(entry.kind, EntryKind::HardLink(_)) {
                return Err(has_data(&entry.path));
            }
            self.sized = Some(entry.path.clone());
        }
        Ok(entry)
    }
}

fn has_data(path: &[u8]) -> Failure {
    Failure::refused(format!("'{}' has data but is not a file", path.escape_ascii()))
}

fn long(stream: &mut Stream<'_>, header: &Header) -> Result<Vec<u8>> {
    let bytes = stream.meta(header.size)?;
    let name = header::text(&bytes);
    // Some readers treat a NUL in the middle as the end, others do not. NULs at the end are padding.
    if name.is_empty() || bytes[name.len()..].iter().any(|byte| *byte != 0) {
        return Err(Failure::refused("a GNU long name is malformed"));
    }
    Ok(name.to_vec())
}

fn set_once<T>(slot: &mut Option<T>, value: T) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(Failure::refused(
            "an entry has two extension headers of the same kind",
        ));
    }
    Ok(())
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_name.is_none() && self.long_link.is_none()
    }

    fn add_pax(&mut self, bytes: &[u8]) -> Result<()> {
        set_once(&mut self.pax, pax::parse(bytes)?)
    }

    /// Returns the entry, and the size in its header if no data follows.
    fn apply(self, stream: &mut Stream<'_>, mut header: Header, block: &[u8; BLOCK]) -> Result<(Entry, u64)> {
        let records = self.pax.unwrap_or_default();
        if let Some(name) = either(self.long_name, records.path, "path")? {
            header.path = name;
        }
        if let Some(link) = either(self.long_link, records.link, "link target")? {
            header.link = link;
        }
        let pax_size = records.size.unwrap_or(0);
        if let Some(size) = records.size {
            header.size = size;
        }
        if let Some(modified_ns) = records.modified_ns {
            header.modified_ns = modified_ns;
        }
        let kind = if records.sparse.is_empty() {
            kind(stream, &mut header, block)?
        } else {
            if !matches!(header.flag, flag::FILE | flag::OLD_FILE) {
                return Err(Failure::refused("only a file can have holes"));
            }
            let (name, sparse) = sparse::read_records(stream, header.size, records.sparse)?;
            header.path = name.unwrap_or(header.path);
            if is_of_directory(&header.path) {
                return Err(file_named_as_directory(&header.path));
            }
            EntryKind::SparseFile(sparse)
        };
        let path = normalize(&header.path)?;
        limits::check_path(&path)?;
        limits::check_names(&path)?;
        if path.is_empty() && !matches!(kind, EntryKind::Directory) {
            return Err(Failure::refused(
                "the archive replaces its root with an entry that is not a directory",
            ));
        }
        let has_data =
            matches!(kind, EntryKind::File(_) | EntryKind::SparseFile(_)) || header.flag == flag::GNU_DUMP;
        if pax_size > 0 && !has_data {
            // bsdtar skips that many bytes, which other readers may treat as entries.
            return Err(Failure::refused(format!(
                "'{}' is not a file but has a size in a pax header",
                path.escape_ascii()
            )));
        }
        let entry = Entry {
            path,
            kind,
            mode: header.mode,
            modified_ns: header.modified_ns,
        };
        Ok((entry, if has_data { 0 } else { header.size }))
    }
}

fn either(gnu: Option<Vec<u8>>, pax: Option<Vec<u8>>, what: &str) -> Result<Option<Vec<u8>>> {
    match (gnu, pax) {
        (Some(gnu), Some(pax)) if gnu != pax => Err(Failure::refused(format!(
            "the {what} of an entry differs between its GNU header and its pax header"
        ))),
        (gnu, pax) => Ok(gnu.or(pax)),
    }
}

fn kind(stream: &mut Stream<'_>, header: &mut Header, block: &[u8; BLOCK]) -> Result<EntryKind> {
    let has_directory_name = is_of_directory(&header.path);
    let kind = match header.flag {
        // Before ustar, a directory was a file whose name ends in a slash.
        flag::OLD_FILE if header.is_v7 && header.path.ends_with(b"/") => EntryKind::Directory,
        flag::FILE | flag::OLD_FILE | flag::CONTIGUOUS => EntryKind::File(header.size),
        flag::DIRECTORY => EntryKind::Directory,
        flag::GNU_DUMP => {
            // The names in the directory at the time of the dump. Restoring an increment would remove all others.
            stream.read(header.size, |_| Ok(()))?;
            stream.skip_padding(header.size)?;
            EntryKind::Directory
        }
        flag::SYMLINK => EntryKind::Symlink(link_text(header)?),
        flag::LINK if is_of_directory(&header.link) => return Err(file_named_as_directory(&header.link)),
        flag::LINK => EntryKind::HardLink(normalize(&header.link)?),
        flag::CHARACTER_DEVICE => EntryKind::LeftOut("character device"),
        flag::BLOCK_DEVICE => EntryKind::LeftOut("block device"),
        flag::FIFO => EntryKind::LeftOut("pipe"),
        flag::GNU_SPARSE if header.is_gnu => {
            EntryKind::SparseFile(sparse::read_gnu(stream, header.size, block)?)
        }
        other => {
            return Err(Failure::refused(format!(
                "'{}' has an unknown type ('{}')",
                header.path.escape_ascii(),
                other.escape_ascii()
            )));
        }
    };
    if matches!(kind, EntryKind::File(_) | EntryKind::SparseFile(_)) && has_directory_name {
        return Err(file_named_as_directory(&header.path));
    }
    Ok(kind)
}

fn file_named_as_directory(path: &[u8]) -> Failure {
    Failure::refused(format!(
        "the file '{}' has the name of a directory",
        path.escape_ascii()
    ))
}

fn link_text(header: &Header) -> Result<Vec<u8>> {
    if header.link.is_empty() || header.link.len() >= crate::core::sys::path::MAX_PATH_BYTES {
        return Err(Failure::refused(format!(
            "the link '{}' has no valid target",
            header.path.escape_ascii()
        )));
    }
    Ok(header.link.clone())
}
