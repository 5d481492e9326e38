//! What JavaScript is notified of while it waits for locks and holds them.

use std::sync::Arc;
use std::time::Duration;

use napi_derive::napi;

use crate::addon::listener::Listener;
use crate::core::locks::{Liveness, OnWait, WaitInfo};

/// Whether a holder lives.
#[napi(string_enum = "lowercase", skip_typescript)]
pub enum NativeLiveness {
    /// It lives.
    Alive,
    /// It has ended.
    Dead,
    /// Nobody here can know.
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

/// Which event it is.
#[napi(string_enum = "lowercase", skip_typescript)]
pub enum NativeLockEventKind {
    /// A call waits.
    Wait,
    /// A lock is lost.
    Lost,
}

/// What happens to a wait or to a lock.
#[napi(object)]
pub struct NativeLockEvent {
    /// Which call it is of.
    pub call: f64,
    /// `lost` comes once, and nothing after it.
    #[napi(ts_type = "'wait' | 'lost'")]
    pub kind: NativeLockEventKind,
    /// Milliseconds since the call.
    pub waited_ms: f64,
    /// `Holder` as JSON.
    pub holder: Option<String>,
    /// Of the holder.
    #[napi(ts_type = "'alive' | 'dead' | 'unknown'")]
    pub liveness: NativeLiveness,
    /// Why it was lost.
    pub reason: Option<String>,
}

/// Hears what happens to the waits and locks of many calls.
#[napi]
pub struct LockListener {
    listener: Arc<Listener<NativeLockEvent>>,
}

#[napi]
impl LockListener {
    /// Calls a function with each event.
    #[napi(constructor)]
    pub fn new(
        #[napi(ts_arg_type = "(event: NativeLockEvent) => void")] listener: Listener<NativeLockEvent>,
    ) -> Self {
        Self {
            listener: Arc::new(listener),
        }
    }
}

/// The events of one call.
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
