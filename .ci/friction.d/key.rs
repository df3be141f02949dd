// A key that is read from a session that is not loaded yet.
//~ a `SessionKey` cannot be read from `LazySession`
//~ expected a `Session` or a `SessionView`
//~ of a `LazySession` the session is `lazy.load().await?`, of a `TypedSession` it is `typed.session()`
use tower_session_layer::{LazySession, SessionKey};

const COUNTRY: SessionKey<String> = SessionKey::new("country");

fn country(session: &LazySession) -> Option<String> {
    COUNTRY.get(session).ok()?
}

fn main() {
    let _ = country;
}
