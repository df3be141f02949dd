//! The store in PostgreSQL, on servers that the tests start.

use std::sync::LazyLock;

use sqlx::{PgPool as Pool, Postgres as Database};
use tower_session_layer::PostgresStore;

use super::postgres_server::Server;

/// Whatever breaks no server uses this one.
static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

async fn database() -> (Pool, ()) {
    (SERVER.pool_with(|options| options).await, ())
}

/// How many statements other than those of this function the database of a pool was sent.
async fn statements(pool: &Pool) -> i64 {
    let select = "SELECT coalesce(sum(calls), 0)::bigint FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid \
         WHERE datname = current_database() AND query NOT LIKE '%pg_stat_statements%'";
    sqlx::query_scalar(select).fetch_one(pool).await.unwrap()
}

async fn count_statements(pool: &Pool) {
    sqlx::raw_sql("CREATE EXTENSION pg_stat_statements").execute(pool).await.unwrap();
}

sql_rules!(PostgresStore, database().await, "$1");
order_rules!(PostgresStore, database().await);
token_rules!(PostgresStore, database().await);
fault_rules!(PostgresStore);
failover_rules!(PostgresStore);

/// A renewal by another request stores its new record after the statement that ends the session has begun, and ends the
/// old one before that statement comes to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn revocation_of_one_session_reaches_what_it_is_being_renewed_to() {
    let (pool, ()) = database().await;
    let store = PostgresStore::builder(pool.clone()).table("overtaken").build().unwrap();
    store.migrate().await.unwrap();
    let ada = owned(1, Some("ada"));
    store.create(&token(1), &ada, at(0)).await.unwrap();
    let mut other = pool.begin().await.unwrap();
    sqlx::raw_sql("UPDATE overtaken SET seen = seen").execute(&mut *other).await.unwrap();
    let revoking = tokio::spawn({
        let (store, handle) = (store.clone(), ada.handle());
        async move { store.revoke("ada", &Revocation::new(Revoke::These(vec![handle]), MINUTE), at(1)).await }
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%overtaken%'";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&pool).await.unwrap() == 0 {}
    store.create(&token(2), &ada, at(1)).await.unwrap();
    let retire = "UPDATE overtaken SET version = 0, owner = NULL, handle = NULL, sign_in = NULL WHERE id = $1";
    sqlx::query(retire).bind(token(1).key().as_bytes().to_vec()).execute(&mut *other).await.unwrap();
    other.commit().await.unwrap();
    assert_eq!(revoking.await.unwrap().unwrap(), 1);
    assert!(matches!(store.load(&token(2), at(1)).await.unwrap(), Loaded::Tombstone(_)));
}

/// A header of 24 bytes, three numbers, and a byte before each text.
#[tokio::test]
async fn row_of_a_session_has_a_short_header_and_no_padding() {
    let (pool, ()) = database().await;
    let store = PostgresStore::new(pool);
    store.migrate().await.unwrap();
    store.create(&token(1), &record(1), at(0)).await.unwrap();
    let length = "SELECT pg_column_size(row) - octet_length(id) - octet_length(handle) - octet_length(body) \
         FROM tower_session_layer row";
    assert_eq!(sqlx::query_scalar::<_, i32>(length).fetch_one(store.pool()).await.unwrap(), 24 + 3 * 8 + 3);
}

/// No isolation that the program's pool may have is in the way.
mod strictest_isolation {
    use super::*;

    async fn database() -> (Pool, ()) {
        let pool = SERVER.pool_with(|options| {
            options.after_connect(|connection, _| {
                Box::pin(async move {
                    sqlx::raw_sql("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE")
                        .execute(connection)
                        .await?;
                    Ok(())
                })
            })
        });
        (pool.await, ())
    }

    session_store_conformance!(subject(database().await).await);

    /// One that is being committed beats them, each time that they are sent.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn statement_outlasts_a_transaction_that_it_loses_against() {
        let (pool, ()) = database().await;
        let store = PostgresStore::builder(pool.clone()).table("outlasts").build().unwrap();
        store.migrate().await.unwrap();
        for n in [1, 2] {
            store.create(&token(n), &owned(n, Some("ada")), at(0)).await.unwrap();
        }
        let run = async |connection: &mut sqlx::PgConnection, sql: &str, n: u64| {
            let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(token(n).key().as_bytes().to_vec());
            query.execute(connection).await.unwrap();
        };
        // It has read what another has changed and committed since, and changes what the store then reads.
        let (mut one, mut other) = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
        for connection in [&mut one, &mut other] {
            sqlx::raw_sql("SET enable_seqscan = off").execute(&mut **connection).await.unwrap();
        }
        sqlx::raw_sql("BEGIN").execute(&mut *one).await.unwrap();
        run(&mut one, "SELECT body FROM outlasts WHERE id = $1", 1).await;
        run(&mut other, "UPDATE outlasts SET seen = seen + 1 WHERE id = $1", 1).await;
        run(&mut one, "UPDATE outlasts SET seen = seen + 1 WHERE id = $1", 2).await;
        sqlx::raw_sql("PREPARE TRANSACTION 'outlasts'").execute(&mut *one).await.unwrap();
        // For which the store opens a connection of its own.
        store.load(&token(1), at(1)).await.unwrap();
        let committed = async {
            // Meanwhile the store sends its statement again and again.
            for _ in 0..200 {
                sqlx::raw_sql("SELECT 1").execute(&mut *one).await.unwrap();
            }
            sqlx::raw_sql("COMMIT PREPARED 'outlasts'").execute(&mut *one).await.unwrap();
        };
        let (found, ()) = tokio::join!(async { store.load(&token(2), at(1)).await }, committed);
        assert!(matches!(found.unwrap(), Loaded::Live(_)));
    }
}
