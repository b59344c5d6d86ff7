//! `headgate drain`: asks the running gateway to move sessions off an endpoint.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{CONFIGURATION, RUNTIME, complain, print};
use crate::config::{self, ListenAddress};

#[derive(Debug, Args)]
pub(super) struct Drain {
    /// The endpoint, as both are written in the configuration
    #[arg(value_name = "UPSTREAM/ENDPOINT", value_parser = parse)]
    endpoint: Named,
    /// How long those who are pinned to it may stay, such as 10m; without it, until their sessions end
    #[arg(long, value_name = "TIME")]
    deadline: Option<config::Duration>,
    /// Let it take new requests again
    #[arg(long, conflicts_with = "deadline")]
    undo: bool,
    /// The configuration that the gateway runs on
    #[arg(short, long = "config", value_name = "FILE", default_value = "gateway.yaml")]
    config: PathBuf,
}

/// An endpoint and its upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    upstream: String,
    endpoint: String,
}

/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What stands in a path as it is (RFC 3986 section 2.3).
const AS_IT_IS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// An endpoint may hold slashes (`unix:/run/app.sock`), the name of an upstream none.
fn parse(text: &str) -> Result<Named, String> {
    match text.split_once('/') {
        Some((upstream, endpoint)) if !upstream.is_empty() && !endpoint.is_empty() => {
            Ok(Named { upstream: upstream.to_owned(), endpoint: endpoint.to_owned() })
        }
        _ => Err("write upstream and endpoint, such as node/10.0.0.11:3000".to_owned()),
    }
}

/// Begins or ends the draining of an endpoint.
pub(super) fn drain(arguments: &Drain) -> ExitCode {
    let admin = match config::load(&arguments.config, &headgate_plugins::builtin().schemas()) {
        Ok(loaded) => loaded.config.admin,
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::from(CONFIGURATION);
        }
    };
    match ask(&admin, arguments) {
        Ok(said) => {
            print(&said);
            ExitCode::SUCCESS
        }
        Err(why) => {
            complain(&format!("error: {why}"));
            ExitCode::from(RUNTIME)
        }
    }
}

fn ask(admin: &config::Admin, arguments: &Drain) -> Result<String, String> {
    let request = request(admin, arguments);
    let failed = |error: io::Error| {
        format!(
            "the gateway does not answer at {}: {error}; is it running on {}?",
            admin.address,
            arguments.config.display()
        )
    };
    let answer = match &admin.address {
        ListenAddress::Tcp(address) => {
            let stream = TcpStream::connect_timeout(&reachable(*address), PATIENCE).map_err(failed)?;
            stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
            exchange(stream, &request)
        }
        ListenAddress::Unix(path) => {
            let stream = UnixStream::connect(path as &Path).map_err(failed)?;
            stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
            exchange(stream, &request)
        }
    };
    said(&answer.map_err(failed)?, &arguments.endpoint)
}

/// Who accepts at every address is reached at loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

fn request(admin: &config::Admin, arguments: &Drain) -> String {
    let Named { upstream, endpoint } = &arguments.endpoint;
    let [upstream, endpoint] = [upstream, endpoint].map(|name| utf8_percent_encode(name, AS_IT_IS));
    let method = if arguments.undo { "DELETE" } else { "PUT" };
    let body = arguments.deadline.map(|deadline| format!("{{\"deadline\":\"{deadline}\"}}")).unwrap_or_default();
    let mut request = format!("{method} /upstreams/{upstream}/endpoints/{endpoint}/drain HTTP/1.1\r\n");
    request.push_str("Host: localhost\r\nConnection: close\r\n");
    if let Some(token) = &admin.token {
        let _ = write!(request, "Authorization: Bearer {}\r\n", token.0);
    }
    if !body.is_empty() {
        request.push_str("Content-Type: application/json\r\n");
    }
    let _ = write!(request, "Content-Length: {}\r\n\r\n{body}", body.len());
    request
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<String> {
    const MOST: u64 = 64 << 10;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MOST).read_to_string(&mut answer)?;
    Ok(answer)
}

/// What the gateway's answer means, in words.
fn said(answer: &str, named: &Named) -> Result<String, String> {
    let status = answer.split(' ').nth(1).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let Ok(body) = serde_json::from_str::<Value>(body) else {
        return Err("whoever answers there is no headgate".to_owned());
    };
    if status != "200" {
        return Err(body["error"].as_str().unwrap_or("the gateway refuses").to_owned());
    }
    let Named { upstream, endpoint } = named;
    let state = body["state"].as_str().unwrap_or_default();
    if state != "draining" {
        return Ok(format!("{upstream}/{endpoint} takes requests again as soon as it is up; it is {state}"));
    }
    let until = match body["deadline_seconds"].as_u64() {
        Some(seconds) => format!("for {} at most", config::Duration(Duration::from_secs(seconds))),
        None => "until they end".to_owned(),
    };
    let mut said = format!("{upstream}/{endpoint} drains: nobody new; sessions pinned to it stay {until}\n");
    let _ = write!(said, "{} in flight", body["in_flight"]);
    if body["alone"] == true {
        said.push_str("\nno other endpoint is up: it goes on taking requests until one is");
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        drain: Drain,
    }

    fn line(arguments: &[&str]) -> Drain {
        Line::try_parse_from([&["drain"], arguments].concat()).unwrap().drain
    }

    fn admin(token: Option<&str>) -> config::Admin {
        config::Admin {
            address: ListenAddress::Tcp(([127, 0, 0, 1], 9900).into()),
            token: token.map(|token| config::Secret(token.to_owned())),
        }
    }

    #[test]
    fn the_request_says_what_the_command_line_does() {
        let bare = request(&admin(None), &line(&["node/10.0.0.11:3000"]));
        assert!(bare.starts_with("PUT /upstreams/node/endpoints/10.0.0.11:3000/drain HTTP/1.1\r\n"), "{bare}");
        assert!(bare.ends_with("Content-Length: 0\r\n\r\n") && !bare.contains("Authorization"), "{bare}");
        let full = request(&admin(Some("s3cret")), &line(&["node/unix:/run/a b.sock", "--deadline", "90s"]));
        assert!(full.starts_with("PUT /upstreams/node/endpoints/unix:%2Frun%2Fa%20b.sock/drain "), "{full}");
        assert!(full.contains("Authorization: Bearer s3cret\r\n"), "{full}");
        assert!(
            full.ends_with("Content-Type: application/json\r\nContent-Length: 18\r\n\r\n{\"deadline\":\"90s\"}"),
            "{full}"
        );
        let undo = request(&admin(None), &line(&["node/[::1]:3000", "--undo"]));
        assert!(undo.starts_with("DELETE /upstreams/node/endpoints/%5B::1%5D:3000/drain "), "{undo}");
    }

    #[test]
    fn a_command_line_that_means_nothing_is_refused() {
        for bad in [
            &["node"][..],
            &["/a"],
            &["node/"],
            &[],
            &["a/b", "--deadline", "10"],
            &["a/b", "--deadline", "5m", "--undo"],
        ] {
            assert!(Line::try_parse_from([&["drain"], bad].concat()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_answer_is_told_in_words() {
        let named = parse("node/a:1").unwrap();
        let said = |status, body: &str| said(&format!("HTTP/1.1 {status} X\r\nA: b\r\n\r\n{body}"), &named);
        let body = r#"{"state":"draining","deadline_seconds":600,"in_flight":3,"alone":false}"#;
        assert_eq!(
            said(200, body).unwrap(),
            "node/a:1 drains: nobody new; sessions pinned to it stay for 10m at most\n3 in flight"
        );
        let alone = r#"{"state":"draining","deadline_seconds":null,"in_flight":0,"alone":true}"#;
        let told = said(200, alone).unwrap();
        assert!(told.contains("stay until they end") && told.contains("no other endpoint is up"), "{told}");
        assert!(said(200, r#"{"state":"up"}"#).unwrap().contains("takes requests again"));
        assert_eq!(said(404, r#"{"error":"there is no upstream `nod`"}"#).unwrap_err(), "there is no upstream `nod`");
        assert!(said(200, "<html>").unwrap_err().contains("no headgate"));
    }

    #[test]
    fn who_listens_everywhere_is_reached_at_loopback() {
        let to = |text: &str| reachable(text.parse().unwrap()).to_string();
        assert_eq!(to("0.0.0.0:9900"), "127.0.0.1:9900");
        assert_eq!(to("[::]:9900"), "[::1]:9900");
        assert_eq!(to("10.0.0.5:9900"), "10.0.0.5:9900");
    }
}
