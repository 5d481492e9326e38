//! Upload of an object in several parts.

use std::sync::Arc;
use std::time::Duration;

use opendal::options::WriteOptions;
use opendal::{ErrorKind, Operator};

use crate::core::caches::store::call_context::CallContext;
use crate::core::caches::store::interface::MayShow;
use crate::core::caches::store::ranges::PART_BYTES;
use crate::core::caches::store::spool::Spool;
use crate::core::failure::Failure;

/// Time limit for aborting an upload.
const ABORT: Duration = Duration::from_secs(2);

/// Number of concurrent parts of one upload.
const UPLOAD_CONCURRENCY: usize = 4;

/// Uploads in parts. If the call ends early, the upload is aborted, so that the parts cause no storage costs.
pub(super) async fn upload(
    operator: Operator,
    path: &str,
    spool: Arc<Spool>,
    mut options: WriteOptions,
    may_show: MayShow,
    context: &Arc<CallContext>,
) -> opendal::Result<opendal::Metadata> {
    options.concurrent = UPLOAD_CONCURRENCY;
    options.chunk = usize::try_from(PART_BYTES).ok();
    let mut writer = operator.writer_options(path, options).await?;
    let sending = async {
        let mut offset = 0;
        while offset < spool.size {
            let end = (offset + PART_BYTES).min(spool.size);
            let bytes = Arc::clone(&spool)
                .read_on_thread(offset..end)
                .await
                .map_err(|failure| unexpected(&failure))?;
            writer.write(bytes).await?;
            offset = end;
        }
        // The parts are not an object yet. Closing the writer combines them.
        if may_show() {
            writer.close().await
        } else {
            Err(ended())
        }
    };
    let sent = tokio::select! {
        sent = sending => sent,
        () = context.cancel.cancelled() => Err(ended()),
    };
    if sent.is_err() {
        // The lifecycle rule of the bucket removes what cannot be aborted now.
        drop(tokio::time::timeout(ABORT, writer.abort()).await);
    }
    sent
}

fn unexpected(failure: &Failure) -> opendal::Error {
    opendal::Error::new(ErrorKind::Unexpected, failure.error.message.clone())
}

fn ended() -> opendal::Error {
    opendal::Error::new(ErrorKind::Unexpected, "the call has ended")
}
