//! What holds for a SQL store on any database.

/// Makes a test of each rule.
///
/// `pool` is an expression that gives a pool of an empty database of its own, or at least of tables that nobody else
/// names, with whatever must live as long; `argument` is the first placeholder.
macro_rules! sql_rules {
    ($store:ident, $pool:expr, $argument:literal) => {
        use std::time::SystemTime;

        use tower_session_layer::store::conformance::Subject;
        use tower_session_layer::store::{Created, Deleted, Loaded, Revocation, Revoke, Updated};
        use tower_session_layer::{ConfigError, MemoryStore, SessionStore as _, session_store_conformance};

        use crate::sql::records::{MINUTE, at, dropped_after, owned, record, token, version};
        use crate::support::Log;
        use crate::support::direct::{everybody_moves, no_more_than_two};

        mod conformance {
            use super::*;

            session_store_conformance!(subject($pool).await);
        }

        /// Two stores on a new table.
        async fn subject<K: Send + Sync + 'static>((pool, kept): (Pool, K)) -> Subject {
            let table = unique("law");
            let store = || $store::builder(pool.clone()).table(&table).build().unwrap();
            store().migrate().await.unwrap();
            // A call takes a thousand times what it does in memory.
            Subject::new(store()).with_other_handle(store()).keeping(kept).rounds(4)
        }

        #[tokio::test]
        async fn owner_has_no_more_sessions_than_the_layer_allows() {
            let (pool, _kept) = $pool;
            let store = $store::builder(pool).table(&unique("limit")).build().unwrap();
            store.migrate().await.unwrap();
            no_more_than_two(store).await;
        }

        #[tokio::test]
        async fn sessions_move_here_from_another_store_and_on_to_another_table() {
            let (pool, _kept) = $pool;
            let table = async || {
                let store = $store::builder(pool.clone()).table(&unique("moved")).build().unwrap();
                store.migrate().await.unwrap();
                store
            };
            everybody_moves(MemoryStore::new(), table().await).await;
            everybody_moves(table().await, table().await).await;
        }

        /// A name that no other test has.
        fn unique(name: &str) -> String {
            use std::sync::atomic::{AtomicUsize, Ordering};
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            format!("{name}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
        }

        async fn sql(store: &$store, text: &str) -> u64 {
            sqlx::raw_sql(sqlx::AssertSqlSafe(text)).execute(store.pool()).await.unwrap().rows_affected()
        }

        #[tokio::test]
        async fn what_cannot_be_read_is_absent_with_one_warning_and_stays() {
            let (pool, _kept) = $pool;
            let table = unique("corrupt");
            let store = $store::builder(pool).table(&table).build().unwrap();
            store.migrate().await.unwrap();
            let (token, key) = (token(1), token(1).key().hex());
            store.create(&token, &record(1), at(0)).await.unwrap();
            let newer = [&[3], &record(1).encode()[1..]].concat();
            let cut_off = record(1).encode()[..9].to_vec();
            for body in [newer, cut_off, b"secret".to_vec(), Vec::new()] {
                let update = format!("UPDATE {table} SET body = {}", $argument);
                let update = sqlx::query(sqlx::AssertSqlSafe(update)).bind(&body);
                assert_eq!(update.execute(store.pool()).await.unwrap().rows_affected(), 1);
                let log = Log::capture();
                assert_eq!(store.load(&token, at(1)).await.unwrap(), Loaded::Absent);
                let log = log.text();
                let warnings: Vec<_> = log.lines().filter(|line| line.contains("WARN")).collect();
                assert!(matches!(*warnings, [line] if line.contains(&key[..8])), "{log}");
                assert!(!log.contains(&key[..9]) && !log.contains("secret"), "{log}");
                assert_eq!(store.create(&token, &record(2), at(1)).await.unwrap(), Created::Taken, "it stays");
                let select = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT body FROM {table}")));
                let standing: Vec<u8> = select.fetch_one(store.pool()).await.unwrap();
                assert_eq!(standing, body, "it stays as it was");
            }
            assert_eq!(store.load(&token, at(3600)).await.unwrap(), Loaded::Absent);
            assert_eq!(store.create(&token, &record(2), at(3600)).await.unwrap(), Created::Stored, "until its deadline");
        }

        #[tokio::test]
        async fn row_of_an_unknown_kind_is_absent_with_a_warning_and_stays() {
            let (pool, _kept) = $pool;
            let table = unique("kind");
            let store = $store::builder(pool).table(&table).build().unwrap();
            store.migrate().await.unwrap();
            store.create(&token(1), &record(1), at(0)).await.unwrap();
            sql(&store, &format!("UPDATE {table} SET version = NULL, seen = NULL")).await;
            let log = Log::capture();
            assert_eq!(store.load(&token(1), at(1)).await.unwrap(), Loaded::Absent);
            assert_eq!(log.text().lines().filter(|line| line.contains("WARN")).count(), 1);
            assert_eq!(store.delete(&token(1).key(), MINUTE, at(1)).await.unwrap(), Deleted::Absent);
            assert_eq!(store.create(&token(1), &record(2), at(1)).await.unwrap(), Created::Taken);
        }

        #[tokio::test]
        async fn missing_table_and_one_of_another_format_are_errors_that_name_migrate() {
            let (pool, _kept) = $pool;
            let table = unique("missing");
            let store = $store::builder(pool).table(&table).build().unwrap();
            for create in ["", "CREATE TABLE {} (id INTEGER)", "CREATE TABLE {} (id INTEGER, body INTEGER)"] {
                if !create.is_empty() {
                    sql(&store, &format!("DROP TABLE IF EXISTS {table}")).await;
                    sql(&store, &create.replace("{}", &table)).await;
                    store.migrate().await.unwrap_err();
                }
                let errors = [
                    store.load(&token(1), at(0)).await.unwrap_err(),
                    store.create(&token(1), &record(1), at(0)).await.unwrap_err(),
                    store.touch(&token(1), version(1), at(9), at(0)).await.unwrap_err(),
                    store.owned("ada", at(0)).await.unwrap_err(),
                    store.sweep(9, at(0)).await.unwrap_err(),
                ];
                for error in errors {
                    let text = error.to_string();
                    assert!(text.contains("run migrate()") && text.contains(&table), "{create}: {text}");
                }
            }
        }

        #[tokio::test]
        async fn migrate_looks_at_every_column() {
            let (pool, _kept) = $pool;
            let columns = ["version", "deadline", "seen", "sign_in", "id", "owner", "handle", "body"];
            for missing in columns {
                let table = unique("column");
                let store = $store::builder(pool.clone()).table(&table).build().unwrap();
                store.migrate().await.unwrap();
                sql(&store, &format!("ALTER TABLE {table} RENAME COLUMN {missing} TO other")).await;
                let text = store.migrate().await.unwrap_err().to_string();
                assert!(text.contains("another format"), "{missing}: {text}");
            }
        }

        #[tokio::test]
        async fn migrate_may_run_several_times_and_at_the_same_time() {
            let (pool, _kept) = $pool;
            for _ in 0..8 {
                let table = unique("migrated");
                let store = $store::builder(pool.clone()).table(&table).build().unwrap();
                let tasks: Vec<_> = (0..4)
                    .map(|_| {
                        let store = store.clone();
                        tokio::spawn(async move { store.migrate().await })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap().unwrap();
                }
                store.create(&token(1), &record(1), at(0)).await.unwrap();
                store.migrate().await.unwrap();
                assert!(matches!(store.load(&token(1), at(0)).await.unwrap(), Loaded::Live(_)), "what is there stays");
            }
        }

        #[tokio::test]
        async fn table_has_any_plain_name_and_no_other() {
            let (pool, _kept) = $pool;
            for name in ["a;b", "a\"b", "a`b", "a b", "", "1a", "a.b", "sqlite_a", "é"] {
                let refused = $store::builder(pool.clone()).table(name).build().unwrap_err();
                assert_eq!(refused, ConfigError::TableName(name.to_owned()));
                assert!(refused.to_string().contains("1 to 48 ASCII letters"), "{refused}");
            }
            let mut stores = Vec::new();
            for name in ["select", "Order", &"x".repeat(48)] {
                let store = $store::builder(pool.clone()).table(name).build().unwrap();
                store.migrate().await.unwrap();
                stores.push(store);
            }
            stores[0].create(&token(1), &record(1), at(0)).await.unwrap();
            for store in &stores[1..] {
                assert_eq!(store.load(&token(1), at(0)).await.unwrap(), Loaded::Absent, "tables are apart");
            }
        }

        #[tokio::test]
        async fn rows_hold_the_digest_of_a_token_and_nothing_else_of_it() {
            let (pool, _kept) = $pool;
            let table = unique("digest");
            let store = $store::builder(pool).table(&table).build().unwrap();
            store.migrate().await.unwrap();
            let token = token(0x4142_4344_4546_4748);
            store.create(&token, &owned(1, Some("ada")), at(0)).await.unwrap();
            let columns = ["id", "owner", "handle", "body"];
            for column in columns {
                let select = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT {column} FROM {table}")));
                let bytes: Vec<u8> = select.fetch_one(store.pool()).await.unwrap();
                assert!(!bytes.windows(8).any(|window| window == b"ABCDEFGH"), "{column}: {bytes:?}");
                if column == "id" {
                    assert_eq!(bytes, token.key().as_bytes());
                }
            }
            store.delete(&token.key(), MINUTE, at(1)).await.unwrap();
            for column in ["owner", "handle"] {
                let select = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT {column} FROM {table}")));
                let left: Option<Vec<u8>> = select.fetch_one(store.pool()).await.unwrap();
                assert_eq!(left, None, "a tombstone is nobody's");
            }
            let select = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT sign_in FROM {table}")));
            let left: Option<i64> = select.fetch_one(store.pool()).await.unwrap();
            assert_eq!(left, None);
        }

        #[tokio::test]
        async fn revocation_reaches_records_of_a_newer_format() {
            let (pool, _kept) = $pool;
            let table = unique("newer");
            let store = $store::builder(pool).table(&table).build().unwrap();
            store.migrate().await.unwrap();
            store.create(&token(1), &owned(1, Some("ada")), at(0)).await.unwrap();
            sql(&store, &format!("UPDATE {table} SET body = id")).await;
            let revocation = Revocation::new(Revoke::All, MINUTE);
            assert_eq!(store.revoke("ada", &revocation, at(1)).await.unwrap(), 1);
            assert!(matches!(store.load(&token(1), at(1)).await.unwrap(), Loaded::Tombstone(_)));
        }

        #[tokio::test]
        async fn sign_in_that_was_cut_off_is_absent_for_all_and_ends_with_a_revocation() {
            let (pool, _kept) = $pool;
            let table = unique("arriving");
            let store = $store::builder(pool).table(&table).build().unwrap();
            store.migrate().await.unwrap();
            let ada = owned(1, Some("ada"));
            let signed_in = store.create(&token(1), &ada, at(1)).await.unwrap();
            assert!(matches!(signed_in, Created::SignedIn(moment) if moment > 0), "{signed_in:?}");
            // As it stands between two statements of `create`.
            sql(&store, &format!("UPDATE {table} SET seen = NULL")).await;
            assert_eq!(store.load(&token(1), at(1)).await.unwrap(), Loaded::Absent);
            assert_eq!(store.owned("ada", at(1)).await.unwrap(), []);
            assert_eq!(store.count(Some("ada"), at(1)).await.unwrap(), 0);
            assert_eq!(store.touch(&token(1), version(1), at(9999), at(1)).await.unwrap(), Updated::Gone);
            assert_eq!(store.delete(&token(1).key(), MINUTE, at(1)).await.unwrap(), Deleted::Absent);
            assert_eq!(store.create(&token(1), &ada, at(1)).await.unwrap(), signed_in, "sent again");
            sql(&store, &format!("UPDATE {table} SET seen = NULL")).await;
            // It gives way to another one, as where a session is moved from another store.
            let other = owned(2, Some("ada"));
            assert!(matches!(store.create(&token(1), &other, at(1)).await.unwrap(), Created::SignedIn(_)));
            assert_eq!(store.create(&token(1), &ada, at(1)).await.unwrap(), Created::Taken);
            sql(&store, &format!("UPDATE {table} SET seen = NULL")).await;
            let revocation = Revocation::new(Revoke::All, MINUTE);
            assert_eq!(store.revoke("ada", &revocation, at(2)).await.unwrap(), 0, "nothing that counted");
            let admitted = sql(&store, &format!("UPDATE {table} SET seen = 1 WHERE seen IS NULL")).await;
            assert_eq!(admitted, 0, "one that has read the mark already finds its row gone");
            assert_eq!(store.create(&token(1), &other, at(2)).await.unwrap(), Created::Revoked);
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn concurrent_revocations_all_count() {
            let (pool, _kept) = $pool;
            let table = unique("revocations");
            let store = $store::builder(pool).table(&table).build().unwrap();
            store.migrate().await.unwrap();
            for round in 1..=20 {
                let owner = format!("ada {round}");
                let kept = owned(round, Some(&owner));
                store.create(&token(round), &kept, at(0)).await.unwrap();
                let tasks = (0..4).map(|n| {
                    let (store, owner) = (store.clone(), owner.clone());
                    // Those of another session end this one.
                    let which = Revoke::Others(if n == 2 { owned(99, None).handle() } else { kept.handle() });
                    let revocation = Revocation::new(which, MINUTE);
                    tokio::spawn(async move { store.revoke(&owner, &revocation, at(1)).await })
                });
                for task in tasks.collect::<Vec<_>>() {
                    task.await.unwrap().unwrap();
                }
                assert!(matches!(store.load(&token(round), at(1)).await.unwrap(), Loaded::Tombstone(_)));
                let renewed = kept.with_sign_in(1).into();
                let created = store.create(&token(100 + round), &renewed, at(1)).await.unwrap();
                assert_eq!(created, Created::Revoked, "its renewal comes too late");
            }
        }

        #[tokio::test]
        async fn sign_in_sent_again_after_a_revocation_is_refused() {
            let (pool, _kept) = $pool;
            let table = unique("again");
            let store = $store::builder(pool).table(&table).build().unwrap();
            store.migrate().await.unwrap();
            let ada = owned(1, Some("ada"));
            store.create(&token(1), &ada, at(1)).await.unwrap();
            let revocation = Revocation::new(Revoke::All, MINUTE);
            assert_eq!(store.revoke("ada", &revocation, at(2)).await.unwrap(), 1);
            assert_eq!(store.create(&token(1), &ada, at(2)).await.unwrap(), Created::Revoked);
            assert!(matches!(store.load(&token(1), at(2)).await.unwrap(), Loaded::Tombstone(_)));
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn calls_dropped_in_mid_command_never_answer_for_others() {
            let (pool, _kept) = $pool;
            let table = unique("dropped");
            let store = $store::builder(pool).table(&table).build().unwrap();
            store.migrate().await.unwrap();
            for n in 1..=8 {
                store.create(&token(n), &record(n), at(0)).await.unwrap();
            }
            let (over, is_over) = tokio::sync::watch::channel(false);
            let others: Vec<_> = (1..=4)
                .map(|n| {
                    let (store, is_over) = (store.clone(), is_over.clone());
                    tokio::spawn(async move {
                        let mut loads = 0;
                        while !*is_over.borrow() {
                            let found = store.load(&token(n), at(1)).await.unwrap();
                            assert_eq!(found, Loaded::Live(record(n).into()), "somebody else's answer");
                            loads += 1;
                        }
                        loads
                    })
                })
                .collect();
            for round in 0..1_000 {
                let (n, polls) = (5 + round % 4, 1 + usize::try_from(round / 4).unwrap() % 12);
                match round % 3 {
                    0 => drop(dropped_after(polls, store.load(&token(n), at(1))).await),
                    1 => drop(dropped_after(polls, store.touch(&token(n), version(n), at(1), at(1))).await),
                    _ => drop(dropped_after(polls, store.delete(&token(100 + n).key(), MINUTE, at(1))).await),
                }
            }
            over.send(true).unwrap();
            for other in others {
                assert!(other.await.unwrap() > 0);
            }
        }

        #[test]
        fn debug_shows_the_table_alone() {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (pool, _kept) = $pool;
                let name = stringify!($store);
                let builder = $store::builder(pool);
                assert_eq!(format!("{builder:?}"), format!("{name}Builder {{ table: \"tower_session_layer\", .. }}"));
                let store = builder.table("mine").build().unwrap();
                assert_eq!(format!("{store:?}"), format!("{name} {{ table: \"mine\", .. }}"));
                let _: SystemTime = at(0);
            });
        }
    };
}
