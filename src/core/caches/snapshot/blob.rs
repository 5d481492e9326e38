//! The blob of a tree, without making it what its key means: `ensure` publishes the pointer in a record of its own.

use std::sync::Arc;

use super::call::amount_of;
use super::options::SnapshotOptions;
use super::pack_job::{PackJob, Packed};
use super::upload::Upload;
use crate::core::archives::tree::Tree;
use crate::core::archives::{Limits, Symlinks};
use crate::core::caches::cache::Cache;
use crate::core::caches::pointer::Pointer;
use crate::core::caches::run::Run;
use crate::core::caches::store::Store;
use crate::core::failure::{Cause, Failure, Result, Stage};

/// A tree whose blob is in the store.
pub(in crate::core::caches) struct UploadedTree {
    /// Names the blob.
    pub(in crate::core::caches) pointer: Pointer,
    /// All entries, with hashes.
    pub(in crate::core::caches) tree: Tree,
}

impl Cache {
    /// Uploads the blob of a tree and reads it back. Fails with [`Cause::Empty`] or [`Cause::Refused`] if the tree is one
    /// that a restore with the same options would not accept.
    pub(in crate::core::caches) async fn upload_tree(
        &self,
        store: Arc<dyn Store>,
        options: SnapshotOptions,
        accepted: (Limits, Symlinks),
        run: Arc<Run>,
    ) -> Result<UploadedTree> {
        let (cache, working) = (self.clone(), Arc::clone(&run));
        let work = async move {
            working.enter(Stage::Pack);
            let job = PackJob {
                options: &options,
                run: Arc::clone(&working),
                background: &cache.background,
            };
            let packed = job.pack().await?;
            options.guard.check(amount_of(&packed), None)?;
            check_restorable(&packed, &accepted)?;
            working.enter(Stage::Upload);
            let upload = Upload {
                cache: &cache,
                store,
                options: &options,
                run: Arc::clone(&working),
                is_guarded: true,
            };
            let mut pointer = upload.pointer(&packed, None);
            pointer.etag = upload.put_blob(&pointer, &packed.spool).await?;
            Ok(UploadedTree {
                pointer,
                tree: packed.tree,
            })
        };
        run.race(work, Err).await
    }
}

/// A result that every waiter would refuse must not be published.
fn check_restorable(packed: &Packed, (limits, symlinks): &(Limits, Symlinks)) -> Result<()> {
    let refused = |message: String| Err(Failure::new(Cause::Refused, message));
    let leaving = match symlinks {
        Symlinks::Contained => packed.leaving_links,
        Symlinks::Relative => packed.absolute_links,
        Symlinks::Verbatim | Symlinks::Reject => 0,
    };
    if leaving > 0 {
        return refused(format!(
            "{leaving} symbolic links of the built tree would not be restored: pass symlinks 'relative' or 'verbatim'"
        ));
    }
    let objections = limits.objections(&packed.needs);
    if !objections.is_empty() {
        return refused(format!(
            "the built tree would not be restored: it needs {}",
            objections.join(" and ")
        ));
    }
    Ok(())
}
