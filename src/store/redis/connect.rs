//! The sources of a store's connection: URLs, or a connection of the program.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisError};

use super::link::{Link, OwnConnection, RedisFailure};
use crate::error::{ConfigError, StoreError};

/// The time for which sent bytes may stay unacknowledged until the connection counts as dead.
const SILENCE: Duration = Duration::from_secs(10);
/// The number of commands that may wait to be written. Later callers wait for a place.
const QUEUE: usize = 1024;

/// The source of a [`RedisStore`](super::RedisStore)'s connection: a URL, the URLs of a Cluster's nodes, or a connection.
///
/// | URL | server |
/// |---|---|
/// | `redis://[user:password@]host[:port][/database]` | one server, also as `valkey://` |
/// | `rediss://…` | the same over TLS, also as `valkeys://` |
/// | `redis+unix:///path[?db=…&user=…&pass=…]` | one server on a Unix socket |
/// | `redis+cluster://[user:password@]host:port,host:port,…` | some nodes of a Cluster, which name the others |
/// | `rediss+cluster://…` | the same over TLS |
///
/// The port is 6379 unless given. Special characters in a password are percent-encoded. A list of URLs names the nodes of
/// a Cluster, even if it has only one. Certificates are checked against those that the system trusts (`SSL_CERT_FILE`
/// names others). TLS uses the process' default rustls provider, or ring if there is none.
///
/// A connection that the program has already is shared with it. [`ConnectionManager`] and [`ClusterConnection`]
/// reconnect; a [`MultiplexedConnection`] does not, so every call is an error once it is lost. The program sets the
/// timeouts of its connection, and must let a `ClusterConnection` read from masters, not from replicas.
pub struct RedisSource(Origin);

enum Origin {
    Url(String),
    Nodes(Vec<String>),
    Given(Link, &'static str),
}

/// The longest waits for a connection and for a reply.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeouts {
    pub(super) connect: Duration,
    pub(super) response: Duration,
}

impl RedisSource {
    /// Opens the connection and returns it with its place, which holds no secret.
    pub(super) async fn open(self, timeouts: Timeouts) -> Result<(Link, Arc<str>), StoreError> {
        let url = match self.0 {
            Origin::Given(link, what) => return Ok((link, what.into())),
            Origin::Nodes(nodes) => return cluster(&nodes, timeouts).await,
            Origin::Url(url) => url,
        };
        if let Some(nodes) = cluster_nodes(&url) {
            return cluster(&nodes?, timeouts).await;
        }
        let info = parse(&url)?;
        let place: Arc<str> = info.addr().to_string().into();
        // Each later request tries again by itself. Retries here would let requests wait for the pauses between.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(timeouts.connect))
            .set_response_timeout(Some(timeouts.response))
            .set_pipeline_buffer_size(QUEUE);
        let connect = async {
            let link = Link::Own(OwnConnection::connect(Client::open(info)?, config).await?.into());
            link.send(&redis::cmd("PING")).await?;
            Ok(link)
        };
        connect.await.map_err(|failure| unreachable(&place, &failure)).map(|link| (link, place))
    }
}

async fn cluster(nodes: &[String], timeouts: Timeouts) -> Result<(Link, Arc<str>), StoreError> {
    let infos = nodes.iter().map(|url| parse(url)).collect::<Result<Vec<_>, _>>()?;
    let place = infos.iter().map(|info| info.addr().to_string()).collect::<Vec<_>>().join(",");
    let client = ClusterClientBuilder::new(infos)
        .tcp_settings(tcp_settings())
        .connection_timeout(timeouts.connect)
        .response_timeout(timeouts.response)
        .overall_response_timeout(Some(timeouts.response))
        // Retries bridge the replacement of a master. The client's default pauses are longer than a request waits.
        .retries(4)
        .min_retry_wait(20)
        .max_retry_wait(500)
        .retry_wait_formula(25, 2)
        .build()
        .map_err(|error| url_error(&error))?;
    let connection = client.get_async_connection().await.map_err(|error| unreachable(&place, &error.into()))?;
    Ok((Link::Cluster(connection), place.into()))
}

fn parse(url: &str) -> Result<ConnectionInfo, StoreError> {
    let info = url.into_connection_info().map_err(|error| url_error(&error))?;
    if let ConnectionAddr::TcpTls { .. } = info.addr()
        && rustls::crypto::CryptoProvider::get_default().is_none()
    {
        // Without a default the client would panic. An error means that another thread has just chosen one, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    Ok(info.set_tcp_settings(tcp_settings()))
}

/// Returns the URLs of a Cluster's nodes, `None` if this is not a Cluster's URL.
fn cluster_nodes(url: &str) -> Option<Result<Vec<String>, StoreError>> {
    let (scheme, rest) = url.split_once("+cluster://")?;
    if !["redis", "rediss", "valkey", "valkeys"].contains(&scheme) {
        return None;
    }
    let (user, rest) = rest.rsplit_once('@').map_or(("", rest), |(user, rest)| (user, rest));
    let at = if user.is_empty() { "" } else { "@" };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (hosts, tail) = rest.split_at(end);
    if hosts.split(',').any(str::is_empty) {
        return Some(Err(StoreError::new(ConfigError::RedisUrl("expected host:port,host:port,…".to_owned()))));
    }
    Some(Ok(hosts.split(',').map(|host| format!("{scheme}://{user}{at}{host}{tail}")).collect()))
}

fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(SILENCE).with_interval(SILENCE / 2);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(SILENCE);
    settings
}

fn url_error(error: &RedisError) -> StoreError {
    // The text after the client's own words may be a part of the URL.
    let text = error.to_string();
    let reason = text.split(" - ").next().unwrap_or_default().to_owned();
    StoreError::new(ConfigError::RedisUrl(reason))
}

fn unreachable(place: &str, failure: &RedisFailure) -> StoreError {
    StoreError::new(format!("{failure} ({place})"))
}

impl From<&str> for RedisSource {
    fn from(url: &str) -> Self {
        url.to_owned().into()
    }
}

impl From<String> for RedisSource {
    fn from(url: String) -> Self {
        Self(Origin::Url(url))
    }
}

impl From<Vec<String>> for RedisSource {
    fn from(nodes: Vec<String>) -> Self {
        Self(Origin::Nodes(nodes))
    }
}

impl From<&[&str]> for RedisSource {
    fn from(nodes: &[&str]) -> Self {
        nodes.iter().map(|&node| node.to_owned()).collect::<Vec<_>>().into()
    }
}

impl<const N: usize> From<[&str; N]> for RedisSource {
    fn from(nodes: [&str; N]) -> Self {
        nodes.as_slice().into()
    }
}

impl From<ConnectionManager> for RedisSource {
    fn from(connection: ConnectionManager) -> Self {
        Self(Origin::Given(Link::Manager(connection), "a connection manager of the program"))
    }
}

impl From<MultiplexedConnection> for RedisSource {
    fn from(connection: MultiplexedConnection) -> Self {
        Self(Origin::Given(Link::Multiplexed(connection), "a connection of the program"))
    }
}

impl From<ClusterConnection> for RedisSource {
    fn from(connection: ClusterConnection) -> Self {
        Self(Origin::Given(Link::Cluster(connection), "a cluster connection of the program"))
    }
}

impl fmt::Debug for RedisSource {
    /// Shows no URL, since it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Origin::Url(_) => "RedisSource(URL)",
            Origin::Nodes(_) => "RedisSource(URLs)",
            Origin::Given(..) => "RedisSource(connection)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nodes_of_a_cluster_stand_in_one_url() {
        let nodes = |url: &str| cluster_nodes(url).map(|nodes| nodes.map_err(|error| error.to_string()));
        for (url, expected) in [
            ("redis+cluster://a:1,b:2", vec!["redis://a:1", "redis://b:2"]),
            ("rediss+cluster://u:p%40@a,[::1]:2", vec!["rediss://u:p%40@a", "rediss://u:p%40@[::1]:2"]),
            (
                "redis+cluster://a:1,b:2/?protocol=resp3",
                vec!["redis://a:1/?protocol=resp3", "redis://b:2/?protocol=resp3"],
            ),
        ] {
            let expected = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(nodes(url), Some(Ok(expected)), "{url}");
        }
        assert_eq!(nodes("redis://a:1"), None);
        for url in ["redis+cluster://", "redis+cluster://a,,b", "redis+cluster://u:secret@"] {
            let error = nodes(url).unwrap().unwrap_err();
            assert!(error.contains("host:port") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_url_that_is_none_tells_why_and_no_secret() {
        for url in [
            "http://u:secret@a",
            "redis://u:secret@",
            "redis://u:secret@a:port",
            "redis://u:secret@a/secret",
            "redis://u:secret@a/?protocol=secret",
            "rediss://u:secret@a/#secret",
            "u:secret@a",
            "",
        ] {
            let error = parse(url).expect_err(url).to_string();
            assert!(error.contains("URL") && !error.contains("secret") && !error.contains('\n'), "{url}: {error}");
        }
    }
}
