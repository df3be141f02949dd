//! TLS, with a certificate that only a process which was told so trusts.

use std::path::Path;
use std::process::Command;

use tower_session_layer::RedisStore;

use super::connect::works;
use super::server::{Server, free_port};

const URL: &str = "SESSION_TEST_REDIS_URL";

fn openssl(directory: &Path, arguments: &str) {
    let done = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output();
    let done = done.expect("this test needs the program openssl: `apt-get install openssl`");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test]
async fn child_that_trusts_the_certificate() {
    let Ok(url) = std::env::var(URL) else { return };
    works(RedisStore::new(url).await.unwrap()).await;
}

#[tokio::test]
async fn server_is_reached_over_tls_if_its_certificate_is_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("extensions"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n").unwrap();
    for step in [
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=authority -days 2",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost",
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile extensions",
    ] {
        openssl(directory.path(), step);
    }
    let port = free_port();
    let _server = Server::with(&[
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        &path("server.crt"),
        "--tls-key-file",
        &path("server.key"),
        "--tls-ca-cert-file",
        &path("ca.crt"),
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://localhost:{port}");
    let error = RedisStore::new(url.as_str()).await.unwrap_err().to_string();
    assert!(error.contains("certificate") && !error.contains('\n'), "{error}");
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["redis::tls::child_that_trusts_the_certificate", "--exact"])
        .env(URL, &url)
        .env("SSL_CERT_FILE", path("ca.crt"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}
