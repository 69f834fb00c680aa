//! Tests what only PostgreSQL shows: a server that is away, slow, frozen, of another version, or lost in the middle.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use payhook_schema::{
    AccountName, Clock, Event, EventType, NewOrder, Order, OrderEvent, OrderId, OrderState, PaymentId, PaymentKey,
    PaymentState, Provider,
};
use payhook_store::traits::*;
use payhook_store::{Change, PgOptions, PgStore, Registered, Settled, Settlement, StoreError};
use payhook_test_servers::{Database, Proxy, postgres};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

/// Short, so that the tests need not wait long for what takes too long.
fn impatient() -> PgOptions {
    PgOptions {
        max_connections: 2,
        acquire_timeout: Duration::from_secs(1),
        statement_timeout: Duration::from_millis(800),
        ..PgOptions::default()
    }
}

/// As long as [`impatient`] may take for one call, and some time for a busy machine.
const PATIENCE: Duration = Duration::from_secs(6);

fn now() -> Timestamp {
    Timestamp::from_second(1_767_225_600).unwrap()
}

async fn database() -> Option<Database> {
    Some(postgres().await?.fresh_database().await)
}

async fn migrated(url: &str) -> PgStore {
    let store = PgStore::connect(url, impatient()).unwrap();
    store.migrate().await.unwrap();
    store
}

async fn registered(store: &PgStore, id: &str) -> Order {
    let key = PaymentKey {
        provider: Provider::Omise,
        account: AccountName::new("shop").unwrap(),
        id: PaymentId::new(format!("chrg_{id}")).unwrap(),
    };
    let amount = "120.00 THB".parse().unwrap();
    let new = NewOrder { id: OrderId::new(id).unwrap(), amount, payments: vec![key], refunds: Vec::new() };
    match store.order_register(&new, now()).await.unwrap() {
        Registered::Order { order, .. } => order,
        other => panic!("{other:?}"),
    }
}

fn paid(order: &Order) -> Settlement {
    let mut order = order.clone();
    order.state = OrderState::Paid;
    order.captured_minor = order.amount.amount_minor;
    order.version += 1;
    let mut payment = order.payments[0].clone();
    payment.state = PaymentState::Paid;
    payment.captured_minor = order.captured_minor;
    let data = OrderEvent::of(&order, &payment.key, now());
    let events = vec![Event::of_order(EventType::OrderPaid, data, now())];
    Settlement { change: Some(Change { order, payment, events }), ..Settlement::default() }
}

async fn run(database: &Database, sql: &str) {
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
}

/// Everything an operator could see of `error`: its own text, its causes, and what a careless `{:?}` would print.
fn full_text(error: &StoreError) -> String {
    let mut text = format!("{error:?}\n{error}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!("\n{error}"));
        cause = error.source();
    }
    text
}

#[track_caller]
fn unavailable<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    match answer {
        Err(StoreError::Unavailable { .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_backend_killed_midway_is_unavailable_and_the_next_call_works() {
    let Some(database) = database().await else { return };
    let store = migrated(&database.url).await;
    let order = registered(&store, "A-1").await;

    let mut holder = PgConnection::connect(&database.url).await.unwrap();
    let mut holding = holder.begin().await.unwrap();
    sqlx::query("select 1 from orders for update").execute(&mut *holding).await.unwrap();
    let settlements = [paid(&order)];
    let killer = async {
        // Waits for the row we hold: then it is in the middle of its statement.
        let mut killed = 0;
        while killed == 0 {
            let mut connection = PgConnection::connect(&database.url).await.unwrap();
            let kill = "select pg_terminate_backend(pid) from pg_stat_activity \
                where datname = current_database() and wait_event_type = 'Lock'";
            killed = sqlx::query(kill).execute(&mut connection).await.unwrap().rows_affected();
        }
    };
    let (settled, ()) = tokio::join!(store.settle(&settlements), killer);
    unavailable(settled);
    holding.rollback().await.unwrap();
    assert_eq!(store.settle(&settlements).await.unwrap(), [Settled::Written]);
}

#[tokio::test]
async fn all_connections_killed_while_idle_are_replaced() {
    let Some(database) = database().await else { return };
    let store = migrated(&database.url).await;
    let order = registered(&store, "A-1").await;
    run(
        &database,
        "select pg_terminate_backend(pid) from pg_stat_activity \
        where datname = current_database() and pid <> pg_backend_pid()",
    )
    .await;
    // Each of the pool's connections may have to be found dead once.
    let mut lost = 0;
    while let Err(error) = store.order_get(&order.id).await {
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        lost += 1;
        assert!(lost <= impatient().max_connections, "dead connections are not used twice");
    }
}

#[tokio::test]
async fn a_row_somebody_holds_is_given_up_in_time_and_hurts_nobody_else() {
    let Some(database) = database().await else { return };
    let store = migrated(&database.url).await;
    let (held, free) = (registered(&store, "A-1").await, registered(&store, "A-2").await);
    let mut holder = PgConnection::connect(&database.url).await.unwrap();
    let mut holding = holder.begin().await.unwrap();
    sqlx::query("select 1 from orders where id = 'A-1' for update").execute(&mut *holding).await.unwrap();
    let began = Instant::now();
    let settled = store.settle(&[paid(&held), paid(&free)]).await.unwrap();
    assert_eq!(settled, [Settled::Conflict, Settled::Written]);
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    holding.rollback().await.unwrap();
    assert_eq!(store.settle(&[paid(&held)]).await.unwrap(), [Settled::Written]);
}

#[tokio::test]
async fn a_frozen_server_is_given_up_in_time_every_time() {
    let Some(database) = database().await else { return };
    let proxy = Proxy::start(&database.url).await.unwrap();
    let store = migrated(&proxy.url(&database.url)).await;
    let order = registered(&store, "A-1").await;
    proxy.freeze();
    // More often than there are connections: a lost one must not be missing for ever.
    for _ in 0..4 {
        let began = Instant::now();
        unavailable(store.settle(&[paid(&order)]).await);
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    }
    let began = Instant::now();
    unavailable(store.check().await);
    unavailable(PgStore::connect(&proxy.url(&database.url), impatient()).unwrap().migrate().await);
    assert!(began.elapsed() < 2 * PATIENCE, "{:?}", began.elapsed());
    proxy.thaw();
    let began = Instant::now();
    while store.order_get(&order.id).await.is_err() {
        assert!(began.elapsed() < PATIENCE, "it comes back");
    }
}

#[tokio::test]
async fn closing_does_not_wait_for_a_frozen_server() {
    let Some(database) = database().await else { return };
    let proxy = Proxy::start(&database.url).await.unwrap();
    let store = migrated(&proxy.url(&database.url)).await;
    registered(&store, "A-1").await;
    proxy.freeze();
    let began = Instant::now();
    store.close().await;
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_settlement_whose_answer_is_lost_can_be_asked_for_again() {
    let Some(database) = database().await else { return };
    let proxy = Proxy::start(&database.url).await.unwrap();
    let store = migrated(&proxy.url(&database.url)).await;
    // The statement is known to the server before, so that the lost answer is that of the commit.
    let warm = registered(&store, "A-1").await;
    assert_eq!(store.settle(&[paid(&warm)]).await.unwrap(), [Settled::Written]);
    let order = registered(&store, "A-2").await;
    proxy.drop_after(0);
    unavailable(store.settle(&[paid(&order)]).await);
    let again = loop {
        match store.settle(&[paid(&order)]).await {
            Ok(settled) => break settled,
            Err(error) => assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}"),
        }
    };
    assert!(matches!(again[..], [Settled::Written | Settled::Conflict]), "{again:?}");
    // Past the proxy: another connection of the pool may have been cut, too.
    let store = PgStore::connect(&database.url, impatient()).unwrap();
    let after = store.order_get(&order.id).await.unwrap().unwrap();
    assert_eq!((after.revision, after.version), (order.revision + 1, 1), "either way it happened once");
    assert_eq!(store.events_sequence(10, jiff::Timestamp::UNIX_EPOCH).await.unwrap(), 2);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable_at_once_and_its_password_unseen() {
    let url = "postgres://payhook:s3cret@127.0.0.1:1/payhook";
    let store = PgStore::connect(url, impatient()).unwrap();
    for answer in [store.check().await, store.migrate().await] {
        let error = answer.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(
            full_text(&error).contains("refused") && !full_text(&error).contains("s3cret"),
            "{}",
            full_text(&error)
        );
    }
    unavailable(store.order_get(&OrderId::new("A-1").unwrap()).await);
    assert_eq!(store.address(), "postgres://127.0.0.1:1/payhook");
    let error = PgStore::connect("postgres://payhook:s3cret@127.0.0.1:port/payhook", impatient()).err().unwrap();
    assert!(
        matches!(error, StoreError::Refused { .. }) && !full_text(&error).contains("s3cret"),
        "{}",
        full_text(&error)
    );
}

#[tokio::test]
async fn a_stranger_and_a_database_that_is_not_there_are_refused() {
    let Some(database) = database().await else { return };
    let elsewhere = database.url.replace(&database.name, "nowhere");
    let (_, at) = database.url.split_once('@').unwrap();
    for url in [elsewhere, format!("postgres://stranger:s3cret@{at}")] {
        let store = PgStore::connect(&url, impatient()).unwrap();
        for error in [store.check().await.unwrap_err(), store.backlog().await.unwrap_err()] {
            assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
            assert!(!full_text(&error).contains("s3cret"), "{}", full_text(&error));
        }
    }
}

#[tokio::test]
async fn a_read_only_server_is_unavailable_for_writing_only() {
    let Some(database) = database().await else { return };
    let order = registered(&migrated(&database.url).await, "A-1").await;
    run(&database, &format!("alter database {} set default_transaction_read_only = on", database.name)).await;
    let store = PgStore::connect(&database.url, impatient()).unwrap();
    unavailable(store.settle(&[paid(&order)]).await);
    assert_eq!(store.order_get(&order.id).await.unwrap(), Some(order));
}

#[tokio::test]
async fn another_version_of_the_schema_is_reported() {
    let Some(database) = database().await else { return };
    let store = migrated(&database.url).await;
    let outdated = async |sql: &str| {
        run(&database, sql).await;
        match store.check().await {
            Err(StoreError::Outdated { what, .. }) => what,
            other => panic!("{other:?}"),
        }
    };
    let older = outdated("delete from store_migrations where version = 5").await;
    assert_eq!(older, "migration 0005_leases is missing");
    let newer = "insert into store_migrations (version, description, success, checksum, execution_time) \
        values (5, '', true, '', 0), (99, '', true, '', 0)";
    assert_eq!(outdated(newer).await, "its migration 99 is of a newer payhook");
    assert!(matches!(store.migrate().await, Err(StoreError::Outdated { .. })), "nothing is migrated backwards");
    run(&database, "drop table leases").await;
    let lease = store.lease_take("sweep", uuid::Uuid::nil(), now(), Duration::ZERO).await;
    assert!(matches!(lease, Err(StoreError::Outdated { .. })), "{lease:?}");
}

#[tokio::test]
async fn a_refusal_of_the_server_is_reported_without_the_values() {
    let Some(database) = database().await else { return };
    let store = migrated(&database.url).await;
    let order = registered(&store, "A-1").await;
    let mut settlement = paid(&order);
    let change = settlement.change.as_mut().unwrap();
    change.payment.reason = Some("s3cret".to_owned());
    change.payment.checks = -1;
    match &store.settle(&[settlement]).await.unwrap()[..] {
        [Settled::Refused(why)] => assert!(why.contains("payments_checks_check") && !why.contains("s3cret"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_share_a_server_share_its_clock() {
    let Some(database) = database().await else { return };
    let store = migrated(&database.url).await;
    let hour = SignedDuration::from_hours(1);
    let off = |machine: SignedDuration| {
        let clock = store.clock(Clock::new(move || Clock::system().now() + machine));
        clock.now().duration_since(Clock::system().now())
    };
    assert!(off(hour) > hour / 2, "the machine's, until there was a connection");
    registered(&store, "A-1").await;
    for machine in [hour, -hour] {
        assert!(off(machine).abs() < hour / 2, "{}", off(machine));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_whose_clock_is_ahead_gives_places_by_the_servers_clock() {
    let Some(database) = database().await else { return };
    let store = migrated(&database.url).await;
    let order = registered(&store, "A-1").await;
    assert_eq!(store.settle(&[paid(&order)]).await.unwrap(), [Settled::Written]);
    let half_an_hour_ahead = || Clock::system().now() + SignedDuration::from_mins(30);
    assert_eq!(store.events_sequence(9, half_an_hour_ahead() + SignedDuration::from_mins(30)).await.unwrap(), 1);
    let feed = store.events_after(0, 9).await.unwrap();
    assert!(feed[0].seq < half_an_hour_ahead().as_microsecond(), "{}", feed[0].seq);
}
