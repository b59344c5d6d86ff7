//! HOW A CONNECTION IS MADE: who is asked, how we say who we are, and whether the server will tell of changes.

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    PushInfo, RedisConnectionInfo, RedisError, RedisResult, TlsCertificates, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster::ClusterClientBuilder,
    io::tcp::TcpSettings,
};
use tokio::time::timeout;

use super::{
    breaker::Breakers,
    link::{Connection, Fault, Life, Link, Reason, reason},
};
use crate::session::store::{Address, Credentials, RedisConfig, Servers, Tls};

/// How long one server may take to let us in. It stands between an outage and its end, so it is short; on a network where
/// a handshake takes longer, no look-up would be in time either.
const CONNECTING: Duration = Duration::from_secs(1);

/// How long one Sentinel may take to name the master, before the next is asked.
const NAMING: Duration = Duration::from_millis(500);

/// Commands that may wait for the socket; beyond it a look-up waits for room, within its own budget.
const WAITING_COMMANDS: usize = 1024;

/// Takes what the server tells without being asked.
pub(super) trait Pushed: Fn(PushInfo) + Clone + Send + Sync + 'static {}
impl<F: Fn(PushInfo) + Clone + Send + Sync + 'static> Pushed for F {}

/// Whether the configuration can be used at all, found out without any I/O.
pub(super) fn check(config: &RedisConfig) -> Result<(), Reason> {
    const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
    if let Some(Tls { ca: Some(ca) }) = &config.tls
        && !ca.windows(CERTIFICATE.len()).any(|here| here == CERTIFICATE)
    {
        return Err("there is no certificate (PEM) in it".into());
    }
    let at = Address { host: "localhost".into(), port: 6379 };
    client(&at, config.tls.as_ref(), settings(config, ProtocolVersion::RESP3))
        .map(|_| ())
        .map_err(|error| reason(&error))
}

/// Connects, once.
pub(super) async fn connect(config: &RedisConfig, life: Arc<Life>, pushed: impl Pushed) -> Result<Link, Reason> {
    match &config.servers {
        Servers::One(address) => server(config, address, life, pushed).await,
        Servers::Cluster(nodes) => cluster(config, nodes, life).await,
        Servers::Sentinel { master, sentinels, credentials, tls } => {
            let protocol = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2);
            let settings = sign(protocol, credentials);
            let mut last = Reason::from("no Sentinel is configured");
            for sentinel in sentinels {
                // A Sentinel that was away may still name the old master: then the next one is asked.
                let found = match timeout(NAMING, named_by(sentinel, master, tls.as_ref(), settings.clone())).await {
                    Ok(found) => found.map_err(|error| reason(&error)),
                    Err(_) => Err("no answer".into()),
                };
                match found {
                    Ok(Some(address)) => match server(config, &address, Arc::clone(&life), pushed.clone()).await {
                        Ok(link) => return Ok(link),
                        Err(reason) => last = format!("master {address}: {reason}").into(),
                    },
                    Ok(None) => last = format!("Sentinel {sentinel} knows no master {master:?}").into(),
                    Err(reason) => last = format!("Sentinel {sentinel}: {reason}").into(),
                }
            }
            Err(last)
        }
    }
}

/// Connects to one server, which under Sentinel must be a master.
async fn server(config: &RedisConfig, address: &Address, life: Arc<Life>, pushed: impl Pushed) -> Result<Link, Reason> {
    let greeted = match greet(config, address, ProtocolVersion::RESP3, Some(pushed.clone())).await {
        // Before Redis 6 there was no HELLO, and a proxy or an ACL may not let it through.
        Err(error) if refuses_hello(&error) => greet(config, address, ProtocolVersion::RESP2, None::<fn(PushInfo)>)
            .await
            .map(|connection| (connection, Some(reason(&error)))),
        greeted => greeted.map(|connection| (connection, None)),
    };
    let (mut connection, mut untracked) = greeted.map_err(|error| reason(&error))?;
    let settled = timeout(CONNECTING, async {
        if matches!(config.servers, Servers::Sentinel { .. }) && is_replica(&mut connection).await {
            return Err("it is no master".into());
        }
        if untracked.is_none() {
            let tracking =
                redis::cmd("CLIENT").arg("TRACKING").arg("ON").arg("NOLOOP").exec_async(&mut connection).await;
            untracked = tracking.err().map(|error| reason(&error));
        }
        ping(&mut connection).await.map_err(|error| reason(&error))
    });
    settled.await.unwrap_or_else(|_| Err("no answer".into()))?;
    Ok(Link { connection: Connection::One(connection), breakers: Breakers::one(), life, untracked })
}

/// Whether it answers. One that does not let us `PING` answers too.
pub(super) async fn ping(connection: &mut impl ConnectionLike) -> RedisResult<()> {
    match redis::cmd("PING").query_async::<Value>(connection).await {
        Err(error) if Fault::of(&error) != Fault::NotAllowed => Err(error),
        _ => Ok(()),
    }
}

/// Whether it says that it follows a master. `HELLO` is allowed to everybody; `ROLE` is for those who don't know it.
pub(super) async fn is_replica(connection: &mut impl ConnectionLike) -> bool {
    let hello: RedisResult<std::collections::HashMap<String, Value>> =
        redis::cmd("HELLO").query_async(connection).await;
    let role = match hello {
        Ok(mut hello) => hello.remove("role"),
        Err(_) => match redis::cmd("ROLE").query_async(connection).await {
            Ok(Value::Array(mut role)) if !role.is_empty() => Some(role.swap_remove(0)),
            _ => None,
        },
    };
    let role = role.and_then(|role| redis::from_redis_value::<String>(role).ok());
    role.is_some_and(|role| role == "replica" || role == "slave")
}

async fn greet(
    config: &RedisConfig,
    address: &Address,
    protocol: ProtocolVersion,
    pushed: Option<impl Pushed>,
) -> RedisResult<MultiplexedConnection> {
    let client = client(address, config.tls.as_ref(), settings(config, protocol))?;
    let mut wanted = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECTING))
        // Who asks brings a budget of his own.
        .set_response_timeout(None)
        .set_pipeline_buffer_size(WAITING_COMMANDS);
    if let Some(pushed) = pushed {
        wanted = wanted.set_push_sender(move |push| {
            pushed(push);
            Ok::<(), ()>(())
        });
    }
    client.get_multiplexed_async_connection_with_config(&wanted).await
}

async fn cluster(config: &RedisConfig, nodes: &[Address], life: Arc<Life>) -> Result<Link, Reason> {
    let connected = match join(config, nodes, ProtocolVersion::RESP3).await {
        Err(error) if refuses_hello(&error) => join(config, nodes, ProtocolVersion::RESP2).await,
        connected => connected,
    };
    let connection = connected.map_err(|error| reason(&error))?;
    let untracked = Some("a Cluster is not asked to".into());
    Ok(Link { connection: Connection::Cluster(connection), breakers: Breakers::of_cluster(), life, untracked })
}

async fn join(
    config: &RedisConfig,
    nodes: &[Address],
    protocol: ProtocolVersion,
) -> RedisResult<redis::cluster_async::ClusterConnection> {
    let nodes = nodes
        .iter()
        .map(|node| information(node, config.tls.as_ref(), settings(config, protocol)))
        .collect::<RedisResult<Vec<_>>>()?;
    let mut builder = ClusterClientBuilder::new(nodes)
        .use_protocol(protocol)
        .tcp_settings(TcpSettings::default().set_nodelay(true))
        .connection_timeout(CONNECTING)
        // A node that doesn't answer is found dead by this, long after those who asked have gone.
        .response_timeout(CONNECTING)
        .retries(3)
        .min_retry_wait(5)
        .max_retry_wait(100);
    if let Some(Tls { ca: Some(ca) }) = &config.tls {
        builder = builder.certs(TlsCertificates { client_tls: None, root_cert: Some(ca.to_vec()) });
    }
    builder.build()?.get_async_connection().await
}

/// The address of the master, as one Sentinel knows it.
async fn named_by(
    sentinel: &Address,
    master: &str,
    tls: Option<&Tls>,
    settings: RedisConnectionInfo,
) -> RedisResult<Option<Address>> {
    let client = client(sentinel, tls, settings)?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let query = redis::cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master).to_owned();
    let found: Option<(String, u16)> = query.query_async(&mut connection).await?;
    Ok(found.map(|(host, port)| Address { host: host.into(), port }))
}

/// Whether it knows or allows no `HELLO`, but may let us in without it.
fn refuses_hello(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::RESP3NotSupported => true,
        ErrorKind::Server(_) | ErrorKind::Extension => matches!(error.code(), Some("ERR" | "NOPERM" | "NOPROTO")),
        _ => false,
    }
}

fn client(address: &Address, tls: Option<&Tls>, settings: RedisConnectionInfo) -> RedisResult<Client> {
    let information = information(address, tls, settings)?;
    match tls {
        Some(Tls { ca: Some(ca) }) => {
            Client::build_with_tls(information, TlsCertificates { client_tls: None, root_cert: Some(ca.to_vec()) })
        }
        _ => Client::open(information),
    }
}

fn information(address: &Address, tls: Option<&Tls>, settings: RedisConnectionInfo) -> RedisResult<ConnectionInfo> {
    let Address { host, port } = address;
    let at = match tls {
        None => ConnectionAddr::Tcp(host.to_string(), *port),
        Some(_) => ConnectionAddr::TcpTls { host: host.to_string(), port: *port, insecure: false, tls_params: None },
    };
    // Without it a pipeline would wait for the acknowledgement of what went before.
    let tcp = TcpSettings::default().set_nodelay(true);
    Ok(at.into_connection_info()?.set_tcp_settings(tcp).set_redis_settings(settings))
}

fn settings(config: &RedisConfig, protocol: ProtocolVersion) -> RedisConnectionInfo {
    let settings = RedisConnectionInfo::default().set_protocol(protocol).set_db(config.db.into());
    sign(settings.set_lib_name("headgate", env!("CARGO_PKG_VERSION")), &config.credentials)
}

fn sign(mut settings: RedisConnectionInfo, credentials: &Credentials) -> RedisConnectionInfo {
    if let Some(user) = &credentials.user {
        // A user without a password signs in as well; without this nothing would be sent.
        settings = settings.set_username(user).set_password("");
    }
    if let Some(password) = &credentials.password {
        settings = settings.set_password(password);
    }
    settings
}
