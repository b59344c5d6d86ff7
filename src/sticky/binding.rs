//! A session's endpoint, kept in the store: shared by every gateway that asks the same one.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::now;
use crate::endpoint::EndpointId;
use crate::session::cache::{Cache, CacheSettings, KeyTemplate, Lives, Load, Value};
use crate::session::store::{Bind, BindingKey, Store, StoreError, Work};
use crate::session::{SessionId, Source};

/// How long a binding is believed without asking again. A store that tells of changes is believed no longer: one that is
/// wrong for a moment sends a request to an endpoint that is as good as any.
const BELIEVED: Duration = Duration::from_secs(2);

/// Bindings of some 80,000 sessions.
const MOST_BYTES: u64 = 32 << 20;

/// Look-ups at a time; more than that are the store's to refuse.
const MOST_LOADS: usize = 1024;

/// The bindings of the sessions of one source, in every upstream.
pub struct Bindings {
    source: Arc<Source>,
    store: Arc<Store>,
    cache: Arc<Cache<Asks>>,
}

/// Where a session is bound, and until when the store keeps that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) endpoint: EndpointId,
    pub(super) until: Instant,
}

/// What the cache asks with.
struct Asks {
    store: Arc<Store>,
    budget: Duration,
}

// === impl Bindings ===

impl Bindings {
    /// The bindings of `source`'s sessions in `store`: the source's own, or a memory of this process where it has none.
    /// Whichever of `known` are of the same source are handed back, with all that they remember. Does no I/O.
    #[must_use]
    pub fn new<'a>(
        source: &Arc<Source>,
        store: impl FnOnce() -> Arc<Store>,
        mut known: impl Iterator<Item = &'a Arc<Self>>,
    ) -> Arc<Self> {
        if let Some(same) = known.find(|known| Arc::ptr_eq(&known.source, source)) {
            return Arc::clone(same);
        }
        let (source, store) = (Arc::clone(source), store());
        let settings = CacheSettings {
            keys: KeyTemplate::starting_with(BindingKey::PREFIX),
            lives: Lives { positive: BELIEVED, negative: BELIEVED },
            most_bytes: MOST_BYTES,
            most_loads: MOST_LOADS,
        };
        let cache = Cache::new(settings, Asks { store: Arc::clone(&store), budget: source.budget() });
        let hears: Weak<Cache<Asks>> = Arc::downgrade(&cache);
        store.subscribe(hears);
        Arc::new(Self { source, store, cache })
    }

    /// Whose sessions they are of.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Where they are kept.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Calls `each` with the endpoint's id for each binding in that upstream that this process remembers.
    pub fn for_each(&self, upstream: &str, mut each: impl FnMut(&str)) {
        self.cache.for_each(now(), |own, bound| {
            let of = own.rsplit_once(':').map(|(upstream, _)| upstream);
            if let (true, Some(bound)) = (of == Some(upstream), bound) {
                each(bound.endpoint.as_str());
            }
        });
    }

    /// Where the session is bound.
    pub(super) async fn find(&self, upstream: &str, id: &SessionId) -> Result<Option<Bound>, StoreError> {
        let key = BindingKey::new(upstream, id.as_str());
        match self.cache.hit(key.own(), now()) {
            Some(bound) => Ok(bound),
            None => self.cache.get(key.own()).await.0,
        }
    }

    /// Where it is bound as far as is known without asking.
    pub(super) fn known(&self, upstream: &str, id: &SessionId) -> Option<Bound> {
        self.cache.hit(BindingKey::new(upstream, id.as_str()).own(), now())?
    }

    /// Binds it. Who loses a race against another first request goes by the winner from then on.
    pub(super) async fn bind(
        &self,
        upstream: &str,
        id: &SessionId,
        endpoint: &EndpointId,
        ttl: Duration,
        bind: Bind,
    ) -> Result<(), StoreError> {
        let key = BindingKey::new(upstream, id.as_str());
        // Forgotten first: where the client or the endpoint leaves in between, it may be bound all the same.
        self.cache.remove(key.own());
        match self.store.bind(&key, endpoint.as_str(), ttl, bind, self.source.budget()).await {
            Ok(None) => self.cache.put(key.own(), Some(Bound { endpoint: endpoint.clone(), until: now() + ttl })),
            // For how long the winner is kept, the next look-up says.
            Ok(Some(_)) => self.cache.remove(key.own()),
            Err(error) => {
                // It may have come to pass.
                self.cache.remove(key.own());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Lets a binding that is there live for `ttl` from now.
    pub(super) async fn extend(&self, upstream: &str, id: &SessionId, endpoint: &EndpointId, ttl: Duration) {
        let key = BindingKey::new(upstream, id.as_str());
        // One request in those few seconds extends it; those beside it find that it has been done.
        self.cache.put(key.own(), Some(Bound { endpoint: endpoint.clone(), until: now() + ttl }));
        if self.store.extend(&key, ttl, self.source.budget()).await.is_err() {
            self.cache.remove(key.own());
        }
    }

    /// Removes the binding of a session that is over. Returns whether there was one.
    pub(super) async fn forget(&self, upstream: &str, id: &SessionId) -> bool {
        if !matches!(self.find(upstream, id).await, Ok(Some(_)) | Err(StoreError::Garbage)) {
            return false;
        }
        let key = BindingKey::new(upstream, id.as_str());
        let removed = self.store.remove(&key, self.source.budget()).await;
        match removed {
            Ok(()) => self.cache.put(key.own(), None),
            Err(_) => self.cache.remove(key.own()),
        }
        removed.is_ok()
    }
}

impl std::fmt::Debug for Bindings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bindings").field("source", self.source.name()).finish_non_exhaustive()
    }
}

// === impl Asks ===

impl Load for Asks {
    type Value = Option<Bound>;

    fn budget(&self) -> Duration {
        self.budget
    }

    async fn load(&self, own: &str, budget: Duration) -> Result<Self::Value, StoreError> {
        let binding = self.store.binding(&BindingKey::of(own), budget).await?;
        // What is no text is no endpoint either.
        Ok(binding.map(|binding| Bound {
            endpoint: EndpointId::new(&String::from_utf8_lossy(&binding.value)),
            until: now() + binding.left,
        }))
    }

    fn later(&self, work: Work) {
        // What isn't done is asked for by the next request.
        let _ = self.store.later(work);
    }
}

impl Value for Option<Bound> {
    fn bytes(&self) -> usize {
        // The text behind an `Arc`, with its two counts.
        self.as_ref().map_or(0, |bound| bound.endpoint.as_str().len() + 16)
    }
}
