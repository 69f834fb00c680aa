//! Both backends, held against the contract.

use std::sync::Arc;

use payhook_store::conformance::Harness;
use payhook_store::{LeaseClock, PgOptions, PgStore, SqliteStore};
use payhook_test_servers::Database;
use tempfile::TempDir;

payhook_store::store_promises!(postgres, super::on_postgres);
payhook_store::store_promises!(sqlite, super::on_sqlite);

async fn on_postgres(promise: &str) -> Option<(Harness, Database)> {
    let database = payhook_test_servers::postgres().await?.fresh_database().await;
    let store = |clock| {
        let options = PgOptions { clock, ..PgOptions::default() };
        Arc::new(PgStore::connect(&database.url, options).unwrap())
    };
    let (store, other, program) = (store(LeaseClock::Caller), store(LeaseClock::Caller), store(LeaseClock::Database));
    Some((Harness { store, other, program, seed: seed(promise) }, database))
}

async fn on_sqlite(promise: &str) -> Option<(Harness, TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("payhook.db");
    let store = Arc::new(SqliteStore::open(file.to_str().unwrap()).await.unwrap());
    // One process owns the file, so its other user is in the same process.
    Some((Harness { other: store.clone(), program: store.clone(), store, seed: seed(promise) }, folder))
}

fn seed(promise: &str) -> u64 {
    let seed = rand::random();
    eprintln!("{promise}: seed {seed}");
    seed
}

#[test]
fn every_promise_of_the_contract_is_held_against_both_backends() {
    let contracts = [
        include_str!("../src/orders.rs"),
        include_str!("../src/settling.rs"),
        include_str!("../src/events.rs"),
        include_str!("../src/authorizations.rs"),
        include_str!("../src/dead_letters.rs"),
        include_str!("../src/replays.rs"),
        include_str!("../src/notifications.rs"),
        include_str!("../src/audit.rs"),
        include_str!("../src/housekeeping.rs"),
    ];
    let lines = contracts.iter().flat_map(|contract| contract.lines());
    let promised = lines.filter_map(|line| line.strip_prefix("/// - `")?.strip_suffix('`'));
    assert_eq!(promised.collect::<Vec<_>>(), postgres::PROMISES);
    assert_eq!(postgres::PROMISES, sqlite::PROMISES);
}
