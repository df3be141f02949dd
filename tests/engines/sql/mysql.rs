//! The store in MariaDB, on servers that the tests start.

use std::sync::LazyLock;

use sqlx::{MySql as Database, MySqlPool as Pool, Row as _};
use tower_session_layer::MySqlStore;

use super::mysql_server::Server;

/// Whatever breaks no server uses this one.
static SERVER: LazyLock<Server> = LazyLock::new(Server::start);

async fn database() -> (Pool, ()) {
    (SERVER.pool_with(|options| options).await, ())
}

/// How many statements the server has run, but for those of this function, which are sent as text.
async fn statements(pool: &Pool) -> i64 {
    let row = sqlx::raw_sql("SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'").fetch_one(pool).await.unwrap();
    row.get::<String, _>(1).parse().unwrap()
}

/// The server counts anyway.
#[allow(clippy::unused_async, reason = "another server has to be asked")]
async fn count_statements(_: &Pool) {}

sql_rules!(MySqlStore, database().await, "?");
order_rules!(MySqlStore, database().await);
token_rules!(MySqlStore, database().await);
fault_rules!(MySqlStore);
failover_rules!(MySqlStore);

/// No isolation that the program's pool may have is in the way.
mod strictest_isolation {
    use super::*;

    async fn database() -> (Pool, ()) {
        let pool = SERVER.pool_with(|options| {
            options.after_connect(|connection, _| {
                Box::pin(async move {
                    sqlx::raw_sql("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE").execute(connection).await?;
                    Ok(())
                })
            })
        });
        (pool.await, ())
    }

    session_store_conformance!(subject(database().await).await);
}
