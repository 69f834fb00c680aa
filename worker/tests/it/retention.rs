//! A worker by a clock of ours deletes history once it is older than its age, and only while the work is its own.

use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::{DeadCause, DeadLetterState, new_id};
use payhook_store::{Act, AuditEntry, DeadLetter, DeadLetterFilter, History, SqliteStore, traits::*};
use uuid::Uuid;

use crate::test_worker::TestWorker;

/// Everything is gone through once a second.
const AGE: Duration = Duration::from_secs(10);
/// More than one batch.
const ENTRIES: u64 = 450;
const THREE_RUNS: Duration = Duration::from_secs(4);
const IN_TIME: Duration = Duration::from_mins(1);

/// Starts a worker on audit entries and two dead letters, one of them open. `prepare` writes what else there is.
async fn start(prepare: impl AsyncFnOnce(&SqliteStore, Timestamp)) -> TestWorker {
    TestWorker::start_with(vec![(History::Audit, AGE), (History::DeadLetters, AGE)], async |store, now| {
        for number in 0..ENTRIES {
            store.audit_write(&audited(number, now)).await.unwrap();
        }
        store.dead_letter_keep(&[letter(1, now), letter(2, now)]).await.unwrap();
        let act = Act { who: "ann".to_owned(), reason: "a test of ours".to_owned(), at: now };
        let closed = DeadLetterFilter { ids: vec![Uuid::from_u128(2)], limit: 1, ..DeadLetterFilter::default() };
        assert_eq!(store.dead_letter_discard(&closed, &act).await.unwrap(), 1);
        prepare(store, now).await;
    })
    .await
}

impl TestWorker {
    fn passes(&self, time: Duration) {
        self.becomes(self.now() + time);
    }

    async fn entries(&self) -> usize {
        self.store.audit_list(None, 1_000).await.unwrap().len()
    }

    async fn letters(&self) -> Vec<Uuid> {
        let all = DeadLetterFilter { limit: 10, ..DeadLetterFilter::default() };
        self.store.dead_letter_list(&all).await.unwrap().iter().map(|letter| letter.id).collect()
    }

    async fn until_only_the_open_letter_is_left(&self) {
        let started = tokio::time::Instant::now();
        while self.entries().await > 0 || self.letters().await.len() > 1 {
            assert!(
                started.elapsed() < IN_TIME,
                "{} entries and {:?} are left",
                self.entries().await,
                self.letters().await
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(self.letters().await, [Uuid::from_u128(1)]);
    }
}

fn audited(number: u64, at: Timestamp) -> AuditEntry {
    AuditEntry {
        id: new_id(at),
        at,
        who: "ann".to_owned(),
        role: "operator".to_owned(),
        action: "order.release".to_owned(),
        subject: format!("A-{number}"),
        count: 1,
        reason: None,
    }
}

fn letter(number: u128, at: Timestamp) -> DeadLetter {
    DeadLetter {
        id: Uuid::from_u128(number),
        cause: DeadCause::Poison,
        detail: "the envelope cannot be read".to_owned(),
        provider: None,
        account: None,
        payment: None,
        order: None,
        attempts: 1,
        first_failed_at: at,
        last_failed_at: at,
        bytes: b"{".to_vec(),
        notification: None,
        notification_id: None,
        state: DeadLetterState::Open,
        note: None,
        order_now: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_ends_once_it_is_older_than_its_age() {
    let worker = start(async |_, _| {}).await;
    worker.passes(AGE);
    tokio::time::sleep(THREE_RUNS).await;
    assert_eq!(
        (worker.entries().await, worker.letters().await.len()),
        (ENTRIES as usize, 2),
        "not older than its age yet"
    );
    worker.passes(Duration::from_secs(1));
    worker.until_only_the_open_letter_is_left().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_worker_deletes_history_and_others_leave_it_to_that_one() {
    // As long as a lease of this name may be held, and longer than the clock moves.
    let (another, hold_for) = (Uuid::from_u128(7), Duration::from_secs(20));
    let worker = start(async |store, now| {
        assert!(store.lease_take("retention", another, now, hold_for).await.unwrap());
    })
    .await;
    worker.passes(AGE + Duration::from_secs(1));
    tokio::time::sleep(THREE_RUNS).await;
    assert_eq!((worker.entries().await, worker.letters().await.len()), (ENTRIES as usize, 2), "another worker has it");
    worker.store.lease_release("retention", another).await.unwrap();
    worker.until_only_the_open_letter_is_left().await;
}
