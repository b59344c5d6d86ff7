//! `sessions`, `cookies` and a route's `session`: sources with all that routes ask of them, and the routes' rules.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use http::StatusCode;
use http::header::{AUTHORIZATION, COOKIE, HeaderName};

use super::store::Stores;
use super::{Inputs, route};
use crate::config::names;
use crate::config::{
    self, At, Config, Cookies, Jwt, KeyParts, Problem, Route as WrittenRoute, SessionFormat,
    SessionRule as WrittenRule, SessionSource, Severity, WhenStoreDown,
};
use crate::route::{Otherwise, Redirect, RedirectPart, Require, SessionRule};
use crate::router::path::normalise;
use crate::session::{FieldPath, Format, Jwks, JwtSettings, KeyTemplate, Place, Secret, Source, SourceSettings};
use crate::sticky::Bindings;

/// The sources of the file, with their stores: routes take what they name.
pub(super) struct Sessions<'a> {
    stores: Stores<'a>,
    sources: BTreeMap<String, Known>,
    bindings: Vec<Arc<Bindings>>,
    inputs: &'a Inputs<'a>,
}

/// A source of the file.
struct Known {
    written: SessionSource,
    /// None where no route names it, or it has a fault.
    source: Option<Arc<Source>>,
}

/// What routes ask of one source.
#[derive(Default)]
struct Asked {
    fields: Vec<FieldPath>,
    /// Its store keeps bindings.
    bound: bool,
    named: bool,
}

/// 16 characters of hexadecimal are 64 bits.
const SHORTEST_SECRET: usize = 16;
/// As many bytes as the hash that it keys has (RFC 7518 section 3.2).
const SHORTEST_JWT_SECRET: usize = 32;

// === impl Sessions ===

impl<'a> Sessions<'a> {
    /// Compiles all sources that `routes` name.
    pub(super) fn new(config: &mut Config, inputs: &'a Inputs<'a>, problems: &mut Vec<Problem>) -> Self {
        check_cookies(&config.cookies, &config.routes, problems);
        let mut stores = Stores::new(std::mem::take(&mut config.stores), inputs, problems);
        let mut asked = asked(&config.routes);
        let mut sources = BTreeMap::new();
        let hash_key = match config.cookies.secrets.first() {
            Some(config::Secret(secret)) => Secret::new(secret.as_bytes()),
            None => Secret::new(&inputs.cookie_key),
        };
        for (name, written) in std::mem::take(&mut config.sessions) {
            let at = At::root().key("sessions").key(&name);
            let asked = asked.remove(&name).unwrap_or_default();
            let before = problems.len();
            let drops = !config.listeners.iter().any(|listener| listener.underscores == config::Underscores::Keep);
            let parts = check(&name, &written, &asked, drops, &mut stores, &at, problems);
            let sound = !problems.iter().skip(before).any(|problem| problem.severity == Severity::Error);
            let source = parts.filter(|_| sound && asked.named).map(|(place, format)| {
                let store = written.store.as_ref().and_then(|store| stores.take(&name, store));
                let settings = SourceSettings {
                    name: name.as_str().into(),
                    place,
                    format,
                    key: key(&written),
                    timeout: written.timeout(),
                    cache: written.cache(),
                    allow_when_down: written.when_store_down == Some(WhenStoreDown::Allow),
                    fields: asked.fields,
                    hash_key: hash_key.clone(),
                };
                let mut previous = inputs.previous.iter().flat_map(|previous| &previous.sessions);
                let previous = previous.find(|source| *source.name() == settings.name);
                Source::new(settings, store, inputs.metrics.session(&name), previous)
            });
            let unused = !asked.named && !problems.iter().any(|problem| problem.severity == Severity::Error);
            if unused {
                problems.push(Problem::warning(at, format!("no route uses the source of sessions `{name}`")));
            }
            sources.insert(name, Known { written, source });
        }
        Self { stores, sources, bindings: Vec::new(), inputs }
    }

    /// The source of that name as it was written; what is no name is a problem.
    pub(super) fn named(&self, name: &str, at: &At, problems: &mut Vec<Problem>) -> Option<&SessionSource> {
        let known = self.sources.get(name).map(|known| &known.written);
        if known.is_none() {
            let (message, hint) = names::unknown("source of sessions", name, self.sources.keys().map(String::as_str));
            let hint = if self.sources.is_empty() { "`sessions` has none".to_owned() } else { hint };
            problems.push(Problem::error(at.clone(), message).hint(hint));
        }
        known
    }

    /// The source of that name; none where it, or the name, has a fault.
    pub(super) fn source(&self, name: &str) -> Option<Arc<Source>> {
        self.sources.get(name)?.source.clone()
    }

    /// The sources whose id comes in this cookie.
    pub(super) fn with_cookie(&self, cookie: &str) -> Option<&str> {
        let mut sources = self.sources.iter();
        sources.find(|(_, known)| known.written.cookie.as_deref() == Some(cookie)).map(|(name, _)| name.as_str())
    }

    /// Where the bindings of a source's sessions are kept.
    pub(super) fn bindings(&mut self, source: &Arc<Source>) -> Arc<Bindings> {
        let running = self.inputs.previous.iter().flat_map(|previous| &previous.routes);
        let running = running.filter_map(|route| route.sticky.as_ref()?.bindings());
        // What is bound in a memory of its own holds whatever else of the source has changed: its keys, say.
        let same = |known: &&Arc<Bindings>| known.source().name() == source.name() && known.source().store().is_none();
        let kept = || running.clone().find(same).map(|known| Arc::clone(known.store()));
        let store = || source.store().cloned().or_else(kept).unwrap_or_else(|| self.stores.memory());
        let made = Bindings::new(source, store, self.bindings.iter().chain(running.clone()));
        self.stores.keep(made.store());
        if !self.bindings.iter().any(|known| Arc::ptr_eq(known, &made)) {
            self.bindings.push(Arc::clone(&made));
        }
        made
    }

    /// A route's rule.
    pub(super) fn rule(&self, route: &WrittenRoute, at: &At, problems: &mut Vec<Problem>) -> Option<SessionRule> {
        let written = route.session.as_ref()?;
        let at = at.key("session");
        let known = self.named(&written.source, &at.key("source"), problems);
        if let Some(known) = known {
            self.check_fields(known, written, &at, problems);
        }
        let otherwise = otherwise(written, &at, problems);
        let mut forward = Vec::new();
        let mut names: HashMap<HeaderName, &str> = HashMap::new();
        for (header, field) in &written.forward {
            let at = at.key("forward").key(header);
            match forwarded(header) {
                Ok(name) => {
                    if let Some(first) = names.insert(name.clone(), header) {
                        problems.push(Problem::error(at, format!("`{header}` and `{first}` are one header")));
                    }
                    forward.push((name, field));
                }
                Err((message, hint)) => problems.push(Problem::error(at, message).hint(hint)),
            }
        }
        if !written.forward.is_empty() && route.upstream.is_none() && route.upstreams.is_none() {
            let message = "`forward` has no effect on a route that answers itself";
            problems.push(Problem::error(at.key("forward"), message).hint("take `forward` out"));
        }
        let source = self.source(&written.source)?;
        let forward = forward.into_iter().filter_map(|(name, field)| Some((name, source.field(&path(field)?)?)));
        let forward = forward.collect();
        let require = match &written.require {
            None => None,
            Some(config::Require::Live) => Some(Require { field: None, otherwise: otherwise? }),
            Some(config::Require::Field(field)) => {
                Some(Require { field: Some(source.field(&path(field)?)?), otherwise: otherwise? })
            }
        };
        Some(SessionRule { source, require, forward })
    }

    fn check_fields(&self, known: &SessionSource, written: &WrittenRule, at: &At, problems: &mut Vec<Problem>) {
        let memory = known.store.as_ref().is_some_and(|store| self.stores.is_memory(store));
        if known.format == SessionFormat::Jwt || !memory {
            return;
        }
        let required = matches!(written.require, Some(config::Require::Field(_)));
        let places = [(required, at.key("require").key("field")), (!written.forward.is_empty(), at.key("forward"))];
        for (_, at) in places.into_iter().filter(|(asks, _)| *asks) {
            let message = "the memory store knows which sessions are alive, but not what they hold";
            let hint = "a field needs a store that the application writes to: `store: redis://127.0.0.1:6379`";
            problems.push(Problem::error(at, message).hint(hint));
        }
    }

    /// The sources and stores that are used, for the snapshot.
    pub(super) fn finish(
        self,
        problems: &mut Vec<Problem>,
    ) -> (Vec<Arc<Source>>, Vec<Arc<crate::session::store::Store>>) {
        (self.sources.into_values().filter_map(|known| known.source).collect(), self.stores.finish(problems))
    }
}

/// What the routes ask of each source that they name.
fn asked(routes: &[WrittenRoute]) -> HashMap<String, Asked> {
    let mut all: HashMap<String, Asked> = HashMap::new();
    for route in routes {
        if let Some(rule) = &route.session {
            let asked = all.entry(rule.source.clone()).or_default();
            asked.named = true;
            let required = match &rule.require {
                Some(config::Require::Field(field)) => Some(field),
                Some(config::Require::Live) | None => None,
            };
            for field in required.into_iter().chain(rule.forward.values()).filter_map(path) {
                if !asked.fields.contains(&field) {
                    asked.fields.push(field);
                }
            }
        }
        if let Some((sticky, name)) = route.sticky.as_ref().and_then(|sticky| Some((sticky, sticky.session.clone()?))) {
            let asked = all.entry(name).or_default();
            asked.named = true;
            asked.bound |= sticky.cookie.is_none();
        }
    }
    // Their order is no difference: a source that is asked the same remains the same.
    all.values_mut().for_each(|asked| asked.fields.sort_by_cached_key(ToString::to_string));
    all
}

fn path(written: &config::FieldPath) -> Option<FieldPath> {
    FieldPath::parse(&written.to_string()).ok()
}

fn check_cookies(written: &Cookies, routes: &[WrittenRoute], problems: &mut Vec<Problem>) {
    let at = At::root().key("cookies").key("secrets");
    check_secrets(&written.secrets, SHORTEST_SECRET, &at, problems);
    let cookie = |route: &WrittenRoute| route.sticky.as_ref().is_some_and(|sticky| sticky.cookie.is_some());
    let sticky = routes.iter().position(cookie);
    match (written.secrets.is_empty(), sticky) {
        (false, None) => {
            let message = "no route makes a cookie: `secrets` are for `sticky: { cookie: .. }`";
            problems.push(Problem::warning(at, message));
        }
        (true, Some(index)) => {
            let at = At::root().key("routes").index(index).key("sticky").key("cookie");
            let message =
                "without `cookies.secrets` the key of this cookie is made here, and another replica doesn't know it";
            let hint = "the made key is kept in `process.state_dir`; for several replicas write `cookies: { secrets: [\"${COOKIE_SECRET}\"] }`";
            problems.push(Problem::warning(at, message).hint(hint));
        }
        (false, Some(_)) | (true, None) => {}
    }
}

fn check_secrets(secrets: &[config::Secret], shortest: usize, at: &At, problems: &mut Vec<Problem>) {
    for (index, _) in secrets.iter().enumerate().filter(|(_, config::Secret(secret))| secret.len() < shortest) {
        let message = format!("this secret is shorter than {shortest} characters: it can be guessed");
        let warning = Problem::warning(at.index(index), message);
        problems.push(warning.hint("make one with `openssl rand -hex 32`"));
    }
}

fn template(KeyParts { before, after }: &KeyParts) -> Option<KeyTemplate> {
    KeyTemplate::new(&format!("{before}{{id}}{after}"), "{id}")
}

/// The store's key of an id, where a store is asked.
fn key(written: &SessionSource) -> Option<KeyTemplate> {
    match written.format {
        SessionFormat::Plain | SessionFormat::Express => template(&written.key()),
        SessionFormat::Jwt => template(&written.jwt.as_ref()?.revoked_key.as_ref()?.0),
    }
}

/// Finds every fault of a source, and hands back what is right.
fn check(
    name: &str,
    written: &SessionSource,
    asked: &Asked,
    drops_underscores: bool,
    stores: &mut Stores<'_>,
    at: &At,
    problems: &mut Vec<Problem>,
) -> Option<(Place, Format)> {
    let place = check_place(written, drops_underscores, at, problems);
    let format = check_format(written, at, problems);
    let is_jwt = written.format == SessionFormat::Jwt;
    let revoked = written.jwt.as_ref().and_then(|jwt| jwt.revoked_key.as_ref());
    let asks = !is_jwt || revoked.is_some();
    let mut without_effect = |key: &str, why: &str, hint: Option<&str>| {
        let mut problem = Problem::error(at.key(key), format!("`{key}` has no effect {why}"));
        problem.hint = hint.map(str::to_owned);
        problems.push(problem);
    };
    if is_jwt && written.key.is_some() {
        without_effect(
            "key",
            "on tokens",
            Some("the key of a revoked token is `jwt: { revoked_key: \"revoked:{jti}\" }`"),
        );
    }
    if !asks {
        let why = "where no store is asked";
        let hint = Some("a store is asked about tokens only with `jwt: { revoked_key: .. }`");
        if written.when_store_down.is_some() {
            without_effect("when_store_down", why, hint);
        }
        if written.cache.is_some() {
            without_effect("cache", why, hint);
        }
        if written.timeout.is_some() && !(asked.bound && written.store.is_some()) {
            without_effect("timeout", why, hint);
        }
        if written.store.is_some() && !asked.bound {
            without_effect("store", "on tokens without `revoked_key`", hint);
        }
    }
    let Some(store) = &written.store else {
        if asks {
            let (what, hint) = match is_jwt {
                false => (
                    format!("`{name}` needs a `store`: only it knows which sessions are alive"),
                    "where the application keeps them: `redis://127.0.0.1:6379`, or `memory` to learn them from its answers",
                ),
                true => {
                    ("`revoked_key` needs a `store` beside `jwt`".to_owned(), "as in `store: redis://127.0.0.1:6379`")
                }
            };
            let at = if is_jwt { at.key("jwt").key("revoked_key") } else { at.clone() };
            problems.push(Problem::error(at, what).hint(hint));
        }
        if !asks && asked.bound {
            let message = "endpoints of these sessions are kept in this process: another replica doesn't know them, and a \
                           restart forgets them";
            problems.push(Problem::warning(at.clone(), message).hint("with `store: redis://..` they are kept there"));
        }
        return Some((place?, format?));
    };
    stores.check(store, &at.key("store"), problems);
    if stores.is_memory(store) {
        check_memory(written, asks && is_jwt, at, problems);
    } else if asks && written.when_store_down.is_none() {
        let message = format!("`{name}` has to say `when_store_down`: there is no default");
        let hint = "`allow` lets requests pass while the store is down, as if their session were alive; `deny` answers \
                    them with 503 where a session is required";
        problems.push(Problem::error(at.clone(), message).hint(hint));
    }
    if written.format == SessionFormat::Plain
        && written.cookie.as_deref() == Some("connect.sid")
        && !stores.is_memory(store)
    {
        let message =
            "`connect.sid` is express-session's cookie, which is signed: as `plain` its sessions are never found";
        let hint = "write `format: express`, with the application's secret: `secrets: [\"${SESSION_SECRET}\"]`";
        problems.push(Problem::warning(at.key("format"), message).hint(hint));
    }
    if let Some(key) = written.key.as_ref().filter(|key| key.0.before.starts_with("headgate:")) {
        let message = format!("`{key}` is among the gateway's own keys, `headgate:..`");
        problems.push(Problem::error(at.key("key"), message));
    }
    let unsigned = written.format == SessionFormat::Plain && !stores.is_memory(store);
    if written.key.as_ref().is_some_and(|key| unsigned && key.0.before.is_empty()) {
        let message =
            "nobody signs a plain id, and nothing stands before it: every key of this store passes as a session";
        let hint = "give sessions a beginning of their own: `key: \"sess:{id}\"`";
        problems.push(Problem::warning(at.key("key"), message).hint(hint));
    }
    Some((place?, format?))
}

fn check_memory(written: &SessionSource, revokes: bool, at: &At, problems: &mut Vec<Problem>) {
    if revokes {
        let message = "`revoked_key` has no effect with a memory store: nobody can write to it";
        problems.push(Problem::error(at.key("jwt").key("revoked_key"), message));
    } else if written.cookie.is_none() && written.format != SessionFormat::Jwt {
        let key = if written.header.is_some() { "header" } else { "bearer" };
        let message =
            "a memory store learns sessions from the cookies that the application sets, so it knows none of these";
        problems.push(Problem::error(at.key(key), message).hint("write `cookie: NAME`, or another store"));
    } else {
        let message =
            "a memory store is one process's: another replica doesn't know its sessions, and a restart forgets them";
        problems.push(
            Problem::warning(at.key("store"), message).hint("sessions in Redis outlive both: `redis://127.0.0.1:6379`"),
        );
    }
    if written.when_store_down.is_some() {
        let message = "`when_store_down` has no effect with a memory store, which is never down";
        problems.push(Problem::warning(at.key("when_store_down"), message));
    }
}

fn check_place(
    written: &SessionSource,
    drops_underscores: bool,
    at: &At,
    problems: &mut Vec<Problem>,
) -> Option<Place> {
    if let Some(cookie) = &written.cookie {
        if !is_token(cookie) {
            problems.push(cookie_name(cookie, at.key("cookie")));
            return None;
        }
        return Some(Place::Cookie(cookie.as_str().into()));
    }
    let Some(header) = &written.header else { return Some(Place::Bearer) };
    let at = at.key("header");
    let Ok(name) = HeaderName::from_bytes(header.as_bytes()) else {
        problems.push(Problem::error(at, format!("`{header}` is not a header's name")));
        return None;
    };
    let instead = match name {
        AUTHORIZATION => Some("write `bearer: true`"),
        COOKIE => Some("write `cookie: NAME`, the cookie's own name"),
        _ => None,
    };
    if let Some(instead) = instead {
        problems.push(Problem::error(at, format!("the header `{header}` is more than an id")).hint(instead));
        return None;
    }
    if drops_underscores && header.contains('_') {
        let message = format!("`{header}` never arrives: headers with `_` are dropped");
        problems.push(Problem::error(at, message).hint("write it with `-`, or set the listener's `underscores: keep`"));
        return None;
    }
    Some(Place::Header(name))
}

fn check_format(written: &SessionSource, at: &At, problems: &mut Vec<Problem>) -> Option<Format> {
    let secrets = |secrets: &[config::Secret]| {
        secrets.iter().map(|config::Secret(secret)| Secret::new(secret.as_bytes())).collect::<Vec<_>>()
    };
    let mut refuse = |key: &str, message: &str, hint: &str| {
        problems.push(Problem::error(at.key(key), message).hint(hint));
    };
    if written.jwt.is_some() && written.format != SessionFormat::Jwt {
        refuse("jwt", "`jwt` has no effect with another format", "write `format: jwt`, or take it out");
    }
    match written.format {
        SessionFormat::Plain => {
            if !written.secrets.is_empty() {
                let hint = "a signed cookie of express-session is `format: express`";
                refuse("secrets", "`secrets` has no effect with `format: plain`: nothing is signed", hint);
            }
            Some(Format::Plain)
        }
        SessionFormat::Express => {
            if written.secrets.is_empty() {
                let hint = "the secret that the application gives express-session: `secrets: [\"${SESSION_SECRET}\"]`";
                refuse("format", "`express` needs `secrets`, to verify that the application made the id", hint);
                return None;
            }
            check_secrets(&written.secrets, SHORTEST_SECRET, &at.key("secrets"), problems);
            Some(Format::Express(secrets(&written.secrets)))
        }
        SessionFormat::Jwt => {
            if !written.secrets.is_empty() {
                let hint = "write `jwt: { secrets: [..] }`";
                refuse("secrets", "the secrets of tokens stand in `jwt`", hint);
            }
            let Some(jwt) = &written.jwt else {
                let hint = "write `jwt: { jwks: FILE }`, or `jwt: { secrets: [..] }`";
                refuse("format", "it is not said who may sign tokens", hint);
                return None;
            };
            check_jwt(jwt, &at.key("jwt"), problems).map(|keys| {
                Format::Jwt(JwtSettings {
                    secrets: secrets(&jwt.secrets),
                    keys,
                    issuer: jwt.issuer.as_deref().map(Into::into),
                    audience: jwt.audience.as_deref().map(Into::into),
                })
            })
        }
    }
}

fn check_jwt(written: &Jwt, at: &At, problems: &mut Vec<Problem>) -> Option<Jwks> {
    check_secrets(&written.secrets, SHORTEST_JWT_SECRET, &at.key("secrets"), problems);
    let Some(file) = &written.jwks else {
        if written.secrets.is_empty() {
            let message = "nobody could sign a token: there is no secret and no key";
            problems.push(Problem::error(at.key("secrets"), message));
        }
        return Some(Jwks::default());
    };
    match Jwks::parse(file.text.as_bytes()) {
        Ok(keys) => Some(keys),
        Err(message) => {
            problems.push(Problem::error(at.key("jwks"), format!("this file {message}")));
            None
        }
    }
}

fn otherwise(written: &WrittenRule, at: &At, problems: &mut Vec<Problem>) -> Option<Otherwise> {
    let at = at.key("otherwise");
    if written.otherwise.is_some() && written.require.is_none() {
        let message = "`otherwise` has no effect without `require`";
        problems.push(Problem::error(at, message).hint("write `require: true`, or take `otherwise` out"));
        return None;
    }
    match &written.otherwise {
        None | Some(config::Otherwise::Status(401)) => Some(Otherwise::Unauthorized),
        Some(config::Otherwise::Status(_)) => Some(Otherwise::Forbidden),
        Some(config::Otherwise::Redirect(to)) => {
            if !to.starts_with('/') && !to.contains("://") && !to.starts_with('{') {
                let message = format!("`{to}` is relative to the path that was asked for");
                problems.push(Problem::error(at.key("redirect"), message).hint(format!("write `/{to}`")));
                return None;
            }
            // Whatever the method was, the login page is asked for with GET.
            route::redirect(to, StatusCode::SEE_OTHER, &at.key("redirect"), problems).map(Otherwise::Redirect)
        }
    }
}

/// Whether the page that requests without a session are sent to is the same route's, which `takes` knows.
pub(super) fn circle(rule: &SessionRule, takes: impl FnOnce(&str) -> bool, route: &At) -> Option<Problem> {
    let Otherwise::Redirect(Redirect { to, .. }) = &rule.require.as_ref()?.otherwise else { return None };
    // Only where it is a path of this host that is the same for every request.
    let [RedirectPart::Text(text), rest @ ..] = to.as_slice() else { return None };
    let (path, whole) = text.split_once('?').map_or((text.as_str(), rest.is_empty()), |(path, _)| (path, true));
    let path = normalise(path).ok().filter(|_| whole && path.starts_with('/'))?;
    takes(&path).then(|| {
        let message = format!("`{path}` is this route's, too: a request without a session would go round in circles");
        let at = route.key("session").key("otherwise").key("redirect");
        Problem::error(at, message).hint(format!("write a route for `{path}` that requires no session"))
    })
}

/// A header that tells the application of the session.
///
/// # Errors
/// Why it can't be one, and what to write.
fn forwarded(written: &str) -> Result<HeaderName, (String, String)> {
    /// What says how the request is to be read, where it comes from, or who it is of.
    const OURS: [&str; 17] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "expect",
        "host",
        "forwarded",
        "via",
        "cookie",
        "authorization",
        "x-real-ip",
    ];
    let hint = || "choose a name of its own, as in `x-user`".to_owned();
    let Ok(name) = HeaderName::from_bytes(written.as_bytes()) else {
        return Err((format!("`{written}` is not a header's name"), hint()));
    };
    let ours = ["x-forwarded-", "client-cert", "x-client-cert"].iter().any(|prefix| name.as_str().starts_with(prefix));
    if ours || OURS.contains(&name.as_str()) {
        return Err((format!("`{written}` has a meaning of its own, and can't tell of the session"), hint()));
    }
    if written.contains('_') {
        let dashed = written.replace('_', "-");
        let message = format!("`{written}`: some applications can't tell a header with `_` from the client's with `-`");
        return Err((message, format!("write `{dashed}`")));
    }
    Ok(name)
}

/// A word that can be a cookie's name (RFC 6265 section 4.1.1).
pub(super) fn is_token(text: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(token)
}

pub(super) fn cookie_name(name: &str, at: At) -> Problem {
    let hint = "a cookie's name is made of letters, digits, `-`, `_` and `.`";
    Problem::error(at, format!("`{name}` can't be a cookie's name")).hint(hint)
}
