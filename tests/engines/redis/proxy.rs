//! A stretch of network between the store and its server, with faults.

use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

pub struct Proxy {
    port: u16,
    /// Where new connections lead.
    server: Arc<Mutex<u16>>,
    fault: Arc<Mutex<Option<Fault>>>,
}

/// What happens to the replies, once.
pub enum Fault {
    /// So many bytes still come, and then the connection ends.
    Cut(usize),
    /// These bytes come before them.
    Inject(Vec<u8>),
}

impl Proxy {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            server: Arc::new(Mutex::new(port)),
            fault: Arc::default(),
        };
        let (server, fault) = (Arc::clone(&proxy.server), Arc::clone(&proxy.fault));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let port = *server.lock().unwrap();
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                client.set_nodelay(true).and(server.set_nodelay(true)).unwrap();
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                tokio::spawn(commands(from_client, to_server));
                tokio::spawn(replies(from_server, to_client, Arc::clone(&fault)));
            }
        });
        proxy
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Lets new connections lead elsewhere; those that are open stay as they are.
    pub fn lead_to(&self, port: u16) {
        *self.server.lock().unwrap() = port;
    }

    pub fn plan(&self, fault: Fault) {
        *self.fault.lock().unwrap() = Some(fault);
    }

    /// Whether what was planned has not happened yet.
    pub fn is_planned(&self) -> bool {
        self.fault.lock().unwrap().is_some()
    }
}

async fn commands(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    tokio::io::copy(&mut from, &mut to).await.map(drop)
}

async fn replies(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fault: Arc<Mutex<Option<Fault>>>) -> io::Result<()> {
    let mut chunk = [0; 4096];
    loop {
        let len = from.read(&mut chunk).await?;
        if len == 0 {
            return Ok(());
        }
        let planned = fault.lock().unwrap().take();
        match planned {
            Some(Fault::Cut(left)) if left <= len => return to.write_all(&chunk[..left]).await,
            Some(Fault::Cut(left)) => *fault.lock().unwrap() = Some(Fault::Cut(left - len)),
            Some(Fault::Inject(bytes)) => to.write_all(&bytes).await?,
            None => {}
        }
        to.write_all(&chunk[..len]).await?;
    }
}
