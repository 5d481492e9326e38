//! Uploads of a snapshot: the blob, which is read back, and the pointer, or a single object.

use std::io::{self, Read as _};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::options::SnapshotOptions;
use super::pack_job::Packed;
use crate::core::caches::cache::{Cache, KeyTarget};
use crate::core::caches::outcome::SnapshotOutcome;
use crate::core::caches::pointer::{Pointer, VERSION, hex};
use crate::core::caches::run::Run;
use crate::core::caches::store::{
    Body, CallContext, Chunks, Condition, ObjectMeta, Spool, Store, download, rfc3339,
};
use crate::core::caches::thread;
use crate::core::failure::{Cause, Failure, Result, Stage};
use crate::core::sys::{clock, fault};

/// Number of connections that read a blob back.
const READ_BACK_CONCURRENCY: usize = 4;

/// Uploads of one snapshot.
pub(super) struct Upload<'a> {
    pub(super) cache: &'a Cache,
    pub(super) store: Arc<dyn Store>,
    pub(super) options: &'a SnapshotOptions,
    pub(super) run: Arc<Run>,
    /// Whether the store honours conditions for this key.
    pub(super) is_guarded: bool,
}

impl Upload<'_> {
    /// Uploads the blob, then writes the pointer to it. Returns the pointer.
    pub(super) async fn put_generation(
        &self,
        packed: &Packed,
        parent: Option<&Pointer>,
        condition: &Condition,
    ) -> Result<Pointer> {
        let pointer_first = fault::is_seeded("pointer-before-blob");
        let mut pointer = self.pointer(packed, parent);
        if pointer_first {
            self.put_pointer(&pointer, condition).await?;
        }
        pointer.etag = self.put_blob(&pointer, &packed.spool).await?;
        if !pointer_first {
            if !self.run.may_commit() {
                return Err(Failure::new(Cause::Aborted, "the call has ended"));
            }
            self.run.enter(Stage::Commit);
            self.put_pointer(&pointer, condition).await?;
        }
        Ok(pointer)
    }

    pub(super) fn pointer(&self, packed: &Packed, parent: Option<&Pointer>) -> Pointer {
        Pointer {
            v: VERSION,
            generation: uuid::Uuid::new_v4().simple().to_string(),
            parent: parent.map(|pointer| pointer.generation.clone()),
            blob: format!("{}.tar.zst", packed.sha256),
            size: packed.spool.size,
            etag: String::new(),
            sha256: packed.sha256.clone(),
            tree: packed.digest.clone(),
            files: packed.files,
            bytes: packed.bytes,
            window_log: packed.window_log,
            frames: packed.frames,
            created: rfc3339(clock::wall_millis()),
            producer: self.options.producer.clone(),
            hmac: None,
        }
    }

    /// Uploads the blob unless it already exists, and verifies by reading back. Returns its version.
    pub(super) async fn put_blob(&self, pointer: &Pointer, spool: &Arc<Spool>) -> Result<String> {
        let path = self.options.key.blob(&pointer.sha256);
        let context = &self.run.context;
        let body = Body::Spool(Arc::clone(spool));
        let etag = self.send(&path, &body).await?;
        self.run.enter(Stage::Verify);
        if self.is_as_expected(pointer, &path, &etag).await? {
            return Ok(etag);
        }
        // A damaged blob with its final name would make the key unusable forever (decocms/studio#5399).
        self.run.enter(Stage::Upload);
        let etag = self.store.write(&path, body, Condition::Always, context).await?;
        self.run.enter(Stage::Verify);
        if self.is_as_expected(pointer, &path, &etag).await? {
            return Ok(etag);
        }
        Err(Failure::new(
            Cause::Malformed,
            "the store returned other bytes than were uploaded",
        ))
    }

    /// Uploads the blob unless it exists. An existing blob was written by an earlier snapshot of the same bytes or by a
    /// killed upload. Its name states the expected bytes, and reading it back verifies them.
    async fn send(&self, path: &str, body: &Body) -> Result<String> {
        let context = &self.run.context;
        let (condition, known) = match self.store.stat(path, context).await {
            Ok(blob) if blob.is_young() => return Ok(blob.etag),
            // An old blob is written again to make it young, because a concurrent prune may be about to remove it.
            Ok(blob) => (Condition::Version(blob.etag.clone()), Some(blob.etag)),
            // Without s3:ListBucket, a missing object is reported as 'denied'.
            Err(failure) if matches!(failure.cause, Cause::NotFound | Cause::Denied) => {
                (Condition::Absent, None)
            }
            Err(failure) => return Err(failure),
        };
        let condition = if self.is_guarded {
            condition
        } else {
            Condition::Always
        };
        match (self.write_blob(path, body, condition).await, known) {
            // Another snapshot of this tree was faster, and may point to the version that it wrote.
            (Err(failure), _) if matches!(failure.cause, Cause::Changed | Cause::Conflict) => {
                Ok(self.store.stat(path, context).await?.etag)
            }
            // The policy does not allow overwriting.
            (Err(failure), Some(etag)) if failure.cause == Cause::Denied => Ok(etag),
            // The response to a successful write can be lost. The bytes are read back in any case.
            (Err(failure), known) if is_uncertain(failure.cause) => {
                match self.store.stat(path, context).await {
                    Ok(blob) if known.is_none_or(|known| known != blob.etag) => Ok(blob.etag),
                    _ => Err(failure),
                }
            }
            (written, _) => written,
        }
    }

    /// Writes a blob. The condition only saves work, because the name of the blob determines its bytes. A store may
    /// support conditions on a single PUT but not on the completion of an upload in parts.
    async fn write_blob(&self, path: &str, body: &Body, condition: Condition) -> Result<String> {
        let context = &self.run.context;
        let is_conditional = condition != Condition::Always;
        match self.store.write(path, body.clone(), condition, context).await {
            Err(failure) if is_conditional && failure.cause == Cause::Misconfigured => {
                self.store
                    .write(path, body.clone(), Condition::Always, context)
                    .await
            }
            written => written,
        }
    }

    async fn is_as_expected(&self, pointer: &Pointer, path: &str, etag: &str) -> Result<bool> {
        let object = ObjectMeta {
            path: path.to_owned(),
            size: pointer.size,
            etag: etag.to_owned(),
            modified_ms: 0,
        };
        if self.store.stat(path, &self.run.context).await?.size != pointer.size {
            return Ok(false);
        }
        hash_object(&self.store, object, &self.run.context)
            .await
            .map(|sha256| sha256 == pointer.sha256)
    }

    pub(super) async fn put_pointer(&self, pointer: &Pointer, condition: &Condition) -> Result<()> {
        let key = &self.options.key;
        let bytes = Bytes::from(self.cache.seal.to_bytes(pointer, key));
        let condition = if self.is_guarded {
            condition.clone()
        } else {
            Condition::Always
        };
        let path = key.pointer();
        let written = self
            .store
            .write(&path, Body::Bytes(bytes), condition, &self.run.context)
            .await;
        let Err(failure) = written else { return Ok(()) };
        // The response to a successful write can be lost, and its repetition then fails.
        if is_uncertain(failure.cause) && self.is_current(pointer).await {
            return Ok(());
        }
        Err(failure)
    }

    async fn is_current(&self, pointer: &Pointer) -> bool {
        let found = self
            .cache
            .look_up(&*self.store, &self.options.key, &self.run.context)
            .await;
        matches!(found, Ok(KeyTarget::Pointer(current, _)) if current.generation == pointer.generation)
    }

    /// Uploads a key that is a single object. The condition compares the version of the object. Returns the new
    /// version.
    pub(super) async fn put_object(
        &self,
        packed: &Packed,
        current: Option<ObjectMeta>,
        condition: Condition,
    ) -> Result<(SnapshotOutcome, String)> {
        if let Some(object) = current.filter(|object| object.size == packed.spool.size) {
            let etag = object.etag.clone();
            if hash_object(&self.store, object, &self.run.context).await? == packed.sha256 {
                return Ok((SnapshotOutcome::Unchanged, etag));
            }
        }
        let condition = if self.is_guarded {
            condition
        } else {
            Condition::Always
        };
        let run = Arc::clone(&self.run);
        let may_show = Arc::new(move || {
            let may = run.may_commit();
            if may {
                run.enter(Stage::Commit);
            }
            may
        });
        let (path, body) = (self.options.key.as_str(), Body::Spool(Arc::clone(&packed.spool)));
        let written = self
            .store
            .write_if(path, body, condition, may_show, &self.run.context)
            .await;
        let etag = match written {
            Ok(etag) => etag,
            // The response to a successful write can be lost, and its repetition then fails.
            Err(failure) => self.find_uploaded(packed, &failure).await.ok_or(failure)?,
        };
        Ok((SnapshotOutcome::Uploaded, etag))
    }

    /// Version of the single object, if the write succeeded although it was reported as failed.
    async fn find_uploaded(&self, packed: &Packed, failure: &Failure) -> Option<String> {
        if !is_uncertain(failure.cause) {
            return None;
        }
        let context = &self.run.context;
        let object = self.store.stat(self.options.key.as_str(), context).await.ok()?;
        let (size, etag) = (object.size, object.etag.clone());
        let sha256 = hash_object(&self.store, object, context).await.ok()?;
        (size == packed.spool.size && sha256 == packed.sha256).then_some(etag)
    }
}

/// Whether a failed write may have succeeded.
fn is_uncertain(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Changed | Cause::Conflict | Cause::Unavailable | Cause::Broken | Cause::Stalled
    )
}

/// SHA-256 of the bytes that the store returns for an object.
async fn hash_object(
    store: &Arc<dyn Store>,
    object: ObjectMeta,
    context: &Arc<CallContext>,
) -> Result<String> {
    let chunks = download(
        Arc::clone(store),
        object,
        READ_BACK_CONCURRENCY,
        Arc::clone(context),
    );
    let failure = chunks.failure();
    // It reads no file. It is assigned to the filesystem of this process's temporary files.
    let hashed = thread::run(&std::env::temp_dir(), move || hash(chunks)).await?;
    hashed.map_err(|error| {
        failure
            .get()
            .cloned()
            .unwrap_or_else(|| Failure::new(Cause::Other, error.to_string()))
    })
}

fn hash(mut chunks: Chunks) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match chunks.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}
