//! Binding of `unpack`.

use std::path::PathBuf;
use std::sync::Arc;

use napi::Env;
use napi::bindgen_prelude::PromiseRaw;
use napi_derive::napi;
use tokio::sync::{Mutex, oneshot};

use crate::addon::archives::options::NativeUnpackOptions;
use crate::addon::error::Reply;
use crate::addon::{number, runtime};
use crate::core::archives::pipeline::Unpacked;
use crate::core::archives::{self, Next, UnpackJob, UnpackOutcome};
use crate::core::error::{Code, Error};
use crate::core::failure;

/// Result of an unpack. The fields have the meaning of `RestoreResult`.
#[napi(object)]
pub struct NativeUnpackResult {
    /// Outcome, such as 'restored' or 'corrupt'.
    pub outcome: String,
    /// Human-readable reason, if the outcome is not 'restored'.
    pub reason: Option<String>,
    /// Error code, if the outcome is not 'restored'.
    pub code: Option<String>,
    /// Stage in which it failed, if the outcome is not 'restored'.
    pub stage: Option<String>,
    /// How the target was changed: 'rename', 'exchange', 'children' or 'merge'.
    pub commit: Option<String>,
    /// Number of regular files.
    pub files: f64,
    /// Total bytes of the regular files.
    pub bytes: f64,
    /// Bytes read from the source.
    pub compressed_bytes: f64,
    /// Entries that the target already had.
    pub skipped_files: f64,
    /// Pipes and devices of the archive, which are not created: path and reason of each.
    pub skipped: Vec<Vec<String>>,
    /// Milliseconds until all files were staged and verified.
    pub unpack_ms: f64,
    /// Milliseconds of the commit.
    pub commit_ms: f64,
}

/// A running `unpack` call.
#[napi]
pub struct Unpacker {
    job: UnpackJob,
    result: Arc<Mutex<Option<oneshot::Receiver<NativeUnpackResult>>>>,
}

#[napi]
impl Unpacker {
    /// Adds bytes of the archive. Returns 0 to continue, 1 to wait for `drained` first, 2 to stop.
    #[napi]
    pub fn push(&self, chunk: &[u8]) -> u8 {
        step(self.job.feed.push(chunk.to_vec()))
    }

    /// Resolves with 0 when more bytes can be pushed, or with 2 when no more bytes are needed.
    #[napi(ts_return_type = "Promise<Reply<number>>")]
    pub fn drained<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, Reply<u8>>> {
        let feed = self.job.feed.clone();
        runtime::promised(env, async move { Ok(step(feed.drained().await)) })
    }

    /// Marks the end of the archive.
    #[napi]
    pub fn end(&self) {
        self.job.feed.end();
    }

    /// Reports that the source of the bytes failed.
    #[napi]
    pub fn fail(&self, reason: String) {
        self.job.feed.fail(reason);
    }

    /// Cancels the call.
    #[napi]
    pub fn cancel(&self) {
        self.job.cancel.cancel();
    }

    /// Files and bytes written so far.
    #[napi]
    pub fn progress(&self) -> (f64, f64) {
        let (files, bytes) = self.job.progress.so_far();
        (number::number(files), number::number(bytes))
    }

    /// Resolves with the result. Can be called once.
    #[napi(ts_return_type = "Promise<Reply<NativeUnpackResult>>")]
    pub fn result<'env>(&self, env: &'env Env) -> napi::Result<PromiseRaw<'env, Reply<NativeUnpackResult>>> {
        let result = Arc::clone(&self.result);
        runtime::promised(env, async move {
            let receiver = result.lock().await.take();
            match receiver {
                Some(receiver) => receiver
                    .await
                    .map_err(|_| Error::new(Code::Closed, "The JavaScript environment has ended")),
                None => Err(Error::new(Code::Closed, "The result was already requested")),
            }
        })
    }
}

impl Drop for Unpacker {
    fn drop(&mut self) {
        self.job.cancel.cancel();
    }
}

fn step(next: Next) -> u8 {
    match next {
        Next::More => 0,
        Next::Wait => 1,
        Next::Stop => 2,
    }
}

/// Starts to unpack into the directory `target`. Reads the file `source`, or the pushed bytes if there is none.
#[napi(ts_return_type = "Reply<Unpacker>")]
pub fn start_unpack(
    source: Option<String>,
    target: String,
    options: NativeUnpackOptions,
) -> napi::Result<Reply<Unpacker>> {
    runtime::guarded(|| {
        let (job, ended) =
            archives::unpack(source.map(PathBuf::from), PathBuf::from(target), options.read()?);
        let (sender, result) = oneshot::channel();
        // Sending fails if the environment has ended in the meantime.
        runtime::spawn(async move { drop(sender.send(convert(ended.await))) })?;
        let result = Arc::new(Mutex::new(Some(result)));
        Ok(Unpacker { job, result })
    })
}

fn convert(ended: failure::Result<Unpacked>) -> NativeUnpackResult {
    match ended {
        Ok(done) => NativeUnpackResult {
            outcome: "restored".to_owned(),
            reason: None,
            code: None,
            stage: None,
            commit: Some(done.method.as_str().to_owned()),
            files: number::number(done.files),
            bytes: number::number(done.bytes),
            compressed_bytes: number::number(done.compressed_bytes),
            skipped_files: number::number(done.kept),
            skipped: done
                .skipped
                .into_iter()
                .map(|skipped| vec![skipped.path, skipped.why.to_owned()])
                .collect(),
            unpack_ms: done.unpack_ms,
            commit_ms: done.commit_ms,
        },
        Err(failure) => NativeUnpackResult {
            outcome: UnpackOutcome::from(failure.cause).as_str().to_owned(),
            reason: Some(failure.error.message),
            code: Some(failure.error.code.as_str().to_owned()),
            stage: failure.stage.map(|stage| stage.as_str().to_owned()),
            commit: None,
            files: 0.0,
            bytes: 0.0,
            compressed_bytes: 0.0,
            skipped_files: 0.0,
            skipped: Vec::new(),
            unpack_ms: 0.0,
            commit_ms: 0.0,
        },
    }
}
