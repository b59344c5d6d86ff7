//! The addresses of endpoints that are written by name.
//!
//! A name is one endpoint. Its addresses are asked for again when their time to live is over; a failure keeps the last
//! good answer. Neither the start nor a reload waits for any of it.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::system_conf::read_system_conf;
use tokio::time::timeout;

/// How long an answer is used at least and at most, whatever its time to live says: no name server is asked more than
/// once a second for a name, and a record with a long life that was put right is seen within minutes.
const SHORTEST_TTL: Duration = Duration::from_secs(1);
const LONGEST_TTL: Duration = Duration::from_secs(300);

/// The pauses after failures: they double from the first to the last.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Bounds one look-up over all name servers, tries and search domains.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);

/// What the system's resolver reads, in that order: names of this machine, then who to ask for the rest.
const SYSTEM_FILES: [&str; 2] = ["/etc/hosts", "/etc/resolv.conf"];

/// Looks names up as the system is configured to: hosts file first, then its name servers.
///
/// Both files are read again after they change: a container's are often written after the gateway has started.
pub struct Resolver {
    current: Mutex<Option<(FilesRead, Arc<TokioResolver>)>>,
}

/// The addresses of a name and how long they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// In the order to try them: IPv4, then IPv6 (a machine without IPv6 connectivity is commoner than one without
    /// IPv4), each in the name server's order.
    pub addresses: Vec<IpAddr>,
    /// The time to live, not yet bounded.
    pub ttl: Duration,
}

/// When to ask for a name again. Pure: it neither asks nor waits.
#[derive(Debug)]
pub struct Schedule {
    retry: Duration,
}

/// When each of the system's files was last written.
type FilesRead = [Option<SystemTime>; SYSTEM_FILES.len()];

// === impl Resolver ===

impl Resolver {
    /// A resolver that reads the system's files when it is first asked.
    pub fn new() -> Self {
        Self { current: Mutex::new(None) }
    }

    /// Asks for the addresses of `host`, within bounded time. The error says in words why there are none.
    pub async fn resolve(&self, host: &str) -> Result<Answer, String> {
        resolve_by(&*self.current()?, host).await
    }

    fn current(&self) -> Result<Arc<TokioResolver>, String> {
        let written = SYSTEM_FILES.map(|file| fs::metadata(Path::new(file)).and_then(|file| file.modified()).ok());
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, resolver)) = &*current
            && *read == written
        {
            return Ok(resolver.clone());
        }
        // Without a usable resolv.conf the hosts file still answers.
        let (config, options) = read_system_conf()
            .unwrap_or_else(|_| (ResolverConfig::from_name_servers(Vec::new()), ResolverOpts::default()));
        let resolver = Arc::new(build(config, options)?);
        *current = Some((written, resolver.clone()));
        Ok(resolver)
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

fn build(config: ResolverConfig, mut options: ResolverOpts) -> Result<TokioResolver, String> {
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.timeout = options.timeout.min(LOOKUP_TIMEOUT / 5);
    options.positive_max_ttl = Some(LONGEST_TTL);
    // The pauses between tries are ours; a remembered failure must not lengthen them.
    options.negative_max_ttl = Some(Duration::ZERO);
    TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        .with_options(options)
        .build()
        .map_err(|error| error.to_string())
}

async fn resolve_by(resolver: &TokioResolver, host: &str) -> Result<Answer, String> {
    let found = match timeout(LOOKUP_TIMEOUT, resolver.lookup_ip(host)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(reason(&error)),
        Err(_) => return Err(format!("no answer within {LOOKUP_TIMEOUT:?}")),
    };
    let addresses: Vec<IpAddr> = found.iter().collect();
    if addresses.is_empty() {
        return Err("the name has no address".to_string());
    }
    Ok(Answer { addresses, ttl: found.valid_until().saturating_duration_since(std::time::Instant::now()) })
}

/// Why a name has no address, in an operator's words.
#[expect(clippy::wildcard_enum_match_arm, reason = "the rest is rare, and the library's own words serve")]
fn reason(error: &NetError) -> String {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(_)) if error.is_nx_domain() => "no such name".to_string(),
        NetError::Dns(DnsError::NoRecordsFound(_)) => "the name has no address".to_string(),
        NetError::Timeout => "the name servers did not answer in time".to_string(),
        NetError::NoConnections => "no name server can be reached".to_string(),
        _ => error.to_string(),
    }
}

// === impl Schedule ===

impl Schedule {
    /// For a name that has not been asked for yet.
    pub fn new() -> Self {
        Self { retry: FIRST_RETRY }
    }

    /// The pause after a good answer.
    pub fn answered(&mut self, ttl: Duration) -> Duration {
        self.retry = FIRST_RETRY;
        ttl.clamp(SHORTEST_TTL, LONGEST_TTL)
    }

    /// The pause after a failure; `random` in 0..1 takes up to a quarter off it, so that many names that failed together
    /// are not asked for together.
    pub fn failed(&mut self, random: f64) -> Duration {
        let pause = self.retry;
        self.retry = (pause * 2).min(LAST_RETRY);
        pause.mul_f64(1.0 - random.clamp(0.0, 1.0) / 4.0)
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::{RData, Record, RecordType};
    use tokio::net::UdpSocket;
    use tokio::task::JoinHandle;

    use super::*;

    /// A name server on loopback that knows one name, and no IPv6 address for it.
    async fn name_server(name: &'static str, address: Ipv4Addr, ttl: u32) -> (TokioResolver, JoinHandle<()>) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let mut connection = ConnectionConfig::udp();
        connection.port = socket.local_addr().unwrap().port();
        let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]);
        let resolver = build(ResolverConfig::from_parts(None, vec![], vec![server]), ResolverOpts::default()).unwrap();
        let task = tokio::spawn(async move {
            let mut buffer = [0; 1500];
            loop {
                let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
                let asked = Message::from_vec(&buffer[..length]).unwrap();
                let query = asked.queries[0].clone();
                let known = query.name().to_ascii() == name;
                let mut answer = asked.into_response();
                if known && query.query_type() == RecordType::A {
                    answer.add_answer(Record::from_rdata(query.name().clone(), ttl, RData::A(address.into())));
                } else if !known {
                    answer.metadata.response_code = ResponseCode::NXDomain;
                }
                socket.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
            }
        });
        (resolver, task)
    }

    #[tokio::test]
    async fn a_name_has_the_addresses_and_the_life_its_server_says() {
        let (resolver, server) = name_server("app.internal.", Ipv4Addr::new(10, 0, 0, 7), 17).await;
        let answer = resolve_by(&resolver, "app.internal").await.unwrap();
        assert_eq!(answer.addresses, [Ipv4Addr::new(10, 0, 0, 7)]);
        assert!(answer.ttl > Duration::from_secs(10) && answer.ttl <= Duration::from_secs(17), "{:?}", answer.ttl);
        server.abort();
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_says_so() {
        let (resolver, server) = name_server("app.internal.", Ipv4Addr::LOCALHOST, 17).await;
        assert_eq!(resolve_by(&resolver, "ap.internal").await.unwrap_err(), "no such name");
        server.abort();
    }

    #[tokio::test]
    async fn localhost_needs_no_name_server() {
        let answer = Resolver::new().resolve("localhost").await.unwrap();
        assert_eq!(answer.addresses[0], Ipv4Addr::LOCALHOST);
        assert!(answer.addresses.iter().all(|address| address.is_loopback()), "{answer:?}");
        assert!(
            answer.addresses[1..].iter().all(|address| *address == Ipv6Addr::LOCALHOST),
            "IPv4 goes first: {answer:?}"
        );
    }

    #[tokio::test]
    async fn the_hosts_file_answers_where_no_name_server_is_configured() {
        let resolver = build(ResolverConfig::from_name_servers(Vec::new()), ResolverOpts::default()).unwrap();
        assert!(resolve_by(&resolver, "localhost").await.is_ok());
        assert!(resolve_by(&resolver, "app.internal").await.is_err());
    }

    #[test]
    fn a_good_answer_is_used_for_its_life_within_bounds() {
        let mut schedule = Schedule::new();
        for (ttl, pause) in [(0, 1), (1, 1), (60, 60), (86_400, 300)] {
            assert_eq!(schedule.answered(Duration::from_secs(ttl)), Duration::from_secs(pause));
        }
    }

    #[test]
    fn failures_are_tried_again_ever_later_up_to_a_bound() {
        let mut schedule = Schedule::new();
        let pauses: Vec<u64> = (0..7).map(|_| schedule.failed(0.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        schedule.answered(Duration::from_secs(5));
        assert_eq!(schedule.failed(1.0), Duration::from_millis(750), "jitter takes up to a quarter off");
    }
}
