// Shared by the examples of the documentation: a request whose sessions are in memory.

/// Runs a handler, and returns the store with the token and the record of the session in it.
pub fn stored<F>(
    handler: impl FnOnce(tower_session_layer::Session) -> F,
) -> (tower_session_layer::MemoryStore, Option<(tower_session_layer::SessionToken, tower_session_layer::store::Record)>)
where
    F: Future<Output = Result<(), tower_session_layer::Error>>,
{
    use tower::{Layer as _, ServiceExt as _, service_fn};
    use tower_session_layer::store::Loaded;
    use tower_session_layer::{MemoryStore, Session, SessionCookie, SessionLayer, SessionStore as _, TokenShape};

    let store = MemoryStore::new();
    let handler = std::cell::Cell::new(Some(handler));
    let service = SessionLayer::new(store.clone()).layer(service_fn(|request: http::Request<()>| {
        let handled = handler.take().unwrap()(Session::from_extensions(request.extensions()).unwrap());
        async { handled.await.map(|()| http::Response::new(())) }
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let found = runtime.block_on(async {
        let response = service.oneshot(http::Request::new(())).await.unwrap();
        let pair = response.headers().get("set-cookie")?.to_str().ok()?.split(';').next()?;
        let request = http::HeaderMap::from_iter([(http::header::COOKIE, pair.parse().unwrap())]);
        let token = SessionCookie::builder().build().unwrap().tokens(&request, TokenShape::Random).pop()?;
        match store.load(&token, std::time::SystemTime::now()).await.unwrap() {
            Loaded::Live(record) => Some((token, (*record).clone())),
            _ => None,
        }
    });
    (store, found)
}

/// Runs a handler.
#[allow(dead_code, reason = "an example needs one of the two")]
pub fn example<F>(handler: impl FnOnce(tower_session_layer::Session) -> F)
where
    F: Future<Output = Result<(), tower_session_layer::Error>>,
{
    stored(handler);
}
