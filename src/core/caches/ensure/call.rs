//! The side of the caller: it asks for the next step, and runs the build if that is the step.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::driver::Driver;
use super::options::EnsureOptions;
use super::report::{EnsureEvent, EnsureStep};
use crate::core::caches::cache::Cache;
use crate::core::error::{Code, Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::sync;

/// A call of `ensure` that runs.
pub struct EnsureCall {
    steps: Mutex<mpsc::UnboundedReceiver<Result<EnsureStep>>>,
    builds: mpsc::UnboundedSender<Option<String>>,
    phase: Arc<sync::Mutex<String>>,
}

impl EnsureCall {
    /// The next step. Rejects with what ended the call.
    pub async fn next(&self) -> Result<EnsureStep> {
        let mut steps = self.steps.lock().await;
        let step = steps.recv().await;
        step.unwrap_or_else(|| Err(Error::new(Code::Closed, "this call of ensure has ended")))
    }

    /// Reports that the build has ended, with the message of its failure if it failed.
    pub fn settle(&self, failure: Option<String>) {
        // The driver can have ended with its environment.
        drop(self.builds.send(failure));
    }

    /// Shows what the build is doing to the callers that wait. The next renewal writes it.
    pub fn set_phase(&self, phase: String) {
        *self.phase.lock() = phase;
    }
}

impl Cache {
    /// Starts a call of `ensure`: the handle, and the work, which the caller spawns. The work goes on after a cancelled call
    /// has its answer: it gives up a lease that it may have.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` for options that do not fit.
    pub fn ensure(
        &self,
        options: EnsureOptions,
        cancel: Cancel,
        listener: impl Fn(EnsureEvent) + Send + Sync + 'static,
    ) -> Result<(EnsureCall, impl Future<Output = ()> + Send + 'static)> {
        let options = options.checked()?;
        let (step_sender, steps) = mpsc::unbounded_channel();
        let (builds, build_receiver) = mpsc::unbounded_channel();
        let phase = Arc::new(sync::Mutex::new(String::new()));
        let call = EnsureCall {
            steps: Mutex::new(steps),
            builds,
            phase: Arc::clone(&phase),
        };
        let driver = Driver::new(
            self.clone(),
            options,
            cancel,
            phase,
            Box::new(listener),
            step_sender,
            build_receiver,
        );
        Ok((call, driver.run()))
    }
}
