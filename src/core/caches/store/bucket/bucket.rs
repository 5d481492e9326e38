//! A bucket of any service.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures::FutureExt as _;
use opendal::{HttpTransporter, OperationContext, Operator};

use super::explain::conclude;
use super::versions::upload_condition;
use crate::core::caches::store::call_context::CallContext;
use crate::core::caches::store::exchange::Exchange;
use crate::core::caches::store::failure::StoreResult;
use crate::core::caches::store::kind::Kind;
use crate::core::caches::store::object::Condition;
use crate::core::caches::store::transport::Transport;
use crate::core::error::Result;
use crate::core::failure::{Cause, Failure};
use crate::core::sys::sync::Mutex;
use crate::core::sys::thread;

/// Time limit of the credential chain. Outside AWS, the chain ends with an address that never responds
/// (denoland/celld#163).
pub(in crate::core::caches::store) const CREDENTIALS: Duration = Duration::from_secs(2);

/// Address of a bucket, with the signer for it.
#[derive(Clone)]
pub(in crate::core::caches::store) struct Place {
    pub(in crate::core::caches::store) operator: Operator,
    /// Region that requests are signed for, in S3.
    pub(in crate::core::caches::store) region: Option<String>,
}

/// Creates the address of the same bucket in another region.
type Relocate = Box<dyn Fn(String) -> Result<Place> + Send + Sync>;

/// A bucket.
pub(in crate::core::caches::store) struct Bucket {
    pub(super) kind: Kind,
    /// Replaced when the store names another region.
    place: Mutex<Place>,
    relocate: Option<Relocate>,
    pub(super) conditions_are_uncertain: bool,
    pub(super) has_plain_versions: AtomicBool,
}

impl Bucket {
    /// Creates a bucket whose service may ignore conditions, or does not.
    pub(in crate::core::caches::store) fn new(
        kind: Kind,
        place: Place,
        conditions_are_uncertain: bool,
    ) -> Self {
        Self {
            kind,
            place: Mutex::new(place),
            relocate: None,
            conditions_are_uncertain,
            has_plain_versions: AtomicBool::new(false),
        }
    }

    /// Follows the bucket to a region that the store names.
    pub(in crate::core::caches::store) fn relocated_by(
        mut self,
        relocate: impl Fn(String) -> Result<Place> + Send + Sync + 'static,
    ) -> Self {
        self.relocate = Some(Box::new(relocate));
        self
    }

    fn exchange(
        &self,
        context: &Arc<CallContext>,
        place: &Place,
        condition: Option<&Condition>,
    ) -> Arc<Exchange> {
        let upload = condition.and_then(|condition| upload_condition(self.kind, condition));
        let exchange = Exchange::new(Arc::clone(context), self.kind, place.region.clone());
        Arc::new(exchange.uploading(upload))
    }

    /// Runs an operation that reads or deletes.
    pub(super) async fn run<T, F>(
        &self,
        context: &Arc<CallContext>,
        path: &str,
        operation: impl Fn(Operator) -> F,
    ) -> StoreResult<T>
    where
        F: Future<Output = opendal::Result<T>>,
    {
        self.run_if(context, path, None, operation).await
    }

    /// Runs one operation with its own transport, and explains a failure with facts from both. If the store names
    /// another region, the operation is repeated, signed for that region, which is used from then on.
    pub(super) async fn run_if<T, F>(
        &self,
        context: &Arc<CallContext>,
        path: &str,
        condition: Option<&Condition>,
        operation: impl Fn(Operator) -> F,
    ) -> StoreResult<T>
    where
        F: Future<Output = opendal::Result<T>>,
    {
        let here = self.place.lock().clone();
        let exchange = self.exchange(context, &here, condition);
        let result = run_at(&here, &exchange, &operation).await?;
        let (Err(_), Some(named), Some(relocate)) = (&result, exchange.named_region(), &self.relocate) else {
            return conclude(result, &exchange, path);
        };
        let there = relocate(named)?;
        let exchange = self.exchange(context, &there, condition);
        context.retried();
        let result = run_at(&there, &exchange, &operation).await?;
        if exchange.named_region().is_none() && exchange.failure().is_none() {
            *self.place.lock() = there;
        }
        conclude(result, &exchange, path)
    }
}

/// Runs an operation in one region. The outer result fails if the call may not run or has no credentials in time.
async fn run_at<T, F>(
    place: &Place,
    exchange: &Arc<Exchange>,
    operation: &impl Fn(Operator) -> F,
) -> StoreResult<opendal::Result<T>>
where
    F: Future<Output = opendal::Result<T>>,
{
    exchange.context.cancel.check()?;
    let transport = HttpTransporter::new(Transport(Arc::clone(exchange)));
    let context = OperationContext::new().with_http_transport(transport);
    let running = operation(place.operator.clone().with_context(context));
    let running = AssertUnwindSafe(running).catch_unwind().map(|result| {
        result.unwrap_or_else(|panic| match thread::refused_in(panic.as_ref()) {
            // The process cannot start a thread for reading credentials.
            Some(refused) => Err(exchange.refuse(Cause::Other, &refused.message)),
            None => std::panic::resume_unwind(panic),
        })
    });
    tokio::pin!(running);
    Ok(tokio::select! {
        result = &mut running => result,
        () = tokio::time::sleep(CREDENTIALS) => {
            if !exchange.has_reached_store() {
                exchange.context.fetching_credentials(true);
                return Err(Failure::new(
                    Cause::CredentialsTimeout,
                    format!("no credentials within {} ms", CREDENTIALS.as_millis()),
                ));
            }
            running.await
        }
    })
}
