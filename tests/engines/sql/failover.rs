//! What holds on a server that is read-only, and after a failover to another one.

/// Makes a test of each rule, each on two servers of its own.
macro_rules! failover_rules {
    ($store:ident) => {
        mod failover {
            use std::time::Instant;

            use tower_session_layer::ManualClock;

            use super::*;
            use crate::sql::switch::Switch;

            /// A store on the pool that a URL makes, and one on a pool of the program's own.
            async fn stores(switch: &Switch) -> [$store; 2] {
                let url = Server::url_at(switch.port);
                [$store::connect(&url).await.unwrap(), $store::new(Pool::connect(&url).await.unwrap())]
            }

            /// Opens all connections that a pool may have, so that each one that waits there leads to this server, and
            /// lets something happen before it takes them back.
            async fn fill(pool: &Pool, then: impl AsyncFnOnce(&mut Vec<sqlx::pool::PoolConnection<Database>>)) {
                let mut connections = Vec::new();
                for _ in 0..pool.options().get_max_connections() {
                    connections.push(pool.acquire().await.unwrap());
                }
                then(&mut connections).await;
                drop(connections);
                while pool.num_idle() < pool.options().get_max_connections() as usize {
                    tokio::task::yield_now().await;
                }
            }

            async fn count(layer: &SessionLayer, token: &str) -> Answer {
                act(layer, Some(token), |session| session.update("n", |n: Option<u64>| Some(n.unwrap() + 1))).await
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn no_request_fails_after_a_failover_and_all_reads_follow_the_writes() {
                let (old, new) = Server::pair(Switch::port_to).await;
                let switch = Switch::to(&old.socket()).await;
                let stores = stores(&switch).await;
                stores[0].migrate().await.unwrap();
                let layers = stores.clone().map(|store| SessionLayer::builder(store).cookie_name("sid").build().unwrap());
                let mut tokens = Vec::new();
                for layer in &layers {
                    let mut of_layer = Vec::new();
                    for _ in 0..8 {
                        of_layer.push(begin(layer, |session| session.insert("n", 0)).await);
                    }
                    tokens.push(of_layer);
                }
                new.catch_up_with(&old).await;
                old.make_read_only().await;
                for store in &stores {
                    fill(store.pool(), Server::are_read_only).await;
                }
                new.promote().await;
                switch.lead_to(&new.socket());
                for (layer, tokens) in layers.iter().zip(&tokens) {
                    let answer = count(layer, &tokens[0]).await;
                    assert!(answer.leaves_cookie(), "the first write: {answer:?}");
                    let requests: Vec<_> = (0..48)
                        .map(|n| {
                            let (layer, token) = (layer.clone(), tokens[n % tokens.len()].clone());
                            tokio::spawn(async move {
                                match n % 3 {
                                    0 => count(&layer, &token).await,
                                    1 => act(&layer, Some(&token), |session| session.insert("other", 1)).await,
                                    _ => act(&layer, None, |session| session.insert("n", 0)).await,
                                }
                            })
                        })
                        .collect();
                    for request in requests {
                        assert_eq!(request.await.unwrap().status, StatusCode::OK);
                    }
                    let on_new = SessionLayer::builder($store::connect(&new.url()).await.unwrap());
                    let on_new = on_new.cookie_name("sid").build().unwrap();
                    for token in tokens {
                        let found = values(&on_new, token).await.expect("it is there");
                        for _ in 0..10 {
                            assert_eq!(values(layer, token).await, Some(found.clone()), "read where it was written");
                        }
                    }
                }
            }

            #[tokio::test]
            async fn read_only_server_knows_who_is_there_and_tells_others_that_it_is_read_only() {
                let (primary, replica) = Server::pair(Switch::port_to).await;
                let switch = Switch::to(&primary.socket()).await;
                let [store, _] = stores(&switch).await;
                store.migrate().await.unwrap();
                let clock = ManualClock::default();
                let on_primary = layer(&store, &clock);
                let expired = begin(&on_primary, |session| session.sign_in("ada")).await;
                clock.advance(Duration::from_secs(6 * 24 * 60 * 60));
                let live = begin(&on_primary, |session| session.sign_in("ada")).await;
                let other = begin(&on_primary, |session| session.insert("n", 0)).await;
                clock.advance(Duration::from_secs(2 * 24 * 60 * 60));
                replica.catch_up_with(&primary).await;

                switch.lead_to(&replica.socket());
                let [store, own] = stores(&switch).await;
                for store in [store, own] {
                    let layer = layer(&store, &clock);
                    let log = Log::capture();
                    let answer = act(&layer, Some(&expired), |session| session.owner().is_none().to_string()).await;
                    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "true"));
                    let text = log.text();
                    let warnings: Vec<_> = text.lines().filter(|line| line.contains("WARN")).collect();
                    let is_told = |line: &str| line.contains("cannot be removed") && line.contains("the server is read-only");
                    assert!(matches!(*warnings, [line] if is_told(line)), "{text}");

                    let listed = layer.owners().list("ada").await.unwrap();
                    assert_eq!(listed.len(), 1);
                    let answer = act(&layer, Some(&live), |session| session.owner().is_some().to_string()).await;
                    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "true"), "its touch may wait, too");
                    for token in [None, Some(&*live)] {
                        let answer = act(&layer, token, |session| session.insert("n", 1)).await;
                        assert_eq!((answer.status, answer.set_cookie()), (StatusCode::SERVICE_UNAVAILABLE, None));
                    }
                    assert_eq!(values(&layer, &other).await, Some(json!({ "n": 0 })));
                    for error in [
                        store.create(&token(1), &record(1), at(0)).await.unwrap_err(),
                        store.delete(&token(1).key(), MINUTE, at(0)).await.unwrap_err(),
                        store.revoke("ada", &Revocation::new(Revoke::All, MINUTE), at(0)).await.unwrap_err(),
                        store.sweep(9, at(0)).await.unwrap_err(),
                    ] {
                        assert!(error.to_string().contains("the server is read-only"), "{error}");
                    }
                    let before = replica.connections().await;
                    for _ in 0..200 {
                        let error = store.create(&token(1), &record(1), at(0)).await.unwrap_err();
                        assert!(error.to_string().contains("the server is read-only"), "{error}");
                    }
                    let made = replica.connections().await - before;
                    assert!(made < 100, "{made} connections for 200 writes that it refuses");
                    // Only now the name leads to the primary, and the pool is full of connections that do not.
                    fill(store.pool(), async |_| ()).await;
                    switch.lead_to(&primary.socket());
                    let begun = Instant::now();
                    while act(&layer, None, |session| session.insert("n", 0)).await.status != StatusCode::OK {
                        assert!(begun.elapsed() < MINUTE, "it does not find the primary");
                    }
                    switch.lead_to(&replica.socket());
                }
            }

            fn layer(store: &$store, clock: &ManualClock) -> SessionLayer {
                let builder = SessionLayer::builder(store.clone()).clock(clock.clone()).cookie_name("sid");
                builder.build().unwrap()
            }
        }
    };
}
