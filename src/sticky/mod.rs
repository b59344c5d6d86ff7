//! WHICH ENDPOINT THIS SESSION HAD: our own cookie, bound to a session or not, or a binding kept in the store.
//!
//! Before an endpoint is chosen, [`Sticky::look_up`] says which one the request had; when an answer's head is about to be
//! passed on, [`Sticky::remember`] says what becomes of that. In between the proxy goes by it as far as it can: a pin is a
//! preference and no permission, so whatever is wrong with it ends in a choice by the strategy.

mod binding;
mod cookie;
mod pin;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::header::HeaderMap;

pub use self::binding::Bindings;
pub use self::cookie::{CookieSettings, SameSite, Secure};
pub use self::pin::CookieKeys;

use self::binding::Bound;
use self::cookie::Cookie;
use self::pin::{Kind, Pin, Pins};
use crate::endpoint::EndpointId;
use crate::session::store::{Bind, StoreError};
use crate::session::{Check, Found as SessionFound, Issued, SessionId, Source, Standing};
use crate::telemetry::metrics::StickyResult;

/// How a route keeps a session on its endpoint.
#[derive(Debug)]
pub struct StickySettings {
    /// By what.
    pub form: Form,
    /// What becomes of a request whose endpoint is down.
    pub when_down: WhenDown,
}

/// By what a session is kept on its endpoint.
#[derive(Debug)]
pub enum Form {
    /// By a cookie of ours.
    Cookie {
        /// What it looks like.
        cookie: CookieSettings,
        /// What it is signed and verified with; without any, no pin is ever found or made.
        keys: CookieKeys,
        /// The session that a pin ends with; none: it lasts as long as the cookie.
        session: Option<Arc<Source>>,
    },
    /// By a binding in the store, found by the session's id.
    Session {
        /// Where they are kept.
        bindings: Arc<Bindings>,
        /// How long one is kept after it was last used, give or take half.
        max_age: Duration,
    },
}

/// What becomes of a request whose endpoint is down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenDown {
    /// It goes to another, and so do those after it.
    #[default]
    Repin,
    /// It is refused, and waits for its endpoint to come back.
    Fail,
}

/// Keeps the sessions of one route on their endpoints.
pub struct Sticky {
    how: How,
    when_down: WhenDown,
    /// The upstreams' names and endpoints, in the order of the route's targets.
    targets: Box<[(Arc<str>, Vec<EndpointId>)]>,
}

enum How {
    Cookie { cookie: Cookie, pins: Pins, session: Option<Arc<Source>> },
    Session { bindings: Arc<Bindings>, max_age: Duration },
}

/// Where a request is to go again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Which of the route's targets.
    pub target: usize,
    /// Which of its endpoints.
    pub endpoint: EndpointId,
}

/// What a request says of the endpoint that it had.
#[derive(Debug)]
#[must_use = "what was found out is to be remembered"]
pub struct LookedUp {
    /// Where it is to go; none: the strategy chooses.
    pub pinned: Option<Pinned>,
    found: Found,
    /// What a pin that is made now is made as.
    kind: Kind,
    /// The living session that may be bound.
    session: Option<SessionId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// No pin.
    Nothing,
    /// None of ours.
    Invalid,
    /// One whose session died.
    Forgotten,
    /// A cookie.
    Pin(Kind),
    /// A binding that the store keeps until then.
    Bound { until: Instant },
    /// There is nothing to be pinned: no living session to bind, or nobody knows.
    Unbound,
}

/// Why a request was not answered by the endpoint that it was pinned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// That one is down, set aside or gone, or failed this request.
    Down,
    /// It drains, and the deadline has passed.
    Drain,
    /// It had no room. The pin stays.
    Full,
}

/// What became of a request's pin.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use = "the client is to be told, and the result to be counted"]
pub struct Remembered {
    /// For the metrics and the log; none where there was nothing to pin.
    pub result: Option<StickyResult>,
    /// What the answer is to set.
    pub set_cookie: Option<HeaderValue>,
}

// === impl Sticky ===

impl Sticky {
    /// For a route with these targets, each an upstream's name and its endpoints. Does no I/O.
    #[must_use]
    pub fn new(settings: StickySettings, targets: Vec<(Arc<str>, Vec<EndpointId>)>) -> Self {
        let how = match settings.form {
            Form::Cookie { cookie, keys, session } => {
                How::Cookie { cookie: Cookie::new(&cookie), pins: Pins::new(&keys, &targets), session }
            }
            Form::Session { bindings, max_age } => How::Session { bindings, max_age },
        };
        Self { how, when_down: settings.when_down, targets: targets.into() }
    }

    /// The source whose check [`Sticky::look_up`] goes by; none: it needs no check.
    pub fn source(&self) -> Option<&Arc<Source>> {
        match &self.how {
            How::Cookie { session, .. } => session.as_ref(),
            How::Session { bindings, .. } => Some(bindings.source()),
        }
    }

    /// Where bindings are kept, if that is how: a reload takes them over.
    pub fn bindings(&self) -> Option<&Arc<Bindings>> {
        match &self.how {
            How::Cookie { .. } => None,
            How::Session { bindings, .. } => Some(bindings),
        }
    }

    /// What becomes of a request whose endpoint is down.
    pub fn when_down(&self) -> WhenDown {
        self.when_down
    }

    /// Which endpoint the request had. `check` is how its session stands, of [`Sticky::source`]. Waits for a store that
    /// keeps bindings no longer than the source's budget; may be cancelled.
    pub async fn look_up(&self, headers: &HeaderMap, check: Option<&Check>) -> LookedUp {
        let standing = check.map_or(&Standing::Unknown, |check| &check.standing);
        match &self.how {
            How::Cookie { cookie, pins, session } => {
                let pins = cookie.values(headers).map(|value| pins.read(value));
                self.look_up_pin(pins, session.as_ref().map(|_| standing))
            }
            How::Session { bindings, .. } => self.look_up_binding(bindings, headers, standing).await,
        }
    }

    /// Takes note of who answered, when the head of his answer is about to be passed on, and of nobody when the request ends
    /// without one. `issued` is what the answer says of the cookie of [`Sticky::source`], `tls` that the client came by TLS.
    ///
    /// A new session's binding is in the store when this returns, so that its next request finds it on every gateway.
    pub async fn remember(
        &self,
        looked_up: &LookedUp,
        answered_by: Option<(usize, &EndpointId)>,
        moved: Option<Moved>,
        issued: &Issued,
        tls: bool,
    ) -> Remembered {
        let result = looked_up.result(answered_by, moved);
        let Some((target, endpoint)) = answered_by else { return Remembered { result, set_cookie: None } };
        match &self.how {
            How::Cookie { cookie, pins, session } => {
                let again = session.is_some()
                    && looked_up.kind == Kind::WithSession
                    && looked_up.found == Found::Pin(Kind::WithoutSession)
                    && looked_up.is_kept_by(target, endpoint);
                let pin = || {
                    let endpoint = self.targets.get(target)?.1.iter().position(|id| id == endpoint)?;
                    pins.text(Pin { target, endpoint, kind: looked_up.kind })
                };
                let news = again || result.is_some_and(|result| result != StickyResult::Kept);
                let set_cookie = if news { pin().and_then(|pin| cookie.set(pin, tls)) } else { None };
                Remembered { result, set_cookie }
            }
            How::Session { bindings, max_age } => {
                let Some((upstream, _)) = self.targets.get(target) else { return Remembered::default() };
                let place = Place { bindings, upstream, endpoint, max_age: *max_age };
                Remembered { result: place.remember(looked_up, result, target, issued).await, set_cookie: None }
            }
        }
    }

    /// `pins` are those of all cookies of our name. The first that is one of ours counts, whatever stands before it: a cookie
    /// of another path or domain shall not shadow ours, and a pin can't be made by anybody else.
    fn look_up_pin(&self, pins: impl Iterator<Item = Option<Pin>>, session: Option<&Standing>) -> LookedUp {
        let kind = match session {
            Some(Standing::Live(_)) => Kind::WithSession,
            _ => Kind::WithoutSession,
        };
        // Without a session to ask for, a pin is a pin: another route may have made it for one.
        let is_over = matches!(session, Some(Standing::Dead | Standing::Absent | Standing::Forged));
        let mut looked_up = LookedUp { pinned: None, found: Found::Nothing, kind, session: None };
        for pin in pins {
            match pin {
                None => looked_up.found = Found::Invalid,
                Some(pin) if is_over && pin.kind == Kind::WithSession => {
                    looked_up.found = Found::Forgotten;
                    break;
                }
                Some(pin) => {
                    looked_up.found = Found::Pin(pin.kind);
                    let endpoint = self.targets.get(pin.target).and_then(|(_, endpoints)| endpoints.get(pin.endpoint));
                    looked_up.pinned =
                        endpoint.map(|endpoint| Pinned { target: pin.target, endpoint: endpoint.clone() });
                    break;
                }
            }
        }
        looked_up
    }

    async fn look_up_binding(&self, bindings: &Bindings, headers: &HeaderMap, standing: &Standing) -> LookedUp {
        let unbound = |session| LookedUp { pinned: None, found: Found::Unbound, kind: Kind::WithSession, session };
        match standing {
            Standing::Live(session) => {
                let (pinned, found) = self.find_binding(bindings, &session.id).await;
                LookedUp { pinned, found, ..unbound(Some(session.id.clone())) }
            }
            Standing::Absent | Standing::Forged => unbound(None),
            Standing::Dead | Standing::Unknown | Standing::Unasked => {
                // The check doesn't hand on the id of a session that doesn't live.
                let SessionFound::Id(id) = bindings.source().find(headers) else { return unbound(None) };
                if *standing != Standing::Dead {
                    let pinned = self.targets.iter().enumerate().find_map(|(target, (upstream, endpoints))| {
                        let Bound { endpoint, .. } = bindings.known(upstream, &id)?;
                        endpoints.contains(&endpoint).then_some(Pinned { target, endpoint })
                    });
                    return LookedUp { pinned, ..unbound(None) };
                }
                let mut found = Found::Unbound;
                for (upstream, _) in &self.targets {
                    if bindings.forget(upstream, &id).await {
                        found = Found::Forgotten;
                    }
                }
                LookedUp { found, ..unbound(None) }
            }
        }
    }

    /// The binding of a living session. Of a canary's several upstreams the first that has one counts.
    async fn find_binding(&self, bindings: &Bindings, id: &SessionId) -> (Option<Pinned>, Found) {
        let mut found = Found::Nothing;
        for (target, (upstream, endpoints)) in self.targets.iter().enumerate() {
            match bindings.find(upstream, id).await {
                Ok(None) => {}
                Ok(Some(Bound { endpoint, until })) if endpoints.contains(&endpoint) => {
                    return (Some(Pinned { target, endpoint }), Found::Bound { until });
                }
                Ok(Some(_)) | Err(StoreError::Garbage) => found = Found::Invalid,
                // Nothing is made now either: what is there may be right.
                Err(StoreError::Timeout | StoreError::Down | StoreError::Refused | StoreError::Overload) => {
                    return (None, Found::Unbound);
                }
            }
        }
        (None, found)
    }
}

// === impl LookedUp ===

impl LookedUp {
    fn is_kept_by(&self, target: usize, endpoint: &EndpointId) -> bool {
        self.pinned.as_ref().is_some_and(|pinned| pinned.target == target && pinned.endpoint == *endpoint)
    }

    /// What became of the pin, whatever it is kept in.
    fn result(&self, answered_by: Option<(usize, &EndpointId)>, moved: Option<Moved>) -> Option<StickyResult> {
        match (self.found, answered_by, moved) {
            (Found::Unbound, ..) | (Found::Nothing, None, _) => None,
            (Found::Nothing, Some(_), _) => Some(StickyResult::New),
            (Found::Invalid, ..) => Some(StickyResult::Invalid),
            (Found::Forgotten, ..) => Some(StickyResult::Forgotten),
            (Found::Pin(_) | Found::Bound { .. }, Some((target, endpoint)), Some(moved))
                if !self.is_kept_by(target, endpoint) =>
            {
                Some(match moved {
                    Moved::Down => StickyResult::RepinnedDown,
                    Moved::Drain => StickyResult::RepinnedDrain,
                    Moved::Full => StickyResult::Kept,
                })
            }
            (Found::Pin(_) | Found::Bound { .. }, ..) => Some(StickyResult::Kept),
        }
    }
}

/// Where a session is to be bound.
struct Place<'a> {
    bindings: &'a Bindings,
    upstream: &'a str,
    endpoint: &'a EndpointId,
    max_age: Duration,
}

// === impl Place ===

impl Place<'_> {
    /// Makes, moves, extends or ends the binding. Returns the result, corrected by what came of it.
    async fn remember(
        &self,
        looked_up: &LookedUp,
        result: Option<StickyResult>,
        target: usize,
        issued: &Issued,
    ) -> Option<StickyResult> {
        match (issued, &looked_up.session) {
            (Issued::New { id, .. }, session) if session.as_ref() != Some(id) => {
                // Whatever an old session of that id had, this one begins here.
                let bound = self.bind(id, Bind::Always).await;
                result.or(bound.then_some(StickyResult::New))
            }
            (Issued::Ended, Some(id)) => {
                if matches!(looked_up.found, Found::Bound { .. } | Found::Invalid) {
                    self.bindings.forget(self.upstream, id).await;
                }
                // One that ends at once is not bound.
                result.filter(|result| *result != StickyResult::New)
            }
            (_, Some(id)) => match (looked_up.found, result) {
                (Found::Nothing, _) => self.bind(id, Bind::IfAbsent).await.then_some(StickyResult::New),
                (Found::Bound { until }, Some(StickyResult::Kept)) => {
                    let is_late = until.saturating_duration_since(now()) < self.max_age / 2;
                    if is_late && looked_up.is_kept_by(target, self.endpoint) {
                        self.bindings.extend(self.upstream, id, self.endpoint, self.max_age).await;
                    }
                    result
                }
                (Found::Bound { .. } | Found::Invalid, _) => {
                    self.bind(id, Bind::Always).await;
                    result
                }
                (Found::Forgotten | Found::Unbound | Found::Pin(_), _) => result,
            },
            (_, None) => result,
        }
    }

    async fn bind(&self, id: &SessionId, bind: Bind) -> bool {
        self.bindings.bind(self.upstream, id, self.endpoint, self.max_age, bind).await.is_ok()
    }
}

/// The clock that tests move.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
