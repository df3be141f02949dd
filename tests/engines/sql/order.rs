//! Who signed in first, whom a revocation reaches, and whom the limit leaves (promises 10, 14, 22, 27).

/// Makes a test of each rule; `sql_rules!` has its arguments.
macro_rules! order_rules {
    ($store:ident, $pool:expr) => {
        mod order {
            use std::time::{Duration, SystemTime};

            use tower_session_layer::SessionStore as _;
            use tower_session_layer::store::{Created, Loaded, Record, Revocation, Revoke};

            use super::*;
            use crate::support::direct::{a_burst_leaves_five, ahead, begin, send, values};
            use crate::support::{HOUR, record::record as signed_in};

            const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

            async fn store<K>((pool, kept): (Pool, K)) -> ($store, String, K) {
                let table = unique("order");
                let store = $store::builder(pool).table(&table).build().unwrap();
                store.migrate().await.unwrap();
                (store, table, kept)
            }

            fn moment(created: Created) -> u64 {
                let Created::SignedIn(moment) = created else { panic!("{created:?}") };
                moment
            }

            fn micros(time: SystemTime) -> u64 {
                time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros().try_into().unwrap()
            }

            #[tokio::test]
            async fn each_sign_in_is_later_than_those_before_it_by_the_clock_of_the_database() {
                let (store, table, _kept) = store($pool).await;
                let before = micros(SystemTime::now());
                let first = moment(store.create(&token(1), &owned(1, Some("ada")), at(0)).await.unwrap());
                let second = moment(store.create(&token(2), &owned(2, Some("ada")), at(0)).await.unwrap());
                assert!(before <= first && first < second && second <= micros(SystemTime::now()));
                let again = store.create(&token(1), &owned(1, Some("ada")), at(1)).await.unwrap();
                assert_eq!(again, Created::SignedIn(first), "sent again");
                let Loaded::Live(loaded) = store.load(&token(1), at(0)).await.unwrap() else { panic!() };
                assert_eq!(loaded.sign_in(), first);
                // As after the clock of the database was set back.
                let last = micros(SystemTime::now() + YEAR);
                sql(&store, &format!("UPDATE {table} SET sign_in = {last} WHERE sign_in = {second}")).await;
                let third = moment(store.create(&token(3), &owned(3, Some("ada")), at(0)).await.unwrap());
                assert_eq!(third, last + 1);
                let other = moment(store.create(&token(4), &owned(4, Some("bob")), at(0)).await.unwrap());
                assert!(other <= micros(SystemTime::now()), "of another owner");
                let ada = |n, moment| Record::clone(&owned(n, Some("ada"))).with_sign_in(moment).into();
                assert_eq!(store.revoke("ada", &Revocation::new(Revoke::All, MINUTE), at(1)).await.unwrap(), 3);
                let created = store.create(&token(5), &ada(5, third), at(1)).await.unwrap();
                assert_eq!(created, Created::Revoked, "a renewal of the last session");
                let created = store.create(&token(5), &ada(5, third + 2), at(1)).await.unwrap();
                assert_eq!(created, Created::SignedIn(third + 2), "a renewal of one that signed in since");
            }

            #[tokio::test]
            async fn record_at_the_same_version_is_another_one_unless_all_of_it_is_the_same() {
                let (store, _, _kept) = store($pool).await;
                let times = (at(0), at(3600));
                for (n, owner) in [(1, None), (2, Some("ada"))] {
                    let first = signed_in(7, owner, "1", times).into();
                    let created = store.create(&token(n), &first, at(0)).await.unwrap();
                    assert_eq!(store.create(&token(n), &first, at(1)).await.unwrap(), created, "sent again");
                    let handle = owned(9, None).handle();
                    let mut others = vec![signed_in(7, owner, "2", times), signed_in(8, owner, "1", times)];
                    others.push(signed_in(7, Some("bob"), "1", times));
                    let mut head = first.head();
                    head = tower_session_layer::store::RecordHead::new(head.version, at(3600), at(0), head.owner);
                    others.push(Record::decode(head.with_sign_in(handle, 0), &first.encode()).unwrap());
                    for (index, other) in others.into_iter().enumerate() {
                        let created = store.create(&token(n), &other.into(), at(1)).await.unwrap();
                        assert_eq!(created, Created::Taken, "{owner:?}, {index}");
                    }
                }
            }

            #[tokio::test]
            async fn mark_stays_for_its_time_by_the_clock_of_the_database() {
                let (store, table, _kept) = store($pool).await;
                let ada = owned(1, Some("ada"));
                let first = moment(store.create(&token(1), &ada, at(0)).await.unwrap());
                store.revoke("ada", &Revocation::new(Revoke::All, MINUTE), at(0)).await.unwrap();
                let years_ahead = SystemTime::now() + 10 * YEAR;
                assert_eq!(store.sweep(9, years_ahead).await.unwrap(), 1, "the tombstone");
                let renewed = ada.with_sign_in(first).into();
                assert_eq!(store.create(&token(2), &renewed, at(1)).await.unwrap(), Created::Revoked);
                sql(&store, &format!("UPDATE {table} SET deadline = 1 WHERE version IS NULL")).await;
                assert_eq!(store.sweep(9, at(0)).await.unwrap(), 1);
            }

            #[tokio::test]
            async fn revocation_reaches_more_sessions_than_a_statement_ends() {
                let (store, table, _kept) = store($pool).await;
                let kept = owned(1, Some("ada"));
                for n in 1..=1_100 {
                    let owner = if n > 1_090 { "bob" } else { "ada" };
                    let record = owned(n, Some(owner));
                    store.create(&token(n), &record.with_sign_in(n).into(), at(0)).await.unwrap();
                }
                assert_eq!(store.count(Some("ada"), at(0)).await.unwrap(), 1_090);
                assert!(store.count(None, at(0)).await.unwrap_err().is_unsupported());
                let some: Vec<_> = (501..=1_100).step_by(2).map(|n| owned(n, None).handle()).collect();
                let these = Revocation::new(Revoke::These(some), MINUTE);
                assert_eq!(store.revoke("ada", &these, at(1)).await.unwrap(), 295, "of 300, without bob's");
                let others = Revocation::new(Revoke::Others(kept.handle()), MINUTE);
                assert_eq!(store.revoke("ada", &others, at(1)).await.unwrap(), 794);
                let left: Vec<_> =
                    store.owned("ada", at(1)).await.unwrap().iter().map(|session| session.handle).collect();
                assert_eq!(left, [kept.handle()]);
                assert_eq!(
                    sql(&store, &format!("UPDATE {table} SET seen = seen WHERE version = 0 AND owner IS NULL")).await,
                    1_089
                );
                assert_eq!(store.count(Some("bob"), at(1)).await.unwrap(), 10);
            }

            #[tokio::test]
            async fn host_whose_clock_is_ahead_locks_nobody_out_and_comes_first_no_longer() {
                let (store, _, _kept) = store($pool).await;
                let (wrong, right) = (ahead(&store, YEAR), ahead(&store, Duration::ZERO));
                begin(&wrong, |session| session.sign_in("ada")).await;
                assert_eq!(wrong.owners().revoke_all("ada").await.unwrap(), 1);
                let early = begin(&wrong, |session| session.sign_in("ada")).await;
                let late = begin(&right, |session| session.sign_in("ada")).await;
                assert!(values(&wrong, &early).await.is_some() && values(&right, &late).await.is_some());
                let listed = right.owners().list("ada").await.unwrap();
                let soon = SystemTime::now() + HOUR;
                let ahead: Vec<_> = listed.iter().map(|session| session.signed_in.unwrap() > soon).collect();
                assert_eq!(ahead, [false, true], "the last to sign in is first, and each host shows its own time");
            }

            #[tokio::test]
            async fn sign_in_under_way_on_a_host_that_is_ahead_does_not_outlive_a_revocation() {
                let (store, _, _kept) = store($pool).await;
                let (owners, fast) = (ahead(&store, Duration::ZERO).owners(), ahead(&store, Duration::from_secs(2)));
                let answer = send(&fast, None, move |session| async move {
                    session.sign_in("ada").unwrap();
                    owners.revoke_all("ada").await.unwrap().to_string()
                });
                assert_eq!(answer.await.token(), None);
                assert_eq!(ahead(&store, Duration::ZERO).owners().list("ada").await.unwrap(), []);
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn burst_of_sign_ins_leaves_as_many_sessions_as_the_limit_allows() {
                let (store, _, _kept) = store($pool).await;
                a_burst_leaves_five(store, 200).await;
            }
        }
    };
}
