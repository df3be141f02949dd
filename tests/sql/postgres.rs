//! The store in PostgreSQL, on servers that the tests start.

#[macro_use]
mod faults;
#[macro_use]
mod rules;
#[path = "postgres_server.rs"]
mod server;

mod process;
mod records;
#[path = "../support/mod.rs"]
mod support;

use std::sync::LazyLock;

use sqlx::PgPool as Pool;
use tower_session_layer::PostgresStore;

use self::server::Server;

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
fault_rules!(PostgresStore);

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
}
