//! Where a store is: a scheme and its options, checked in full before anything is done.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::file::Folder;
use super::interface::Store;
use super::memory::Memory;
use super::s3::{S3, S3Options};
use crate::core::error::{Error, Result};
use crate::core::sys::path::Root;

/// A place for cache objects. Its `Debug` shows no secret.
#[derive(Debug, Clone)]
pub enum Location {
    /// An absolute folder.
    File(PathBuf),
    /// The memory of this process; stores of one name share their objects, the empty name shares with nobody.
    Memory(String),
    /// A bucket.
    S3(Box<S3Options>),
}

impl Location {
    /// Reads a scheme and its options; an option nobody knows is refused. Values of secrets are never shown.
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
                "given",
                &format!("no such option of a '{scheme}' store"),
            )),
        }
    }
}

/// Opens a store. Does no I/O.
pub fn open(location: &Location) -> Result<Arc<dyn Store>> {
    Ok(match location {
        Location::File(root) => Arc::new(Folder::new(root)),
        Location::Memory(name) => Arc::new(Memory::named(name)),
        Location::S3(options) => Arc::new(S3::new(options)?),
    })
}
