//! Facts about this build and this machine.

use std::path::Path;

use napi::Env;
use napi::bindgen_prelude::PromiseRaw;
use napi_derive::napi;

use crate::core::error::Code;
use crate::core::sys::filesystem;

use super::error::Reply;
use super::runtime;

/// A filesystem and whether its kernel locks are reliable.
#[napi(object)]
pub struct NativeFilesystem {
    /// Short name, such as `ext4`.
    pub name: String,
    /// Whether bundles and kernel-mode locks are available on it.
    pub trusted: bool,
}

/// Returns the filesystem of an existing path.
#[napi(ts_return_type = "Reply<NativeFilesystem>")]
pub fn filesystem_of(path: String) -> napi::Result<Reply<NativeFilesystem>> {
    runtime::guarded(|| {
        let found = filesystem::of(Path::new(&path))?;
        Ok(NativeFilesystem {
            name: found.name.to_owned(),
            trusted: found.trusted,
        })
    })
}

/// All error codes and whether they are retryable, in the order of the documented error table.
#[napi]
pub fn error_codes() -> Vec<(String, bool)> {
    Code::ALL
        .iter()
        .map(|code| (code.as_str().to_owned(), code.is_retryable()))
        .collect()
}

/// Whether this build has fault injection points and seeded bugs.
#[napi]
pub fn is_testing_build() -> bool {
    cfg!(feature = "testing")
}

/// Starts to count fault injection points. Does nothing in a published build.
#[napi]
pub fn arm_faults() {
    crate::core::sys::fault::arm();
}

/// Panics, so that tests can check the conversion to an error. Does nothing in a published build.
#[napi(ts_return_type = "Reply<void>")]
pub fn panic_for_tests() -> napi::Result<Reply<()>> {
    runtime::guarded(|| {
        seeded_panic(1);
        Ok(())
    })
}

/// Panics on a native thread. Does nothing in a published build.
#[napi(ts_return_type = "Promise<Reply<void>>")]
pub fn panic_later_for_tests(env: &Env) -> napi::Result<PromiseRaw<'_, Reply<()>>> {
    runtime::blocking(env, Path::new("/"), || {
        seeded_panic(2);
        Ok(())
    })
}

#[cfg(feature = "testing")]
fn seeded_panic(number: u32) {
    panic!("a seeded panic {number}");
}

#[cfg(not(feature = "testing"))]
fn seeded_panic(_number: u32) {}
