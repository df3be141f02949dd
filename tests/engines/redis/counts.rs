//! What a request costs: commands that reach the server, counted by the server.

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tower_session_layer::Session;

use super::faults::{layer, store};
use super::server::Server;
use crate::support::HOUR;
use crate::support::direct::{act, begin};

/// A connection to which the server tells every command.
struct Monitor<'a> {
    server: &'a Server,
    lines: Lines<BufReader<TcpStream>>,
}

impl<'a> Monitor<'a> {
    async fn start(server: &'a Server) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).await.unwrap();
        stream.write_all(b"MONITOR\r\n").await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("+OK"));
        Self { server, lines }
    }

    /// The commands since the last call, but for what scripts do on the server.
    async fn commands(&mut self) -> Vec<String> {
        self.server.command(&["ECHO", "that is all"]).await;
        let mut commands = Vec::new();
        loop {
            let line = self.lines.next_line().await.unwrap().unwrap();
            let verb = line.split('"').nth(1).unwrap_or_default().to_owned();
            if verb == "ECHO" {
                return commands;
            }
            // Those of the connection that only sends the ECHO.
            if !line.contains(" lua] ") && !["CLIENT", "HELLO"].contains(&verb.as_str()) {
                commands.push(verb);
            }
        }
    }
}

#[tokio::test]
async fn each_operation_costs_the_commands_that_the_docs_tell() {
    let server = Server::start();
    let layer = layer(&store(&server.url()).await, HOUR);
    // Once each, so that the server has the scripts.
    let token = begin(&layer, |session| session.insert("a", 1)).await;
    act(&layer, Some(&token), |session| session.insert("a", 2)).await;
    let owned = act(&layer, Some(&token), |session| session.sign_in("ada")).await.token().unwrap();
    layer.owners().revoke_all("nobody").await.unwrap();
    let mut monitor = Monitor::start(&server).await;

    for _ in 0..1_000 {
        assert!(act(&layer, None, |_| ()).await.leaves_cookie());
    }
    assert!(monitor.commands().await.is_empty(), "anonymous requests that do nothing cost nothing");

    act(&layer, Some(&owned), |session| session.get::<u32>("a").map(|a| a.unwrap().to_string())).await;
    assert_eq!(monitor.commands().await, ["GET"], "a read");
    act(&layer, Some(&owned), |session| session.insert("a", 2)).await;
    assert_eq!(monitor.commands().await, ["GET"], "a write of what is there already");
    act(&layer, Some(&owned), |session| session.insert("a", 3)).await;
    assert_eq!(monitor.commands().await, ["GET", "EVALSHA"], "a write");
    act(&layer, None, |session| session.insert("a", 3)).await;
    assert_eq!(monitor.commands().await, ["EVALSHA"], "a new session");
    act(&layer, None, |session| session.sign_in("bob")).await;
    assert_eq!(monitor.commands().await, ["EVALSHA"; 3], "a sign-in, with the owner's list before and after");
    let owners = layer.owners();
    assert_eq!(owners.count("bob").await.unwrap(), 1);
    assert_eq!(monitor.commands().await, ["ZCARD"], "counting");
    assert_eq!(owners.list("bob").await.unwrap().len(), 1);
    assert_eq!(monitor.commands().await, ["ZRANGE", "MGET"], "listing");
    assert_eq!(owners.revoke_all("bob").await.unwrap(), 1);
    let mark = ["EVALSHA", "EVALSHA"];
    let session = ["ZRANGE", "EVALSHA", "ZREM", "ZRANGE"];
    assert_eq!(monitor.commands().await, [&mark[..], &session].concat(), "a revocation, with its mark");
    act(&layer, Some(&owned), Session::destroy).await;
    assert_eq!(monitor.commands().await, ["GET", "EVALSHA", "ZREM"], "a sign-out, with the owner's list");
}
