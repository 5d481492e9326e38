//! The pointer `current`, which decides which generation is current.

use std::ffi::OsStr;
use std::path::{Component, Path};

use crate::core::error::{Code, Error, Optional, Result};
use crate::core::sys::fs::{self, Kind};

use super::layout::{Layout, name_of, number_of};

/// Number of the current generation. `None` if nothing has been published.
pub(super) fn read(layout: &Layout) -> Result<Option<u64>> {
    let path = layout.pointer();
    let target = match fs::read_pointer(path).optional() {
        Ok(Some(target)) => target,
        Ok(None) => return Ok(None),
        Err(error) => {
            return read_of_another_system(path)
                .map(Some)
                .ok_or_else(|| explain(error, path));
        }
    };
    parse(&target).map(Some).ok_or_else(|| {
        Error::new(
            Code::Format,
            format!(
                "'{}' points to '{}', which is not a generation of this store. Remove the link to start with an empty store",
                path.display(),
                target.display()
            ),
        )
        .at(path)
    })
}

/// The number in a pointer that another system has written: Windows writes a file with the text of the link, because links
/// need a privilege there. The next publish puts a pointer of this system in its place.
fn read_of_another_system(path: &Path) -> Option<u64> {
    if let Ok(target) = fs::read_link(path) {
        return parse(&target);
    }
    let text = String::from_utf8(fs::read_capped(path, MAX_POINTER_BYTES).ok()?).ok()?;
    parse(Path::new(&text))
}

/// Describes the entry at the pointer's path, because `readlink` only reports EINVAL.
fn explain(error: Error, path: &Path) -> Error {
    let found = match fs::stat(path).map(|stat| (stat.kind, stat.uid)) {
        Ok((Kind::File, uid)) => ("a file", uid),
        Ok((Kind::Directory, uid)) => ("a directory", uid),
        Ok((Kind::Other, uid)) => ("a pipe, socket or device", uid),
        Ok((Kind::Symlink, _)) | Err(_) => return error,
    };
    Error {
        message: format!(
            "'{}' is {} of uid {}. Expected {}. Remove it. The next publish creates the link again",
            path.display(),
            found.0,
            found.1,
            fs::POINTER
        ),
        ..error
    }
}

/// Far more than a pointer has.
const MAX_POINTER_BYTES: u64 = 4096;

fn parse(target: &Path) -> Option<u64> {
    let mut parts = target.components();
    let shape = (parts.next()?, parts.next()?, parts.next()?, parts.next());
    match shape {
        (Component::Normal(gens), Component::Normal(name), Component::Normal(tree), None)
            if gens == OsStr::new("gens") && tree == OsStr::new("tree") =>
        {
            number_of(name)
        }
        _ => None,
    }
}

/// Makes `number` current atomically. Requires writer.lock, which also protects the temporary name.
pub(super) fn flip(layout: &Layout, number: u64) -> Result<()> {
    let temporary = layout.file("current.tmp");
    // Left by a writer that was killed between symlink and rename.
    fs::remove_file(&temporary).optional()?;
    fs::make_pointer(Path::new(&format!("gens/{}/tree", name_of(number))), &temporary)?;
    fs::rename(&temporary, layout.pointer())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exact_shape_is_a_pointer() {
        assert_eq!(parse(Path::new("gens/000017/tree")), Some(17));
        for other in [
            "gens/17/tree",
            "/gens/000017/tree",
            "gens/000017",
            "gens/000017/tree/x",
            "../gens/000017/tree",
        ] {
            assert_eq!(parse(Path::new(other)), None, "{other}");
        }
    }
}
