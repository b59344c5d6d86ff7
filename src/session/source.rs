//! A source of sessions: one place, one format, one store, and what is remembered.

use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use http::HeaderMap;

use super::{
    Check, Found, Issued,
    cache::KeyTemplate,
    fields::{FieldIndex, FieldPath},
    id::Secret,
    jwt::JwtSettings,
    place::Place,
    store::Store,
};
use crate::telemetry::metrics::{CacheSample, CacheSource, SessionMetrics};

/// What a source is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// The name in the file, in metrics and logs.
    pub name: Arc<str>,
    /// Where a request carries its id.
    pub place: Place,
    /// What the id looks like there.
    pub format: Format,
    /// The store's key of an id; for a token, the key that is there when it was revoked. None: no store is asked.
    pub key: Option<KeyTemplate>,
    /// The longest that a check may wait for the store.
    pub timeout: Duration,
    /// How long an answer of the store is believed.
    pub cache: Duration,
    /// Whether a request whose session can't be looked up passes where one is required.
    pub allow_when_down: bool,
    /// What routes ask for of what is stored, or of a token's claims.
    pub fields: Vec<FieldPath>,
    /// What [`super::ShortHash`] is keyed with.
    pub hash_key: Secret,
}

/// What an id looks like in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// As it is, unsigned.
    Plain,
    /// As express-session signs it, with any of these.
    Express(Vec<Secret>),
    /// In a token that is signed.
    Jwt(JwtSettings),
}

/// A source of sessions.
pub struct Source {
    settings: SourceSettings,
    store: Option<Arc<Store>>,
    metrics: Arc<SessionMetrics>,
}

// === impl Source ===

impl Source {
    /// A source. Where `previous` was made of the same settings and store it is handed back, with all that it remembers.
    /// Does no I/O and spawns nothing.
    #[must_use]
    pub fn new(
        settings: SourceSettings,
        store: Option<Arc<Store>>,
        metrics: Arc<SessionMetrics>,
        previous: Option<&Arc<Self>>,
    ) -> Arc<Self> {
        let same = |source: &&Arc<Self>| {
            source.settings == settings && source.store.as_ref().map(Arc::as_ptr) == store.as_ref().map(Arc::as_ptr)
        };
        previous.filter(same).cloned().unwrap_or_else(|| Arc::new(Self { settings, store, metrics }))
    }

    /// The source serves from now on: scrapes read its cache.
    pub fn put_in_place(self: &Arc<Self>) {
        let source: Weak<dyn CacheSource> = Arc::<Self>::downgrade(self);
        self.metrics.read_from(source);
    }

    /// What a request says, before any store is asked.
    pub fn find(&self, _headers: &HeaderMap) -> Found {
        Found::Absent
    }

    /// How a request's session stands: the signature first, then what is remembered, then the store, within the budget.
    /// Counts and times itself; may be cancelled.
    #[expect(clippy::unused_async, reason = "to be filled in")]
    pub async fn check(&self, _headers: &HeaderMap) -> Check {
        let result = crate::telemetry::metrics::CheckResult::Absent;
        self.metrics.checked(result, None);
        Check { standing: super::Standing::Absent, result }
    }

    /// What an answer says of this source's cookie: always nothing where the id doesn't come in one.
    pub fn issued(&self, _answer: &HeaderMap) -> Issued {
        Issued::Nothing
    }

    /// Learns from an answer to a request with these headers. A memory store knows sessions by nothing else; elsewhere
    /// it spares the next request what was remembered and is over.
    pub fn learn(&self, _request: &HeaderMap, _issued: &Issued) {}

    /// Where `path` is found in this source's sessions; none where its settings don't have it.
    pub fn field(&self, path: &FieldPath) -> Option<FieldIndex> {
        FieldIndex::of(path, &self.settings.fields)
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    /// The store it asks; none for tokens that nobody can revoke.
    pub fn store(&self) -> Option<&Arc<Store>> {
        self.store.as_ref()
    }

    /// Whether a request passes whose session is required and can't be looked up.
    pub fn allows_when_down(&self) -> bool {
        self.settings.allow_when_down
    }

    /// The longest that anything about a session may wait for the store.
    pub fn budget(&self) -> Duration {
        self.settings.timeout
    }

    /// Whether its id comes as a bearer token (RFC 6750).
    pub fn is_bearer(&self) -> bool {
        matches!(self.settings.place, Place::Bearer)
    }

    /// Whether its id comes in a cookie, so that answers tell of new ones.
    pub fn sees_answers(&self) -> bool {
        matches!(self.settings.place, Place::Cookie(_))
    }
}

impl CacheSource for Source {
    fn sample(&self) -> CacheSample {
        CacheSample::default()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.settings.name).finish_non_exhaustive()
    }
}
