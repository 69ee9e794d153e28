//! What there is to connect to: one server, the master that sentinels name, or a cluster; and the settings of a connection.

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline,
    ProtocolVersion, PushInfo, RedisResult, TlsCertificates, TlsMode, Value,
};
use tastemaker_config::{RedisConfig, RedisProtocol, RedisTlsConfig, RedisTopology};
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedSender;

use crate::RedisError;

/// A server, or the way to one.
pub(crate) enum Topology {
    Standalone(redis::Client),
    Sentinel(Mutex<SentinelClient>),
    Cluster(Box<ClusterClient>),
}

/// A connection that many commands share.
#[derive(Clone)]
pub(crate) enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A topology and its name in messages: `host:port`, no password.
pub(crate) fn open(url: &str, config: &RedisConfig) -> Result<(Topology, String), RedisError> {
    let info = info(url, config)?;
    let server = info.addr().to_string();
    let topology = of(&info, config).map_err(|failure| failure.at(&server))?;
    Ok((topology, server))
}

fn info(url: &str, config: &RedisConfig) -> Result<ConnectionInfo, RedisError> {
    // The parser's message may repeat the URL, and with it the password.
    let unreadable = |_| {
        let form = "redis://user:password@host:6379/0, with %XX for characters such as @ in the password";
        RedisError::Settings(format!("storage.online is not the URL of a Redis; write {form}"))
    };
    let info = url.into_connection_info().map_err(unreadable)?;
    let protocol = match config.protocol {
        RedisProtocol::Resp2 => ProtocolVersion::RESP2,
        RedisProtocol::Resp3 => ProtocolVersion::RESP3,
    };
    let mut settings =
        info.redis_settings().clone().set_protocol(protocol).set_lib_name("tastemaker", env!("CARGO_PKG_VERSION"));
    if let (None, Some(username)) = (settings.username(), &config.username) {
        settings = settings.set_username(username);
    }
    if let (None, Some(password)) = (settings.password(), &config.password) {
        settings = settings.set_password(password);
    }
    Ok(info.set_redis_settings(settings).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

enum Failure {
    Settings(String),
    Redis(redis::RedisError),
}

impl Failure {
    fn at(self, server: &str) -> RedisError {
        match self {
            Self::Settings(message) => RedisError::Settings(message),
            Self::Redis(error) => RedisError::of(&error, "connect", server),
        }
    }
}

impl From<redis::RedisError> for Failure {
    fn from(error: redis::RedisError) -> Self {
        Self::Redis(error)
    }
}

/// The way to connections that Redis speaks on without being asked.
pub(crate) struct Route {
    info: ConnectionInfo,
    config: RedisConfig,
    topology: Topology,
}

impl Route {
    /// And its name in messages.
    pub(crate) fn open(url: &str, config: RedisConfig) -> Result<(Self, String), RedisError> {
        let (topology, server) = open(url, &config)?;
        Ok((Self { info: info(url, &config)?, config, topology }, server))
    }

    /// The cluster, if it is one.
    pub(crate) fn cluster(&self) -> Option<&Topology> {
        Some(&self.topology).filter(|topology| topology.is_cluster())
    }

    /// A connection to a node, or to the one that there is; what Redis says without being asked goes to `pushed`.
    pub(crate) async fn listen(
        &self,
        node: Option<(String, u16)>,
        pushed: UnboundedSender<PushInfo>,
    ) -> RedisResult<MultiplexedConnection> {
        let settings = unlimited().set_push_sender(pushed);
        match &self.topology {
            Topology::Standalone(client) => client.get_multiplexed_async_connection_with_config(&settings).await,
            Topology::Sentinel(client) => client.lock().await.get_async_connection_with_config(&settings).await,
            Topology::Cluster(_) => {
                let address = node.map_or_else(|| self.info.addr().clone(), |node| self.address(node));
                let info = self.info.clone().set_addr(address);
                let client = match info.addr() {
                    ConnectionAddr::TcpTls { .. } => {
                        // Read before, when the cluster was made; a file that is gone now is no connection.
                        let certificates = certificates(&self.config.tls).map_err(|failure| match failure {
                            Failure::Settings(message) => {
                                redis::RedisError::from((redis::ErrorKind::InvalidClientConfig, "TLS", message))
                            }
                            Failure::Redis(error) => error,
                        })?;
                        redis::Client::build_with_tls(info, certificates)?
                    }
                    _ => redis::Client::open(info)?,
                };
                client.get_multiplexed_async_connection_with_config(&settings).await
            }
        }
    }

    /// A cluster that does not know a node's host means the one that was asked.
    fn address(&self, (host, port): (String, u16)) -> ConnectionAddr {
        match self.info.addr() {
            ConnectionAddr::TcpTls { host: own, insecure, .. } => {
                let host = if host.is_empty() { own.clone() } else { host };
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: None }
            }
            ConnectionAddr::Tcp(own, _) => ConnectionAddr::Tcp(if host.is_empty() { own.clone() } else { host }, port),
            _ => ConnectionAddr::Tcp(host, port),
        }
    }
}

/// Deadlines are the caller's.
fn unlimited() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None)
}

fn of(info: &ConnectionInfo, config: &RedisConfig) -> Result<Topology, Failure> {
    let tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
    let certificates = if tls { Some(certificates(&config.tls)?) } else { None };
    match config.topology {
        RedisTopology::Standalone => Ok(Topology::Standalone(match certificates {
            Some(certificates) => redis::Client::build_with_tls(info.clone(), certificates)?,
            None => redis::Client::open(info.clone())?,
        })),
        RedisTopology::Sentinel => sentinel(info, config, certificates).map(|s| Topology::Sentinel(Mutex::new(s))),
        RedisTopology::Cluster => cluster(info, config, certificates).map(|c| Topology::Cluster(Box::new(c))),
    }
}

fn sentinel(
    info: &ConnectionInfo,
    config: &RedisConfig,
    certificates: Option<TlsCertificates>,
) -> Result<SentinelClient, Failure> {
    let tcp = info.tcp_settings().clone();
    let mut builder =
        SentinelClientBuilder::new(addresses(info, config), &config.sentinel.master, SentinelServerType::Master)?
            .set_client_to_redis_db(info.redis_settings().db())
            .set_client_to_redis_protocol(info.redis_settings().protocol())
            .set_client_to_redis_tcp_settings(tcp.clone())
            .set_client_to_sentinel_tcp_settings(tcp);
    if let Some(username) = info.redis_settings().username() {
        builder = builder.set_client_to_redis_username(username);
    }
    if let Some(password) = info.redis_settings().password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(username) = &config.sentinel.username {
        builder = builder.set_client_to_sentinel_username(username);
    }
    if let Some(password) = &config.sentinel.password {
        builder = builder.set_client_to_sentinel_password(password);
    }
    if let Some(certificates) = certificates {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_certificates(certificates);
    }
    Ok(builder.build()?)
}

fn cluster(
    info: &ConnectionInfo,
    config: &RedisConfig,
    certificates: Option<TlsCertificates>,
) -> Result<ClusterClient, Failure> {
    let nodes = addresses(info, config).into_iter().map(|address| info.clone().set_addr(address));
    let mut builder = ClusterClientBuilder::new(nodes)
        .use_protocol(info.redis_settings().protocol())
        .tcp_settings(info.tcp_settings().clone())
        .connection_timeout(config.connect_timeout.to_duration())
        // The library follows MOVED by retrying; deadlines of ours are around it.
        .retries(3)
        .response_timeout(config.bulk_timeout.to_duration());
    if let Some(certificates) = certificates {
        builder = builder.tls(TlsMode::Secure).certs(certificates);
    }
    Ok(builder.build()?)
}

/// The address of the URL and those of `redis.nodes`, which validation has seen.
fn addresses(info: &ConnectionInfo, config: &RedisConfig) -> Vec<ConnectionAddr> {
    let others = config.nodes.iter().filter_map(|node| {
        let (host, port) = node.rsplit_once(':')?;
        let (host, port) = (host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?);
        Some(match info.addr() {
            ConnectionAddr::TcpTls { insecure, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: None }
            }
            _ => ConnectionAddr::Tcp(host, port),
        })
    });
    std::iter::once(info.addr().clone()).chain(others).collect()
}

fn certificates(config: &RedisTlsConfig) -> Result<TlsCertificates, Failure> {
    // The one provider that is built in; another part of the process may have chosen it before us, which is just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let read = |key: &str, path: &Option<std::path::PathBuf>| match path {
        None => Ok(None),
        Some(path) => std::fs::read(path).map(Some).map_err(|error| {
            Failure::Settings(format!("redis.tls.{key}, {}, cannot be read: {error}", path.display()))
        }),
    };
    let client_tls = match (read("cert_file", &config.cert_file)?, read("key_file", &config.key_file)?) {
        (Some(client_cert), Some(client_key)) => Some(ClientTlsConfig { client_cert, client_key }),
        _ => None,
    };
    Ok(TlsCertificates { client_tls, root_cert: read("ca_file", &config.ca_file)? })
}

impl Topology {
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> RedisResult<Connection> {
        match self {
            Self::Standalone(client) => {
                client.get_multiplexed_async_connection_with_config(&unlimited()).await.map(Connection::Single)
            }
            Self::Sentinel(client) => {
                let mut client = client.lock().await;
                client.get_async_connection_with_config(&unlimited()).await.map(Connection::Single)
            }
            Self::Cluster(client) => client.get_async_connection().await.map(Connection::Cluster),
        }
    }
}

/// What is sent at once.
#[derive(Clone, Copy)]
pub(crate) enum Request<'r> {
    /// To the node that has its key.
    Command(&'r Cmd),
    /// Each command to the node that has its key.
    Pipeline(&'r Pipeline),
}

/// What went wrong with one command, beside the others.
pub(crate) type Answer = RedisResult<Value>;

impl Connection {
    /// The answer to each command, in order.
    pub(crate) async fn send(&mut self, request: Request<'_>) -> RedisResult<Vec<Answer>> {
        match (self, request) {
            (Self::Single(connection), Request::Command(command)) => {
                Ok(vec![connection.send_packed_command(command).await])
            }
            (Self::Single(connection), Request::Pipeline(pipeline)) => {
                let values = connection.send_packed_commands(pipeline, 0, pipeline.len()).await?;
                Ok(values.into_iter().map(Ok).collect())
            }
            (Self::Cluster(connection), Request::Command(command)) => {
                Ok(vec![connection.req_packed_command(command).await])
            }
            // Keys of one pipeline live on many nodes: each command finds its own way, all at once.
            (Self::Cluster(connection), Request::Pipeline(pipeline)) => {
                let commands = pipeline.cmd_iter().map(|command| {
                    let mut connection = connection.clone();
                    async move { connection.req_packed_command(command).await }
                });
                Ok(futures::future::join_all(commands).await)
            }
        }
    }
}
