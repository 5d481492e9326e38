//! State of a target.

use std::path::{Path, PathBuf};

use crate::core::archives::exclude::is_no_content;
use crate::core::archives::shared_directory::Target;
use crate::core::error::Error;
use crate::core::failure::{Cause, Failure, Result};
use crate::core::sys::fs::{self, Kind, Stat};
use crate::core::sys::name;

pub(super) enum TargetState {
    Absent,
    Empty(Stat),
    Full(Stat),
}

impl TargetState {
    /// Reads the current state. Anything but a directory is an error.
    pub(super) fn of(target: &Target) -> Result<Self> {
        let Some(stat) = target.stat()? else {
            return Ok(Self::Absent);
        };
        match stat.kind {
            Kind::Directory => {}
            // The caller's own link was already followed, so this one is new.
            Kind::Symlink => {
                return Err(Failure::refused(format!(
                    "'{}' was replaced by a symbolic link in the meantime",
                    target.path.display()
                )));
            }
            Kind::File | Kind::Other => {
                let shown = format!("'{}' is not a directory", target.path.display());
                return Err(Error::argument("into", shown, "a directory or a missing path").into());
            }
        }
        let entries = target.open_directory()?.directory.entries(&target.path)?;
        let is_full = entries
            .iter()
            .any(|entry| !is_no_content(name::as_bytes(&entry.name)));
        Ok(if is_full {
            Self::Full(stat)
        } else {
            Self::Empty(stat)
        })
    }
}

pub(super) fn not_empty(target: &Path) -> Failure {
    Failure::new(
        Cause::TargetNotEmpty,
        format!(
            "'{}' is not empty. Use mode 'replace' to replace it as a whole",
            target.display()
        ),
    )
}

/// Refuses a target that is a home directory. src/js refuses such a path, but a link can also lead there.
pub(super) fn refuse_home(target: &Target) -> Result<()> {
    let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else {
        return Ok(());
    };
    let Some(stat) = target.stat()? else {
        return Ok(());
    };
    for home in [Some(&*home), home.parent()].into_iter().flatten() {
        let is_home =
            fs::stat_followed(home).is_ok_and(|home| (home.device, home.inode) == (stat.device, stat.inode));
        if is_home {
            let shown = format!("it leads to '{}'", target.path.display());
            let expected = "a separate directory, neither '/' nor a home directory";
            return Err(Error::argument("into", shown, expected).into());
        }
    }
    Ok(())
}
