//! The waiters of one lock in this process. Only the first waiter makes attempts. The others wait behind it, need
//! neither a descriptor nor a system call, and acquire the lock in queue order.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attempt::{Attempt, Step};
use super::blocker::Blocker;
use super::handle::LockHandle;
use super::record::LockMode;
use super::request::{Goal, QueueKey};
use super::waiter::{Waiter, WaiterId};
use crate::core::error::Error;
use crate::core::sys::events::{Interest, ProcessWatch, WatchId};

/// Pauses between attempts after an event. The kernel sends IN_CLOSE_WRITE before it drops the lock.
const RETRIES: [Duration; 5] = [
    Duration::from_millis(1),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(4),
    Duration::from_millis(8),
];

pub(super) struct Group {
    key: QueueKey,
    waiters: VecDeque<Waiter>,
    /// Attempt of the first waiter.
    attempt: Option<(WaiterId, Attempt)>,
    blocker: Option<Blocker>,
    watches: Vec<WatchId>,
    process: Option<(u32, ProcessWatch)>,
    /// Time of the first waiter's next attempt without an event.
    try_at: Option<Instant>,
    retries: usize,
}

impl Group {
    pub(super) fn new(waiter: Waiter) -> Self {
        Self {
            key: waiter.key(),
            waiters: VecDeque::from([waiter]),
            attempt: None,
            blocker: None,
            watches: Vec::new(),
            process: None,
            try_at: Some(Instant::now()),
            retries: RETRIES.len(),
        }
    }

    pub(super) fn key(&self) -> &QueueKey {
        &self.key
    }

    pub(super) fn push(&mut self, mut waiter: Waiter) {
        if let Some(blocker) = &self.blocker {
            waiter.notify(blocker);
        }
        self.waiters.push_back(waiter);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(super) fn forget(&mut self, id: WaiterId) {
        if self.waiters.front().is_some_and(|first| first.id == id) {
            // The next waiter makes its own attempt, because what blocks it depends on its own request.
            self.try_at = Some(Instant::now());
        }
        self.waiters.retain(|waiter| waiter.id != id);
    }

    /// Makes the first waiter try once more.
    pub(super) fn retry_soon(&mut self) {
        self.try_at = Some(Instant::now());
    }

    /// Makes the first waiter try now and several times shortly after, because something has changed.
    pub(super) fn wake_soon(&mut self) {
        self.retries = 0;
        self.try_at = Some(Instant::now());
    }

    pub(super) fn process_ended(&mut self) {
        self.process = None;
        self.wake_soon();
    }

    pub(super) fn process(&self) -> Option<&ProcessWatch> {
        self.process.as_ref().map(|(_, process)| process)
    }

    pub(super) fn watches(&self) -> &[WatchId] {
        &self.watches
    }

    pub(super) fn set_watches(&mut self, watches: Vec<WatchId>) {
        self.watches = watches;
    }

    pub(super) fn required_watches(&self) -> Vec<(PathBuf, Interest)> {
        let lock = &self.key.lock;
        let mut wanted = vec![(lock.records(), Interest::Entries)];
        if self
            .attempt
            .as_ref()
            .is_some_and(|(_, attempt)| attempt.mode() == LockMode::Kernel)
        {
            wanted.push((lock.guard(), Interest::FileClosed));
        }
        if self.blocker.as_ref().is_some_and(|blocker| blocker.is_foreign) {
            wanted.push((lock.directory().to_path_buf(), Interest::Entries));
        }
        wanted
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.waiters.is_empty() || self.next_poll(now).is_zero()
    }

    /// Time until this group has to be polled.
    pub(super) fn next_poll(&self, now: Instant) -> Duration {
        let attempt = self.try_at.map(|at| at.saturating_duration_since(now));
        let waiters = self.waiters.iter().map(Waiter::next_poll).min();
        attempt.into_iter().chain(waiters).min().unwrap_or(Duration::MAX)
    }

    /// Makes an attempt for the first waiter. Answers the waiters that acquire the lock or time out, and notifies the
    /// others. Returns the acquired locks.
    pub(super) fn poll(&mut self) -> Vec<Arc<LockHandle>> {
        let mut acquired = Vec::new();
        self.waiters.retain(|waiter| !waiter.is_gone());
        while let Some(first) = self.waiters.front() {
            let id = first.id;
            match self.step() {
                Ok(Step::Acquired(handle)) => {
                    self.attempt = None;
                    self.blocker = None;
                    acquired.push(Arc::clone(&handle));
                    if let Some(first) = self.waiters.pop_front() {
                        first.succeed(handle);
                    }
                }
                Ok(Step::Vacant { orphaned }) => {
                    if let Some(first) = self.waiters.pop_front() {
                        first.find_vacant(orphaned);
                    }
                }
                Ok(Step::Blocked(blocker)) => {
                    self.blocked(*blocker);
                    self.expire();
                    if self.waiters.front().is_none_or(|first| first.id == id) {
                        break;
                    }
                }
                Err(error) => {
                    self.attempt = None;
                    if let Some(first) = self.waiters.pop_front() {
                        first.fail(error);
                    }
                }
            }
        }
        if self.waiters.is_empty() {
            self.attempt = None;
        }
        acquired
    }

    fn step(&mut self) -> Result<Step, Error> {
        let Some(first) = self.waiters.front() else {
            unreachable!("called with a first waiter");
        };
        if self.attempt.as_ref().is_none_or(|(id, _)| *id != first.id) {
            let mut attempt = Attempt::new(&self.key.lock, Arc::clone(&first.request))?;
            if let Some((_, mut earlier)) = self.attempt.take() {
                attempt.inherit(&mut earlier);
            }
            self.attempt = Some((first.id, attempt));
        }
        match &mut self.attempt {
            Some((_, attempt)) => attempt.step(),
            None => unreachable!("created above"),
        }
    }

    fn blocked(&mut self, blocker: Blocker) {
        self.mark_waiting();
        let now = Instant::now();
        let retry = RETRIES.get(self.retries).map(|pause| now + *pause);
        self.retries = self.retries.saturating_add(1);
        let retry_after = blocker.retry_after.map(|left| now + left);
        self.try_at = retry.into_iter().chain(retry_after).min();
        let watched = self.process.as_ref().map(|(pid, _)| *pid);
        if watched != blocker.process {
            self.process = blocker
                .process
                .and_then(|pid| Some((pid, ProcessWatch::new(pid)?)));
        }
        for waiter in &mut self.waiters {
            waiter.notify(&blocker);
        }
        self.blocker = Some(blocker);
    }

    /// Marks the guard file for a waiter that will acquire the lock.
    fn mark_waiting(&mut self) {
        let stays = self.waiters.front().is_some_and(|first| !first.is_single_try());
        if let Some((_, attempt)) = &mut self.attempt
            && stays
            && self.key.goal == Goal::Acquire
        {
            attempt.mark_waiting();
        }
    }

    /// Ends the waits whose deadline has passed.
    fn expire(&mut self) {
        let mut remaining = VecDeque::with_capacity(self.waiters.len());
        for waiter in self.waiters.drain(..) {
            if waiter.has_expired() {
                waiter.time_out(self.blocker.as_ref());
            } else {
                remaining.push_back(waiter);
            }
        }
        self.waiters = remaining;
    }
}
