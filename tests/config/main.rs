//! A layer out of a configuration: whatever a file or the environment says arrives, and what cannot be is told in one line.

#[path = "../support/mod.rs"]
mod support;

// What the layer's options do.
mod options;
// The stores and their settings.
mod stores;
// Over what a file says.
mod layering;
// Mistakes.
mod mistakes;
// What is refused before anything is opened.
mod unopened;
// Who has set what is refused.
mod variables;
// What nobody is shown.
mod secrets;

use axum::Router;
use axum::http::{StatusCode, Uri};
use support::{Browser, Log};
use tower_session_layer::{ConfigError, Session, SessionConfig, SessionLayer};

const PREFIX: &str = "SHOP_SESSION_";

/// The same configuration out of TOML, of JSON, and of the environment.
fn three(text: &str) -> Vec<(&'static str, SessionConfig)> {
    let toml = toml::from_str(text).unwrap_or_else(|error| panic!("{error}"));
    let value: toml::Table = text.parse().unwrap();
    let json = serde_json::to_string(&value).unwrap();
    let json = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{json}: {error}"));
    let vars = SessionConfig::from_vars(PREFIX, variables(&value, PREFIX)).unwrap_or_else(|error| panic!("{error}"));
    let three = vec![("TOML", toml), ("JSON", json), ("environment", vars)];
    let shown: Vec<_> = three.iter().map(|(_, config)| format!("{config:?}")).collect();
    assert!(shown.iter().all(|one| *one == shown[0]), "{shown:?}");
    three
}

/// A table as the documentation says that the environment has it.
fn variables(table: &toml::Table, prefix: &str) -> Vec<(String, String)> {
    let mut vars = Vec::new();
    for (key, value) in table {
        let name = format!("{prefix}{}", key.to_uppercase());
        match value {
            toml::Value::Table(inner) => vars.extend(variables(inner, &format!("{name}_"))),
            toml::Value::String(text) => vars.push((name, text.clone())),
            toml::Value::Array(list) => {
                let list: Vec<_> = list.iter().map(|text| text.as_str().unwrap()).collect();
                vars.push((name, list.join(",")));
            }
            toml::Value::Integer(number) => vars.push((name, number.to_string())),
            toml::Value::Boolean(flag) => vars.push((name, flag.to_string())),
            other => panic!("{other:?}"),
        }
    }
    vars
}

fn toml_of(text: &str) -> SessionConfig {
    toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
}

async fn refused(text: &str) -> ConfigError {
    toml_of(text).build().await.unwrap_err()
}

/// An application that does with its session what the path says.
fn browser(layer: &SessionLayer) -> Browser {
    async fn handle(session: Session, uri: Uri) -> Result<(StatusCode, String), tower_session_layer::Error> {
        let mut status = StatusCode::OK;
        match uri.path() {
            "/set" => session.insert("name", "Ada")?,
            "/large" => session.insert("large", "x".repeat(6_000))?,
            "/fail" => {
                session.insert("name", "Ada")?;
                status = StatusCode::INTERNAL_SERVER_ERROR;
            }
            "/sign-in" => session.sign_in("ada")?,
            "/destroy" => session.destroy()?,
            "/life" => {
                let life = session.expires_at().duration_since(session.created_at()).unwrap();
                return Ok((status, life.as_secs().to_string()));
            }
            _ => {}
        }
        let name = if session.is_unavailable() { None } else { session.get::<String>("name")? };
        Ok((status, name.unwrap_or_default()))
    }
    Browser::new(Router::new().fallback(handle).layer(layer.clone()))
}

/// The only cookie that a request sets, without its token.
async fn cookie_of(layer: &SessionLayer) -> String {
    let answer = browser(layer).get("/set").await;
    let [cookie] = &answer.set_cookies()[..] else { panic!("{answer:?}") };
    let (name, rest) = cookie.split_once('=').unwrap();
    format!("{name}=…{}", &rest[rest.find(';').unwrap()..])
}
