//! The harness tested without a gateway: a double that lies would make every other test worthless.

use super::{Ask, Client, Load, NodeApp, Origin, Reply};

#[test]
fn an_origin_answers_records_goes_down_and_comes_up_on_its_port() {
    let mut origin = Origin::start("a");
    let mut client = Client::connect(origin.address());
    let answer = client.ask(&Ask::new("PUT", "/x").header("X-Y", "z").chunks(&["hello ", "world"]));
    assert_eq!((answer.status, answer.instance()), (200, "a"));
    let request = origin.request();
    assert_eq!((request.method.as_str(), request.target.as_str(), request.header("x-y")), ("PUT", "/x", Some("z")));
    assert_eq!((request.text().as_str(), request.body.chunks.as_slice()), ("hello world", &[6, 5][..]));
    origin.down();
    assert!(Client::try_connect(origin.address()).is_err());
    origin.up();
    assert_eq!(Client::connect(origin.address()).get("/").status, 200);
    assert_eq!(origin.accepted(), 2);
}

#[test]
fn an_origin_resets_and_replies_once_as_told() {
    let origin = Origin::start("a");
    origin.reply_once(Reply::Status(503));
    origin.reply_once(Reply::Reset);
    let mut client = Client::connect(origin.address());
    assert_eq!(client.get("/").status, 503);
    let error = client.try_ask(&Ask::get("/")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(Client::connect(origin.address()).get("/").status, 200);
}

#[test]
fn a_load_counts_what_came_of_each_request() {
    let origin = Origin::start("a");
    let tally = Load::run(origin.address(), 4, 100, &Ask::get("/"));
    tally.assert_all_ok();
    assert_eq!((tally.total(), tally.of("a"), origin.count(), origin.accepted()), (100, 100, 100, 4));
}

#[test]
fn a_node_app_answers_dies_and_starts_again_on_its_port() {
    let mut app = NodeApp::start("n1");
    assert_eq!(Client::connect(app.address()).get("/").instance(), "n1");
    app.healthy(false);
    assert_eq!(Client::connect(app.address()).get("/healthz").status, 503);
    app.kill();
    assert!(Client::try_connect(app.address()).is_err());
    app.restart();
    assert_eq!(Client::connect(app.address()).get("/healthz").status, 200);
}
