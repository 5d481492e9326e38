//! The entries of a tar stream, with one meaning each: what two readers would understand differently is refused.

use crate::core::sys::fault;
use crate::core::sys::path::MAX_NAME_BYTES;

use crate::core::archives::format::BLOCK;
use crate::core::archives::format::header::{self, Header, flag};
use crate::core::archives::format::limits;
use crate::core::archives::format::pax::{self, Records};
use crate::core::archives::unpack::sparse::{self, Sparse};
use crate::core::archives::unpack::stream::Stream;
use crate::core::failure::{Failure, Result};

/// One entry; its data, if it has any, is the next thing in the stream.
pub(super) struct Entry {
    /// Relative, without `.`, `..` and empty parts; empty for the root itself.
    pub(super) path: Vec<u8>,
    pub(super) kind: EntryKind,
    pub(super) mode: u32,
    pub(super) modified_ns: i64,
}

/// What an entry is.
pub(super) enum EntryKind {
    /// That many bytes of data follow.
    File(u64),
    /// A file with holes; the bytes of its pieces follow.
    SparseFile(Sparse),
    Directory,
    Symlink(Vec<u8>),
    /// To the path of an earlier entry, in the form of [`Entry::path`].
    HardLink(Vec<u8>),
}

/// What extension headers said of the next entry.
#[derive(Default)]
struct Extensions {
    pax: Option<Records>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

/// The next entry; `None` once the end marker and everything behind it is read.
pub(super) fn next(stream: &mut Stream) -> Result<Option<Entry>> {
    let mut extensions = Extensions::default();
    loop {
        let Some(block) = stream.block()? else {
            return Err(Failure::corrupt("the archive is cut off: it has no end marker"));
        };
        if block == [0; BLOCK] {
            if !extensions.is_empty() {
                return Err(Failure::corrupt(
                    "an extension header stands before the end of the archive",
                ));
            }
            expect_end(stream)?;
            return Ok(None);
        }
        let header = header::parse(&block)?;
        match header.flag {
            flag::PAX => extensions.add_pax(&stream.meta(header.size)?)?,
            flag::PAX_GLOBAL => pax::check_global(&stream.meta(header.size)?)?,
            flag::GNU_LONG_NAME => set_once(&mut extensions.long_name, long(stream, &header)?)?,
            flag::GNU_LONG_LINK => set_once(&mut extensions.long_link, long(stream, &header)?)?,
            _ => return extensions.apply(stream, header, &block).map(Some),
        }
    }
}

fn expect_end(stream: &mut Stream) -> Result<()> {
    match stream.block()? {
        Some(block) if block == [0; BLOCK] => {}
        Some(_) => return Err(Failure::corrupt("there are bytes behind the end of the archive")),
        None => return Err(Failure::corrupt("the archive is cut off: half an end marker")),
    }
    if fault::mutant("no-drain") {
        return Ok(());
    }
    stream.drain()
}

fn long(stream: &mut Stream, header: &Header) -> Result<Vec<u8>> {
    let bytes = stream.meta(header.size)?;
    let name = header::text(&bytes);
    // A NUL in the middle would be the end to some readers and not to others.
    if name.is_empty() || bytes.len() - name.len() > 1 {
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

    fn apply(self, stream: &mut Stream, mut header: Header, block: &[u8; BLOCK]) -> Result<Entry> {
        let records = self.pax.unwrap_or_default();
        let is_sparse_pax =
            records.sparse_major.is_some() || records.sparse_name.is_some() || records.sparse_size.is_some();
        if let Some(name) = either(self.long_name, records.path, "path")? {
            header.path = name;
        }
        if let Some(link) = either(self.long_link, records.link, "link target")? {
            header.link = link;
        }
        if let Some(size) = records.size {
            header.size = size;
        }
        if let Some(modified_ns) = records.modified_ns {
            header.modified_ns = modified_ns;
        }
        let kind = if is_sparse_pax {
            if !matches!(header.flag, flag::FILE | flag::OLD_FILE) {
                return Err(Failure::refused("only a file can have holes"));
            }
            if (records.sparse_major, records.sparse_minor) != (Some(1), Some(0)) {
                return Err(Failure::refused("a sparse file is not of pax format 1.0"));
            }
            let (Some(name), Some(size)) = (records.sparse_name, records.sparse_size) else {
                return Err(Failure::refused("a sparse file has no name or no size"));
            };
            header.path = name;
            if header.path.ends_with(b"/") {
                return Err(file_named_as_directory(&header.path));
            }
            EntryKind::SparseFile(sparse::read_pax(stream, header.size, size)?)
        } else {
            kind(stream, &mut header, block)?
        };
        let path = normalize(&header.path)?;
        limits::check_path(&path)?;
        if path.is_empty() && !matches!(kind, EntryKind::Directory) {
            return Err(Failure::refused(
                "the archive replaces its own root by something that is no directory",
            ));
        }
        Ok(Entry {
            path,
            kind,
            mode: header.mode,
            modified_ns: header.modified_ns,
        })
    }
}

fn either(gnu: Option<Vec<u8>>, pax: Option<Vec<u8>>, what: &str) -> Result<Option<Vec<u8>>> {
    match (gnu, pax) {
        (Some(_), Some(_)) => Err(Failure::refused(format!(
            "an entry has its {what} twice, as GNU and as pax"
        ))),
        (gnu, pax) => Ok(gnu.or(pax)),
    }
}

fn kind(stream: &mut Stream, header: &mut Header, block: &[u8; BLOCK]) -> Result<EntryKind> {
    let ends_in_slash = header.path.ends_with(b"/");
    let kind = match header.flag {
        // Before ustar a directory was a file whose name ends in a slash.
        flag::OLD_FILE if header.is_v7 && ends_in_slash => EntryKind::Directory,
        flag::FILE | flag::OLD_FILE | flag::CONTIGUOUS => EntryKind::File(header.size),
        flag::DIRECTORY => EntryKind::Directory,
        flag::SYMLINK => EntryKind::Symlink(link_text(header)?),
        flag::LINK if header.link.ends_with(b"/") => return Err(file_named_as_directory(&header.link)),
        flag::LINK => EntryKind::HardLink(normalize(&header.link)?),
        flag::GNU_SPARSE if header.is_gnu => {
            EntryKind::SparseFile(sparse::read_gnu(stream, header.size, block)?)
        }
        other => {
            return Err(Failure::refused(format!(
                "'{}' is a device, a pipe or of an unknown type ('{}')",
                header.path.escape_ascii(),
                other.escape_ascii()
            )));
        }
    };
    let has_data = matches!(kind, EntryKind::File(_) | EntryKind::SparseFile(_));
    if !has_data && header.size != 0 {
        return Err(Failure::refused(format!(
            "'{}' has data but is no file",
            header.path.escape_ascii()
        )));
    }
    if has_data && ends_in_slash {
        return Err(file_named_as_directory(&header.path));
    }
    Ok(kind)
}

fn file_named_as_directory(path: &[u8]) -> Failure {
    Failure::refused(format!(
        "the file '{}' has a directory's name",
        path.escape_ascii()
    ))
}

fn link_text(header: &Header) -> Result<Vec<u8>> {
    if header.link.is_empty() || header.link.len() >= crate::core::sys::path::MAX_PATH_BYTES {
        return Err(Failure::refused(format!(
            "the link '{}' has no usable target",
            header.path.escape_ascii()
        )));
    }
    Ok(header.link.clone())
}

/// The path without leading `./` and trailing `/`. What could leave the tree, or has two spellings, is refused.
fn normalize(path: &[u8]) -> Result<Vec<u8>> {
    let refuse = |why: &str| {
        Err(Failure::refused(format!(
            "the path '{}' {why}",
            path.escape_ascii()
        )))
    };
    let mut rest = path;
    if rest.starts_with(b"/") {
        return refuse("is absolute");
    }
    if rest.is_empty() {
        return refuse("is empty");
    }
    while let Some(behind) = rest.strip_prefix(b"./") {
        rest = behind;
    }
    rest = rest.strip_suffix(b"/").unwrap_or(rest);
    if rest.is_empty() || rest == b"." {
        return Ok(Vec::new());
    }
    for name in rest.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => return refuse("has an empty or '.' part"),
            b".." => return refuse("has a '..' part"),
            _ if name.len() > MAX_NAME_BYTES => return refuse("has a part of more than 255 bytes"),
            _ => {}
        }
    }
    if rest.starts_with(crate::core::archives::exclude::OWN_PREFIX) {
        return refuse("has a name that is kept for stages");
    }
    Ok(rest.to_vec())
}
