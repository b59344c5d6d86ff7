//! A REDIS: asked over one connection, which [`Redis::keep`] makes and replaces.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;

use super::{Bind, Binding, BindingKey, Invalidated, RedisConfig, StoreError, StoreHealth, StoreState, Work};
use crate::telemetry::metrics::StoreMetrics;

/// A Redis and how we stand with it.
#[derive(Debug)]
pub(super) struct Redis {
    name: Arc<str>,
    config: RedisConfig,
    metrics: Arc<StoreMetrics>,
}

// === impl Redis ===

impl Redis {
    pub(super) fn new(name: Arc<str>, config: RedisConfig, metrics: Arc<StoreMetrics>) -> Arc<Self> {
        Arc::new(Self { name, config, metrics })
    }

    pub(super) fn health(&self) -> StoreHealth {
        StoreHealth {
            kind: "redis",
            state: StoreState::Down,
            since: None,
            tracking: false,
            reconnects: 0,
            last_error: None,
        }
    }

    pub(super) async fn keep(&self) {
        log::debug!("store {}: {:?} {:?}", self.name, self.config.servers, self.metrics);
        std::future::pending().await
    }

    pub(super) fn subscribe(&self, _cache: Weak<dyn Invalidated>) {}

    pub(super) fn later(&self, _work: Work) -> bool {
        false
    }

    pub(super) async fn get(&self, _key: &str, _budget: Duration) -> Result<Option<Bytes>, StoreError> {
        Err(StoreError::Down)
    }

    pub(super) async fn exists(&self, _key: &str, _budget: Duration) -> Result<bool, StoreError> {
        Err(StoreError::Down)
    }

    pub(super) async fn binding(&self, _key: &BindingKey, _budget: Duration) -> Result<Option<Binding>, StoreError> {
        Err(StoreError::Down)
    }

    pub(super) async fn bind(
        &self,
        _key: &BindingKey,
        _value: &str,
        _ttl: Duration,
        _bind: Bind,
        _budget: Duration,
    ) -> Result<Option<Bytes>, StoreError> {
        Err(StoreError::Down)
    }

    pub(super) async fn extend(&self, _key: &BindingKey, _ttl: Duration, _budget: Duration) -> Result<(), StoreError> {
        Err(StoreError::Down)
    }

    pub(super) async fn remove(&self, _key: &BindingKey, _budget: Duration) -> Result<(), StoreError> {
        Err(StoreError::Down)
    }
}
