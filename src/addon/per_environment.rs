//! Values that each environment has one instance of.

use std::collections::BTreeMap;

use napi::Env;

use crate::core::sys::sync::Mutex;

use super::environment::{self, EnvironmentId};

/// One value per environment. It is created on first use and ended with the environment.
pub(crate) struct PerEnvironment<T: 'static> {
    values: Mutex<BTreeMap<EnvironmentId, T>>,
    create: fn() -> T,
    end: fn(&T),
}

impl<T: Clone + Send + 'static> PerEnvironment<T> {
    /// Creates an empty table.
    pub(crate) const fn new(create: fn() -> T, end: fn(&T)) -> Self {
        Self {
            values: Mutex::new(BTreeMap::new()),
            create,
            end,
        }
    }

    /// Returns the value of this environment.
    pub(crate) fn of(&'static self, env: &Env) -> napi::Result<T> {
        let id = environment::id(env);
        let mut values = self.values.lock();
        if let Some(known) = values.get(&id) {
            return Ok(known.clone());
        }
        let value = (self.create)();
        values.insert(id, value.clone());
        drop(values);
        environment::on_exit(env, |id| {
            let ended = self.values.lock().remove(&id);
            if let Some(value) = ended {
                (self.end)(&value);
            }
        })?;
        Ok(value)
    }
}
