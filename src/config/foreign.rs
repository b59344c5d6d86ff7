//! Foreign words: what people who come from nginx, HAProxy, Traefik, Caddy and Envoy write, and what it is called
//! here. And our own words that this version does not know yet.

use super::words::snake;

/// A key that is none of ours.
struct ForeignKey {
    words: &'static [&'static str],
    /// The type in which it stands; empty: anywhere.
    context: &'static str,
    /// Our key for it, where there is one in the same place.
    ours: &'static str,
    /// What to write.
    hint: &'static str,
}

const fn key(
    words: &'static [&'static str],
    context: &'static str,
    ours: &'static str,
    hint: &'static str,
) -> ForeignKey {
    ForeignKey { words, context, ours, hint }
}

/// Keys of later versions.
const LATER: [&str; 16] = [
    "sessions",
    "stores",
    "cookies",
    "sticky",
    "session",
    "tls",
    "http2",
    "redirect_to_https",
    "proxy_protocol",
    "upgrade_socket",
    "state_dir",
    "discovery",
    "grpc",
    "certificates",
    "client_auth",
    "acme",
];

/// Plugins of later versions.
const LATER_PLUGINS: [&str; 10] =
    ["rate_limit", "cors", "basic_auth", "jwt", "ip_filter", "compress", "cache", "rewrite", "body_limit", "csrf"];

/// Strategies, by the words of others. Compared without case, `-` and `_`.
const STRATEGIES: [(&str, &str); 34] = [
    ("leastconn", "write `least_conn`"),
    ("leastconnection", "write `least_conn`"),
    ("leastconnections", "write `least_conn`"),
    ("leastrequest", "write `least_conn`"),
    ("leastrequests", "write `least_conn`"),
    ("leastoutstandingrequests", "write `least_conn`"),
    ("roundrobin", "write `round_robin`"),
    ("rr", "write `round_robin`"),
    ("wrr", "write `round_robin`, with `weight:` at the endpoints"),
    ("weighted", "write `round_robin`, with `weight:` at the endpoints"),
    ("weightedroundrobin", "write `round_robin`, with `weight:` at the endpoints"),
    ("staticrr", "write `round_robin`"),
    ("smooth", "write `round_robin`"),
    ("p2c", "write `random_two`"),
    ("poweroftwo", "write `random_two`"),
    ("poweroftwochoices", "write `random_two`"),
    ("twochoices", "write `random_two`"),
    ("randomchoose", "write `random_two`"),
    ("ewma", "write `peak_ewma`"),
    ("leasttime", "write `peak_ewma`"),
    ("latency", "write `peak_ewma`"),
    ("fastest", "write `peak_ewma`"),
    ("iphash", "write `ip_hash`"),
    ("source", "write `ip_hash`"),
    ("sourceip", "write `ip_hash`"),
    ("clientiphash", "write `ip_hash`"),
    ("hash", "write `{ consistent_hash: { key: client_ip } }`"),
    ("uri", "write `{ consistent_hash: { key: uri } }`"),
    ("urihash", "write `{ consistent_hash: { key: uri } }`"),
    ("ringhash", "write `{ consistent_hash: { key: client_ip } }`"),
    ("maglev", "write `{ consistent_hash: { key: client_ip } }`"),
    ("ketama", "write `{ consistent_hash: { key: client_ip } }`"),
    ("header", "write `{ consistent_hash: { key: header:NAME } }`"),
    ("failover", "write `first`, or mark endpoints with `backup: true`"),
];

const KEYS: [ForeignKey; 67] = [
    // The top of the file.
    key(&["upstream"], "Config", "upstreams", "it is `upstreams`, a map from name to upstream"),
    key(
        &["listener", "listen", "frontend", "frontends", "entrypoints", "entry_points", "bind", "port", "ports"],
        "Config",
        "listeners",
        "addresses to accept on are `listeners: [{ address: 0.0.0.0:8080 }]`",
    ),
    key(
        &["backend", "backends", "cluster", "clusters", "pool", "pools", "services", "service"],
        "Config",
        "upstreams",
        "groups of servers are `upstreams`, a map from name to upstream",
    ),
    key(
        &["route", "routers", "router", "location", "locations", "rules", "rule", "paths"],
        "Config",
        "routes",
        "what to do with requests is `routes`, a list",
    ),
    key(
        &["server"],
        "Config",
        "",
        "there is no `server` block: addresses are `listeners`, names and paths are `routes` with `host` and `path_prefix`",
    ),
    key(
        &["servers"],
        "Config",
        "",
        "addresses to accept on are `listeners`; servers behind the gateway are `endpoints` of `upstreams`",
    ),
    key(&["http", "stream", "events"], "Config", "", "there is no such block: its parts stand at the top of the file"),
    key(&["worker_processes", "workers", "threads", "nbthread"], "Config", "", "write `process: { threads: auto }`"),
    key(&["user", "pid", "pid_file", "pidfile"], "Config", "", "it belongs to `process`"),
    key(
        &["log", "logs", "logging", "access_log", "error_log", "log_level", "metrics"],
        "Config",
        "",
        "logs are `telemetry: { log: .., access_log: .. }`; metrics are at the admin listener's /metrics",
    ),
    key(
        &["global", "defaults", "main", "server_config"],
        "Config",
        "",
        "there is no such section: each listener, upstream and route has its own settings",
    ),
    key(&["includes", "import"], "Config", "include", "it is `include`, a list of paths"),
    key(
        &["plugins", "middlewares", "middleware", "filters"],
        "Config",
        "",
        "plugins belong to a route: `plugins: [..]`",
    ),
    key(
        &["version", "apiVersion", "kind", "metadata", "spec"],
        "Config",
        "",
        "the file has no version and no envelope; leave it out",
    ),
    key(&["api", "dashboard", "status", "stats"], "Config", "admin", "it is `admin: { address: 127.0.0.1:9900 }`"),
    // Listeners.
    key(
        &["listen", "bind", "addr", "url", "socket", "host"],
        "Listener",
        "address",
        "it is `address`, as in `0.0.0.0:8080`",
    ),
    key(&["port"], "Listener", "address", "the port is part of the address: `address: 0.0.0.0:8080`"),
    key(
        &["ssl", "https", "certificate", "cert", "ssl_certificate"],
        "Listener",
        "",
        "TLS is not in this version of headgate",
    ),
    key(
        &["server_name", "hosts", "hostname", "domain"],
        "Listener",
        "",
        "host names belong to routes: `host: shop.example.com`",
    ),
    key(
        &["set_real_ip_from", "trusted_ips", "trustedips", "real_ip"],
        "Listener",
        "trusted_proxies",
        "it is `trusted_proxies`, a list of networks",
    ),
    key(&["max_body_size", "client_max_body_size", "body_limit"], "Listener", "", "it is `limits: { body: 10MiB }`"),
    key(&["keepalive_timeout", "idle_timeout"], "Listener", "", "it is `limits: { idle_timeout: 75s }`"),
    key(
        &["client_header_timeout", "read_timeout", "header_timeout"],
        "Listener",
        "",
        "it is `limits: { header_timeout: 10s }`",
    ),
    key(
        &["maxconn", "max_connections"],
        "Listener",
        "",
        "connections of one client address are `limits: { connections_per_ip: 1000 }`",
    ),
    key(
        &["routes", "locations", "rules"],
        "Listener",
        "",
        "routes stand at the top of the file; `listener: NAME` binds one to a listener",
    ),
    key(&["client_max_body_size", "max_body", "body_size", "max_body_size"], "Limits", "body", "it is `body`"),
    key(&["max_headers", "header_count"], "Limits", "headers", "it is `headers`"),
    key(
        &["max_header_size", "header_size", "large_client_header_buffers"],
        "Limits",
        "header_bytes",
        "it is `header_bytes`",
    ),
    // Upstreams.
    key(
        &[
            "servers",
            "server",
            "targets",
            "target",
            "backends",
            "nodes",
            "node",
            "hosts",
            "members",
            "instances",
            "load_assignment",
            "lb_endpoints",
            "endpoint",
        ],
        "Upstream",
        "endpoints",
        "the servers of an upstream are its `endpoints`",
    ),
    key(
        &["url", "address", "addresses", "urls", "host", "port"],
        "Upstream",
        "endpoints",
        "addresses are `endpoints: [10.0.0.11:3000]`",
    ),
    key(
        &[
            "balance",
            "lb_policy",
            "load_balancing",
            "load_balancer",
            "loadbalancer",
            "load_balancing_policy",
            "algorithm",
            "policy",
            "method",
            "lb",
            "lb_method",
            "type",
        ],
        "Upstream",
        "strategy",
        "it is `strategy`",
    ),
    key(
        &[
            "least_conn",
            "ip_hash",
            "random",
            "round_robin",
            "hash",
            "consistent_hash",
            "peak_ewma",
            "first",
            "random_two",
        ],
        "Upstream",
        "strategy",
        "it is a strategy: `strategy: least_conn`",
    ),
    key(
        &[
            "health",
            "healthcheck",
            "health_checks",
            "check",
            "checks",
            "health_uri",
            "active_health_check",
            "probe",
            "liveness",
        ],
        "Upstream",
        "health_check",
        "it is `health_check: { http: /healthz }`",
    ),
    key(
        &[
            "max_fails",
            "fail_timeout",
            "passive_health_check",
            "outlier_detection",
            "circuit_breaker",
            "circuit_breakers",
        ],
        "Upstream",
        "",
        "it is `outlier: { consecutive_errors: 5, eject_for: 10s }`",
    ),
    key(
        &["weight", "backup"],
        "Upstream",
        "",
        "it belongs to an endpoint: `{ address: \"10.0.0.11:3000\", weight: 2 }`",
    ),
    key(&["weights"], "Upstream", "", "each endpoint has its own: `{ address: \"10.0.0.11:3000\", weight: 2 }`"),
    key(
        &["max_connections", "max_conns", "maxconn"],
        "Upstream",
        "",
        "it belongs to an endpoint: `{ address: \"10.0.0.11:3000\", max_connections: 200 }`",
    ),
    key(
        &[
            "connect_timeout",
            "read_timeout",
            "proxy_read_timeout",
            "proxy_connect_timeout",
            "proxy_send_timeout",
            "timeout",
            "request_timeout",
        ],
        "Upstream",
        "timeouts",
        "it is `timeouts: { connect: 2s, first_byte: 30s, idle: 60s, request: none }`",
    ),
    key(
        &["retries", "proxy_next_upstream", "retry_policy", "max_retries", "num_retries"],
        "Upstream",
        "retry",
        "it is `retry: { attempts: 2 }`",
    ),
    key(
        &["pass_host_header", "preserve_host", "proxy_set_header", "host_rewrite"],
        "Upstream",
        "host_header",
        "it is `host_header: keep`, `endpoint` or a host",
    ),
    key(
        &["keepalive_timeout", "keepalive_requests", "pool_size", "max_idle"],
        "Upstream",
        "keepalive",
        "it is `keepalive: { idle: 256, timeout: 55s }`",
    ),
    key(
        &["protocol", "scheme"],
        "Upstream",
        "",
        "endpoints are spoken to in HTTP/1.1; there is nothing to choose in this version",
    ),
    // Endpoints.
    key(
        &["url", "host", "server", "addr", "target", "socket", "ip"],
        "EndpointSettings",
        "address",
        "it is `address`, as in `10.0.0.11:3000`",
    ),
    key(&["port"], "EndpointSettings", "", "the port is part of the address: `address: \"10.0.0.11:3000\"`"),
    key(
        &["max_conns", "maxconn", "max_requests", "max_conn"],
        "EndpointSettings",
        "max_connections",
        "it is `max_connections`",
    ),
    key(
        &["max_fails", "fail_timeout"],
        "EndpointSettings",
        "",
        "it is the upstream's `outlier: { consecutive_errors: 5, eject_for: 10s }`",
    ),
    key(&["down", "disabled"], "EndpointSettings", "", "write `weight: 0`, or leave the endpoint out"),
    key(
        &["slow_start", "health_check", "check", "inter", "rise", "fall"],
        "EndpointSettings",
        "",
        "it belongs to the upstream, for all its endpoints",
    ),
    // Health checks.
    key(
        &["path", "uri", "url", "endpoint", "health_uri"],
        "HealthCheck",
        "http",
        "the path to check is `http: /healthz`",
    ),
    key(&["type", "protocol", "mode"], "HealthCheck", "", "write `http: /healthz` or `tcp: true`"),
    key(
        &["interval_ms", "interval_seconds", "inter", "every", "period"],
        "HealthCheck",
        "interval",
        "it is `interval: 5s`, with its unit",
    ),
    key(&["timeout_ms", "timeout_seconds"], "HealthCheck", "timeout", "it is `timeout: 2s`, with its unit"),
    key(&["healthy_threshold", "passes", "success_threshold", "healthy"], "HealthCheck", "rise", "it is `rise`"),
    key(
        &["unhealthy_threshold", "fails", "failure_threshold", "unhealthy", "retries", "max_fails"],
        "HealthCheck",
        "fall",
        "it is `fall`",
    ),
    key(
        &["expect", "expected_status", "expected_statuses", "expect_status", "match", "statuses", "codes"],
        "HealthCheck",
        "status",
        "it is `status: 200-299`",
    ),
    // Retries and timeouts.
    key(
        &["count", "retries", "tries", "max", "num_retries", "max_attempts"],
        "",
        "attempts",
        "it is `attempts`; the first try counts",
    ),
    key(
        &["on", "retry_on", "statuses", "codes"],
        "",
        "conditions",
        "it is `conditions: [connect_error, reset, 502, 503, 504]`",
    ),
    key(
        &["read", "response", "send", "header", "proxy_read_timeout"],
        "",
        "first_byte",
        "it is `first_byte` (until the response begins) or `idle` (between two pieces of a body)",
    ),
    key(&["total", "overall"], "", "request", "it is `request`"),
    // Routes.
    key(
        &[
            "proxy_pass",
            "backend",
            "service",
            "cluster",
            "proxy",
            "reverse_proxy",
            "target",
            "to",
            "pool",
            "use_backend",
            "forward_to",
        ],
        "Route",
        "upstream",
        "write `upstream: NAME`, the name of an entry of `upstreams`",
    ),
    key(
        &["location", "prefix", "pathprefix", "uri", "url", "paths"],
        "Route",
        "path_prefix",
        "it is `path_prefix: /api/` (whole segments), `path` (exact) or `path_regex`",
    ),
    key(
        &["rule", "match", "matches", "when", "if", "acl"],
        "Route",
        "",
        "conditions are keys of the route itself: `host`, `path_prefix`, `methods`, `headers`, `query`",
    ),
    key(&["regex", "path_regexp", "regexp"], "Route", "path_regex", "it is `path_regex`, for the whole path"),
    key(
        &["hosts", "server_name", "hostname", "hostnames", "domain", "domains"],
        "Route",
        "host",
        "it is `host`: one, or a list",
    ),
    key(
        &["priority", "order", "weight"],
        "Route",
        "",
        "there are no priorities: the most specific match wins, then the order in the file",
    ),
    key(
        &["return", "rewrite", "static", "root", "file_server", "try_files"],
        "Route",
        "",
        "fixed answers are `respond: { status: 200, body: .. }` and `redirect: { to: .. }`; files are not served",
    ),
    key(&["middlewares", "middleware", "filters", "filter", "plugin"], "Route", "plugins", "it is `plugins`, a list"),
];

/// Our key of a later version?
pub(super) fn is_later(key: &str) -> bool {
    LATER.contains(&key)
}

/// A plugin of a later version?
pub(super) fn is_later_plugin(name: &str) -> bool {
    LATER_PLUGINS.contains(&name)
}

/// What a foreign key is called here: our key in the same place (or none), and what to write.
pub(super) fn foreign_key(context: &str, word: &str) -> Option<(Option<&'static str>, &'static str)> {
    let word = snake(word);
    let ours = |foreign: &ForeignKey| (!foreign.ours.is_empty()).then_some(foreign.ours);
    let of = |wanted: &str| KEYS.iter().find(|key| key.context == wanted && key.words.contains(&word.as_str()));
    let general = match context {
        "Retry" | "RetryOverrides" | "Timeouts" | "TimeoutOverrides" => of(""),
        _ => None,
    };
    of(context).or(general).map(|key| (ours(key), key.hint))
}

/// What a foreign value is called here.
pub(super) fn foreign_value(context: &str, word: &str) -> Option<&'static str> {
    let plain: String = word.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    match context {
        "Strategy" => STRATEGIES.iter().find(|(foreign, _)| *foreign == plain).map(|(_, hint)| *hint),
        "Condition" => match plain.as_str() {
            "error" | "connectfailure" | "connfailure" | "refused" => Some("write `connect_error`"),
            "timeout" => Some("a timeout to connect is a `connect_error`; one after sending is not tried again"),
            "5xx" | "gatewayerror" | "http5xx" => Some("write the statuses: 502, 503, 504"),
            "http502" => Some("write `502`"),
            "http503" => Some("write `503`"),
            "http504" => Some("write `504`"),
            _ => None,
        },
        "LogLevel" => match plain.as_str() {
            "warning" => Some("write `warn`"),
            "notice" => Some("write `info`"),
            "crit" | "critical" | "fatal" | "alert" | "emerg" | "err" => Some("write `error`"),
            "verbose" => Some("write `debug`"),
            _ => None,
        },
        "LogFormat" => matches!(plain.as_str(), "plain" | "console" | "pretty" | "logfmt").then_some("write `text`"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_ours_in_the_tables_is_a_key_of_the_schema() {
        let schema = super::super::schema::whole(&super::super::PluginSchemas::new());
        for foreign in KEYS.iter().filter(|foreign| !foreign.ours.is_empty() && !foreign.context.is_empty()) {
            let object = if foreign.context == "Config" { &schema } else { &schema["$defs"][foreign.context] };
            let keys = object["properties"].as_object().expect(foreign.context);
            assert!(keys.contains_key(foreign.ours), "{}: {}", foreign.context, foreign.ours);
            for word in foreign.words {
                assert!(!keys.contains_key(*word), "{}: {word} is a key", foreign.context);
                assert!(!is_later(word), "{word} is a key of a later version");
            }
        }
    }

    #[test]
    fn a_key_of_a_later_version_is_not_in_the_schema() {
        let schema = super::super::schema::schema(&super::super::PluginSchemas::new());
        let paths = super::super::schema::key_paths(&schema);
        let later: Vec<_> = paths.iter().filter(|path| path.split('.').any(is_later)).collect();
        assert!(later.is_empty(), "{later:?}");
    }
}
