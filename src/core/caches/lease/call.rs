//! The side of the caller: it asks for the next step, and answers it.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::driver::{Caller, Driver};
use super::options::LeaseOptions;
use super::report::{LeaseEvent, LeaseSettled, LeaseStep};
use crate::core::caches::cache::Cache;
use crate::core::error::{Code, Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::sync;

/// A call that runs.
pub struct LeaseCall {
    steps: Mutex<mpsc::UnboundedReceiver<LeaseStep>>,
    settled: mpsc::UnboundedSender<LeaseSettled>,
    phase: Arc<sync::Mutex<String>>,
    token: u128,
}

impl LeaseCall {
    /// Names the call in the record.
    pub fn token(&self) -> String {
        format!("{:032x}", self.token)
    }

    /// The next step.
    ///
    /// # Errors
    /// `ERR_CLOSED` after the end of the call.
    pub async fn next(&self) -> Result<LeaseStep> {
        let mut steps = self.steps.lock().await;
        let step = steps.recv().await;
        step.ok_or_else(|| Error::new(Code::Closed, "this call has ended"))
    }

    /// Answers a check or a run.
    pub fn settle(&self, settled: LeaseSettled) {
        // The driver can have ended with its environment.
        drop(self.settled.send(settled));
    }

    /// Shows what the run is doing to the callers that wait. The next renewal writes it.
    pub fn set_phase(&self, phase: String) {
        *self.phase.lock() = phase;
    }
}

impl Cache {
    /// Starts a call: the handle, and the work, which the caller spawns. `cancel` ends the wait, and stops a run. The work
    /// goes on after a cancelled call has its answer: it gives up a lease that it may have.
    ///
    /// # Errors
    /// `ERR_INVALID_ARGUMENT` for options that do not fit, and for a cache without a store.
    pub fn lease(
        &self,
        options: LeaseOptions,
        cancel: Cancel,
        listener: impl Fn(LeaseEvent) + Send + Sync + 'static,
    ) -> Result<(LeaseCall, impl Future<Output = ()> + Send + 'static)> {
        let options = options.checked()?;
        let Some(store) = self.store.clone() else {
            return Err(Error::argument("path", "no store", "a store"));
        };
        let (step_sender, steps) = mpsc::unbounded_channel();
        let (settled, settled_receiver) = mpsc::unbounded_channel();
        let phase = Arc::new(sync::Mutex::new(String::new()));
        let token = uuid::Uuid::new_v4().as_u128();
        let call = LeaseCall {
            steps: Mutex::new(steps),
            settled,
            phase: Arc::clone(&phase),
            token,
        };
        let driver = Driver::new(
            (self.clone(), store),
            token,
            options,
            Caller {
                cancel,
                phase,
                listener: Box::new(listener),
                steps: step_sender,
                settled: settled_receiver,
            },
        );
        Ok((call, driver.run()))
    }
}
