//! The name of a server, as a proxy or a floating address keeps it: new connections lead to the server of the moment.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, UnixStream};

pub(crate) struct Switch {
    pub(crate) port: u16,
    socket: Arc<Mutex<PathBuf>>,
}

impl Switch {
    pub(crate) async fn to(socket: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let switch =
            Self { port: listener.local_addr().unwrap().port(), socket: Arc::new(Mutex::new(socket.to_owned())) };
        let socket = Arc::clone(&switch.socket);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let path = socket.lock().unwrap().clone();
                let Ok(mut server) = UnixStream::connect(path).await else { continue };
                client.set_nodelay(true).unwrap();
                tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
            }
        });
        switch
    }

    /// A port that leads to this socket for good.
    pub(crate) async fn port_to(socket: &Path) -> u16 {
        Self::to(socket).await.port
    }

    /// Lets new connections lead elsewhere; those that are open stay where they are.
    pub(crate) fn lead_to(&self, socket: &Path) {
        socket.clone_into(&mut self.socket.lock().unwrap());
    }
}
