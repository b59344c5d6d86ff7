//! A route's `sticky`: by what a session is kept on its endpoint, and that no two routes fight over one cookie.

use std::sync::Arc;

use super::session::{Sessions, cookie_name, is_token};
use crate::config::{
    self, At, Cookies, Problem, Route as Written, Sticky as WrittenSticky, StickyCookie, WhenDown as WrittenWhenDown,
};
use crate::router::HostPattern;
use crate::session::Source;
use crate::sticky::{CookieKeys, CookieSettings, Form, SameSite, Secure, StickySettings, WhenDown};

/// How long a binding is kept after its last use where the file doesn't say.
const BINDING: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// The keys of the cookies that we make.
pub(super) fn keys(written: &Cookies, made: &[u8; 32]) -> CookieKeys {
    match written.secrets.is_empty() {
        true => CookieKeys::new([made]),
        false => CookieKeys::new(written.secrets.iter().map(|config::Secret(secret)| secret)),
    }
}

/// What a route says of sticking; none where it says nothing, or has a fault.
pub(super) fn compile(
    route: &Written,
    keys: &CookieKeys,
    sessions: &mut Sessions<'_>,
    at: &At,
    problems: &mut Vec<Problem>,
) -> Option<StickySettings> {
    let written = route.sticky.as_ref()?;
    let at = at.key("sticky");
    if let Some(session) = &written.session {
        sessions.named(session, &at.key("session"), problems);
    }
    let source = written.session.as_deref().map(|name| sessions.source(name));
    let when_down = match written.when_down {
        WrittenWhenDown::Repin => WhenDown::Repin,
        WrittenWhenDown::Fail => WhenDown::Fail,
    };
    let form = match (&written.cookie, source) {
        (Some(cookie), source) => {
            let cookie = check_cookie(cookie, route, written, sessions, &at, problems)?;
            let session: Option<Arc<Source>> = match source {
                Some(source) => Some(source?),
                None => None,
            };
            Form::Cookie { cookie, keys: keys.clone(), session }
        }
        (None, Some(source)) => Form::Session {
            bindings: sessions.bindings(&source?),
            max_age: written.max_age.map_or(BINDING, |age| age.0),
        },
        (None, None) => return None,
    };
    Some(StickySettings { form, when_down })
}

fn check_cookie(
    written: &StickyCookie,
    route: &Written,
    sticky: &WrittenSticky,
    sessions: &Sessions<'_>,
    at: &At,
    problems: &mut Vec<Problem>,
) -> Option<CookieSettings> {
    let before = problems.len();
    // Whether it is written as its name or with settings can't be told here; the nearest place that is written is shown.
    let cookie = at.key("cookie");
    let name = written.name.as_str();
    let mut refuse = |at: At, message: String, hint: Option<&str>| {
        let mut problem = Problem::error(at, message);
        problem.hint = hint.map(str::to_owned);
        problems.push(problem);
    };
    if let Some(source) = sessions.with_cookie(name) {
        let message =
            format!("`{name}` is the cookie of the source of sessions `{source}`, which the application sets");
        refuse(cookie.key("name"), message, Some("give the gateway's own another name, as in `srv`"));
    }
    let lower = name.to_ascii_lowercase();
    let (host_only, secure_only) = (lower.starts_with("__host-"), lower.starts_with("__secure-"));
    if host_only && written.path.as_deref().is_some_and(|path| path != "/") {
        let message = "browsers take a cookie whose name begins with `__Host-` with the path `/` only";
        refuse(cookie.key("path"), message.to_owned(), None);
    }
    if host_only && written.domain.is_some() {
        let message = "browsers take a cookie whose name begins with `__Host-` without a domain only";
        refuse(cookie.key("domain"), message.to_owned(), Some("take `domain` out, or the `__Host-`"));
    }
    if (host_only || secure_only) && written.secure == config::Secure::Never {
        let message = "browsers take a cookie whose name begins with `__Host-` or `__Secure-` over TLS only";
        refuse(cookie.key("secure"), message.to_owned(), Some("write `secure: auto`"));
    }
    if written.same_site == config::SameSite::None && written.secure == config::Secure::Never {
        let message = "browsers take a cookie of `same_site: none` over TLS only";
        refuse(cookie.key("secure"), message.to_owned(), Some("write `secure: auto`, or `same_site: lax`"));
    }
    if let Some(path) =
        written.path.as_deref().filter(|path| !path.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b';'))
    {
        refuse(cookie.key("path"), format!("`{path}` can't be a cookie's path"), None);
    }
    let ages = [(sticky.max_age, at.key("max_age")), (written.max_age, cookie.key("max_age"))];
    if sticky.max_age.is_some() && written.max_age.is_some() {
        let message = "`max_age` is written twice, for `sticky` and for its cookie";
        refuse(cookie.key("max_age"), message.to_owned(), Some("one of them says how long the pin is kept"));
    }
    for (_, at) in ages.iter().filter(|(age, _)| age.is_some_and(|age| age.0.as_secs() < 1)) {
        refuse(at.clone(), "browsers count a cookie's age in seconds: it is at least `1s`".to_owned(), None);
    }
    if !is_token(name) {
        problems.push(cookie_name(name, cookie.key("name")));
    }
    if let Some(domain) = &written.domain {
        check_domain(domain, route, &cookie.key("domain"), problems);
    }
    if let Some(path) = &written.path {
        check_reach(path, route, &cookie.key("path"), problems);
    }
    let sound = !problems.iter().skip(before).any(|problem| problem.severity == config::Severity::Error);
    sound.then(|| CookieSettings {
        name: name.into(),
        path: written.path.as_deref().unwrap_or("/").into(),
        domain: written.domain.as_deref().map(Into::into),
        same_site: match written.same_site {
            config::SameSite::Lax => SameSite::Lax,
            config::SameSite::Strict => SameSite::Strict,
            config::SameSite::None => SameSite::None,
        },
        secure: match written.secure {
            config::Secure::Auto => Secure::Auto,
            config::Secure::Always => Secure::Always,
            config::Secure::Never => Secure::Never,
        },
        max_age: sticky.max_age.or(written.max_age).map(|age| age.0.as_secs()),
    })
}

fn check_domain(domain: &str, route: &Written, at: &At, problems: &mut Vec<Problem>) {
    let plain = domain.trim_start_matches(['.', '*']);
    if plain != domain {
        let message = "a domain stands for all its subdomains, without `.` or `*` before it";
        problems.push(Problem::error(at.clone(), message).hint(format!("write `{plain}`")));
        return;
    }
    let named = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if !domain.chars().all(named) || domain.split('.').any(str::is_empty) {
        let message = format!("`{domain}` can't be a cookie's domain");
        problems.push(Problem::error(at.clone(), message).hint("it is a host's name, as in `example.com`"));
        return;
    }
    if domain.parse::<std::net::IpAddr>().is_ok() {
        let message = "an address has no subdomains, and browsers refuse a cookie of it";
        problems.push(Problem::error(at.clone(), message).hint("take `domain` out"));
        return;
    }
    let below = |host: &str| {
        let host = host.trim_start_matches("*.").to_ascii_lowercase();
        let domain = domain.to_ascii_lowercase();
        host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'))
    };
    if let Some(host) = route.host.0.iter().find(|host| !below(host)) {
        let message = format!("browsers refuse a cookie of the domain `{domain}` from `{host}`");
        problems.push(Problem::error(at.clone(), message).hint("the domain is the host itself, or what it is part of"));
    }
}

/// A cookie's path that no request of the route is below: the pin would never come back.
fn check_reach(path: &str, route: &Written, at: &At, problems: &mut Vec<Problem>) {
    let (Some(asked), exact) = (route.path.as_ref().or(route.path_prefix.as_ref()), route.path.is_some()) else {
        return;
    };
    let (cookie, asked) = (path.trim_end_matches('/'), asked.trim_end_matches('/'));
    let below =
        |one: &str, other: &str| one == other || one.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
    // `/app` takes in some of what begins with `/`, so that is what may be meant.
    if !below(asked, cookie) && (exact || !below(cookie, asked)) {
        let message = format!("no request of this route carries a cookie of the path `{path}`");
        problems.push(Problem::error(at.clone(), message).hint("leave the path out: `/` is everything"));
    }
}

/// Two routes of one host that pin to different upstreams by one cookie would take the pin from each other with every
/// request.
pub(super) fn check_fights(routes: &[Written], problems: &mut Vec<Problem>) {
    struct Pinning<'r> {
        index: usize,
        cookie: &'r StickyCookie,
        upstreams: Vec<&'r str>,
        hosts: Vec<HostPattern>,
    }
    let mut earlier: Vec<Pinning<'_>> = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let Some(cookie) = route.sticky.as_ref().and_then(|sticky| sticky.cookie.as_ref()) else { continue };
        let several = route.upstreams.iter().flatten().map(|weighted| weighted.name.as_str());
        let mut upstreams: Vec<&str> = route.upstream.as_deref().into_iter().chain(several).collect();
        upstreams.sort_unstable();
        let hosts = route.host.0.iter().filter_map(|host| HostPattern::parse(host).ok()).collect();
        let this = Pinning { index, cookie, upstreams, hosts };
        let key = |cookie: &StickyCookie| {
            (cookie.name.clone(), cookie.domain.clone(), cookie.path.clone().unwrap_or_else(|| "/".to_owned()))
        };
        let fights = earlier.iter().find(|other| {
            key(other.cookie) == key(cookie)
                && other.upstreams != this.upstreams
                && (cookie.domain.is_some() || meet(&other.hosts, &this.hosts))
        });
        if let Some(other) = fights {
            let message = format!(
                "route number {} pins to other upstreams with the cookie `{}`, too: each would take the other's pin away",
                other.index + 1,
                cookie.name
            );
            let at = At::root().key("routes").index(index).key("sticky").key("cookie").key("name");
            let upstream = this.upstreams.first().copied().unwrap_or("other");
            problems.push(
                Problem::error(at, message)
                    .hint(format!("give it a name of its own, as in `{}_{upstream}`", cookie.name)),
            );
        }
        earlier.push(this);
    }
}

/// Whether a host can be of both; no pattern is every host.
fn meet(one: &[HostPattern], other: &[HostPattern]) -> bool {
    let below = |host: &str, suffix: &str| host.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'));
    let both = |one: &HostPattern, other: &HostPattern| match (one, other) {
        (HostPattern::Exact(one), HostPattern::Exact(other)) => one == other,
        (HostPattern::Exact(host), HostPattern::Wildcard(suffix))
        | (HostPattern::Wildcard(suffix), HostPattern::Exact(host)) => below(host, suffix),
        (HostPattern::Wildcard(one), HostPattern::Wildcard(other)) => {
            one == other || below(one, other) || below(other, one)
        }
    };
    one.is_empty() || other.is_empty() || one.iter().any(|one| other.iter().any(|other| both(one, other)))
}
