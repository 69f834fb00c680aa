//! Tests of what only SQLite has: a file, and the process that owns it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::{NewOrder, OrderId};
use payhook_store::traits::*;
use payhook_store::{Registered, SqliteStore, StoreError};
use uuid::Uuid;

fn order(id: &str) -> NewOrder {
    NewOrder {
        id: OrderId::new(id).unwrap(),
        amount: "120.00 THB".parse().unwrap(),
        payments: Vec::new(),
        refunds: Vec::new(),
    }
}

async fn open(file: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(file.to_str().unwrap()).await
}

#[tokio::test]
async fn a_file_has_one_owner_at_a_time_and_keeps_what_it_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("payhook.db");
    let store = open(&file).await.unwrap();
    store.migrate().await.unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let Registered::Order { order, .. } = store.order_register(&order("A-1"), now).await.unwrap() else { panic!() };

    let second = open(&file).await.err().unwrap();
    assert!(matches!(second, StoreError::Held { .. }), "{second:?}");
    assert!(second.to_string().ends_with("another process has it open, and only one at a time may"), "{second}");

    store.close().await;
    let closed = store.order_get(&order.id).await.unwrap_err();
    assert!(matches!(closed, StoreError::Unavailable { .. }), "{closed:?}");
    let again = SqliteStore::open(&format!("sqlite://{}", file.display())).await.unwrap();
    again.check().await.unwrap();
    assert_eq!(again.order_get(&order.id).await.unwrap(), Some(order));
}

/// Returns true if another process gets the lock of the file with this name.
fn another_process_locks(file: &Path) -> bool {
    Command::new("flock").args(["--nonblock", "--exclusive"]).arg(file).arg("true").status().unwrap().success()
}

#[tokio::test]
async fn the_lock_is_on_the_file_whatever_it_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("payhook.db");
    let store = open(&file).await.unwrap();
    store.migrate().await.unwrap();
    let (symbolic, hard) = (folder.path().join("symbolic.db"), folder.path().join("hard.db"));
    std::os::unix::fs::symlink(&file, &symbolic).unwrap();
    std::fs::hard_link(&file, &hard).unwrap();
    for name in [&file, &symbolic, &hard] {
        assert!(matches!(open(name).await, Err(StoreError::Held { .. })), "{}", name.display());
        assert!(!another_process_locks(name), "{}", name.display());
    }
    store.close().await;
    let by_either_name = open(&hard).await.err().unwrap();
    assert!(by_either_name.to_string().contains("2 hard links"), "{by_either_name}");
    std::fs::remove_file(&hard).unwrap();
    open(&symbolic).await.unwrap().check().await.unwrap();
}

#[tokio::test]
async fn nobody_but_the_owner_can_read_or_lock_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("payhook.db");
    // As an earlier version made it.
    std::fs::write(&file, "").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    for _ in 0..2 {
        let store = open(&file).await.unwrap();
        store.migrate().await.unwrap();
        for part in std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap) {
            let mode = part.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", part.path().display());
        }
        store.close().await;
        std::fs::remove_file(&file).unwrap(); // next, a new one
    }
}

#[tokio::test]
async fn a_lease_of_a_process_that_is_gone_ends_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("payhook.db");
    let (hour, now) = (Duration::from_hours(1), Timestamp::UNIX_EPOCH);
    let store = open(&file).await.unwrap();
    store.migrate().await.unwrap();
    assert!(store.lease_take("relay", Uuid::from_u128(1), now, hour).await.unwrap());
    assert!(!store.lease_take("relay", Uuid::from_u128(2), now, hour).await.unwrap());
    store.close().await;
    drop(store);
    let store = open(&file).await.unwrap();
    store.migrate().await.unwrap();
    assert!(store.lease_take("relay", Uuid::from_u128(2), now, hour).await.unwrap());
}

#[tokio::test]
async fn whoever_can_write_keeps_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("payhook.db");
    let store = open(&file).await.unwrap();
    let writer = store.writer();
    drop(store);
    assert!(open(&file).await.is_err(), "the queue still has the writer");
    writer.close().await;
    drop(writer);
    open(&file).await.unwrap();
}

#[tokio::test]
async fn there_is_one_writer_and_every_commit_of_it_is_synced() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("payhook.db")).await.unwrap();
    let writer = store.writer();
    let mut only = writer.acquire().await.unwrap();
    assert!(writer.try_acquire().is_none());
    let pragma = "select (select journal_mode from pragma_journal_mode), (select synchronous from pragma_synchronous), \
        (select foreign_keys from pragma_foreign_keys)";
    let pragma: (String, i64, i64) = sqlx::query_as(pragma).fetch_one(&mut *only).await.unwrap();
    assert_eq!(pragma, ("wal".to_owned(), 2, 1));
}

#[tokio::test]
async fn what_is_no_file_is_refused_with_its_reason() {
    for nowhere in ["sqlite::memory:", ":memory:", "sqlite://x.db?mode=memory", ""] {
        let error = SqliteStore::open(nowhere).await.err().unwrap();
        assert!(matches!(error, StoreError::Refused { .. }), "{nowhere}: {error:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let missing = open(&folder.path().join("no/such/folder/payhook.db")).await.err().unwrap();
    assert!(missing.to_string().contains("payhook.db` cannot be opened"), "{missing}");
    std::fs::write(folder.path().join("text.db"), "not a database, whatever its name says; and long enough").unwrap();
    let text = open(&folder.path().join("text.db")).await.err().unwrap();
    assert!(matches!(text, StoreError::Refused { .. }), "{text:?}");
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_nothing_half_done() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("payhook.db")).await.unwrap();
    store.migrate().await.unwrap();
    let now = Timestamp::UNIX_EPOCH;
    for n in 0..200_u64 {
        let (id, store) = (format!("A-{n}"), store.clone());
        let new = order(&id);
        let given_up = tokio::time::timeout(std::time::Duration::from_micros(n * 10), async move {
            store.order_register(&new, now).await
        });
        drop(given_up.await);
    }
    // The writer is free again, and whatever is there is whole.
    assert!(matches!(store.order_register(&order("B-1"), now).await.unwrap(), Registered::Order { .. }));
    for n in 0..200 {
        let id = OrderId::new(format!("A-{n}")).unwrap();
        let there = store.order_get(&id).await.unwrap().is_some();
        assert_eq!(store.order_timeline(&id).await.unwrap().len(), usize::from(there));
    }
}

/// As on a full disk: no page more than there are, on the connection that writes now.
async fn fill(store: &SqliteStore) {
    let mut writer = store.writer().acquire().await.unwrap();
    let pages: i64 = sqlx::query_scalar("pragma page_count").fetch_one(&mut *writer).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("pragma max_page_count = {pages}"))).execute(&mut *writer).await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_sqlite_ended_by_itself_ends_no_later_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("payhook.db")).await.unwrap();
    store.migrate().await.unwrap();
    let now = Timestamp::UNIX_EPOCH;
    fill(&store).await;
    let mut written = Vec::new();
    let full = loop {
        let new = order(&format!("A-{}", written.len()));
        match store.order_register(&new, now).await {
            Ok(_) => written.push(new.id),
            Err(error) => break error,
        }
        assert!(written.len() < 10_000, "the file never gets full");
    };
    assert!(full.retryable(), "{full:?}");

    for number in 0..100 {
        let new = order(&format!("B-{number}"));
        let registered = store.order_register(&new, now).await;
        assert!(matches!(registered, Ok(Registered::Order { .. })), "{number}: {registered:?}");
    }
    store.check().await.unwrap();
    for id in &written {
        assert!(store.order_get(id).await.unwrap().is_some(), "{id} was answered and is gone");
    }
}
