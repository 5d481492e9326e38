//! A thread that waits for all callers of this process, and watches the locks that the process holds. Changes of guards
//! and records (inotify), the end of holders (pidfd) and its own callers wake it. A periodic tick also wakes it,
//! because watches overflow, are limited in number and do not report remote changes.
//!
//! There is one such thread for local filesystems and one for each other device. A network filesystem that hangs must
//! not block the waiters of other locks. While it hangs, [`super::alarm`] ends waits and leases on time.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::alarm::Alarm;
use super::group::Group;
use super::handle::LockHandle;
use super::request::QueueKey;
use super::waiter::{Waiter, WaiterId};
use crate::core::error::Result;
use crate::core::sys::events::{Events, Interest, ProcessWatch, Waker, WatchId};
use crate::core::sys::sync::Mutex;
use crate::core::sys::thread;

/// Interval of the tick.
const TICK: Duration = Duration::from_secs(1);
/// A lock that is held for longer is watched. Earlier changes are found when the watches are set. Most locks are
/// released sooner, and with watches each of their own steps would be an event.
const UNWATCHED: Duration = Duration::from_millis(20);

enum Message {
    Wait(Box<Waiter>),
    Forget(WaiterId),
    Watch(Weak<LockHandle>),
}

/// Inbox of a reactor, used by other threads.
pub(super) struct Mailbox {
    messages: Mutex<Vec<Message>>,
    waker: Arc<Waker>,
    has_ended: AtomicBool,
}

/// Marks the inbox as closed when the thread ends, which only an internal error can cause. Its waiters receive an
/// error, and the next caller starts another thread.
struct End(Arc<Mailbox>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Ordering::SeqCst);
        drop(self.0.take_messages());
    }
}

impl Mailbox {
    /// Starts a reactor thread.
    pub(super) fn start(name: &str) -> Result<Arc<Self>> {
        let events = Events::new()?;
        let mailbox = Arc::new(Self {
            messages: Mutex::default(),
            waker: events.waker(),
            has_ended: AtomicBool::new(false),
        });
        let end = End(Arc::clone(&mailbox));
        let mut reactor = Reactor {
            mailbox: Arc::clone(&mailbox),
            events,
            groups: HashMap::new(),
            holds: HashMap::new(),
            watchers: HashMap::new(),
            polled_all_at: Instant::now(),
        };
        thread::spawn(name, move || {
            let _end = end;
            reactor.run();
        })?;
        Ok(mailbox)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::SeqCst)
    }

    /// Adds a waiter.
    pub(super) fn wait(&self, waiter: Waiter) {
        self.send(Message::Wait(Box::new(waiter)));
    }

    /// Removes a waiter that has given up.
    pub(super) fn forget(&self, id: WaiterId) {
        self.send(Message::Forget(id));
    }

    /// Watches a lock, unless it is released very soon.
    pub(super) fn watch_later(self: &Arc<Self>, handle: &Arc<LockHandle>) {
        let (mailbox, watched) = (Arc::clone(self), Arc::downgrade(handle));
        handle.set_watch(Alarm::set(Instant::now() + UNWATCHED, move || {
            mailbox.send(Message::Watch(watched));
        }));
    }

    fn send(&self, message: Message) {
        self.messages.lock().push(message);
        if self.has_ended() {
            drop(self.take_messages());
        }
        self.waker.wake();
    }

    fn take_messages(&self) -> Vec<Message> {
        std::mem::take(&mut *self.messages.lock())
    }
}

/// Owner of a watch, which is polled when the watch reports a change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Watcher {
    Group(QueueKey),
    Hold(String),
}

struct Hold {
    handle: Weak<LockHandle>,
    watches: Vec<WatchId>,
}

impl Hold {
    fn handle(&self) -> Option<Arc<LockHandle>> {
        self.handle.upgrade().filter(|handle| handle.is_held())
    }
}

struct Reactor {
    mailbox: Arc<Mailbox>,
    events: Events,
    groups: HashMap<QueueKey, Group>,
    /// Watched locks that this process holds, by token.
    holds: HashMap<String, Hold>,
    watchers: HashMap<WatchId, HashSet<Watcher>>,
    /// Time of the last tick.
    polled_all_at: Instant,
}

impl Reactor {
    fn run(&mut self) {
        loop {
            for message in self.mailbox.take_messages() {
                match message {
                    Message::Wait(waiter) => self.enqueue(*waiter),
                    Message::Forget(id) => self.groups.values_mut().for_each(|group| group.forget(id)),
                    Message::Watch(handle) => self.watch_hold(handle),
                }
            }
            self.poll_due_groups();
            self.pause();
        }
    }

    fn enqueue(&mut self, waiter: Waiter) {
        let key = waiter.key();
        // A single attempt must not wait in the queue. The lock is as free for it as for the first waiter.
        if waiter.is_single_try() {
            let mut alone = Group::new(waiter);
            self.poll_until_waiting(&mut alone);
            return;
        }
        match self.groups.get_mut(&key) {
            Some(group) => group.push(waiter),
            None => {
                self.groups.insert(key, Group::new(waiter));
            }
        }
    }

    fn poll_due_groups(&mut self) {
        let now = Instant::now();
        let due: Vec<QueueKey> = self
            .groups
            .iter()
            .filter(|(_, group)| group.is_due(now))
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            let Some(mut group) = self.groups.remove(&key) else {
                continue;
            };
            self.poll_until_waiting(&mut group);
            if group.is_empty() {
                self.unwatch(group.watches(), &Watcher::Group(key));
            } else {
                self.groups.insert(key, group);
            }
        }
    }

    /// Polls a group until it is empty or has to wait. The watches are set before the last poll, so that no change in
    /// between is missed.
    fn poll_until_waiting(&mut self, group: &mut Group) {
        self.poll(group);
        while !group.is_empty() && self.watch_group(group) {
            self.poll(group);
        }
    }

    fn poll(&mut self, group: &mut Group) {
        for handle in group.poll() {
            self.mailbox.watch_later(&handle);
        }
    }

    /// Sets the watches that the group needs. Returns `true` if one of them is new.
    fn watch_group(&mut self, group: &mut Group) -> bool {
        let watcher = Watcher::Group(group.key().clone());
        let mut is_new = false;
        let mut set = Vec::new();
        for (path, interest) in group.required_watches() {
            if let Some(id) = self.watch(&path, interest, &watcher) {
                is_new |= !group.watches().contains(&id);
                set.push(id);
            }
        }
        let stale: Vec<WatchId> = group
            .watches()
            .iter()
            .filter(|id| !set.contains(id))
            .copied()
            .collect();
        self.unwatch(&stale, &watcher);
        group.set_watches(set);
        is_new
    }

    fn watch_hold(&mut self, weak: Weak<LockHandle>) {
        let Some(handle) = weak.upgrade().filter(|handle| handle.is_held()) else {
            return;
        };
        let watcher = Watcher::Hold(handle.token().to_owned());
        let lock = handle.lock();
        let paths = [lock.records(), PathBuf::from(lock.directory())];
        let watches = paths
            .iter()
            .filter_map(|path| self.watch(path, Interest::Entries, &watcher))
            .collect();
        let hold = Hold {
            handle: weak,
            watches,
        };
        self.holds.insert(handle.token().to_owned(), hold);
        // Finds changes from before the watch.
        handle.check();
    }

    fn watch(&mut self, path: &Path, interest: Interest, watcher: &Watcher) -> Option<WatchId> {
        let id = self.events.watch(path, interest)?;
        self.watchers.entry(id).or_default().insert(watcher.clone());
        Some(id)
    }

    fn unwatch(&mut self, watches: &[WatchId], watcher: &Watcher) {
        for id in watches {
            let Some(watchers) = self.watchers.get_mut(id) else {
                continue;
            };
            watchers.remove(watcher);
            if watchers.is_empty() {
                self.watchers.remove(id);
                self.events.unwatch(*id);
            }
        }
    }

    fn pause(&mut self) {
        self.drop_ended_holds();
        let timeout = self.timeout();
        let watched: Vec<(QueueKey, &ProcessWatch)> = self
            .groups
            .iter()
            .filter_map(|(key, group)| Some((key.clone(), group.process()?)))
            .collect();
        let processes: Vec<&ProcessWatch> = watched.iter().map(|(_, process)| *process).collect();
        let woken = self.events.wait(timeout, &processes);
        let ended: Vec<QueueKey> = woken
            .processes
            .iter()
            .map(|index| watched[*index].0.clone())
            .collect();
        drop(watched);
        for key in ended {
            if let Some(group) = self.groups.get_mut(&key) {
                group.process_ended();
            }
        }
        if woken.overflow || self.polled_all_at.elapsed() >= TICK {
            self.poll_all();
            return;
        }
        for id in woken.watches {
            self.notify(id);
        }
    }

    /// Polls all groups and locks, in case an event was lost.
    fn poll_all(&mut self) {
        self.polled_all_at = Instant::now();
        self.groups.values_mut().for_each(Group::retry_soon);
        self.holds
            .values()
            .filter_map(Hold::handle)
            .for_each(|handle| handle.check());
    }

    fn notify(&mut self, id: WatchId) {
        for watcher in self.watchers.get(&id).cloned().unwrap_or_default() {
            match watcher {
                Watcher::Group(key) => {
                    if let Some(group) = self.groups.get_mut(&key) {
                        group.wake_soon();
                    }
                }
                Watcher::Hold(token) => {
                    if let Some(handle) = self.holds.get(&token).and_then(Hold::handle) {
                        handle.check();
                    }
                }
            }
        }
    }

    fn drop_ended_holds(&mut self) {
        let over: Vec<String> = self
            .holds
            .iter()
            .filter(|(_, hold)| hold.handle().is_none())
            .map(|(token, _)| token.clone())
            .collect();
        for token in over {
            if let Some(hold) = self.holds.remove(&token) {
                self.unwatch(&hold.watches, &Watcher::Hold(token));
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        if self.groups.is_empty() && self.holds.is_empty() {
            return None;
        }
        let now = Instant::now();
        let soonest = self.groups.values().map(|group| group.next_poll(now)).min();
        Some(soonest.map_or(TICK, |soonest| soonest.min(TICK)))
    }
}
