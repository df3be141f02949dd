//! Two layers with different cookies on one store (promises 6 and 28).

use std::convert::Infallible;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::Request;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_session_layer::{Session, SessionLayer, SessionLayerBuilder, SessionStore};

use super::{Answer, HOUR, answer};

const HEADER: &str = "x-session";

type Act = fn(&Session) -> Result<(), tower_session_layer::Error>;

fn layers<S: SessionStore + Clone>(
    store: &S,
    options: fn(SessionLayerBuilder<S>, &str) -> SessionLayerBuilder<S>,
) -> [(&'static str, SessionLayer); 2] {
    ["shop", "admin"].map(|name| {
        let builder = SessionLayer::builder(store.clone()).cookie_name(name).store_timeout(HOUR);
        (name, options(builder, HEADER).build().unwrap())
    })
}

/// Sends a request with this header, whose handler acts and answers with the owner and the number of values.
async fn send(layer: &SessionLayer, (name, value): (&str, String), act: Act) -> Answer {
    let service = layer.layer(service_fn(move |request: Request<Body>| async move {
        let session = request.extensions().get::<Session>().unwrap();
        let seen = format!("{:?} {}", session.owner(), session.len());
        act(session).unwrap();
        Ok::<Response, Infallible>(seen.into_response())
    }));
    let request = Request::builder().header(name, value).body(Body::empty()).unwrap();
    answer(service.oneshot(request).await.unwrap_or_else(|never| match never {})).await
}

/// The token that an answer brings, in the cookie of this name or in the header.
fn token(answer: &Answer, name: &str) -> Option<String> {
    let header = answer.headers.get(HEADER).map(|value| value.to_str().unwrap().to_owned());
    let cookies = answer.set_cookies();
    let cookie = cookies.iter().find_map(|cookie| cookie.strip_prefix(&format!("{name}="))?.split(';').next());
    header.or(cookie.map(str::to_owned))
}

/// The token of either layer is of no use to the other, as its cookie or in its header, whatever the handler does.
pub async fn tokens_stay_with_their_cookie<S: SessionStore + Clone>(store: S, what: &str) {
    let cookie = |name: &str, token: &str| ("cookie", format!("{name}={token}"));
    let header = |_: &str, token: &str| (HEADER, token.to_owned());
    type Options<S> = fn(SessionLayerBuilder<S>, &str) -> SessionLayerBuilder<S>;
    type Carry<'a> = &'a dyn Fn(&str, &str) -> (&'static str, String);
    let carried: [(&str, Options<S>, Carry<'_>); 4] = [
        ("a cookie", |builder, _| builder, &cookie),
        ("a cookie beside a header", |builder, name| builder.token_header(name), &cookie),
        ("a header", |builder, name| builder.token_header(name), &header),
        ("a header alone", |builder, name| builder.token_header_alone(name), &header),
    ];
    for (how, options, carry) in carried {
        let [one, other] = layers(&store, options);
        for ((name, layer), (other_name, other)) in [(&one, &other), (&other, &one)] {
            let what = format!("{what}: {how}, from {name} to {other_name}");
            let begin = send(layer, carry(name, ""), |session| session.sign_in("ada")).await;
            let kept = token(&begin, name).unwrap_or_else(|| panic!("{what}: no token"));
            let acts: [(&str, Act); 3] =
                [("read", |_| Ok(())), ("destroy", Session::destroy), ("clear", |session| session.clear())];
            for (act, run) in acts {
                let answer = send(other, carry(other_name, &kept), run).await;
                assert_eq!(answer.body, "None 0", "{what}: {act}");
                assert!(answer.status.is_success() && answer.set_cookies().is_empty(), "{what}: {act}: {answer:?}");
                assert!(!answer.headers.contains_key(HEADER), "{what}: {act}: {answer:?}");
            }
            let written = send(other, carry(other_name, &kept), |session| session.insert("a", 1)).await;
            let fresh = token(&written, other_name).unwrap();
            assert_ne!(fresh, kept, "{what}: never adopted");
            assert_eq!(send(other, carry(other_name, &fresh), |_| Ok(())).await.body, "None 1", "{what}");
            let still = send(layer, carry(name, &kept), |_| Ok(())).await;
            assert_eq!(still.body, "Some(\"ada\") 0", "{what}");
            assert_eq!(layer.owners().revoke_all("ada").await.unwrap(), 1, "{what}");
        }
    }
}
