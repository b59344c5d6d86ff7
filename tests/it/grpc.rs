//! gRPC: what its clients are told, and how its servers are probed.

use std::fs;

use crate::harness::{
    Answer, Ask, Gateway, GrpcServer, Http2Origin, Http2Reply, Port, eventually, grpc_tell, upstream,
};

fn call(path: &str) -> Ask {
    Ask::post(path, "\0\0\0\0\0").header("content-type", "application/grpc")
}

/// `grpc-status` of an answer that is only a head.
#[track_caller]
fn status(answer: &Answer) -> u32 {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/grpc")), "{answer:?}");
    assert_eq!(answer.text(), "");
    answer.header("grpc-status").unwrap().parse().unwrap()
}

#[test]
fn a_failure_is_told_in_grpcs_own_words_and_counted_in_ours() {
    let nobody = Port::reserve();
    let origin = Http2Origin::start("a");
    let yaml = format!(
        "telemetry: {{ access_log: {{ path: DIR/access.log, format: json }} }}
listeners: [{{ address: 127.0.0.1:0, limits: {{ body: 10B }} }}]
upstreams:
  down: {{ endpoints: [{}], http2: true }}
  slow: {{ endpoints: [{}], http2: true, timeouts: {{ first_byte: 200ms }} }}
sessions: {{ web: {{ cookie: sid, format: plain, store: memory }} }}
routes:
  - {{ path_prefix: /down/, upstream: down }}
  - {{ path_prefix: /slow/, upstream: slow }}
  - {{ path_prefix: /session/, upstream: slow, session: {{ source: web, require: true, otherwise: {{ redirect: /login }} }} }}
  - {{ path_prefix: /403/, upstream: slow, session: {{ source: web, require: true, otherwise: 403 }} }}
  - {{ path: /429, respond: {{ status: 429, body: slowly }} }}
  - {{ path: /login, respond: {{ body: login }} }}
",
        nobody.address(),
        origin.address()
    );
    let gateway = Gateway::start(&yaml);
    origin.reply(Http2Reply::Hang);
    for (path, code, http, failure) in [
        ("/down/x", 14, "502", "connect_error"),
        ("/slow/x", 4, "504", "first_byte_timeout"),
        ("/nowhere", 12, "404", "no_route"),
        ("/session/x", 16, "401", "no_session"),
        ("/403/x", 7, "403", "forbidden"),
        ("/429", 14, "429", ""),
    ] {
        let answer = gateway.ask(&call(path));
        assert_eq!(status(&answer), code, "{path}");
        let line = || fs::read_to_string(gateway.path("access.log")).unwrap_or_default();
        eventually("the access log has the real status", || {
            line().lines().any(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                line["path"] == path
                    && line["status"].as_u64() == http.parse().ok()
                    && line["failure"].as_str().unwrap_or_default() == failure
            })
        });
        let counted = gateway.metrics().sum("headgate_http_requests_total", &[("code", http)]);
        assert!(counted >= 1.0, "{path}");
    }
    assert_eq!(gateway.ask(&call("/down/x")).header("retry-after"), None);
    let large = Ask::post("/down/x", "longer than ten bytes").header("content-type", "application/grpc+proto");
    assert_eq!(status(&gateway.ask(&large)), 8);
    // Of others nothing changes, gRPC-Web included.
    let web = Ask::post("/down/x", "").header("content-type", "application/grpc-web");
    assert_eq!(gateway.ask(&web).status, 502);
    assert_eq!(gateway.get("/nowhere").status, 404);
}

#[test]
fn an_endpoint_that_is_unavailable_and_says_no_more_counts_as_503() {
    let (bad, good) = (Http2Origin::start("bad"), Http2Origin::start("good"));
    bad.reply(Http2Reply::Answer { head: &[("grpc-status", "14")], body: "", trailers: &[] });
    good.reply(Http2Reply::Answer { head: &[], body: "x", trailers: &[("grpc-status", "0")] });
    let endpoints = format!("[{}, {}]", bad.address(), good.address());
    let settings = "http2: true, strategy: first, outlier: { consecutive_errors: 3, eject_for: 1h }, retry: { methods: any, budget: 100% }";
    let gateway = Gateway::start(&upstream(&endpoints, settings));
    for _ in 0..5 {
        assert_eq!(gateway.ask(&call("/a.B/C")).text(), "x");
    }
    assert_eq!(bad.requests().len(), 3, "then it is set aside");
}

#[test]
fn a_grpc_probe_takes_a_server_out_that_does_not_serve_and_brings_it_back() {
    let server = GrpcServer::start("a");
    for check in ["grpc: headgate.test.Echo", "grpc: true"] {
        let settings = format!("http2: true, health_check: {{ {check}, interval: 50ms, fall: 2, rise: 1 }}");
        let gateway = Gateway::start(&upstream(&format!("[{}]", server.address()), &settings));
        let up = || gateway.metrics().sum("headgate_upstream_endpoint_up", &[]) == 1.0;
        let passed = || gateway.metrics().sum("headgate_upstream_health_checks_total", &[("result", "passed")]) > 1.0;
        eventually("it is found to serve", passed);
        grpc_tell(&server, "down");
        assert!(gateway.logged("is down:").contains("NOT_SERVING"));
        grpc_tell(&server, "up");
        eventually("it is back", up);
    }
}

#[test]
fn a_grpc_probe_says_what_is_missing() {
    let (server, origin) = (GrpcServer::start("a"), Http2Origin::start("b"));
    let down = |address: &std::net::SocketAddr, check: &str| {
        let settings = format!("http2: true, health_check: {{ {check}, interval: 50ms, fall: 1 }}");
        let gateway = Gateway::start(&upstream(&format!("[{address}]"), &settings));
        gateway.logged("is down:")
    };
    let said = down(&server.address(), "grpc: no.such.Service");
    assert!(said.contains("it knows no service `no.such.Service`"), "{said}");
    origin.reply(Http2Reply::Status(404));
    let said = down(&origin.address(), "grpc: true, host: app.internal");
    assert!(said.contains("status 404, no answer in gRPC"), "{said}");
    let asked = origin.last();
    assert_eq!((asked.authority.as_str(), asked.target.as_str()), ("app.internal", "/grpc.health.v1.Health/Check"));
    assert_eq!(asked.headers["content-type"], "application/grpc");
    origin.reply(Http2Reply::Answer { head: &[], body: "\0\0\0\0\u{2}\u{8}\u{1}", trailers: &[("grpc-status", "12")] });
    let said = down(&origin.address(), "grpc: true");
    assert!(said.contains("no health service"), "{said}");
}
