//! Mounts that depend on a server or another process. Paths are compared only as text, because a call on a mount that
//! hangs would hang too.

use std::path::Path;

use crate::core::sys::platform::{Mount, mounts};

/// Mounts of this process.
#[derive(Debug, Default)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// Reads the list of mounts. Empty if the system has none.
    pub fn read() -> Self {
        Self(mounts::list())
    }

    /// The remote mount of a path, or the path itself if it is not on a remote mount.
    pub fn place<'a>(&'a self, path: &'a Path) -> &'a Path {
        self.0
            .iter()
            .filter(|mount| path.starts_with(&mount.path))
            .max_by_key(|mount| mount.path.as_os_str().len())
            .filter(|mount| mount.is_remote)
            .map_or(path, |mount| &mount.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_on_a_remote_mount_share_its_place() {
        let mounts = [("/", false), ("/mnt/a b", true), ("/mnt/a b/local", false)];
        let mounts = Mounts(
            mounts
                .map(|(path, is_remote)| Mount {
                    path: path.into(),
                    is_remote,
                })
                .into(),
        );
        let place = |path: &'static str| mounts.place(Path::new(path)).to_path_buf();
        assert_eq!(place("/mnt/a b/x/y"), Path::new("/mnt/a b"));
        assert_eq!(place("/mnt/a b/local/x"), Path::new("/mnt/a b/local/x"));
        assert_eq!(place("/mnt/ab/x"), Path::new("/mnt/ab/x"));
        assert_eq!(place("/home"), Path::new("/home"));
    }
}
