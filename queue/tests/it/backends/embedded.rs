//! The embedded queue for the conformance suite: a file, and the process that owns it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use payhook_queue::conformance::QueueHarness;
use payhook_queue::{EmbeddedQueue, Queue};
use payhook_schema::Clock;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tempfile::TempDir;
use tokio::sync::Mutex;

/// A file, and the one process that owns it.
pub(crate) struct EmbeddedHarness {
    folder: TempDir,
    process: Mutex<Option<Arc<EmbeddedQueue>>>,
}

const DELAYS: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(300)];

/// The file's write lock, as the program opens it.
pub(crate) async fn open_file(file: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    SqlitePoolOptions::new().max_connections(1).connect_with(options).await.expect("the file opens")
}

impl EmbeddedHarness {
    pub(crate) async fn start() -> Self {
        let harness = Self { folder: tempfile::tempdir().expect("a folder"), process: Mutex::default() };
        harness.process().await.migrate().await.expect("the table is made");
        harness
    }

    fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("queue.db")
    }
}

#[async_trait]
impl QueueHarness for EmbeddedHarness {
    async fn process(&self) -> Arc<dyn Queue> {
        let mut process = self.process.lock().await;
        if process.is_none() {
            let queue = EmbeddedQueue::open(open_file(&self.file()).await, Clock::system(), &DELAYS).expect("it opens");
            *process = Some(Arc::new(queue));
        }
        process.clone().expect("opened above")
    }

    async fn crash(&self) {
        // Never closed, never dropped: whoever comes next finds the file as it is.
        std::mem::forget(self.process.lock().await.take());
    }

    async fn put_bytes(&self, bytes: &[u8]) {
        let sql = "insert into queue_envelope (lane, bytes, attempt, due_at) values ('notifications', ?1, 1, 0)";
        sqlx::query(sql).bind(bytes).execute(&open_file(&self.file()).await).await.expect("the row is written");
    }

    fn delays(&self) -> Vec<Duration> {
        DELAYS.to_vec()
    }
}
