//! The guide: what is defended against what, and how things are done.
//!
//! Pages of their own: [testing an application](testing), [deploying], [observing](events), [moving here](moving) from `tower-sessions`,
//! `axum_session`, `actix-session`, `express-session` or Hydrogen, and [what standards demand](demands), row by row, with the test
//! that shows each.
//!
//! # The flow of a request
//!
//! ```text
//!  client         SessionLayer                                                store
//!    │
//!    │  Cookie      │
//!    ├─────────────▶│ tokens of the store's shape, at most four
//!    │              │   none: an empty session, the store is not asked
//!    │              │   some: the first that is live ───────────────────────▶ load
//!    │              │   failed or too late: 503, and that is all
//!    │              ▼
//!    │         your service
//!    │              │ reads and changes the Session; each change goes into a log
//!    │              │ commit().await, if it must be durable now ────────────▶ as below
//!    │              ▼
//!    │              │ nothing changed: nothing, or ─────────────────────────▶ touch, when due
//!    │              │ changed: one compare-and-swap ────────────────────────▶ create, update, delete
//!    │              │   another was faster: load, play the log again, once more
//!    │              │   the session has ended meanwhile: the changes are dropped
//!    │              │   failed or too late: 503 in place of the answer
//!    │  Set-Cookie  │
//!    │◀─────────────┤ the cookie, if this request changed it, with no-store
//!    │              │ Vary: Cookie, if the session was looked at
//! ```
//!
//! # Threat model
//!
//! The attacker sends any bytes as cookies, owns other sites and sibling hosts, may have planted a token before its
//! victim signed in, may have copied a token or a dump of the store, and races requests against each other. The
//! attacker does not read the client's cookies over TLS, run code in the process, or know the operating system's random
//! state or the configured keys.
//!
//! Against that the crate promises:
//!
//! - **No fixation.** A token that the store does not know is never adopted; signing in replaces the token, and whoever
//!   knew the old one is left with nothing (OWASP ASVS 7.2.4).
//! - **No resurrection.** What was destroyed, renewed or revoked while a slow request held it stays so. A dead token
//!   leaves an inert *tombstone* for 60 seconds: requests with it can neither write, nor log anybody out, nor replace
//!   the cookie of a fresh sign-in.
//! - **No lost update.** Concurrent changes to one session all land ([`Session::update`] for those that depend on
//!   what is there).
//! - **Nothing to steal at rest.** Stores, file names and logs hold at most the SHA-256 of a token; with
//!   [`Sealed`](crate::Sealed) around it, a store holds no readable value either.
//! - **No confusion with absence.** A failing store is an error, never "not signed in".
//!
//! The program itself must serve over TLS, choose what it puts into a session, call [`Session::sign_in`] or
//! [`Session::renew`] when privileges change, and put [`Session::csrf_token`] into its forms where `SameSite=Lax` is
//! not enough. With `CookieStore` the client holds the state: the last cookie to arrive wins, and a copied
//! cookie survives logout until its deadline unless a list of revocations is kept.
//!
//! The same in full, with what is not promised, is `SECURITY.md` in the repository.
//!
//! # Why each default
//!
//! | option | default | because |
//! |---|---|---|
//! | name | `__Host-sid` | browsers take a `__Host-` cookie only from this very host over TLS (RFC 6265bis) |
//! | attributes | `HttpOnly; Secure; SameSite=Lax; Path=/` | no scripts, no plain HTTP, no cross-site `POST` |
//! | idle timeout | 7 days, sliding, or the absolute timeout if shorter | a week of shopping; NIST 800-63B presets are stricter |
//! | absolute timeout | 30 days | NIST 800-63B-4, AAL1; nothing extends it |
//! | refresh | when a tenth of the idle timeout is gained | most requests write nothing |
//! | renewal by age | off | a token that is copied and not missed; signing in renews in any case (OWASP: "renewal timeout") |
//! | tombstone | 60 seconds | longer than requests take, short enough to be cheap |
//! | store timeout | 5 seconds | after that a person reloads anyway |
//! | on store failure | 503 | "cannot tell" must not look like "not signed in" |
//! | on 5xx of the handler | changes are dropped, `destroy` and `renew` count | half-done work is worse than none |
//! | record size | 1 MiB | a bound that no sane session meets; more is an error where the value is set |
//!
//! # Keys, or a struct
//!
//! A [`SessionKey`] names a value and its type once. Where a session has several, a struct of the program can stand for
//! all of them: [`TypedSession`] has a key for each field, and what holds for keys holds for fields. Two requests that
//! change different fields both land, and one that changes none writes nothing.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use tower_session_layer::{Error, Session, TypedSession};
//!
//! #[derive(Default, Serialize, Deserialize)]
//! #[serde(default)] // for what a session does not hold yet
//! struct Shop {
//!     country: Option<String>,
//!     visits: u64,
//! }
//!
//! fn visit(session: &TypedSession<Shop>) -> Result<u64, Error> {
//!     // Runs again on a conflict, so that no visit is lost.
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
//! let shop = TypedSession::from(&session); // an extractor of axum, too
//! assert_eq!((visit(&shop)?, visit(&shop)?), (1, 2));
//! choose(&shop, "US")?;
//! assert_eq!(session.keys(), ["country", "visits"]);
//! # Ok(())
//! # });
//! ```
//!
//! A struct may change from one release to the next: a new field has its default in sessions that began before, a field
//! that is gone stays in them unread, and `#[serde(alias = "…")]` reads a field under the name that it had.
//!
//! # Signing in and out
//!
//! ```
//! use tower_session_layer::{Error, Owners, Session};
//!
//! fn sign_in(session: &Session, user: &str) -> Result<(), Error> {
//!     session.sign_in(user) // a new token; the cart stays, another user's values would not
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
//! An owner's name is part of the record; use an id that never changes hands.
//!
//! With axum a handler answers what it likes beside the session's errors, which are responses themselves. A wrong password
//! is an answer of the program, not an error of the session, and leaves the session as it was:
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
//!         return Ok((StatusCode::UNAUTHORIZED, "unknown name, or wrong password").into_response());
//!     };
//!     session.sign_in(user)?;
//!     Ok(Redirect::to("/account").into_response())
//! }
//!
//! async fn account(owner: Owner) -> String {
//!     format!("Hello, {owner}") // 401 for whoever has not signed in
//! }
//!
//! /// Asks your table of users, in which there are hashes of passwords (Argon2id), for the user's id.
//! async fn find(login: &Login) -> Option<&'static str> {
//!     (login.name == "ada" && login.password == "correct horse battery staple").then_some("user-17")
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
//! Pages that only whoever is signed in may see should say `Cache-Control: no-store`, as the storefront's do, lest the back
//! button shows them after the sign-out: the layer says it only where it sets the cookie. To sign out on all devices, this
//! one included, see [`Owners::revoke_all`].
//!
//! # Streaming responses
//!
//! Once the response's head is out no cookie can be sent. SSE and WebSocket handlers that change the session call
//! [`Session::commit`] for every change that is to last; one that needs a new token ([`Session::renew`], the first value of
//! a new session) is then an error. A change that is never committed is reported by a warning. A `304 Not Modified`
//! carries no session cookie but what an explicit `commit` already owes the client: changes that need one are dropped with
//! a warning, and with `CookieStore`, where the cookie is the session, a `destroy` is.
//!
//! # Writing a store
//!
//! **The short way**, for anything that can replace an entry only if nobody else has: implement [`KeyValue`], three methods,
//! and [`KeyValueStore`] is the store, with owners, revocation, tombstones and deadlines. `examples/custom_store.rs` is one in under
//! 60 lines, the suite included. What the three methods are elsewhere:
//!
//! | | revision | compare and swap | what expired |
//! |---|---|---|---|
//! | etcd | `mod_revision` | a transaction that compares it (zero: no such key) | a lease, or a sweep |
//! | Consul | `ModifyIndex` | `?cas=` of a `PUT` or `DELETE` | a sweep |
//! | NATS | the revision | `create`, `update`, or a `delete` with the last revision | a sweep |
//! | `DynamoDB` | an attribute of its own, random at each write | a `ConditionExpression` on it, after a consistent read | its TTL attribute |
//! | an object store | the `ETag` | `If-None-Match: *`, `If-Match` | a rule of the bucket, or a sweep |
//! | an embedded database | the bytes | one transaction | a sweep |
//!
//! A change costs one call more than in a store that compares where it writes, and an owner's sessions are read one by one.
//!
//! **The long way**, for a database that can do better: implement [`SessionStore`]; its page is the contract. Keep
//! [`Record::encode`]'s bytes and, beside them, version, deadline, last use and owner ([`Head`]), so that a touch and a
//! comparison of versions parse nothing. Make `update` one guarded statement: *replace where key and version match and the
//! deadline has not passed*. `examples/table_store.rs` is a whole one.
//!
//! Either way, run the suite of the feature `conformance`: it is one line.
//!
//! # Scale on paper
//!
//! Measured with 10,000 sessions of three small values and 64 requests at once, each on its own session, on two cores
//! (Intel Xeon) which the program, the clients and the server share; the medians of 21 rounds of one run. PostgreSQL,
//! MariaDB and SQLite sync each write before they answer, Redis saves nothing.
//! Commands are counted by `tests/engines`, the rest is printed by
//! `cargo bench --manifest-path benches/peers/Cargo.toml --bench engines`:
//!
//! | engine | commands to read; to read and write; for a new session | loads/s | read, modify, write/s | bytes a session |
//! |---|---|---|---|---|
//! | Redis | 1; 2; 1 | 172,091 | 55,475 | 344 |
//! | PostgreSQL | 1; 2; 1 | 35,995 | 6,851 | 481 |
//! | MariaDB | 1; 2; 1 | 29,874 | 6,262 | 1,460 |
//! | SQLite | the same, in process | 31,843 | 3,295 | 307 |
//!
//! A request without a cookie that writes nothing sends no command. Signing in costs a new session in Redis one command
//! more, for the owner's list, and in PostgreSQL and MariaDB two.
//!
//! From these figures, and not measured at that size: a GiB of Redis holds three million such sessions, beside the
//! tables in which the server finds its keys and their expiry; a GiB of PostgreSQL 2.2 million. Larger sessions take that
//! much more: values are kept as JSON text, not compressed. If each visitor sends a request every ten seconds and each
//! request writes, one Redis on such a machine serves 550,000 visitors and one PostgreSQL 68,000; reading alone, three
//! to five times as many. Every change of a session is one command on the key of that session, so that N masters of a
//! Cluster hold N times as much and answer N times as often, as long as the program and its clients keep up.
//! That is not measured: three masters on these same two cores, which other work shared, answered 76,730 loads a second
//! and 28,946 writes where one server answered 143,818 and 39,326, at 360 bytes a session
//! (`cargo bench --all-features --bench stores`).
//!
//! | choose | where |
//! |---|---|
//! | `CookieStore` | a session fits into a cookie, and a copy of it may outlive a logout |
//! | `MemoryStore` | one process, whose restart may sign everybody out |
//! | `FileStore`, `SqliteStore` | one machine, sessions that outlive the process; SQLite writes one after the other |
//! | `PostgresStore`, `MySqlStore` | several machines and a database that is there anyway, durable as all else in it |
//! | `RedisStore` | several machines, many writes; what survives a crash is up to its persistence |
//! | `RedisStore` on a Cluster | more than one Redis holds or answers |
//! | `CachedStore` in front of either | many reads, a revocation may take effect late by the staleness that it states |
//!
//! ## From one store to another
//!
//! [`MovingStore`](crate::MovingStore) brings each session over when it is next used, under the same token, and nobody
//! is logged out:
//!
//! 1. Stop every process that uses the old store alone, then start those with `MovingStore::new(new, old)?`: a rolling
//!    deploy will not do. A process of the old kind does not find what has moved; whoever reaches it is signed out there,
//!    and gets another cookie as soon as it writes.
//! 2. Leave it so until the old store is empty, or for the absolute timeout (30 days unless set; the longest that was in
//!    force), after which whatever is left there has expired.
//! 3. Deploy with the new store alone. This may be rolling if nothing live is left in the old one.
//!
//! Going back is the same with the two exchanged, under the same condition. The way into encryption is
//! `MovingStore::new(Sealed::new(new)?, old)?`, with `new` a place of its own: another prefix, table or directory.
//!
//! From or to `CookieStore` there is no such way, and `MovingStore` refuses it: the token would have to change, and what
//! a client holds cannot be taken away. There sessions begin anew.
//!
//! The server is another matter: a table that is dumped and restored, or keys that are replicated, to another server
//! of the same engine are the same sessions, as long as no process writes to both. Redis and a Cluster of it keep the
//! same keys.
//!
//! # What the API names of other crates
//!
//! A new major version of one of these is one of this crate: `http`'s request, response and headers, `SameSite` of `cookie`, the traits
//! of `tower-service`, `tower-layer` and `serde`; where their features are on, `axum-core`'s extractors and responses,
//! `sqlx`'s pools and `redis`' connections. Everything else is inside.

#[doc = include_str!("guide/testing.md")]
pub mod testing {}

#[doc = include_str!("guide/deploying.md")]
pub mod deploying {}

#[doc = include_str!("guide/events.md")]
pub mod events {}

#[doc = include_str!("guide/moving.md")]
pub mod moving {}

#[doc = include_str!("guide/demands.md")]
pub mod demands {}

#[cfg(doc)]
use crate::store::{Change, Head, Record};
#[cfg(doc)]
use crate::{
    KeyValue, KeyValueStore, ManualClock, Owners, Session, SessionKey, SessionLayer, SessionStore, TypedSession,
};
