//! Location of a target's tree manifest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::core::archives::shared_directory::{SharedDirectory, Target, follow};
use crate::core::error::{Code, Error, Result};
use crate::core::sys::fs::Kind;

/// Location of a target's tree manifest: an open directory, and the name in it.
pub(super) struct Place {
    pub(super) site: Arc<SharedDirectory>,
    pub(super) name: String,
}

impl Place {
    pub(super) fn of(target: &Path) -> Result<Self> {
        let path = follow(target)?;
        let inside = |site| Self {
            site: Arc::new(site),
            name: ".warmswap-stamp".to_owned(),
        };
        if path.file_name().is_none() {
            return SharedDirectory::open_followed(&path).map(inside);
        }
        let target = Target::open(&path, false)?;
        if target.stat()?.is_some() && target.is_mount()? {
            return target.open_directory().map(inside);
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

    /// Fails if the entry belongs to an untrusted user or is not a regular file.
    pub(super) fn check(&self, name: &str) -> Result<()> {
        match self.site.check(name.as_ref())? {
            Some(stat) if stat.kind != Kind::File => Err(refused(&self.site.path.join(name))),
            _ => Ok(()),
        }
    }

    pub(super) fn temporary(&self) -> (String, PathBuf) {
        let name = format!("{}.new", self.name);
        let path = self.site.path.join(&name);
        (name, path)
    }
}

pub(super) fn refused(path: &Path) -> Error {
    let message = format!(
        "'{}' cannot be replaced with a tree manifest. Expected a regular file with a single name. Remove it",
        path.display()
    );
    Error::new(Code::Untrusted, message).at(path)
}
