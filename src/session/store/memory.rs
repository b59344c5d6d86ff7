//! SESSIONS IN THIS PROCESS: what the application's own answers taught us, and bindings. Gone with the process.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::binding::{Bind, Binding, BindingKey};

/// Keys, what is at them, and until when.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<HashMap<Box<str>, (Bytes, Instant)>>);

// === impl Memory ===

impl Memory {
    fn map(&self) -> MutexGuard<'_, HashMap<Box<str>, (Bytes, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: &str) -> Option<Bytes> {
        self.map().get(key).filter(|(_, until)| *until > Instant::now()).map(|(value, _)| value.clone())
    }

    pub(super) fn learn(&self, key: &str, ttl: Duration) {
        self.map().insert(key.into(), (Bytes::new(), Instant::now() + ttl));
    }

    pub(super) fn forget(&self, key: &str) {
        self.map().remove(key);
    }

    pub(super) fn binding(&self, key: &BindingKey) -> Option<Binding> {
        let map = self.map();
        let (value, until) = map.get(key.as_str())?;
        let left = until.checked_duration_since(Instant::now())?;
        Some(Binding { value: value.clone(), left })
    }

    pub(super) fn bind(&self, key: &BindingKey, value: &str, ttl: Duration, bind: Bind) -> Option<Bytes> {
        let first = self.binding(key).filter(|_| bind == Bind::IfAbsent).map(|binding| binding.value);
        if first.is_none() {
            self.map().insert(key.as_str().into(), (Bytes::copy_from_slice(value.as_bytes()), Instant::now() + ttl));
        }
        first
    }

    pub(super) fn extend(&self, key: &BindingKey, ttl: Duration) {
        if let Some((_, until)) = self.map().get_mut(key.as_str()) {
            *until = Instant::now() + ttl;
        }
    }

    pub(super) fn remove(&self, key: &BindingKey) {
        self.map().remove(key.as_str());
    }
}
