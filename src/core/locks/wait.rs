//! One call that waits for a lock, and the handle that ends the wait.

use std::sync::{Arc, OnceLock};

use super::path::LockPath;
use super::reactor::Mailbox;
use super::request::{Goal, Request};
use super::waiter::{Acquired, Answer, OnWait, Outcome, Waiter, WaiterId};
use crate::core::error::{Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;

/// A call that has not entered a queue yet.
pub(super) struct Wait {
    pub(super) waiter: Waiter,
    handle: WaitHandle,
}

impl Wait {
    /// Waits for the lock. `answer` is called once, on another thread or by [`WaitHandle::give_up`].
    pub(super) fn for_lock(
        lock: LockPath,
        request: Request,
        deadline: Deadline,
        on_wait: Option<OnWait>,
        answer: impl FnOnce(Result<Acquired>) + Send + 'static,
    ) -> Self {
        Self::new(lock, request, deadline, on_wait, |outcome| {
            answer(outcome.map(|outcome| match outcome {
                Outcome::Acquired(acquired) => acquired,
                Outcome::Vacant { .. } => unreachable!("requested by for_vacancy only"),
            }));
        })
    }

    /// Waits until the lock is free. Changes nothing of a live holder, but removes what a dead holder left. The result
    /// is `true` if there was a dead holder.
    pub(super) fn for_vacancy(
        lock: LockPath,
        request: Request,
        deadline: Deadline,
        on_wait: Option<OnWait>,
        answer: impl FnOnce(Result<bool>) + Send + 'static,
    ) -> Self {
        let request = Request {
            goal: Goal::Vacancy,
            ..request
        };
        Self::new(lock, request, deadline, on_wait, |outcome| {
            answer(outcome.map(|outcome| match outcome {
                Outcome::Vacant { orphaned } => orphaned,
                Outcome::Acquired(_) => unreachable!("requested by for_lock only"),
            }));
        })
    }

    fn new(
        lock: LockPath,
        request: Request,
        deadline: Deadline,
        on_wait: Option<OnWait>,
        receiver: impl FnOnce(Result<Outcome>) + Send + 'static,
    ) -> Self {
        let answer = Answer::new(Box::new(receiver));
        let waiter = Waiter::new(lock, Arc::new(request), deadline, on_wait, answer.clone());
        let handle = WaitHandle {
            id: waiter.id,
            answer,
            mailbox: Arc::default(),
        };
        Self { waiter, handle }
    }

    /// Returns a handle that can end the wait, even before the call has entered a queue.
    pub(super) fn handle(&self) -> WaitHandle {
        self.handle.clone()
    }

    /// Sets the thread that waits from now on.
    pub(super) fn set_mailbox(&self, mailbox: &Arc<Mailbox>) {
        drop(self.handle.mailbox.set(Arc::clone(mailbox)));
    }

    /// Ends the call before it has entered a queue.
    pub(super) fn fail(self, error: Error) {
        self.waiter.fail(error);
    }
}

/// Ends the wait of a caller.
#[derive(Clone)]
pub(super) struct WaitHandle {
    id: WaiterId,
    answer: Answer,
    mailbox: Arc<OnceLock<Arc<Mailbox>>>,
}

impl WaitHandle {
    /// Answers with `ERR_ABORTED` immediately, unless there is an answer already.
    pub(super) fn give_up(&self) {
        if self.answer.give(Err(Cancel::error()))
            && let Some(mailbox) = self.mailbox.get()
        {
            mailbox.forget(self.id);
        }
    }
}
