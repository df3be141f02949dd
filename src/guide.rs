//! The guide: threat model, defaults, signing in, streaming, writing a store, scale, versions.
//!
//! | page | about |
//! |---|---|
//! | [testing] | testing an application that uses sessions |
//! | [deploying] | configuration, proxies, CDNs, several instances, clocks, directories, probes |
//! | [events] | the log, the spans and the event hook |
//! | [running] | what to do at night, alarms, a dashboard, sizes, upgrades and the way back |
//! | [moving] | moving here from `tower-sessions`, `axum_session`, `actix-session`, `express-session` or Hydrogen |
//! | [demands] | the demands of standards, one per row, each with the tests that show it |
//!
//! # The flow of a request
//!
//! ```text
//!  client         SessionLayer                                    store
//!    │
//!    │  Cookie      │
//!    ├─────────────▶│ tokens of the store's shape, at most four
//!    │              │   none: an empty session, no store call
//!    │              │   some: the first live one ───────────────▶ load
//!    │              │   failed or too late: 503, nothing else
//!    │              ▼
//!    │         your service
//!    │              │ reads and changes the Session;
//!    │              │ each change goes into the change log
//!    │              │ commit().await makes it durable now ──────▶ as below
//!    │              ▼
//!    │              │ unchanged: nothing, or ───────────────────▶ touch, when due
//!    │              │ changed: one compare-and-swap ────────────▶ create, update, delete
//!    │              │   conflict: load, replay the change log, try again
//!    │              │   ended meanwhile: drop the changes
//!    │              │   failed or too late: 503 as the response
//!    │  Set-Cookie  │
//!    │◀─────────────┤ the cookie, if this request changed it,
//!    │              │ with no-store
//!    │              │ Vary: Cookie, if the session was accessed
//! ```
//!
//! # Threat model
//!
//! The attacker sends any bytes as cookies, and requests that race each other. The attacker owns other sites and
//! sibling hosts. The attacker may have planted a token before the victim signed in, and may have copied a token or a
//! dump of the store. The attacker cannot read the client's cookies over TLS, run code in the process, or know the
//! operating system's random state or the configured keys.
//!
//! Against this attacker the crate promises:
//!
//! - **No fixation.** The layer never adopts a token that the store does not know. Signing in replaces the token, and
//!   the old one gives no access (OWASP ASVS 7.2.4).
//! - **No resurrection.** A session that was destroyed or revoked stays ended, and the old token of a renewed session
//!   stays dead, even if a slow request still holds them. For 60 seconds the store keeps an inert *tombstone* for a
//!   dead token: requests with this token cannot write, sign anybody out, or replace the cookie of a fresh sign-in. An
//!   end is an end on a full store too: a store without room for the tombstone removes the session, and the client gets
//!   a 503 if it cannot.
//! - **No lost update.** Concurrent changes to one session all land. A change that depends on the stored value must use
//!   [`Session::update`].
//! - **Nothing to steal at rest.** Stores, file names and logs hold at most the SHA-256 of a token, of the token that
//!   replaced a dead one too. So a dump of the store and a copied old token lead to no session, and an end is an end
//!   for whoever holds both. [`renew_after`](crate::SessionLayerBuilder::renew_after) is the one exception: for two
//!   minutes, the tombstone of the old token holds the new token, sealed under the old token and a key of the program.
//!   Only all three, tombstone, old token and key, give access. Inside [`Sealed`](crate::Sealed), a store holds no
//!   readable value either.
//! - **Failure is not absence.** A failing store is an error, never "not signed in".
//!
//! The program itself must serve over TLS, choose what it puts into a session, and call [`Session::sign_in`] or
//! [`Session::renew`] when privileges change. It must put [`Session::csrf_token`] into its forms where `SameSite=Lax`
//! is not enough. With `CookieStore` the client holds the state: the last cookie to arrive wins, and a copied cookie
//! survives a sign-out until its deadline, unless the program keeps a list of revocations.
//!
//! `SECURITY.md` in the repository says the same in full, with what is not promised.
//!
//! # Why each default
//!
//! | option | default | because |
//! |---|---|---|
//! | name | `__Host-sid` | browsers accept a `__Host-` cookie only from this host over TLS (RFC 6265bis) |
//! | attributes | `HttpOnly; Secure; SameSite=Lax; Path=/` | no scripts, no plain HTTP, no cross-site `POST` |
//! | idle timeout | 7 days, sliding, or the absolute timeout if that is shorter | a week of shopping; the presets of NIST 800-63B are stricter |
//! | absolute timeout | 30 days | NIST 800-63B-4, AAL1; nothing extends it |
//! | refresh | when it moves the deadline by at least a tenth of the idle timeout | most requests write nothing |
//! | `Max-Age` | the time to the absolute deadline; with `CookieStore` to the deadline inside the cookie | the idle timeout is the server's alone, so a refresh sends no cookie |
//! | renewal by age | off | signing in renews the token in any case; renewal by age ends the use of a token that was copied and put aside (OWASP: "renewal timeout") |
//! | tombstone | 60 seconds | longer than requests take, short enough to be cheap |
//! | store timeout | 5 seconds | a person who waits longer reloads the page |
//! | on store failure | 503 | "cannot tell" must not look like "not signed in" |
//! | on a 5xx of the handler | changes are dropped; `destroy` and `renew` take effect | half-done work is worse than none |
//! | if the client leaves or the handler panics | changes are dropped; `destroy` takes effect | a sign-out that was asked for must not fail unnoticed |
//! | record size | 1 MiB | no sane session reaches this bound; the method whose change would exceed it returns an error |
//!
//! # Keys, or a struct
//!
//! A [`SessionKey`] names a value and its type once. A struct of the program can replace several keys: [`TypedSession`]
//! makes each field a key, and all rules for keys hold for fields. If two requests change different fields, both
//! changes land. A request that changes no field writes nothing.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tower_session_layer::{Error, Session, TypedSession};
//!
//! #[derive(Default, Serialize, Deserialize)]
//! #[serde(default)] // for fields that a session does not hold yet
//! struct Shop {
//!     country: Option<String>,
//!     visits: u64,
//! }
//!
//! fn visit(session: &TypedSession<Shop>) -> Result<u64, Error> {
//!     // Runs again on a conflict: no visit is lost.
//!     Ok(session.update(|shop| shop.visits += 1)?.visits)
//! }
//!
//! fn choose(session: &TypedSession<Shop>, country: &str) -> Result<(), Error> {
//!     // Runs once, and may borrow: of two choices the later one stays.
//!     session.edit(|shop| shop.country = Some(country.to_owned()))
//! }
//! # mod hidden { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/guide/example.rs")); }
//! # use hidden::*;
//! # example(|session| async move {
//! let shop = TypedSession::from(&session); // also an extractor
//! assert_eq!((visit(&shop)?, visit(&shop)?), (1, 2));
//! choose(&shop, "US")?;
//! assert_eq!(session.keys(), ["country", "visits"]);
//! # Ok(())
//! # });
//! ```
//!
//! A struct may change from one release to the next. In a session that began under an older release, a new field has
//! its default, and a removed field stays stored but is not read. `#[serde(alias = "…")]` reads a renamed field under
//! its old name. The value stays under that name until the program moves it: `take` under the old name, `insert` under
//! the new one. While both releases run, each writes its own name, and the newer release reads its own name first.
//!
//! # Signing in and out
//!
//! ```
//! use tower_session_layer::{Error, Owners, Session};
//!
//! fn sign_in(session: &Session, user: &str) -> Result<(), Error> {
//!     session.sign_in(user) // a new token; the cart of a guest stays
//! }
//!
//! fn sign_out(session: &Session) -> Result<(), Error> {
//!     session.destroy()
//! }
//!
//! async fn password_changed(owners: &Owners, session: &Session) -> Result<usize, Error> {
//!     owners.revoke_others(session).await
//! }
//! ```
//!
//! If another owner was signed in, `sign_in` also clears the values. Name the owner by an id that is never given to
//! another person, since the record keeps it.
//!
//! Once [`Owners::revoke_all`] has returned `Ok`, no later request is served in a session that signed in before the
//! call, but for the staleness of a `CachedStore`. A sign-in that was under way is refused with a 503. The store alone
//! decides which came first, a sign-in or a revocation; the hosts' clocks do not count. A person who signs in while a
//! long revocation goes on stays signed in. [Deploying](deploying#clocks) says what the clock of the store must keep
//! to.
//!
//! An axum handler can return the session's errors as they are, because they are responses. A wrong password is not an
//! error of the session: the program answers it, and the session stays unchanged:
//!
//! ```
//! use axum::extract::Form;
//! use axum::response::{IntoResponse, Redirect, Response};
//! use axum::{Router, http::StatusCode, routing::{get, post}};
//! use tower_session_layer::{Error, MemoryStore, Owner, Session, SessionLayer};
//!
//! #[derive(serde::Deserialize)]
//! struct Login {
//!     name: String,
//!     password: String,
//! }
//!
//! async fn login(session: Session, Form(login): Form<Login>) -> Result<Response, Error> {
//!     let Some(user) = find(&login).await else {
//!         return Ok((StatusCode::UNAUTHORIZED, "wrong name or password").into_response());
//!     };
//!     session.sign_in(user)?;
//!     Ok(Redirect::to("/account").into_response())
//! }
//!
//! async fn account(owner: Owner) -> String {
//!     format!("Hello, {owner}") // 401 if nobody is signed in
//! }
//!
//! /// Looks up the user's id in your table of users, which holds Argon2id password hashes.
//! async fn find(login: &Login) -> Option<&'static str> {
//!     let is_right = login.name == "ada" && login.password == "correct horse battery staple";
//!     is_right.then_some("user-17")
//! }
//!
//! let app: Router = Router::new()
//!     .route("/login", post(login))
//!     .route("/account", get(account))
//!     .layer(SessionLayer::new(MemoryStore::new()));
//! # use axum::{body::Body, http::Request};
//! # use tower::ServiceExt as _;
//! # let send = |password: &str| {
//! #     let request = Request::post("/login").header("content-type", "application/x-www-form-urlencoded");
//! #     app.clone().oneshot(request.body(Body::from(format!("name=ada&password={password}"))).unwrap())
//! # };
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! #     let wrong = send("tr0ub4dor").await.unwrap();
//! #     assert_eq!((wrong.status(), wrong.headers().get("set-cookie")), (StatusCode::UNAUTHORIZED, None));
//! #     let right = send("correct+horse+battery+staple").await.unwrap();
//! #     assert_eq!(right.status(), StatusCode::SEE_OTHER);
//! #     let cookie = right.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
//! #     let request = |cookie: &str| Request::get("/account").header("cookie", cookie).body(Body::empty()).unwrap();
//! #     assert_eq!(app.clone().oneshot(request(&cookie)).await.unwrap().status(), StatusCode::OK);
//! #     assert_eq!(app.clone().oneshot(request("none=1")).await.unwrap().status(), StatusCode::UNAUTHORIZED);
//! # });
//! ```
//!
//! The layer adds `Cache-Control: no-store` only to responses with the cookie. Add it yourself to pages that need a
//! sign-in, as the storefront does: otherwise the back button shows them after the sign-out. [`Owners::revoke_all`]
//! signs a person out on all devices, this one included.
//!
//! # Streaming responses
//!
//! Once the response's head is sent, no cookie can follow. SSE and WebSocket handlers call [`Session::commit`] after
//! each change that is to last. A change that needs a new token ([`Session::renew`], the first value of a new session)
//! is then an error. A change that is never committed is reported by a warning. An access followed by `commit` moves the
//! deadline too, so that a socket in use does not expire under its user; with `CookieStore` no deadline moves then.
//!
//! A `304 Not Modified` carries the session cookie only if the handler has called `commit` and that commit needs the
//! cookie. Uncommitted changes that need a cookie are dropped with a warning. With `CookieStore`, where the cookie is
//! the session, this includes a `destroy`.
//!
//! # Writing a store
//!
//! **The short way** suits any map with compare-and-swap, which replaces an entry only if nobody else has replaced it
//! meanwhile. Implement the three methods of [`KeyValue`], and [`KeyValueStore`] adds owners, revocation, tombstones
//! and deadlines. `examples/custom_store.rs` does so in under 60 lines, with the test suite. In other systems the three
//! methods are:
//!
//! | | revision | compare and swap | removal of expired entries |
//! |---|---|---|---|
//! | etcd | `mod_revision` | a transaction that compares it (zero: no such key) | a lease, or a sweep |
//! | Consul | `ModifyIndex` | `?cas=` of a `PUT` or `DELETE` | a sweep |
//! | NATS | the revision | `create`, `update`, or a `delete` with the last revision | a sweep |
//! | `DynamoDB` | an attribute of its own, random at each write | a `ConditionExpression` on it, after a consistent read | its TTL attribute |
//! | an object store | the `ETag` | `If-None-Match: *`, `If-Match` | a rule of the bucket, or a sweep |
//! | an embedded database | the bytes | one transaction | a sweep |
//!
//! Each change costs one call more than in a database that compares and writes in one statement. An owner's sessions
//! are read one by one.
//!
//! **The long way** suits a database that compares and writes in one statement. Implement [`SessionStore`]; its page is
//! the contract. Store the bytes of [`Record::encode`] and, beside them, version, deadline, last use and owner
//! ([`RecordHead`]), so that a touch or a comparison of versions parses nothing. Make `update` one guarded statement:
//! *replace where key and version match and the deadline has not passed*. `examples/table_store.rs` is a complete
//! store.
//!
//! The store puts the sign-ins and revocations of an owner into one order. Give each the
//! [next moment](RevocationMark::next_moment), by the database's clock and never by the `now` of a call, since the hosts'
//! clocks differ. If a sign-in takes several statements, enter the owner's list first, write the record second, and then
//! read the owner's [`RevocationMark`] once more.
//!
//! In both cases, run the suite of the feature `conformance`; it takes one line. A store also works with later releases:
//! the page of [`SessionStore`] says how.
//!
#![doc = include_str!("guide/scale.md")]
//!
#![doc = include_str!("guide/versions.md")]

#[doc = include_str!("guide/testing.md")]
pub mod testing {}

#[doc = include_str!("guide/deploying.md")]
pub mod deploying {}

#[doc = include_str!("guide/events.md")]
pub mod events {}

#[doc = include_str!("guide/running.md")]
pub mod running {}

#[doc = include_str!("guide/moving.md")]
pub mod moving {}

#[doc = include_str!("guide/demands.md")]
pub mod demands {}

#[cfg(doc)]
use crate::store::{Change, Record, RecordHead, RevocationMark};
#[cfg(doc)]
use crate::{
    KeyValue, KeyValueStore, ManualClock, Owners, Session, SessionKey, SessionLayer, SessionStore, TypedSession,
};
