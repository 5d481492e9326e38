//! Binding of cells, which all threads share.

use std::sync::atomic::AtomicU64;

use napi::Env;
use napi::bindgen_prelude::{ArrayBuffer, BigInt, BufferSlice, retain_current_module_for_unload_safety};
use napi_derive::napi;

use crate::addon::cancel::{self, CancelToken};
use crate::addon::error::Reply;
use crate::addon::listener::Listener;
use crate::addon::{number, runtime};
use crate::core::error::{Error, Result};
use crate::core::state::{self, Cell, Swap};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::fault;

/// Content of a cell at one moment.
#[napi(object)]
pub struct NativeSnapshot<'env> {
    /// Value. Missing before the first write.
    pub bytes: Option<BufferSlice<'env>>,
    /// Version. 0 before the first write.
    pub version: BigInt,
}

/// Result of a compare-and-set.
#[napi(object)]
pub struct NativeSwap {
    /// Whether the value was written.
    pub ok: bool,
    /// Version after the call.
    pub version: BigInt,
}

/// A versioned value that every thread of the process shares.
#[napi]
pub struct NativeCell {
    cell: &'static Cell,
}

#[napi]
impl NativeCell {
    /// Returns the cell with this key. Keys are opaque bytes.
    #[napi(constructor)]
    pub fn new(key: &[u8]) -> Self {
        // Cells are statics of this image, which must outlive the last environment that loaded it. On Linux the linker
        // flag `nodelete` of napi-build already ensures that. Other platforms need this call.
        retain_current_module_for_unload_safety();
        Self {
            cell: state::cell(key),
        }
    }

    /// Memory in which the core publishes the version, as 8 bytes that change without a call. Missing if the engine
    /// supports no external memory (Electron).
    #[napi]
    pub fn word(&self, env: Env) -> napi::Result<Option<ArrayBuffer<'static>>> {
        let word = std::ptr::from_ref(self.cell.word()).cast_mut().cast::<u8>();
        // SAFETY: the word is 8 bytes of a leaked cell, valid as long as the process. JavaScript only loads from it.
        let mapped =
            unsafe { ArrayBuffer::from_external(&env, word, size_of::<AtomicU64>(), (), |_, ()| {}) }?;
        // If the engine refuses external memory, napi returns a copy, which would never change.
        Ok(std::ptr::eq(mapped.as_ptr(), word).then_some(mapped))
    }

    /// Version of the latest write.
    #[napi]
    pub fn version(&self) -> BigInt {
        self.cell.version().into()
    }

    /// Returns the value and its version, read atomically.
    #[napi]
    pub fn read(&self, env: Env) -> napi::Result<NativeSnapshot<'static>> {
        let snapshot = self.cell.read();
        let bytes = snapshot
            .bytes
            .map(|bytes| BufferSlice::copy_from(&env, bytes))
            .transpose()?;
        Ok(NativeSnapshot {
            bytes,
            version: snapshot.version.into(),
        })
    }

    /// Replaces the value unconditionally and returns the new version.
    #[napi]
    pub fn write(&self, bytes: &[u8]) -> BigInt {
        self.cell.write(bytes).into()
    }

    /// Replaces the value if the current version is `expected`.
    #[napi(ts_return_type = "Reply<NativeSwap>")]
    pub fn compare_and_set(&self, expected: BigInt, bytes: &[u8]) -> Reply<NativeSwap> {
        Reply(version_of("expected", &expected).map(|expected| {
            match self.cell.compare_and_set(expected, bytes) {
                Swap::Written(version) => NativeSwap {
                    ok: true,
                    version: version.into(),
                },
                Swap::Refused(version) => NativeSwap {
                    ok: false,
                    version: version.into(),
                },
            }
        }))
    }

    /// Calls `settle` once, with the first version that differs from `since` or with a failure. Neither the wait nor
    /// `settle` keeps the thread alive. The wait ends with its thread.
    #[napi(
        ts_args_type = "since: bigint, timeoutMs: number, token: CancelToken, settle: (reply: Reply<bigint>) => void",
        ts_return_type = "Reply<void>"
    )]
    pub fn wait(
        &self,
        env: Env,
        since: BigInt,
        timeout_ms: f64,
        token: &CancelToken,
        settle: Listener<Reply<BigInt>>,
    ) -> napi::Result<Reply<()>> {
        let request = version_of("since", &since)
            .and_then(|since| Ok((since, number::deadline("options.timeoutMs", timeout_ms)?)));
        let (since, deadline) = match request {
            Ok(request) => request,
            Err(refused) => return Ok(Reply(Err(refused))),
        };
        let (cell, cancel, ended) = (self.cell, token.inner.clone(), cancel::at_end_of(&env)?);
        let started = runtime::spawn(async move {
            let outcome = tokio::select! {
                outcome = cell.changed(since, deadline, &cancel) => outcome,
                () = ended.cancelled(), if !fault::is_seeded("state-wait-outlives-its-thread") => Err(Cancel::error()),
            };
            settle.call(Reply(outcome.map(BigInt::from)));
        });
        Ok(Reply(started))
    }

    /// Number of pending waits of all threads.
    #[napi]
    pub fn waiting(&self) -> f64 {
        number::number(self.cell.waiting() as u64)
    }
}

fn version_of(name: &str, value: &BigInt) -> Result<u64> {
    match value.get_u64() {
        (false, version, true) => Ok(version),
        _ => Err(Error::argument(
            name,
            format!("{value:?}"),
            "a version that a read or a write returned",
        )),
    }
}
