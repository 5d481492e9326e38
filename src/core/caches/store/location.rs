//! Location of a store: a scheme and its options. All of them are checked before anything else is done.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::file::Folder;
use super::interface::Store;
use super::memory::Memory;
use super::s3::{S3, S3Options};
use crate::core::error::{Error, Result};
use crate::core::sys::path::Root;

/// Location of a store. Its `Debug` output contains no secret.
#[derive(Debug, Clone)]
pub enum Location {
    /// An absolute folder.
    File(PathBuf),
    /// The memory of this process. Stores with the same name share their objects. A store with an empty name has its
    /// own.
    Memory(String),
    /// A bucket of an S3-compatible service.
    S3(Box<S3Options>),
}

impl Location {
    /// Parses a scheme and its options. Unknown options are refused. Errors contain no option values that may be
    /// secret.
    pub fn parse(scheme: &str, mut options: BTreeMap<String, String>) -> Result<Self> {
        let location = match scheme {
            "file" => {
                let path = options.remove("path").unwrap_or_default();
                Self::File(Root::parse("store.path", &path)?.as_path().to_path_buf())
            }
            "memory" => Self::Memory(options.remove("name").unwrap_or_default()),
            "s3" => Self::S3(Box::new(S3Options::extract(&mut options)?)),
            _ => {
                return Err(Error::argument(
                    "store.scheme",
                    format!("'{scheme}'"),
                    "'file', 'memory' or 's3'",
                ));
            }
        };
        match options.keys().next() {
            None => Ok(location),
            Some(unknown) => Err(Error::argument(
                &format!("store.{unknown}"),
                "unknown option",
                &format!("an option of a '{scheme}' store"),
            )),
        }
    }
}

/// Opens a store. Makes no I/O.
pub fn open(location: &Location) -> Result<Arc<dyn Store>> {
    Ok(match location {
        Location::File(root) => Arc::new(Folder::new(root)),
        Location::Memory(name) => Arc::new(Memory::named(name)),
        Location::S3(options) => Arc::new(S3::new(options)?),
    })
}
