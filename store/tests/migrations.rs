//! Both migration folders make the same tables. (That they have the same numbers and names is tested beside the list.)

use std::collections::BTreeSet;

use payhook_store::traits::*;
use payhook_store::{PgOptions, PgStore, SqliteStore};
use sqlx::{Connection, PgConnection};

/// Table, column, whether it can be null.
type Columns = BTreeSet<(String, String, bool)>;

#[tokio::test]
async fn both_databases_have_the_same_tables_and_columns() {
    let Some(postgres) = payhook_test_servers::postgres().await else { return };
    let database = postgres.fresh_database().await;
    PgStore::connect(&database.url, PgOptions::default()).unwrap().migrate().await.unwrap();
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let columns = "select table_name::text, column_name::text, is_nullable = 'YES' from information_schema.columns \
        where table_schema = 'public' and table_name <> 'store_migrations'";
    let in_postgres: Vec<_> = sqlx::query_as(columns).fetch_all(&mut connection).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("payhook.db").to_str().unwrap()).await.unwrap();
    store.migrate().await.unwrap();
    let columns = "select t.name, c.name, not c.\"notnull\" from sqlite_schema t join pragma_table_info(t.name) c \
        where t.type = 'table' and t.name not like 'sqlite_%' and t.name <> 'store_migrations'";
    let in_sqlite: Vec<_> = sqlx::query_as(columns).fetch_all(&store.writer()).await.unwrap();

    let (in_postgres, mut in_sqlite): (Columns, Columns) =
        (in_postgres.into_iter().collect(), in_sqlite.into_iter().collect());
    // SQLite drops no column that a check of its table names: these two are always null since migration 13.
    for left_behind in ["hold_reason", "hold_detail"] {
        assert!(in_sqlite.remove(&("orders".to_owned(), left_behind.to_owned(), true)));
    }
    assert_eq!(in_postgres, in_sqlite);
    assert!(in_sqlite.len() > 60, "{in_sqlite:?}");
}

#[tokio::test]
async fn both_databases_have_the_same_indexes() {
    let Some(postgres) = payhook_test_servers::postgres().await else { return };
    let database = postgres.fresh_database().await;
    PgStore::connect(&database.url, PgOptions::default()).unwrap().migrate().await.unwrap();
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let named = "select indexname::text from pg_indexes where schemaname = 'public' \
        and indexname !~ '(_key|_pkey)$' order by 1";
    let in_postgres: Vec<(String,)> = sqlx::query_as(named).fetch_all(&mut connection).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("payhook.db").to_str().unwrap()).await.unwrap();
    store.migrate().await.unwrap();
    let named = "select name from sqlite_schema where type = 'index' and sql is not null order by name";
    let in_sqlite: Vec<(String,)> = sqlx::query_as(named).fetch_all(&store.writer()).await.unwrap();
    // In SQLite `n` is the tables' own key.
    let own_key = |(name,): &(String,)| ["authorization_timeline_by_n", "timeline_by_n"].contains(&name.as_str());
    assert_eq!(in_postgres.iter().filter(|index| own_key(index)).count(), 2);
    assert_eq!(in_postgres.into_iter().filter(|index| !own_key(index)).collect::<Vec<_>>(), in_sqlite);
}

/// A provider whose name is in a check needs a migration of every table before its first payment.
#[tokio::test]
async fn no_table_says_which_providers_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("payhook.db").to_str().unwrap()).await.unwrap();
    store.migrate().await.unwrap();
    let named = "select name from sqlite_schema where type = 'table' and sql like '%''omise''%'";
    let in_sqlite: Vec<(String,)> = sqlx::query_as(named).fetch_all(&store.writer()).await.unwrap();
    assert_eq!(in_sqlite, []);
    let sound: (String,) = sqlx::query_as("pragma integrity_check").fetch_one(&store.writer()).await.unwrap();
    assert_eq!(sound.0, "ok");

    let Some(postgres) = payhook_test_servers::postgres().await else { return };
    let database = postgres.fresh_database().await;
    PgStore::connect(&database.url, PgOptions::default()).unwrap().migrate().await.unwrap();
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let named = "select conname::text from pg_constraint where pg_get_constraintdef(oid) like '%''omise''%'";
    let in_postgres: Vec<(String,)> = sqlx::query_as(named).fetch_all(&mut connection).await.unwrap();
    assert_eq!(in_postgres, []);
}
