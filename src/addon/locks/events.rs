//! Events of lock waits and held locks.

use std::sync::Arc;
use std::time::Duration;

use napi_derive::napi;

use crate::addon::listener::Listener;
use crate::core::locks::{Liveness, OnWait, WaitInfo};

/// Whether the holder of a lock is alive.
#[napi(string_enum = "lowercase", skip_typescript)]
pub enum NativeLiveness {
    /// The holder is running.
    Alive,
    /// The holder has ended.
    Dead,
    /// The state of the holder cannot be determined from this machine or namespace.
    Unknown,
}

impl From<Liveness> for NativeLiveness {
    fn from(liveness: Liveness) -> Self {
        match liveness {
            Liveness::Alive => Self::Alive,
            Liveness::Dead => Self::Dead,
            Liveness::Unknown => Self::Unknown,
        }
    }
}

/// Kind of an event.
#[napi(string_enum = "lowercase", skip_typescript)]
pub enum NativeLockEventKind {
    /// A call is waiting.
    Wait,
    /// A lock was lost.
    Lost,
}

/// An event of a wait or of a held lock.
#[napi(object)]
pub struct NativeLockEvent {
    /// Id of the call that the event belongs to.
    pub call: f64,
    /// Kind of the event. `lost` is sent once, and no event follows it.
    #[napi(ts_type = "'wait' | 'lost'")]
    pub kind: NativeLockEventKind,
    /// Milliseconds since the call.
    pub waited_ms: f64,
    /// Current holder, as JSON of `Holder`.
    pub holder: Option<String>,
    /// Whether the current holder is alive.
    #[napi(ts_type = "'alive' | 'dead' | 'unknown'")]
    pub liveness: NativeLiveness,
    /// Why the lock was lost.
    pub reason: Option<String>,
}

/// Receives the events of many calls.
#[napi]
pub struct LockListener {
    listener: Arc<Listener<NativeLockEvent>>,
}

#[napi]
impl LockListener {
    /// Creates a listener that calls a function with each event.
    #[napi(constructor)]
    pub fn new(
        #[napi(ts_arg_type = "(event: NativeLockEvent) => void")] listener: Listener<NativeLockEvent>,
    ) -> Self {
        Self {
            listener: Arc::new(listener),
        }
    }
}

/// Events of one call.
#[derive(Clone)]
pub(super) struct CallEvents {
    listener: Arc<Listener<NativeLockEvent>>,
    call: f64,
}

impl CallEvents {
    pub(super) fn new(listener: &LockListener, call: f64) -> Self {
        Self {
            listener: Arc::clone(&listener.listener),
            call,
        }
    }

    pub(super) fn on_wait(&self) -> OnWait {
        let events = self.clone();
        Box::new(move |info: WaitInfo| {
            events.listener.call(NativeLockEvent {
                call: events.call,
                kind: NativeLockEventKind::Wait,
                waited_ms: milliseconds(info.waited),
                holder: info.holder.as_ref().map(json),
                liveness: info.liveness.into(),
                reason: None,
            });
        })
    }

    pub(super) fn on_lost(&self) -> Box<dyn FnOnce(&str) + Send> {
        let events = self.clone();
        Box::new(move |reason: &str| {
            events.listener.call(NativeLockEvent {
                call: events.call,
                kind: NativeLockEventKind::Lost,
                waited_ms: 0.0,
                holder: None,
                liveness: NativeLiveness::Unknown,
                reason: Some(reason.to_owned()),
            });
        })
    }
}

pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub(super) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
