//! One call that waits for a lock, and the place in a queue that it can give up.

use std::sync::{Arc, OnceLock};

use super::path::LockPath;
use super::reactor::Mailbox;
use super::request::{Goal, Request};
use super::waiter::{Acquired, Answer, OnWait, Outcome, Waiter, WaiterId};
use crate::core::error::{Error, Result};
use crate::core::sys::cancel::Cancel;
use crate::core::sys::deadline::Deadline;

/// One call that has not entered a queue yet.
pub(super) struct Wait {
    pub(super) waiter: Waiter,
    handle: WaitHandle,
}

impl Wait {
    /// For the lock. `answer` is called once, on another thread or by [`WaitHandle::give_up`].
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
                Outcome::Vacant { .. } => unreachable!("only asked for by for_vacancy"),
            }));
        })
    }

    /// Until nobody holds the lock. Takes nothing from anybody living, but removes what a dead holder left: `true`
    /// where there was such a thing.
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
                Outcome::Acquired(_) => unreachable!("only asked for by for_lock"),
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

    /// For a caller that may give up, also before the call has entered a queue.
    pub(super) fn handle(&self) -> WaitHandle {
        self.handle.clone()
    }

    /// Names the thread that waits from now on.
    pub(super) fn set_mailbox(&self, mailbox: &Arc<Mailbox>) {
        drop(self.handle.mailbox.set(Arc::clone(mailbox)));
    }

    /// Ends before it has begun.
    pub(super) fn fail(self, error: Error) {
        self.waiter.fail(error);
    }
}

/// Lets the caller of a wait give up.
#[derive(Clone)]
pub(super) struct WaitHandle {
    id: WaiterId,
    answer: Answer,
    mailbox: Arc<OnceLock<Arc<Mailbox>>>,
}

impl WaitHandle {
    /// Answers `ERR_ABORTED` at once, unless there is an answer already.
    pub(super) fn give_up(&self) {
        if self.answer.give(Err(Cancel::error()))
            && let Some(mailbox) = self.mailbox.get()
        {
            mailbox.forget(self.id);
        }
    }
}
