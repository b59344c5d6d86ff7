//! A source of sessions: one place, one format, one store, and what is remembered.
//!
//! Two things are remembered, because they end differently. That a value was signed rightly holds as long as the keys do
//! ([`Verified`], here); that its session lives holds until the store says otherwise ([`Cache`]).

#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    fmt,
    ops::Deref,
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime},
};

use http::HeaderMap;
use quick_cache::{DefaultHashBuilder, Weighter, sync::DefaultLifecycle};
use ring::hmac;

use super::{
    Check, Found, Issued, Session, Standing,
    cache::{Cache, CacheSettings, KeyTemplate, Lives, Via},
    cookie,
    express::Express,
    fields::{FieldIndex, FieldPath, Fields},
    id::{Secret, SessionId, ShortHash},
    issue,
    jwt::{Jwt, JwtSettings, Token},
    lookup::{Lookup, Question, Stored},
    place::{Place, Read},
    store::{Store, StoreError},
};
use crate::telemetry::metrics::{CacheSample, CacheSource, CheckResult, SessionMetrics};

/// What is remembered of a source's sessions, at most: some 200,000 of express.
const MOST_KEPT: u64 = 64 << 20;

/// What is remembered of a source's signatures, at most: some 60,000 of express, or 10,000 tokens of 1.3 KiB.
const MOST_VERIFIED: u64 = 16 << 20;

/// What a signature costs beside its value: a slot in the slab with links, a place in the hash table, an id's text.
const OVERHEAD: u64 = 160;

/// What is not there is believed to be not there for less long: where no push tells of it, somebody has just logged in.
const LONGEST_NEGATIVE: Duration = Duration::from_secs(1);

/// Look-ups under way at once: as many as the store takes, where ids are signed; where anybody can make them up, a part of
/// that, so that others still come through.
const MOST_LOADS: usize = 1024;
const MOST_UNSIGNED_LOADS: usize = 256;

/// How long memory knows a session whose cookie doesn't say: express-session's and connect-redis' own default.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

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
    judge: Judge,
    verified: quick_cache::sync::Cache<Box<[u8]>, Verified, Weight>,
    hash_key: hmac::Key,
    store: Option<Arc<Store>>,
    kept: Option<Arc<Cache<Lookup>>>,
    metrics: Arc<SessionMetrics>,
}

/// Judges what a request carries.
enum Judge {
    Plain,
    Express(Express),
    Jwt(Jwt),
}

/// What a value was found to be that is signed rightly.
#[derive(Clone)]
enum Verified {
    Id(SessionId),
    Token(Arc<Session>, Option<Instant>),
}

#[derive(Clone)]
struct Weight;

/// What a request carries, after it was judged.
enum Carried<'a> {
    Nothing,
    Forged,
    Over,
    Id(Id<'a>),
    Token(Arc<Session>),
}

/// An id, not copied where that can be.
enum Id<'a> {
    Borrowed(&'a str),
    Shared(SessionId),
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
        if let Some(previous) = previous.filter(same) {
            return Arc::clone(previous);
        }
        let hash_key = settings.hash_key.hmac();
        let judge = match &settings.format {
            Format::Plain => Judge::Plain,
            Format::Express(secrets) => Judge::Express(Express::new(secrets)),
            Format::Jwt(jwt) => Judge::Jwt(Jwt::new(jwt.clone(), settings.key.is_some())),
        };
        let kept = match (&store, &settings.key) {
            (Some(store), Some(keys)) => Some(keep(&settings, store, keys, &hash_key, &metrics)),
            _ => None,
        };
        /// A guess within an order of magnitude does.
        const ENTRIES: usize = 64 << 10;
        let verified = quick_cache::sync::Cache::with(
            ENTRIES,
            MOST_VERIFIED,
            Weight,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        );
        Arc::new(Self { settings, judge, verified, hash_key, store, kept, metrics })
    }

    /// The source serves from now on: scrapes read its cache.
    pub fn put_in_place(self: &Arc<Self>) {
        let source: Weak<dyn CacheSource> = Arc::<Self>::downgrade(self);
        self.metrics.read_from(source);
    }

    /// What a request says, before any store is asked.
    pub fn find(&self, headers: &HeaderMap) -> Found {
        match self.carried(headers, now()) {
            Carried::Nothing => Found::Absent,
            Carried::Forged => Found::Forged,
            Carried::Over => Found::Over,
            Carried::Id(Id::Shared(id)) => Found::Id(id),
            Carried::Id(Id::Borrowed(id)) => SessionId::new(id.as_bytes()).map_or(Found::Forged, Found::Id),
            Carried::Token(session) => Found::Id(session.id.clone()),
        }
    }

    /// How a request's session stands: the signature first, then what is remembered, then the store, within the budget.
    /// Counts and times itself; may be cancelled.
    pub async fn check(&self, headers: &HeaderMap) -> Check {
        let began = now();
        let (standing, result, waited) = match self.carried(headers, began) {
            Carried::Nothing => (Standing::Absent, CheckResult::Absent, false),
            Carried::Forged => (Standing::Forged, CheckResult::BadSignature, false),
            Carried::Over => (Standing::Dead, CheckResult::Dead, false),
            Carried::Id(id) => self.ask(&id, None, began).await,
            Carried::Token(session) => self.ask(session.id.as_str(), Some(&session), began).await,
        };
        self.metrics.checked(result, waited.then(|| now().saturating_duration_since(began)));
        Check { standing, result }
    }

    /// How the session `id` stands, of which `token` told us; also whether that took a look-up.
    async fn ask(&self, id: &str, token: Option<&Arc<Session>>, at: Instant) -> (Standing, CheckResult, bool) {
        let Some(kept) = &self.kept else {
            return token.map_or((Standing::Dead, CheckResult::Dead, false), |session| {
                (Standing::Live(Arc::clone(session)), CheckResult::Live, false)
            });
        };
        let (stored, via) = match kept.hit(id, at) {
            Some(stored) => (Ok(stored), Via::Cache),
            None => kept.get(id).await,
        };
        let live = match (stored, token) {
            (Ok(Stored::Live(session)), None) => session,
            // Another token may have the same name, so it is this one's claims that count.
            (Ok(Stored::NotRevoked), Some(session)) => Arc::clone(session),
            (Ok(_), _) => return (Standing::Dead, CheckResult::Dead, via != Via::Cache),
            (Err(StoreError::Timeout), _) => return (Standing::Unknown, CheckResult::Timeout, true),
            (Err(StoreError::Overload), _) => return (Standing::Unasked, CheckResult::Error, true),
            (Err(_), _) => return (Standing::Unknown, CheckResult::Error, true),
        };
        match via {
            Via::Cache => (Standing::Live(live), CheckResult::Cached, false),
            Via::Store | Via::Joined => (Standing::Live(live), CheckResult::Live, true),
        }
    }

    /// What an answer says of this source's cookie: always nothing where the id doesn't come in one.
    pub fn issued(&self, answer: &HeaderMap) -> Issued {
        let Place::Cookie(name) = &self.settings.place else { return Issued::Nothing };
        match issue::read(answer, name, SystemTime::now()) {
            None => Issued::Nothing,
            Some(issue::Issue::Deleted) => Issued::Ended,
            Some(issue::Issue::Set { value, max_age }) => match self.judged(value, now()) {
                Carried::Id(Id::Shared(id)) => Issued::New { id, max_age },
                Carried::Id(Id::Borrowed(id)) => {
                    SessionId::new(id.as_bytes()).map_or(Issued::Nothing, |id| Issued::New { id, max_age })
                }
                Carried::Token(session) => Issued::New { id: session.id.clone(), max_age },
                Carried::Nothing | Carried::Forged | Carried::Over => Issued::Nothing,
            },
        }
    }

    /// Learns from an answer to a request with these headers. Memory knows sessions by nothing else; what any other store's
    /// sessions are remembered as is looked up again, where the answer speaks of a change.
    pub fn learn(&self, request: &HeaderMap, issued: &Issued) {
        let (Some(store), Some(key), Some(kept)) = (&self.store, &self.settings.key, &self.kept) else { return };
        let new = match issued {
            Issued::Nothing => return,
            Issued::New { id, .. } => Some(id),
            Issued::Ended => None,
        };
        // The client won't come back with the one it had.
        if let Found::Id(old) = self.find(request)
            && new != Some(&old)
        {
            store.forget(&key.key(old.as_str()));
            kept.remove(old.as_str());
        }
        if let Issued::New { id, max_age } = issued {
            store.learn(&key.key(id.as_str()), max_age.unwrap_or(DAY));
            if matches!(kept.hit(id.as_str(), now()), Some(Stored::Gone)) {
                kept.remove(id.as_str());
            }
        }
    }

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

    /// Whether a request passes whose session is required and can't be looked up because of its store.
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

    fn carried<'a>(&self, headers: &'a HeaderMap, at: Instant) -> Carried<'a> {
        match self.settings.place.read(headers) {
            Read::Nothing => Carried::Nothing,
            Read::Ambiguous => Carried::Forged,
            Read::Value(value) => self.judged(value, at),
        }
    }

    fn judged<'a>(&self, value: &'a [u8], at: Instant) -> Carried<'a> {
        if matches!(self.judge, Judge::Plain) {
            return self.plain(value);
        }
        // Compared in no constant time, but only after the keyed hash of the whole value was equal.
        match self.verified.get(value) {
            Some(Verified::Id(id)) => return Carried::Id(Id::Shared(id)),
            Some(Verified::Token(_, Some(until))) if until <= at => return Carried::Over,
            Some(Verified::Token(session, _)) => return Carried::Token(session),
            None => {}
        }
        let verified = match &self.judge {
            Judge::Plain => return self.plain(value),
            Judge::Express(express) => {
                let decoded = self.decoded(value);
                let Some(id) = express.id(&decoded).and_then(|id| SessionId::new(id.as_bytes())) else {
                    return Carried::Forged;
                };
                Verified::Id(id)
            }
            Judge::Jwt(jwt) => match jwt.judge(&self.decoded(value), SystemTime::now()) {
                Token::Forged => return Carried::Forged,
                Token::Over => return Carried::Over,
                Token::Valid { id, claims, left } => {
                    let Some(fields) = Fields::read(&claims, &self.settings.fields) else { return Carried::Forged };
                    let hash = ShortHash::of(&self.hash_key, id.as_str());
                    let until = left.and_then(|left| at.checked_add(left));
                    Verified::Token(Arc::new(Session { id, hash, fields }), until)
                }
            },
        };
        self.verified.insert(value.into(), verified.clone());
        match verified {
            Verified::Id(id) => Carried::Id(Id::Shared(id)),
            Verified::Token(session, _) => Carried::Token(session),
        }
    }

    fn plain<'a>(&self, value: &'a [u8]) -> Carried<'a> {
        match self.decoded(value) {
            Cow::Borrowed(value) => SessionId::check(value).map_or(Carried::Forged, |id| Carried::Id(Id::Borrowed(id))),
            Cow::Owned(value) => SessionId::new(&value).map_or(Carried::Forged, |id| Carried::Id(Id::Shared(id))),
        }
    }

    /// Only cookies are written with escapes.
    fn decoded<'a>(&self, value: &'a [u8]) -> Cow<'a, [u8]> {
        match self.settings.place {
            Place::Cookie(_) => cookie::decode(value),
            Place::Header(_) | Place::Bearer => value.into(),
        }
    }
}

fn keep(
    settings: &SourceSettings,
    store: &Arc<Store>,
    keys: &KeyTemplate,
    hash_key: &hmac::Key,
    metrics: &Arc<SessionMetrics>,
) -> Arc<Cache<Lookup>> {
    let (question, most_loads) = match &settings.format {
        Format::Jwt(_) => (Question::Absence, MOST_LOADS),
        // Memory knows that a session is there, and no more.
        _ if store.is_memory() => (Question::Presence, MOST_LOADS),
        Format::Express(_) => (Question::Object(settings.fields.clone()), MOST_LOADS),
        Format::Plain if settings.fields.is_empty() => (Question::Presence, MOST_UNSIGNED_LOADS),
        Format::Plain => (Question::Object(settings.fields.clone()), MOST_UNSIGNED_LOADS),
    };
    let lookup = Lookup {
        store: Arc::clone(store),
        keys: keys.clone(),
        question,
        budget: settings.timeout,
        hash_key: hash_key.clone(),
        metrics: Arc::clone(metrics),
    };
    let lives = Lives { positive: settings.cache, negative: settings.cache.min(LONGEST_NEGATIVE) };
    let cache = Cache::new(CacheSettings { keys: keys.clone(), lives, most_bytes: MOST_KEPT, most_loads }, lookup);
    let hears: Weak<Cache<Lookup>> = Arc::downgrade(&cache);
    store.subscribe(hears);
    cache
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl CacheSource for Source {
    fn sample(&self) -> CacheSample {
        let (entries, bytes) = self.kept.as_ref().map_or((0, 0), |kept| (kept.len() as u64, kept.bytes()));
        CacheSample { entries, bytes: bytes + self.verified.weight() }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.settings.name).finish_non_exhaustive()
    }
}

// === impl Weight ===

impl Weighter<Box<[u8]>, Verified> for Weight {
    fn weight(&self, value: &Box<[u8]>, verified: &Verified) -> u64 {
        let behind = match verified {
            Verified::Id(id) => id.as_str().len(),
            Verified::Token(session, _) => session.bytes(),
        };
        OVERHEAD + (value.len() + behind) as u64
    }
}

// === impl Id ===

impl Deref for Id<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(id) => id,
            Self::Shared(id) => id.as_str(),
        }
    }
}
