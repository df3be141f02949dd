//! The model's own example, through the service and over real HTTP: a country that is read, set and destroyed.

use crate::support::{Answer, Backend, Setup, answer};
use axum::body::Body;
use axum::extract::State;
use axum::response::Redirect;
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;
use tower_session_layer::{Error, Session, SessionKey, SessionView};

const COUNTRY: SessionKey<String> = SessionKey::new("countryCode");

fn app(setup: &Setup) -> Router {
    Router::new()
        .route("/api/country", get(read).post(write).delete(destroy))
        .route("/many", post(many))
        .route("/redirect", post(redirect))
        .layer(setup.layer.clone())
}

async fn read(view: SessionView) -> Result<Json<Value>, Error> {
    Ok(Json(COUNTRY.get(&view)?.map_or(json!({}), |country| json!({ "countryCode": country }))))
}

async fn write(session: Session, Json(body): Json<Value>) -> Result<Json<Value>, Error> {
    COUNTRY.insert(&session, body["countryCode"].as_str().unwrap_or_default().to_owned())?;
    Ok(Json(body))
}

async fn destroy(session: Session) -> Result<StatusCode, Error> {
    session.destroy()?;
    Ok(StatusCode::NO_CONTENT)
}

async fn many(session: Session) -> Result<(), Error> {
    (0..10).try_for_each(|number| session.insert(&format!("key{number}"), number))
}

async fn redirect(session: Session) -> Result<([(&'static str, &'static str); 1], Redirect), Error> {
    session.insert("country", "US")?;
    Ok(([("set-cookie", "theme=dark; Path=/")], Redirect::to("/elsewhere")))
}

/// How the requests travel.
#[derive(Clone)]
enum Way {
    Oneshot(Router),
    Http(std::net::SocketAddr),
}

impl Way {
    async fn both(setup: &Setup) -> [Self; 2] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = app(setup);
        tokio::spawn(async move { axum::serve(listener, served).await });
        [Self::Oneshot(app(setup)), Self::Http(address)]
    }

    async fn send(&self, method: &str, path: &str, cookie: Option<&str>, body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        let request = request.header("content-type", "application/json").body(Body::from(body.to_owned())).unwrap();
        match self {
            Self::Oneshot(app) => answer(app.clone().oneshot(request).await.unwrap()).await,
            Self::Http(address) => {
                let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
                let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                let response = sender.send_request(request).await.unwrap();
                answer(response.map(|body| Body::new(body.map_err(axum::Error::new)))).await
            }
        }
    }
}

fn pair(set_cookie: &str) -> &str {
    set_cookie.split(';').next().unwrap()
}

#[tokio::test]
async fn a_country_is_read_set_and_destroyed() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        for way in Way::both(&setup).await {
            let first = way.send("GET", "/api/country", None, "").await;
            assert_eq!((first.status, first.body.as_str(), first.set_cookie()), (StatusCode::OK, "{}", None));

            let body = r#"{"countryCode":"US"}"#;
            let set = way.send("POST", "/api/country", None, body).await;
            assert_eq!((set.status, set.body.as_str()), (StatusCode::OK, body));
            let cookie = set.set_cookie().unwrap();

            let read = way.send("GET", "/api/country", Some(pair(&cookie)), "").await;
            assert_eq!((read.body.as_str(), read.set_cookie()), (body, None), "{backend:?}");

            let destroyed = way.send("DELETE", "/api/country", Some(pair(&cookie)), "").await;
            assert_eq!(destroyed.status, StatusCode::NO_CONTENT);
            let removal = destroyed.set_cookie().unwrap();
            let attributes = |cookie: &str| {
                let changing = ["Max-Age", "Expires"];
                cookie
                    .split("; ")
                    .skip(1)
                    .filter(|attribute| !changing.iter().any(|name| attribute.starts_with(name)))
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            };
            assert!(destroyed.removes_cookie(), "{removal}");
            assert_eq!(attributes(&removal), attributes(&cookie));

            if backend != Backend::Cookie {
                let after = way.send("GET", "/api/country", Some(pair(&cookie)), "").await;
                assert_eq!((after.body.as_str(), after.set_cookie()), ("{}", None), "{backend:?}");
            }
        }
    }
}

#[tokio::test]
async fn several_values_on_a_first_visit_are_one_token_and_one_record() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        for (visits, way) in Way::both(&setup).await.into_iter().enumerate() {
            let answer = way.send("POST", "/many", None, "").await;
            assert!(answer.set_cookie().is_some(), "{backend:?}");
            if backend != Backend::Cookie {
                assert_eq!(setup.store.sessions().await, visits + 1, "{backend:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_handlers_cookie_and_redirect_survive() {
    for backend in Backend::ALL {
        let setup = Setup::new(backend);
        for way in Way::both(&setup).await {
            let answer = way.send("POST", "/redirect", None, "").await;
            assert_eq!(
                (answer.status, &answer.headers[LOCATION]),
                (StatusCode::SEE_OTHER, &"/elsewhere".parse().unwrap())
            );
            let cookies: Vec<_> = answer.headers.get_all(SET_COOKIE).iter().collect();
            assert_eq!((cookies.len(), cookies[0].to_str().unwrap()), (2, "theme=dark; Path=/"), "{backend:?}");
            assert!(answer.set_cookie().is_some());
        }
    }
}

#[tokio::test]
async fn bad_json_changes_nothing() {
    let setup = Setup::new(Backend::Memory);
    for way in Way::both(&setup).await {
        let cookie = way.send("POST", "/api/country", None, r#"{"countryCode":"US"}"#).await.set_cookie().unwrap();
        let refused = way.send("POST", "/api/country", Some(pair(&cookie)), r#"{"countryCode":"#).await;
        assert_eq!((refused.status, refused.set_cookie()), (StatusCode::BAD_REQUEST, None));
        let read = way.send("GET", "/api/country", Some(pair(&cookie)), "").await;
        assert_eq!(read.body, r#"{"countryCode":"US"}"#);
    }
}

#[tokio::test]
async fn state_and_session_stand_side_by_side() {
    async fn both(State(greeting): State<&'static str>, session: Session) -> Result<String, Error> {
        session.insert("seen", true)?;
        Ok(greeting.to_owned())
    }
    let setup = Setup::new(Backend::Memory);
    let app = Router::new().route("/", get(both)).with_state("hello").layer(setup.layer.clone());
    let request = Request::builder().uri("/").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    assert!(response.headers().contains_key(SET_COOKIE));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
}
