//! How messages call things: objects, list items, and the nearest word to one that is unknown.

/// The key that stands for a map where only a value was written: `health_check: /healthz`.
pub(super) fn main_key(context: &str) -> Option<&'static str> {
    Some(match context {
        "HealthCheck" => "http",
        "Redirect" => "to",
        "Respond" => "status",
        "Retry" | "RetryOverrides" => "attempts",
        "Timeouts" | "TimeoutOverrides" => "request",
        "Tls" => "certificates",
        "Queue" => "size",
        "Admin" | "Listener" => "address",
        "AccessLog" => "path",
        "Keepalive" => "timeout",
        "Log" => "level",
        "Process" => "threads",
        "WeightedUpstream" => "name",
        "Upstream" => "endpoints",
        "SessionRule" => "source",
        "RequireField" => "field",
        "OtherwiseRedirect" => "redirect",
        "Jwt" => "jwks",
        _ => return None,
    })
}

/// What the keys are for of which a map needs one.
pub(super) fn choice_of(context: &str) -> Option<&'static str> {
    Some(match context {
        "Sticky" => "by a cookie of ours, `{ cookie: srv }`, or by the session's store, `{ session: NAME }`",
        "SessionRule" => {
            "who is let in, `require: true`, or what the application is told, `forward: { x-user: user.id }`"
        }
        "SessionSource" => "where a request says its session's id, as in `cookie: connect.sid`",
        "Jwt" => "who may sign: the keys of a file, `jwks: FILE`, or whoever has one of the `secrets`",
        _ => return None,
    })
}

/// How to be without what a map of settings is for.
pub(super) fn without(context: &str) -> Option<&'static str> {
    Some(match context {
        "HealthCheck" | "Queue" | "AccessLog" | "Sticky" | "SessionRule" | "RequireField" | "Jwt" => {
            "to be without it, leave the key out"
        }
        "Retry" | "RetryOverrides" => "to be without retries, write `{ attempts: 1 }`",
        "Keepalive" => "to keep no connections, write `{ idle: 0 }`",
        "Timeouts" | "TimeoutOverrides" => "only `request` can be without a limit: `{ request: none }`",
        "Admin" => "the admin listener is always on; on a loopback address only this host reaches it",
        _ => return None,
    })
}

/// What an object is called in a sentence.
pub(super) fn object_name(definition: &str) -> Option<&'static str> {
    Some(match definition {
        "Config" => "the top of the file",
        "Process" => "`process`",
        "Admin" => "`admin`",
        "Telemetry" => "`telemetry`",
        "Log" => "`log`",
        "AccessLog" => "`access_log`",
        "Listener" => "a listener",
        "Limits" => "`limits`",
        "Upstream" => "an upstream",
        "EndpointSettings" => "an endpoint",
        "HealthCheck" => "`health_check`",
        "Outlier" => "`outlier`",
        "Queue" => "`queue`",
        "Retry" | "RetryOverrides" => "`retry`",
        "Timeouts" | "TimeoutOverrides" => "`timeouts`",
        "Keepalive" => "`keepalive`",
        "EndpointTlsSettings" => "`tls`",
        "Route" => "a route",
        "WeightedUpstream" => "an entry of `upstreams`",
        "Redirect" => "`redirect`",
        "Respond" => "`respond`",
        "ConsistentHash" => "`consistent_hash`",
        "Cookies" => "`cookies`",
        "SessionSource" => "a source of sessions",
        "Jwt" => "`jwt`",
        "StoreSettings" => "a store",
        "Sentinel" => "`sentinel`",
        "Sticky" => "`sticky`",
        "StickyCookieSettings" => "`cookie`",
        "SessionRule" => "`session`",
        "RequireField" => "`require`",
        "OtherwiseRedirect" => "`otherwise`",
        _ => return None,
    })
}

/// What an element of a list is called in a sentence.
pub(super) fn item_name(list: &str) -> String {
    match list {
        "routes" => "a route".into(),
        "listeners" => "a listener".into(),
        "endpoints" => "an endpoint".into(),
        "plugins" => "a plugin".into(),
        "conditions" => "a condition".into(),
        "methods" => "a method".into(),
        "trusted_proxies" => "a trusted proxy".into(),
        "secrets" => "a secret".into(),
        "cluster" => "a server of a cluster".into(),
        "addresses" => "a Sentinel".into(),
        _ => format!("an entry of `{list}`"),
    }
}

/// `healthCheck`, `health-check`, `Health Check` as `health_check`.
pub(super) fn snake(word: &str) -> String {
    let mut snake = String::with_capacity(word.len() + 4);
    let mut before = '_';
    for c in word.chars() {
        if c.is_uppercase() && (before.is_lowercase() || before.is_ascii_digit()) {
            snake.push('_');
        }
        match c {
            '-' | ' ' | '.' => snake.push('_'),
            c => snake.extend(c.to_lowercase()),
        }
        before = c;
    }
    snake
}

/// The candidate that was surely meant: the nearest, if it is near enough.
pub(super) fn nearest<'c>(word: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let word = snake(word);
    // One slip for each three letters; a word of two letters is near to anything.
    let allowed = |candidate: &str| (word.chars().count().max(candidate.len()) / 3).clamp(1, 4);
    let near = candidates.iter().map(|candidate| (strsim::damerau_levenshtein(&word, candidate), *candidate));
    let near = near.filter(|(distance, candidate)| *distance <= allowed(candidate) && word.len() > 2);
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}
