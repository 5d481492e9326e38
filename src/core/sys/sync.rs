//! Mutexes and condition variables without poisoning. The boundary of the addon catches a panic and converts it to one
//! failed call. It must not make all later calls fail. The code under a lock keeps the value valid at each step
//! instead.

use std::sync::{self, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

/// A mutex that a panic does not poison.
#[derive(Debug, Default)]
pub struct Mutex<T: ?Sized>(sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Creates an unlocked mutex with this value.
    pub const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until the mutex is free and locks it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the mutex if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
        }
    }
}

/// A condition variable for a [`Mutex`].
#[derive(Debug, Default)]
pub struct Condvar(sync::Condvar);

impl Condvar {
    /// Creates a condition variable without waiters.
    pub const fn new() -> Self {
        Self(sync::Condvar::new())
    }

    /// Waits for a notification. The wait can also end without one.
    pub fn wait<'guard, T>(&self, guard: MutexGuard<'guard, T>) -> MutexGuard<'guard, T> {
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// Like [`wait`](Self::wait), for at most `timeout`. The flag is `true` if the timeout has passed.
    pub fn wait_timeout<'guard, T>(
        &self,
        guard: MutexGuard<'guard, T>,
        timeout: Duration,
    ) -> (MutexGuard<'guard, T>, bool) {
        let waited = self.0.wait_timeout(guard, timeout);
        let (guard, result) = waited.unwrap_or_else(PoisonError::into_inner);
        (guard, result.timed_out())
    }

    /// Wakes one waiting thread.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all waiting threads.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutex_stays_usable_after_a_panic() {
        let mutex = Mutex::new(1);
        let panicked = std::panic::catch_unwind(|| {
            let _guard = mutex.lock();
            panic!("seeded");
        });
        assert!(panicked.is_err());
        *mutex.lock() += 1;
        assert_eq!(mutex.try_lock().map(|guard| *guard), Some(2));
        let guard = mutex.lock();
        assert!(mutex.try_lock().is_none());
        let (guard, has_timed_out) = Condvar::new().wait_timeout(guard, Duration::ZERO);
        assert_eq!((*guard, has_timed_out), (2, true));
    }
}
