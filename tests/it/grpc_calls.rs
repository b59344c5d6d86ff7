//! gRPC from end to end: every kind of call between a Python client and Python servers, in plain text and in TLS.

use crate::harness::{Authority, Gateway, GrpcServer, Setup, grpc_scene};

/// A gateway that clients come to in plain text and in TLS, and where its files are.
fn end_to_end(servers: &[&GrpcServer], settings: &str, authority: &Authority) -> Gateway {
    let endpoints: Vec<_> = servers.iter().map(|server| server.address().to_string()).collect();
    let certified = authority.issue(&["127.0.0.1"]);
    let yaml = format!(
        "listeners:
  - {{ address: 127.0.0.1:0, http2: true }}
  - {{ address: 127.0.0.1:0, http2: true, tls: {{ certificates: [{{ certificate: own.crt, key: own.key }}] }} }}
upstreams:
  grpc: {{ endpoints: [{}], http2: true, {settings} }}
routes:
  - {{ path_prefix: /headgate.test.Echo/, upstream: grpc }}
",
        endpoints.join(", ")
    );
    let setup = Setup::new(&yaml).file("own.crt", &certified.certificate).file("own.key", &certified.key);
    setup.file("ca.crt", &authority.certificate()).start()
}

/// Plays a scene in plain text and in TLS.
#[track_caller]
fn play(scene: &str, gateway: &Gateway) {
    grpc_scene(scene, gateway.listener(0), None);
    grpc_scene(scene, gateway.listener(1), Some(&gateway.path("ca.crt")));
}

#[test]
fn every_kind_of_call_passes_with_its_messages_metadata_and_trailers() {
    let server = GrpcServer::start("a");
    let gateway = end_to_end(&[&server], "health_check: { grpc: headgate.test.Echo }", &Authority::new());
    play("kinds", &gateway);
    play("statuses", &gateway);
}

#[test]
fn every_kind_of_call_passes_to_a_server_in_tls() {
    let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
    let certified = authority.issue(&["127.0.0.1"]);
    let (certificate, key) = (files.path().join("server.crt"), files.path().join("server.key"));
    std::fs::write(&certificate, &certified.certificate).unwrap();
    std::fs::write(&key, &certified.key).unwrap();
    let server = GrpcServer::tls("a", &certificate, &key);
    let settings = "tls: { ca: ca.crt }, health_check: { grpc: true, interval: 100ms }";
    let gateway = end_to_end(&[&server], settings, &authority);
    play("kinds", &gateway);
    assert_eq!(gateway.metrics().sum("headgate_upstream_endpoint_up", &[]), 1.0);
}

#[test]
fn a_clients_deadline_reaches_the_server_and_so_does_its_end() {
    let server = GrpcServer::start("a");
    play("deadline", &end_to_end(&[&server], "", &Authority::new()));
}

#[test]
fn a_server_that_is_too_slow_is_told_as_a_deadline() {
    let server = GrpcServer::start("a");
    play("too_slow", &end_to_end(&[&server], "timeouts: { first_byte: 300ms }", &Authority::new()));
}

#[test]
fn nobody_to_call_is_unavailable_and_no_such_method_unimplemented() {
    let mut server = GrpcServer::start("a");
    server.kill();
    play("nobody", &end_to_end(&[&server], "", &Authority::new()));
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_stream_never_looks_like_its_end() {
    let authority = Authority::new();
    for listener in [0, 1] {
        let server = GrpcServer::start("a");
        let gateway = end_to_end(&[&server], "", &authority);
        let ca = gateway.path("ca.crt");
        grpc_scene("dies", gateway.listener(listener), (listener == 1).then_some(&*ca));
    }
}

#[test]
fn the_calls_of_one_connection_are_balanced_one_by_one() {
    let servers = [GrpcServer::start("a"), GrpcServer::start("b")];
    play("balanced", &end_to_end(&[&servers[0], &servers[1]], "", &Authority::new()));
}
