//! Type of a path's filesystem, and whether its kernel locks are reliable. statfs and an allow list decide that before
//! any lock call. On other filesystems warmswap refuses or uses a lease, but never uses flock (docker/for-mac#7004,
//! rust-lang/cargo#2615).

use std::path::Path;

use crate::core::error::Result;
use crate::core::sys::call::call;
use crate::core::sys::platform::filesystem;

pub use crate::core::sys::platform::Filesystem;

/// Filesystem of an existing path.
///
/// In builds with the feature `testing`, `WARMSWAP_FILESYSTEM=<name>` overrides it for every path.
pub fn of(path: &Path) -> Result<Filesystem> {
    let found = call("statfs", path, || filesystem::of(path))?;
    #[cfg(feature = "testing")]
    if let Some(pretended) = std::env::var("WARMSWAP_FILESYSTEM")
        .ok()
        .and_then(|name| filesystem::named(&name))
    {
        return Ok(pretended);
    }
    Ok(found)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn tmpfs_is_trusted_and_proc_is_not() {
        assert_eq!(
            of(Path::new("/dev/shm")).map(|fs| (fs.name, fs.trusted)).ok(),
            Some(("tmpfs", true))
        );
        assert!(!of(Path::new("/proc")).expect("statfs of /proc").trusted);
    }
}
