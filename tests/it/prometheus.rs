//! A real Prometheus scrapes a gateway under traffic; every query of the dashboard and of the rules has to answer.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{
    Ask, Authority, Client, Gateway, Load, Origin, Port, Redis, SECRET, SOON, Setup, ended, eventually, root, within,
};

/// The last query to answer needs several scrapes and evaluations after the slowest traffic.
const LONG: Duration = Duration::from_secs(60);

/// What Grafana would put in: everything, over a window that the whole test fits in.
const VARIABLES: [(&str, &str); 6] = [
    ("$__rate_interval", "1m"),
    ("$__range", "1m"),
    ("$job", ".*"),
    ("$instance", ".*"),
    ("$route", ".*"),
    ("$upstream", ".*"),
];

/// A query and where it stands.
struct Query {
    place: String,
    expression: String,
}

#[test]
fn promtool_accepts_what_is_shipped() {
    let checks =
        [["check", "config", "prometheus/prometheus.yml"], ["check", "rules", "prometheus/headgate.rules.yml"]];
    for [check, what, file] in checks {
        let said = Command::new("promtool").args([check, what]).arg(shipped(file)).output();
        let said = said.unwrap_or_else(|error| panic!("promtool is needed: {error}"));
        assert!(said.status.success(), "{}{}", text_of(&said.stdout), text_of(&said.stderr));
    }
}

#[test]
fn every_query_of_the_dashboard_and_the_rules_is_answered() {
    let origins = Origin::several(3);
    let [a, b, slow] = [0, 1, 2].map(|index: usize| origins[index].address());
    origins.iter().for_each(|origin| origin.delay(Duration::from_millis(20)));
    origins[1].status(503);
    let redis = Redis::start();
    let cookie = redis.plant("ann", "ann");
    let store = redis.url();
    let held = Port::reserve();
    let gone = held.address();
    let certified = Authority::new().issue(&["shop.example.com"]);
    let setup = Setup::new(&format!(
        "
listeners:
  - address: 127.0.0.1:0
  - {{ address: 127.0.0.1:0, name: tls, tls: {{ certificates: [{{ certificate: shop.crt, key: shop.key }}] }} }}
cookies: {{ secrets: ['{SECRET}'] }}
stores: {{ web: '{store}' }}
sessions:
  web: {{ cookie: connect.sid, format: express, secrets: ['{SECRET}'], store: web, cache: 100ms, when_store_down: allow }}
upstreams:
  node: {{ endpoints: [{a}, {b}], health_check: {{ http: /healthz, interval: 200ms }}, outlier: off }}
  narrow: {{ endpoints: [{{ address: '{slow}', max_connections: 1 }}], queue: {{ size: 10, timeout: 10s }} }}
  gone: {{ endpoints: [{gone}], health_check: {{ tcp: true, interval: 200ms, fall: 1 }} }}
routes:
  - {{ name: shop, path_prefix: /shop, upstream: node, sticky: {{ cookie: srv, session: web }}, plugins: [request_id] }}
  - {{ name: narrow, path_prefix: /narrow, upstream: narrow }}
  - {{ name: gone, path_prefix: /gone, upstream: gone }}
  - {{ name: pong, path: /pong, respond: {{ status: 200, body: pong }} }}
"
    ));
    let gateway = setup.file("shop.crt", &certified.certificate).file("shop.key", &certified.key).start();
    // Scrapes begin before the traffic, so that no rate begins at its end.
    let prometheus = Prometheus::start(&gateway);
    eventually("the gateway is scraped", || prometheus.finite(r#"up{job="headgate"} == 1"#).is_ok());

    let loads = [("/shop", 2), ("/narrow", 3)];
    let loads = loads.map(|(path, connections)| {
        Load::start(gateway.address(), connections, &Ask::get(path).header("cookie", &cookie))
    });
    let mut others = gateway.client();
    let mut queries: Vec<Query> = dashboard_queries().into_iter().chain(rule_queries()).collect();
    let mut unanswered = Vec::new();
    within(LONG, || {
        for ask in [Ask::post("/shop", "12345"), Ask::get("/gone"), Ask::get("/pong"), Ask::get("/../up")] {
            // What comes back is counted; whether the connection is kept is another test's business.
            if !others.reusable() || others.try_ask(&ask).is_err() {
                others = gateway.client();
            }
        }
        // Counted among the handshakes that failed.
        let _ = Client::connect(gateway.listener(1)).try_ask(&Ask::get("/"));
        unanswered.clear();
        queries.retain(|query| match prometheus.finite(&query.expression) {
            Ok(()) => false,
            Err(why) => {
                unanswered.push(format!("{}: {}: {why}", query.place, query.expression));
                true
            }
        });
        queries.is_empty().then_some(())
    })
    .unwrap_or_else(|| panic!("without an answer:\n{}", unanswered.join("\n")));

    for (label, series) in dashboard_variables() {
        let values = prometheus.api(&format!("label/{label}/values?match[]={}", encoded(&series)));
        assert!(values.as_array().is_some_and(|values| !values.is_empty()), "variable {label}: {series}");
    }
    prometheus.evaluates_every_rule();
    eventually("the alert of the endpoint that is gone is on its way", || {
        let alerts = prometheus.api("alerts")["alerts"].to_string();
        alerts.contains("HeadgateEndpointOut") && alerts.contains(&gone.to_string())
    });
    for load in loads {
        assert!(load.stop().total() > 0);
    }
}

/// A Prometheus on the shipped files, with the gateway's address and quicker scrapes put in.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Prometheus {
    fn start(gateway: &Gateway) -> Prometheus {
        let directory = TempDir::new().unwrap();
        let mut config = fs::read_to_string(shipped("prometheus/prometheus.yml")).unwrap();
        let changes = [
            ("127.0.0.1:9900", gateway.admin().to_string()),
            ("scrape_interval: 15s", "scrape_interval: 250ms".to_owned()),
            ("evaluation_interval: 15s", "evaluation_interval: 250ms".to_owned()),
        ];
        for (from, to) in changes {
            assert!(config.contains(from), "prometheus.yml has no {from}");
            config = config.replace(from, &to);
        }
        fs::write(directory.path().join("prometheus.yml"), config).unwrap();
        fs::copy(shipped("prometheus/headgate.rules.yml"), directory.path().join("headgate.rules.yml")).unwrap();
        // It can't tell which port the system chose, and a port that was free may be taken when it binds.
        let (child, address) = (0..5).find_map(|_| Prometheus::try_start(directory.path())).unwrap_or_else(|| {
            let log = fs::read_to_string(directory.path().join("log")).unwrap_or_default();
            panic!("prometheus does not start:\n{log}")
        });
        Prometheus { child, address, _directory: directory }
    }

    fn try_start(directory: &Path) -> Option<(Child, SocketAddr)> {
        let address = Port::reserve().address();
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", directory.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.join("log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus is needed (script/test installs it): {error}"));
        let ready = || {
            if let Some(status) = child.try_wait().unwrap() {
                return Some(Err(status));
            }
            let answer = Client::try_connect(address).ok()?.try_ask(&Ask::get("/-/ready")).ok()?;
            (answer.status == 200).then_some(Ok(()))
        };
        match within(SOON, ready) {
            Some(Ok(())) => Some((child, address)),
            Some(Err(_)) => None,
            None => {
                drop(child.kill());
                drop(child.wait());
                None
            }
        }
    }

    /// The `data` of an answer of the HTTP API.
    fn api(&self, call: &str) -> Value {
        let answer = Client::connect(self.address).ask(&Ask::get(&format!("/api/v1/{call}")));
        let json = answer.json();
        assert_eq!(json["status"], "success", "{call}: {json}");
        json["data"].clone()
    }

    /// Whether a query answers with at least one number.
    fn finite(&self, expression: &str) -> Result<(), String> {
        let result = self.api(&format!("query?query={}", encoded(expression)))["result"].clone();
        let samples = result.as_array().unwrap().iter();
        let values = samples.map(|sample| sample["value"][1].as_str().unwrap().parse::<f64>().unwrap());
        let values: Vec<f64> = values.collect();
        if values.iter().any(|value| value.is_finite()) { Ok(()) } else { Err(format!("{values:?}")) }
    }

    fn evaluates_every_rule(&self) {
        let groups = self.api("rules")["groups"].clone();
        let rules: Vec<&Value> =
            groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
        assert_eq!(rules.len(), rule_queries().len());
        for rule in rules {
            assert_eq!(rule["health"], "ok", "{rule}");
        }
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        let _ = ended(&mut self.child, SOON);
    }
}

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string(shipped("dashboards/headgate.json")).unwrap()).unwrap()
}

fn dashboard_queries() -> Vec<Query> {
    let dashboard = dashboard();
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expression = filled_in(target["expr"].as_str().unwrap());
            queries.push(Query { place: format!("panel {}", panel["title"]), expression });
        }
    }
    assert!(!queries.is_empty());
    queries
}

/// Label and series of each variable that Grafana fills with `label_values(series, label)`.
fn dashboard_variables() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let queries = variables.filter_map(|variable| variable["query"]["query"].as_str());
    let parts = queries.map(|query| {
        let arguments = query.strip_prefix("label_values(").unwrap().strip_suffix(')').unwrap();
        let (series, label) = arguments.rsplit_once(", ").unwrap();
        (label.to_owned(), filled_in(series))
    });
    parts.collect()
}

/// The queries of the rules. An alert answers only when something is wrong; `bool` makes it say 0 otherwise, as long as
/// what it compares is there.
fn rule_queries() -> Vec<Query> {
    let text = fs::read_to_string(shipped("prometheus/headgate.rules.yml")).unwrap();
    let rules: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    let groups = rules["groups"].as_sequence().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_sequence().unwrap());
    let queries = rules.map(|rule| {
        let name = rule["alert"].as_str().or(rule["record"].as_str()).unwrap();
        let mut expression = rule["expr"].as_str().unwrap().to_owned();
        if rule["alert"].is_string() {
            let compares = [" == ", " > ", " < "].into_iter().find(|operator| expression.contains(operator));
            let compares = compares.unwrap_or_else(|| panic!("{name} compares nothing: {expression}"));
            expression = expression.replace(compares, &format!("{compares}bool "));
        }
        Query { place: format!("rule {name}"), expression }
    });
    queries.collect()
}

fn filled_in(expression: &str) -> String {
    VARIABLES.iter().fold(expression.to_owned(), |filled, (variable, value)| filled.replace(variable, value))
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02X}").unwrap();
        encoded
    })
}

fn shipped(file: &str) -> PathBuf {
    root().join("grafana").join(file)
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
