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
const LATER: &[&str] = &["upgrade_socket", "discovery", "acme"];

/// Plugins of later versions.
const LATER_PLUGINS: [&str; 10] =
    ["rate_limit", "cors", "basic_auth", "jwt", "ip_filter", "compress", "cache", "rewrite", "body_limit", "csrf"];

/// Strategies, by the words of others. Compared without case, `-` and `_`.
const STRATEGIES: [(&str, &str); 38] = [
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
    ("sticky", "it is a key of a route: `sticky: { cookie: srv }`, beside any strategy"),
    ("stickysession", "it is a key of a route: `sticky: { cookie: srv }`, beside any strategy"),
    (
        "cookie",
        "a cookie of ours is a key of a route: `sticky: { cookie: srv }`; one of the application's is hashed by `{ consistent_hash: { key: cookie:NAME } }`",
    ),
    ("affinity", "it is a key of a route: `sticky: { cookie: srv }`, beside any strategy"),
    ("failover", "write `first`, or mark endpoints with `backup: true`"),
];

const KEYS: &[ForeignKey] = &[
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
    key(
        &["tls", "ssl", "https", "certificates", "certs", "certificate", "cert", "ssl_certificate"],
        "Config",
        "",
        "it belongs to a listener: `tls: { certificates: [{ certificate: FILE, key: FILE }] }`",
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
        &[
            "ssl",
            "https",
            "certificate",
            "certificates",
            "cert",
            "crt",
            "key",
            "pem",
            "cert_file",
            "key_file",
            "tls_cert",
            "tls_key",
            "ssl_certificate",
            "ssl_certificate_key",
            "certificate_file",
            "private_key",
            "tls_context",
            "transport_socket",
        ],
        "Listener",
        "tls",
        "it is `tls: { certificates: [{ certificate: FILE, key: FILE }] }`",
    ),
    key(
        &["ssl_protocols", "min_version", "tls_min_version", "ssl_min_ver", "protocols", "min_tls_version"],
        "Listener",
        "tls",
        "it belongs to `tls`: `tls: { min_version: \"1.2\" }`",
    ),
    key(
        &[
            "client_auth",
            "client_ca",
            "mtls",
            "ca",
            "ca_file",
            "verify",
            "ssl_client_certificate",
            "ssl_verify_client",
            "ssl_trusted_certificate",
        ],
        "Listener",
        "tls",
        "who has to show a certificate is `tls: { client_auth: { ca: FILE, mode: require } }`",
    ),
    key(
        &["ssl_stapling", "ssl_stapling_file", "ocsp", "stapling"],
        "Listener",
        "",
        "a staple is the certificate's: `{ certificate: FILE, key: FILE, ocsp: FILE }`",
    ),
    key(
        &["ssl_ciphers", "ciphers", "cipher_suites", "ssl_prefer_server_ciphers", "ssl_ecdh_curve", "ssl_dhparam"],
        "Listener",
        "",
        "cipher suites can't be chosen: all that are spoken are sound; leave it out",
    ),
    key(
        &[
            "ssl_session_cache",
            "ssl_session_tickets",
            "ssl_session_timeout",
            "session_tickets",
            "ssl_session_ticket_key",
        ],
        "Listener",
        "",
        "sessions are resumed by tickets, whose keys the gateway makes and changes itself; leave it out",
    ),
    key(
        &["h2", "http_2", "alpn", "http_version"],
        "Listener",
        "http2",
        "HTTP/2 is spoken over TLS unless `http2: false` is written",
    ),
    key(&["http3", "quic", "h3", "alt_svc"], "Listener", "", "HTTP/3 is not spoken; leave it out"),
    key(
        &[
            "https_redirect",
            "redirect",
            "redirect_https",
            "force_ssl",
            "force_https",
            "ssl_redirect",
            "http_to_https",
            "redirect_scheme",
            "https_redirect_port",
            "auto_https",
        ],
        "Listener",
        "redirect_to_https",
        "it is `redirect_to_https: true`, or the port",
    ),
    key(
        &["hsts", "strict_transport_security"],
        "Listener",
        "",
        "it is a header of a route's answers: `plugins: [{ headers: { response: { set: { strict-transport-security: max-age=31536000 } } } }]`",
    ),
    key(
        &[
            "certificate",
            "cert",
            "crt",
            "key",
            "cert_file",
            "key_file",
            "tls_cert",
            "tls_key",
            "ssl_certificate",
            "ssl_certificate_key",
            "pem",
            "default_certificate",
            "tls_certificates",
            "certs",
        ],
        "Tls",
        "certificates",
        "it is `certificates: [{ certificate: FILE, key: FILE }]`",
    ),
    key(
        &["minimum_version", "min_tls_version", "ssl_protocols", "protocols", "versions", "version", "tls_min_version"],
        "Tls",
        "min_version",
        "it is `min_version: \"1.2\"`, or \"1.3\"",
    ),
    key(&["max_version"], "Tls", "", "the newest version that both know is always spoken; leave it out"),
    key(
        &[
            "client_ca",
            "mtls",
            "ca",
            "ca_file",
            "verify",
            "client_certificate",
            "ssl_verify_client",
            "ssl_client_certificate",
        ],
        "Tls",
        "client_auth",
        "it is `client_auth: { ca: FILE, mode: require }`",
    ),
    key(
        &["ciphers", "cipher_suites", "ssl_ciphers", "curves", "curve_preferences", "ecdh_curve", "dhparam", "options"],
        "Tls",
        "",
        "cipher suites and curves can't be chosen: all that are spoken are sound; leave it out",
    ),
    key(
        &["session_tickets", "session_cache", "session_timeout", "tickets", "ticket_key", "ticket_keys"],
        "Tls",
        "",
        "sessions are resumed by tickets, whose keys the gateway makes and changes itself; leave it out",
    ),
    key(
        &["alpn", "alpn_protocols", "http2", "h2"],
        "Tls",
        "",
        "HTTP/2 is a key of the listener: `http2: true` or `false`",
    ),
    key(
        &["sni", "server_name", "server_names", "names", "domains", "hosts", "host", "sni_strict"],
        "Tls",
        "",
        "which certificate is for which name stands in the certificates; leave it out",
    ),
    key(
        &["ocsp", "stapling", "ocsp_stapling", "ssl_stapling"],
        "Tls",
        "",
        "a staple is the certificate's: `{ certificate: FILE, key: FILE, ocsp: FILE }`",
    ),
    key(
        &["acme", "auto", "letsencrypt", "lets_encrypt", "cert_resolver", "email"],
        "Tls",
        "",
        "certificates are fetched by certbot, acme.sh or the like; the gateway sees a new file within a second",
    ),
    key(
        &[
            "cert",
            "crt",
            "cert_file",
            "pem",
            "chain",
            "fullchain",
            "ssl_certificate",
            "certificate_chain",
            "certificate_file",
        ],
        "Certificate",
        "certificate",
        "it is `certificate: FILE`, with the chain behind it",
    ),
    key(
        &["private_key", "key_file", "keyfile", "ssl_certificate_key", "certificate_key"],
        "Certificate",
        "key",
        "it is `key: FILE`",
    ),
    key(
        &["sni", "server_name", "server_names", "name", "names", "domain", "domains", "hosts", "host"],
        "Certificate",
        "",
        "its names stand in the certificate itself; leave it out",
    ),
    key(
        &["ocsp_file", "stapling_file", "ocsp_staple", "staple", "ssl_stapling_file"],
        "Certificate",
        "ocsp",
        "it is `ocsp: FILE`",
    ),
    key(
        &["default", "default_certificate", "default_server"],
        "Certificate",
        "",
        "the first certificate is for every other name; leave it out",
    ),
    key(
        &["password", "passphrase", "ssl_password_file"],
        "Certificate",
        "",
        "a key with a password can't be read; leave it out",
    ),
    key(
        &["client_ca", "mtls", "ca", "ca_file", "verify"],
        "Certificate",
        "client_auth",
        "it is `client_auth: { ca: FILE, mode: require }`",
    ),
    key(
        &[
            "ca_file",
            "ca_files",
            "cafile",
            "cas",
            "certificate",
            "client_ca",
            "trusted_ca",
            "trust_pool",
            "trusted_ca_certs",
            "ssl_client_certificate",
        ],
        "ClientAuth",
        "ca",
        "it is `ca: FILE`, the certificates of those who sign clients'",
    ),
    key(
        &["client_auth_type", "type", "verify", "required", "require", "optional", "ssl_verify_client"],
        "ClientAuth",
        "mode",
        "it is `mode: require` or `request`",
    ),
    key(
        &["depth", "verify_depth", "ssl_verify_depth", "crl", "crl_file", "ssl_crl"],
        "ClientAuth",
        "",
        "there is no such setting: give certificates a short life, or take their authority out of `ca`",
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
        "endpoints are spoken to in HTTP/1.1; in TLS with `tls: true`, in HTTP/2 with `http2: true`",
    ),
    key(
        &["ssl", "https", "secure", "backend_tls", "proxy_ssl"],
        "Upstream",
        "tls",
        "TLS to the endpoints is `tls: true`",
    ),
    key(
        &["h2", "h2c", "grpc", "http_version", "proxy_http_version"],
        "Upstream",
        "http2",
        "HTTP/2 to the endpoints, which gRPC needs, is `http2: true`",
    ),
    key(
        &["sni", "proxy_ssl_name", "hostname", "servername", "verifyhost"],
        "EndpointTlsSettings",
        "server_name",
        "the name is `server_name: app.internal`",
    ),
    key(
        &[
            "ca_file",
            "cafile",
            "ca_cert",
            "trusted_ca",
            "root_ca",
            "root_cas",
            "trusted_certificate",
            "proxy_ssl_trusted_certificate",
        ],
        "EndpointTlsSettings",
        "ca",
        "whom to trust is `ca: FILE`",
    ),
    key(
        &["cert", "crt", "client_certificate", "proxy_ssl_certificate"],
        "EndpointTlsSettings",
        "certificate",
        "it is `certificate: FILE`",
    ),
    key(&["private_key", "client_key", "proxy_ssl_certificate_key"], "EndpointTlsSettings", "key", "it is `key: FILE`"),
    key(
        &[
            "insecure_skip_verify",
            "skip_verify",
            "insecure",
            "proxy_ssl_verify",
            "tls_insecure_skip_verify",
            "verify_hostname",
            "verify_cert",
        ],
        "EndpointTlsSettings",
        "verify",
        "certificates are verified unless `verify: false` is written; better is `ca: FILE`",
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
    key(&["type", "protocol", "mode"], "HealthCheck", "", "write `http: /healthz`, `tcp: true` or `grpc: true`"),
    key(
        &["service", "service_name", "grpc_service", "grpc_health_check"],
        "HealthCheck",
        "grpc",
        "the service to ask for is `grpc: my.package.Service`, and `grpc: true` asks for the server as a whole",
    ),
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
    // Sessions and stickiness.
    key(
        &["session_store", "session_stores", "session_storage", "store", "redis", "redis_url", "storage"],
        "Config",
        "stores",
        "it is `stores: { main: redis://127.0.0.1:6379/0 }`, or `store` of a source in `sessions`",
    ),
    key(&["session"], "Config", "sessions", "it is `sessions`, a map from name to source"),
    key(
        &["cookie", "cookie_secret", "cookie_secrets", "session_secret", "secret", "secrets"],
        "Config",
        "",
        "keys of our own cookies are `cookies: { secrets: [..] }`; the application's are `secrets` of a source in `sessions`",
    ),
    key(
        &["sticky", "sticky_session", "sticky_sessions", "stickiness", "affinity", "session_affinity", "persistence"],
        "Config",
        "",
        "it belongs to a route: `sticky: { cookie: srv }`",
    ),
    key(
        &["state", "data_dir", "state_directory", "statedir", "var_dir", "lib_dir"],
        "Process",
        "state_dir",
        "it is `state_dir`",
    ),
    key(
        &[
            "sticky",
            "sticky_session",
            "sticky_sessions",
            "stickiness",
            "affinity",
            "session_affinity",
            "persistence",
            "session_persistence",
            "persistent",
            "cookie",
            "cookie_insert",
            "sticky_cookie",
            "sticky_cookie_insert",
            "stick",
            "stick_on",
            "stick_table",
            "appsession",
            "hash_policy",
            "lb_cookie",
        ],
        "Upstream",
        "",
        "it belongs to a route: `sticky: { cookie: srv }`",
    ),
    key(&["cookie", "id", "route"], "EndpointSettings", "", "a sticky cookie names endpoints by itself; leave it out"),
    key(
        &[
            "sticky_session",
            "sticky_sessions",
            "stickiness",
            "affinity",
            "session_affinity",
            "persistence",
            "session_persistence",
            "cookie",
            "cookie_insert",
            "sticky_cookie",
            "sticky_cookie_insert",
            "stick",
            "stick_on",
            "stick_match",
            "stick_table",
            "appsession",
            "hash_policy",
            "lb_cookie",
        ],
        "Route",
        "sticky",
        "it is `sticky: { cookie: srv }`",
    ),
    key(
        &[
            "auth_request",
            "forward_auth",
            "external_auth",
            "ext_authz",
            "auth",
            "auth_url",
            "auth_jwt",
            "authenticate",
            "authentication",
            "authorization",
            "require_session",
            "require",
            "login",
            "jwt",
            "sessions",
        ],
        "Route",
        "session",
        "the gateway itself asks the session's store: `session: { source: NAME, require: true }`",
    ),
    key(
        &["session_store", "store", "redis", "secrets", "secret"],
        "Route",
        "",
        "it belongs to a source of sessions: `sessions: { web: { store: redis://127.0.0.1:6379/0 } }`",
    ),
    key(
        &["name", "cookie_name", "insert", "sticky_cookie", "cookies", "cookie_insert"],
        "Sticky",
        "cookie",
        "it is `cookie: srv`",
    ),
    key(
        &["enabled", "enable", "active", "type", "mode", "method", "policy"],
        "Sticky",
        "",
        "it is on where `cookie` or `session` is written; leave it out",
    ),
    key(
        &[
            "duration",
            "ttl",
            "timeout",
            "expires",
            "expire",
            "expire_after",
            "duration_seconds",
            "maxage",
            "lb_cookie_duration_seconds",
            "cookie_duration",
            "inactive",
            "lifetime",
            "maxlife",
        ],
        "Sticky",
        "max_age",
        "it is `max_age: 1h`",
    ),
    key(
        &["path", "domain", "same_site", "samesite", "secure"],
        "Sticky",
        "",
        "it belongs to the cookie: `cookie: { name: srv, path: / }`",
    ),
    key(&["http_only", "httponly"], "Sticky", "", "the cookie is always HttpOnly; leave it out"),
    key(
        &["source", "sessions", "session_source", "learn"],
        "Sticky",
        "session",
        "it is `session: NAME`, an entry of `sessions`",
    ),
    key(
        &["on_down", "fallback", "on_failure", "failover", "redispatch", "force_persist", "no_failover"],
        "Sticky",
        "when_down",
        "it is `when_down: repin` or `fail`",
    ),
    key(
        &["header", "ip", "source_ip", "client_ip", "hash", "source_address"],
        "Sticky",
        "",
        "what an address or a header decides is a strategy: `ip_hash`, `{ consistent_hash: { key: header:NAME } }`",
    ),
    key(
        &["secret", "secrets", "key", "keys"],
        "Sticky",
        "",
        "keys of our cookies are `cookies: { secrets: [..] }` at the top of the file",
    ),
    key(&["cookie", "cookie_name"], "StickyCookieSettings", "name", "it is `name`"),
    key(&["samesite"], "StickyCookieSettings", "same_site", "it is `same_site`"),
    key(
        &["expires", "ttl", "duration", "timeout", "maxage", "lifetime"],
        "StickyCookieSettings",
        "max_age",
        "it is `max_age: 1h`",
    ),
    key(&["http_only", "httponly"], "StickyCookieSettings", "", "the cookie is always HttpOnly; leave it out"),
    key(
        &["session", "when_down"],
        "StickyCookieSettings",
        "",
        "it stands beside `cookie`: `sticky: { cookie: srv, session: web }`",
    ),
    key(
        &["secret", "key", "keys", "signing_key"],
        "Cookies",
        "secrets",
        "it is `secrets: [..]`: the first signs, all verify",
    ),
    key(
        &["name", "cookie_name", "session_cookie", "cookies", "sid"],
        "SessionSource",
        "cookie",
        "it is `cookie: connect.sid`",
    ),
    key(
        &["secret", "session_secret", "signing_key", "keys", "password"],
        "SessionSource",
        "secrets",
        "it is `secrets: [..]`: any of them verifies",
    ),
    key(
        &["type", "kind", "signed", "signature", "serializer", "encoding"],
        "SessionSource",
        "format",
        "it is `format: plain`, `express` or `jwt`",
    ),
    key(
        &["redis", "redis_url", "url", "session_store", "backend", "storage", "memory", "database", "store_url"],
        "SessionSource",
        "store",
        "it is `store: redis://127.0.0.1:6379/0`, `memory`, or the name of an entry of `stores`",
    ),
    key(
        &["prefix", "key_prefix", "redis_prefix", "store_prefix", "key_format", "key_pattern"],
        "SessionSource",
        "key",
        "it is `key: \"sess:{id}\"`",
    ),
    key(
        &[
            "fail_open",
            "fail_closed",
            "fail_mode",
            "failure_mode_allow",
            "on_error",
            "on_store_error",
            "on_store_down",
            "store_down",
            "when_down",
            "fallback",
        ],
        "SessionSource",
        "when_store_down",
        "it is `when_store_down: allow` or `deny`",
    ),
    key(&["cache_ttl", "cache_time", "cache_for"], "SessionSource", "cache", "it is `cache: 2s`"),
    key(
        &["ttl", "max_age", "expires", "lifetime", "rolling", "touch"],
        "SessionSource",
        "",
        "how long a session lives is the application's to say; the gateway only asks whether it is alive",
    ),
    key(
        &["jwks", "jwks_file", "jwks_uri", "jwks_url", "issuer", "audience", "public_key", "revoked_key"],
        "SessionSource",
        "jwt",
        "it belongs to `jwt`, as in `jwt: { jwks: keys.json }`",
    ),
    key(&["authorization", "token", "bearer_token"], "SessionSource", "bearer", "it is `bearer: true`"),
    key(
        &["require", "otherwise", "forward"],
        "SessionSource",
        "",
        "it belongs to a route: `session: { source: NAME, require: true }`",
    ),
    key(
        &["secret", "shared_secret", "hmac_secret", "key", "keys"],
        "Jwt",
        "secrets",
        "it is `secrets: [..]`: any of them verifies",
    ),
    key(
        &["jwks_file", "jwks_uri", "jwks_url", "jwk", "public_key", "public_keys", "remote_jwks", "local_jwks"],
        "Jwt",
        "jwks",
        "it is `jwks: FILE`, a JSON Web Key Set; the file is watched, nothing is fetched",
    ),
    key(&["iss"], "Jwt", "issuer", "it is `issuer`"),
    key(&["aud", "audiences"], "Jwt", "audience", "it is `audience`"),
    key(
        &["algorithm", "algorithms", "alg"],
        "Jwt",
        "",
        "the keys say it: `secrets` are for HS256, those of `jwks` for RS256 and ES256",
    ),
    key(
        &["blacklist", "blocklist", "denylist", "revocation", "revoked"],
        "Jwt",
        "revoked_key",
        "it is `revoked_key: \"revoked:{jti}\"`",
    ),
    key(&["store", "format", "timeout", "cache"], "Jwt", "", "it stands beside `jwt`"),
    key(
        &["name", "session", "from", "sessions"],
        "SessionRule",
        "source",
        "it is `source: NAME`, an entry of `sessions`",
    ),
    key(
        &["required", "enforce", "field", "require_field"],
        "SessionRule",
        "require",
        "it is `require: true`, or `require: { field: passport.user }`",
    ),
    key(
        &[
            "redirect",
            "login",
            "login_url",
            "on_missing",
            "else",
            "fallback",
            "unauthorized",
            "status",
            "on_fail",
            "deny",
        ],
        "SessionRule",
        "otherwise",
        "it is `otherwise: { redirect: /login }`, or 401 or 403",
    ),
    key(
        &[
            "headers",
            "header",
            "set_headers",
            "set_header",
            "forward_headers",
            "claims_to_headers",
            "auth_response_headers",
        ],
        "SessionRule",
        "forward",
        "it is `forward: { x-user: passport.user }`",
    ),
    key(
        &["store", "secrets", "secret", "cookie", "when_store_down"],
        "SessionRule",
        "",
        "it belongs to the source, an entry of `sessions`",
    ),
    key(
        &["address", "host", "addr", "server", "uri", "redis", "endpoint", "connection", "hostname"],
        "StoreSettings",
        "url",
        "it is `url: redis://HOST:6379/0`",
    ),
    key(&["port", "db", "database"], "StoreSettings", "", "it is part of the URL: `url: redis://HOST:6379/0`"),
    key(&["tls", "ssl"], "StoreSettings", "", "TLS is `rediss://` in the URL"),
    key(&["username", "login"], "StoreSettings", "user", "it is `user`"),
    key(&["pass", "passwd", "auth", "requirepass"], "StoreSettings", "password", "it is `password`"),
    key(
        &["nodes", "hosts", "servers", "addresses", "urls", "endpoints"],
        "StoreSettings",
        "cluster",
        "it is `cluster: [redis://HOST:6379]`",
    ),
    key(
        &["sentinels", "master", "master_name"],
        "StoreSettings",
        "sentinel",
        "it is `sentinel: { master: NAME, addresses: [HOST:26379] }`",
    ),
    key(
        &["ca_file", "cafile", "cacert", "ca_cert", "certificate", "root_ca"],
        "StoreSettings",
        "ca",
        "it is `ca: FILE`",
    ),
    key(
        &["prefix", "key_prefix"],
        "StoreSettings",
        "",
        "it is `key: \"sess:{id}\"` of the source of sessions that asks the store",
    ),
    key(
        &["key", "timeout", "cache", "when_store_down"],
        "StoreSettings",
        "",
        "it belongs to the source of sessions that asks the store",
    ),
    key(&["name", "master_name", "service", "service_name"], "Sentinel", "master", "it is `master`"),
    key(
        &["sentinels", "hosts", "nodes", "servers", "address", "urls"],
        "Sentinel",
        "addresses",
        "it is `addresses: [HOST:26379]`",
    ),
    key(&["database"], "Sentinel", "db", "it is `db`"),
    key(
        &["user", "username", "password"],
        "Sentinel",
        "",
        "the master's stand beside `sentinel`; the Sentinels' own in their address: `redis://:PASSWORD@HOST:26379`",
    ),
    key(&["ssl"], "Sentinel", "tls", "it is `tls: true`"),
    key(&["ca"], "Sentinel", "", "it stands beside `sentinel`"),
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
        "SessionFormat" => match plain.as_str() {
            "expresssession" | "connect" | "connectsid" | "signed" | "signedcookie" | "cookiesession" => {
                Some("write `express`")
            }
            "raw" | "none" | "opaque" | "unsigned" | "id" | "php" | "phpsessid" | "jsessionid" | "java" | "spring"
            | "django" => Some("write `plain`: what is sent is the id itself"),
            "bearer" | "token" | "jws" | "hs256" | "rs256" | "es256" | "oidc" => Some("write `jwt`"),
            _ => None,
        },
        "WhenStoreDown" => match plain.as_str() {
            "open" | "failopen" | "pass" | "accept" | "ignore" | "permit" => Some("write `allow`"),
            "closed" | "failclosed" | "close" | "fail" | "reject" | "block" | "refuse" | "error" | "503" => {
                Some("write `deny`")
            }
            _ => None,
        },
        "WhenDown" => match plain.as_str() {
            "redispatch" | "move" | "failover" | "another" | "switch" | "next" | "rebalance" | "reassign" => {
                Some("write `repin`")
            }
            "error" | "503" | "deny" | "stay" | "wait" | "hold" | "strict" => Some("write `fail`"),
            _ => None,
        },
        "SameSite" => matches!(plain.as_str(), "off" | "no" | "false" | "disabled").then_some(
            "`lax` is what browsers take for none; `none` sends the cookie with requests of other sites, too",
        ),
        "ClientAuthMode" => match plain.as_str() {
            "on" | "required" | "requireandverify" | "requireandverifyclientcert" | "verify" | "true" | "strict" => {
                Some("write `require`")
            }
            "optional" | "verifyifgiven" | "verifyclientcertifgiven" | "optionalnoca" | "requestclientcert" => {
                Some("write `request`: what is shown has to be right")
            }
            "off" | "none" | "noclientcert" | "false" => Some("to ask nobody, leave `client_auth` out"),
            _ => None,
        },
        "TlsVersion" => match plain.as_str() {
            "10" | "11" | "tlsv1" | "tlsv10" | "tlsv11" | "tls10" | "tls11" | "versiontls10" | "versiontls11"
            | "sslv3" | "ssl3" => Some("write \"1.2\": what was before is broken (RFC 8996)"),
            "tlsv12" | "tls12" | "versiontls12" | "12" => Some("write \"1.2\""),
            "tlsv13" | "tls13" | "versiontls13" | "13" => Some("write \"1.3\""),
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
            }
        }
    }

    #[test]
    fn a_key_of_a_later_version_is_not_in_the_schema() {
        let schema = super::super::schema::schema(&super::super::PluginSchemas::new());
        let paths = super::super::schema::key_paths(&schema);
        // The master's, whom no `rediss://` names.
        let known = |path: &str| path.ends_with(".sentinel.tls");
        let later: Vec<_> = paths.iter().filter(|path| path.split('.').any(is_later) && !known(path)).collect();
        assert!(later.is_empty(), "{later:?}");
    }
}
