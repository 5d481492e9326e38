//! Location of a store: a scheme and its options. All of them are checked before anything else is done.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "azure")]
use super::azure::{self, AzureOptions};
use super::file::Folder;
#[cfg(feature = "gcs")]
use super::gcs::{self, GcsOptions};
use super::interface::Store;
use super::memory::Memory;
use super::s3::{self, S3Options};
use crate::core::error::{Code, Error, Result};
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
    /// A bucket of Google Cloud Storage.
    #[cfg(feature = "gcs")]
    Gcs(Box<GcsOptions>),
    /// A container of Azure Blob Storage.
    #[cfg(feature = "azure")]
    Azure(Box<AzureOptions>),
}

/// Schemes of the stores in this build.
const SCHEMES: &[&str] = &[
    "file",
    "memory",
    "s3",
    #[cfg(feature = "gcs")]
    "gs",
    #[cfg(feature = "azure")]
    "az",
];

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
            #[cfg(feature = "gcs")]
            "gs" => Self::Gcs(Box::new(GcsOptions::extract(&mut options)?)),
            #[cfg(feature = "azure")]
            "az" => Self::Azure(Box::new(AzureOptions::extract(&mut options)?)),
            _ if ["gs", "az"].contains(&scheme) => return Err(left_out(scheme)),
            _ => {
                return Err(Error::argument(
                    "store.scheme",
                    format!("'{scheme}'"),
                    &format!("one of {SCHEMES:?}"),
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

/// The error for a store of a cloud that this build leaves out.
fn left_out(scheme: &str) -> Error {
    let message = format!(
        "this addon is without '{scheme}:' stores: those of Google Cloud Storage make it 0.9 MB larger, those of Azure 0.7 MB. Build one with them from the sources (docs/reference/stores.md), or use a bucket with an S3 interface"
    );
    Error::new(Code::Unsupported, message)
}

/// Opens a store. Makes no I/O.
pub fn open(location: &Location) -> Result<Arc<dyn Store>> {
    Ok(match location {
        Location::File(root) => Arc::new(Folder::new(root)),
        Location::Memory(name) => Arc::new(Memory::named(name)),
        Location::S3(options) => Arc::new(s3::open(options)?),
        #[cfg(feature = "gcs")]
        Location::Gcs(options) => Arc::new(gcs::open(options)?),
        #[cfg(feature = "azure")]
        Location::Azure(options) => Arc::new(azure::open(options)?),
    })
}
