//! A small shop that shows the use of sessions: run `cargo run --example storefront` and open the printed address.
//!
//! The pages work without JavaScript, and `/api` is the same as a JSON API. `--help` lists the options.

// The command line.
mod options;
// The store and the layer.
mod sessions;
// The cookie store's keys.
mod keys;
// Warnings about the keys and the store, printed once the shop is open.
mod warnings;
// The routes.
mod web;
// The checks before every route.
mod guard;
// The JSON API.
mod api;
// The pages, and the forms on them.
mod forms;
mod pages;
mod problem;
mod shopper;
// The products, and the values of a session.
mod html;
mod shop;

use std::io::{Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::options::{Command, Engine, Options, StoreChoice};

/// The time that requests have to finish after the signal to stop.
const GRACE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO).init();
    let outcome = match options::parse(std::env::args_os().skip(1)) {
        Ok(Command::Serve(options)) => serve(&options).await,
        Ok(Command::Help) => {
            say(options::USAGE);
            Ok(())
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("storefront: {}", one_line(&error));
            ExitCode::from(2)
        }
    }
}

async fn serve(options: &Options) -> Result<(), String> {
    let sessions = sessions::layer(options).await?;
    let cannot = |error| format!("--listen {}: cannot listen there: {error}", options.listen);
    let listener = TcpListener::bind(&options.listen).await.map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    warnings::print();
    say(&format!("listening on http://{address}\n{}", greeting(options, address.port())));

    let (stop, stopping) = watch::channel(false);
    tokio::spawn(async move {
        stop_signal().await;
        stop.send_replace(true);
    });
    let stopped = |mut stopping: watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which happens only after the signal.
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    let server = axum::serve(listener, web::app(sessions)).with_graceful_shutdown(stopped(stopping.clone()));
    tokio::select! {
        ended = async { server.await } => ended.map_err(|error| error.to_string()),
        () = async { stopped(stopping).await; tokio::time::sleep(GRACE).await } => Ok(()),
    }
}

fn greeting(options: &Options, port: u16) -> String {
    let store = match &options.store {
        StoreChoice::Cookie => "cookie:, the session is sealed in the browser's cookie".to_owned(),
        StoreChoice::Memory => "memory:, the sessions end with this process".to_owned(),
        StoreChoice::File(directory) => format!("file:{}, one file a session", directory.display()),
        StoreChoice::Engine(Engine::Redis, place) => format!("{place}, one key a session"),
        StoreChoice::Engine(_, place) => format!("{place}, one row a session"),
    };
    let hint = if options.insecure_cookies {
        "cookies travel over plain http: never do this on a network".to_owned()
    } else {
        format!(
            "the cookies are Secure: open http://localhost:{port} in Firefox or Chrome; for a browser that does \
             not keep them, such as Safari, start with --insecure-cookies"
        )
    };
    let store = one_line(&store);
    format!("store: {store}\nhint: {hint}\nCtrl-C stops\n")
}

/// Writes with one call, and ignores a closed stdout: `storefront | head -1` is a fair use.
fn say(text: &str) {
    let _ = stdout().write_all(text.as_bytes());
}

/// Escapes line breaks and other control characters, which typed text may hold.
fn one_line(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

async fn stop_signal() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn what_was_typed_stays_on_one_line() {
        let typed = "--store file:/a\nb\r\u{1b}[31m\u{85}: ☕ \"\\";
        assert_eq!(one_line(typed), "--store file:/a\\nb\\r\\u{1b}[31m\\u{85}: ☕ \"\\");
    }
}
