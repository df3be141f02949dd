//! What holds while a server hangs, after it was killed, and while it is restarted under load.

/// Makes a test of each rule, each on a server of its own.
macro_rules! fault_rules {
    ($store:ident) => {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicBool, Ordering};
        use std::time::Duration;

        use http::StatusCode;
        use serde_json::json;
        use tower_session_layer::{Session, SessionLayer};

        use crate::support::Answer;
        use crate::support::direct::{act, begin, hold, pass, values};

        async fn connected(server: &Server, store_timeout: Duration) -> ($store, SessionLayer) {
            let store = $store::connect(&server.url()).await.unwrap();
            store.migrate().await.unwrap();
            let layer = SessionLayer::builder(store.clone()).cookie_name("sid").store_timeout(store_timeout);
            (store, layer.build().unwrap())
        }

        async fn add_one(layer: &SessionLayer, token: &str) -> Answer {
            act(layer, Some(token), |session| session.update("n", |n: Option<u64>| Some(n.unwrap_or(0) + 1))).await
        }

        /// What a browser sees of a store that does not answer: more requests than the pool has connections, at once.
        async fn all_unavailable(layer: &SessionLayer, token: &str) {
            let requests: Vec<_> = (0..24)
                .map(|index| {
                    let (layer, token) = (layer.clone(), token.to_owned());
                    tokio::spawn(async move {
                        match index % 3 {
                            0 => add_one(&layer, &token).await,
                            1 => act(&layer, Some(&token), |session| session.contains("n").to_string()).await,
                            _ => act(&layer, None, |session| session.insert("n", 1)).await,
                        }
                    })
                })
                .collect();
            for request in requests {
                let answer = request.await.unwrap();
                assert_eq!((answer.status, answer.set_cookies()), (StatusCode::SERVICE_UNAVAILABLE, Vec::new()));
            }
            let untouched = act(layer, None, |_: &Session| "hello").await;
            assert_eq!((untouched.status, &*untouched.body), (StatusCode::OK, "hello"), "who has no session needs no store");
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn server_that_hangs_is_503_in_time_and_works_again_when_it_goes_on() {
            let server = Server::start();
            let (store, layer) = connected(&server, Duration::from_secs(2)).await;
            let lazy = SessionLayer::builder(store).cookie_name("sid").lazy().build().unwrap();
            let token = begin(&layer, |session| session.insert("n", 0)).await;
            assert!(add_one(&layer, &token).await.leaves_cookie());
            let write = hold(&layer, &token, |session| session.insert("other", 1)).await;
            let ending = begin(&layer, |session| session.insert("n", 0)).await;
            let end = hold(&layer, &ending, Session::destroy).await;
            server.freeze();
            let ((), write, end) = tokio::join!(all_unavailable(&layer, &token), write.release(), end.release());
            assert_eq!((write.status, write.set_cookie()), (StatusCode::SERVICE_UNAVAILABLE, None), "loaded before");
            assert_eq!((end.status, end.removes_cookie()), (StatusCode::SERVICE_UNAVAILABLE, true), "the client's part is done");
            let unasked = pass(&lazy, &token).await;
            assert!(unasked.leaves_cookie() && unasked.body == "hello", "who does not ask does not wait: {unasked:?}");
            server.thaw();
            assert!(add_one(&layer, &token).await.leaves_cookie(), "the first request after it");
            // What was sent before the server hung may have been applied; what could not be loaded never is.
            assert_eq!(values(&layer, &token).await.unwrap()["n"], 2);
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn server_that_was_killed_is_503_and_works_again_after_its_restart() {
            let server = Server::start();
            let (_, layer) = connected(&server, Duration::from_secs(2)).await;
            let token = begin(&layer, |session| session.insert("n", 0)).await;
            assert!(add_one(&layer, &token).await.leaves_cookie());
            server.kill();
            all_unavailable(&layer, &token).await;
            server.revive();
            assert!(add_one(&layer, &token).await.leaves_cookie(), "the first request after it");
            assert_eq!(values(&layer, &token).await, Some(json!({ "n": 2 })));
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn restart_under_load_loses_no_write_that_was_acknowledged() {
            let server = Arc::new(Server::start());
            let (_, layer) = connected(&server, Duration::from_secs(10)).await;
            let is_over = Arc::new(AtomicBool::new(false));
            let mut clients = Vec::new();
            for client in 0..8 {
                let token = begin(&layer, |session| session.insert("n", 0)).await;
                let (layer, is_over) = (layer.clone(), Arc::clone(&is_over));
                clients.push(tokio::spawn(async move {
                    let (mut acknowledged, mut failed) = (0_u64, 0);
                    // Everyone writes before the restart, throughout, and after it.
                    let mut after = 0;
                    while after < 10 {
                        let is_after = is_over.load(Ordering::SeqCst);
                        let answer = add_one(&layer, &token).await;
                        match answer.status {
                            StatusCode::OK => acknowledged += 1,
                            StatusCode::SERVICE_UNAVAILABLE => failed += 1,
                            other => panic!("client {client}: {other}"),
                        }
                        after += u64::from(is_after && answer.status == StatusCode::OK);
                    }
                    (token, acknowledged, failed)
                }));
            }
            for _ in 0..3 {
                let server = Arc::clone(&server);
                tokio::task::spawn_blocking(move || server.restart()).await.unwrap();
            }
            is_over.store(true, Ordering::SeqCst);
            for client in clients {
                let (token, acknowledged, failed) = client.await.unwrap();
                let found = values(&layer, &token).await.expect("the session is there");
                let n = found["n"].as_u64().unwrap();
                // What failed may have been applied, its answer lost.
                assert!(acknowledged <= n && n <= acknowledged + failed, "{acknowledged} and {failed}: {n}");
            }
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn restart_that_nobody_saw_is_not_seen_by_a_read_nor_by_a_write() {
            let server = Server::start();
            let (store, layer) = connected(&server, Duration::from_secs(10)).await;
            let token = begin(&layer, |session| session.insert("n", 0)).await;
            // All connections that the pool may have, so that none of those that wait there is alive.
            let fill = async || {
                let pool = store.pool();
                let mut connections = Vec::new();
                for _ in 0..pool.options().get_max_connections() {
                    connections.push(pool.acquire().await.unwrap());
                }
                drop(connections);
                while pool.num_idle() < pool.options().get_max_connections() as usize {
                    tokio::task::yield_now().await;
                }
            };
            fill().await;
            server.restart();
            assert_eq!(values(&layer, &token).await, Some(json!({ "n": 0 })));
            let write = hold(&layer, &token, |session| session.insert("n", 1)).await;
            fill().await;
            server.restart();
            assert!(write.release().await.leaves_cookie());
            assert_eq!(values(&layer, &token).await, Some(json!({ "n": 1 })));
        }

        // The clock goes on by itself where everybody waits for it.
        #[tokio::test(start_paused = true)]
        async fn connecting_to_a_server_that_hangs_is_an_error() {
            let server = Server::start();
            server.freeze();
            let error = $store::connect(&server.url()).await.unwrap_err();
            assert!(error.to_string().contains("did not answer within 5s"), "{error}");
        }

        #[tokio::test]
        async fn dropped_command_frees_its_place_in_the_pool_although_the_server_hangs() {
            let server = Server::start();
            // Untested, so that it is our command that hangs and not the pool's.
            let pool = server.pool_with(|options| options.max_connections(1).test_before_acquire(false)).await;
            let store = $store::new(pool.clone());
            store.migrate().await.unwrap();
            while pool.num_idle() == 0 {
                tokio::task::yield_now().await;
            }
            server.freeze();
            let token = token(1);
            let mut loading = Box::pin(store.load(&token, at(0)));
            let polled = std::future::poll_fn(|cx| std::task::Poll::Ready(loading.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
            assert_eq!((pool.size(), pool.num_idle()), (1, 0), "it is sent");
            drop(loading);
            assert_eq!(pool.size(), 0);
            server.thaw();
            assert_eq!(store.load(&token, at(0)).await.unwrap(), Loaded::Absent);
        }

        #[tokio::test]
        async fn requests_cost_the_statements_that_they_should() {
            type Act = fn(&Session) -> Result<(), tower_session_layer::Error>;
            let server = Server::start();
            let (store, layer) = connected(&server, Duration::from_secs(10)).await;
            count_statements(store.pool()).await;
            let cases: [(&str, bool, Act, i64); 9] = [
                ("untouched, without a cookie", false, |_| Ok(()), 0),
                ("a read without a cookie", false, |session| session.get::<u64>("n").map(drop), 0),
                ("a beginning", false, |session| session.insert("n", 1), 1),
                ("a sign-in without a cookie", false, |session| session.sign_in("ada"), 3),
                ("untouched", true, |_| Ok(()), 1),
                ("a read", true, |session| session.get::<u64>("n").map(drop), 1),
                ("a write", true, |session| session.insert("n", 2), 2),
                ("a sign-in", true, |session| session.sign_in("ada"), 5),
                ("an end", true, Session::destroy, 2),
            ];
            for (name, has_cookie, request, cost) in cases {
                let token = begin(&layer, |session| session.insert("n", 1)).await;
                let before = statements(store.pool()).await;
                let answer = act(&layer, has_cookie.then_some(&*token), request).await;
                assert_eq!(answer.status, StatusCode::OK, "{name}");
                assert_eq!(statements(store.pool()).await - before, cost, "{name}");
            }
            for (name, sessions) in [("nobody", 0), ("one", 1), ("many", 130)] {
                for _ in 0..sessions {
                    begin(&layer, move |session| session.sign_in(name)).await;
                }
                let before = statements(store.pool()).await;
                assert_eq!(layer.owners().revoke_all(name).await.unwrap(), sessions);
                assert_eq!(statements(store.pool()).await - before, 5, "all of {name}");
            }
            begin(&layer, |session| session.sign_in("ada")).await;
            let listed = layer.owners().list("ada").await.unwrap();
            let before = statements(store.pool()).await;
            assert!(layer.owners().revoke("ada", listed[0].handle).await.unwrap());
            assert_eq!(statements(store.pool()).await - before, 2, "one of them");
        }

        #[tokio::test]
        async fn errors_and_logs_show_no_password() {
            let log = Log::capture();
            let url = SERVER.url();
            assert!(url.contains("hunter2"));
            let (scheme, _) = url.split_once(':').unwrap();
            for place in ["hunter2@127.0.0.1:1/db", "hunter2@127.0.0.1:99999999/db", "hunter2@[::/db", "hunter2"] {
                for wrong in [format!("{scheme}://shop:{place}"), format!("{scheme}:{place}")] {
                    let error = $store::connect(&wrong).await.unwrap_err();
                    assert!(!format!("{error} {error:?}").contains("hunter2"), "{wrong}: {error:?}");
                }
            }
            let (place, options) = url.split_once('?').unwrap_or((&url, ""));
            let (server, _) = place.rsplit_once('/').unwrap();
            let nowhere = format!("{server}/nowhere?{options}");
            let refused = $store::connect(&nowhere).await.unwrap_err().to_string();
            assert!(refused.contains("no connection: ") && refused.contains("nowhere"), "{refused}");
            assert!(!refused.contains("error returned") && !refused.contains(" line "), "{refused}");
            let store = $store::connect(&url).await.unwrap();
            assert!(!format!("{store:?}").contains("hunter2"));
            assert!(!log.text().contains("hunter2"), "{}", log.text());
        }
    };
}
