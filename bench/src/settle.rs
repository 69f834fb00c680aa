//! Measures how many payments one worker settles, events published included, against the same transaction issued raw.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use payhook_queue::Queue as _;
use payhook_queue::rabbitmq::{RabbitOptions, RabbitQueue};
use payhook_schema::{Clock, Provider};

use crate::bench::Bench;
use crate::figures::Series;
use crate::orders;
use crate::raw::{self, Task};
use crate::report::{Cost, Measured, Report};

const GOAL_OMISE: f64 = 0.75;
const GOAL_ANTOM: f64 = 0.85;
const POSTGRES_US_MAX: f64 = 60.0;
/// The interval between two looks at the worker's progress.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The part of a round that is the worker's start: one in so many.
const STARTING: usize = 8;
/// The interval between two looks while the worker starts.
const START_EVERY: Duration = Duration::from_millis(1);
const ROUND_WITHIN: Duration = Duration::from_mins(1);
/// The raw shapes: statements of one payment on many connections, and statements of many payments on two.
const CONNECTIONS_ONE: u32 = 32;
const CONNECTIONS_MANY: u32 = 2;
const ROWS: usize = 32;

struct SettledRound {
    per_s: f64,
    cost: Cost,
    rss_mb: f64,
}

pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let queue = queue(bench)?;
    let (mut omise, mut antom, mut one, mut many, mut limit) =
        (Series::default(), Series::default(), Series::default(), Series::default(), Series::default());
    let (mut omise_cost, mut antom_cost, mut one_cost, mut many_cost) = (vec![], vec![], vec![], vec![]);
    let mut rss = Series::default();
    for _ in 0..bench.options.size.rounds {
        let settled = settled(bench, &queue, Provider::Omise).await?;
        omise.push(settled.per_s);
        omise_cost.push(settled.cost);
        rss.push(settled.rss_mb);
        let (rate, cost) = raw(bench, CONNECTIONS_MANY, ROWS).await?;
        many.push(rate);
        many_cost.push(cost);
        let settled = self::settled(bench, &queue, Provider::Antom).await?;
        antom.push(settled.per_s);
        antom_cost.push(settled.cost);
        limit.push(signature_limit(bench).await?);
        let (rate, cost) = raw(bench, CONNECTIONS_ONE, 1).await?;
        one.push(rate);
        one_cost.push(cost);
    }
    queue.close().await;

    let single = format!("sqlx, one statement a payment, {CONNECTIONS_ONE} connections");
    let batch = format!("sqlx, {ROWS} a statement, {CONNECTIONS_MANY} connections");
    report.ratio(Measured::new("settled/s, Omise".to_owned(), &omise, &single, &one).goal("P5", GOAL_OMISE));
    report.ratio(Measured::new("settled/s, Omise".to_owned(), &omise, &batch, &many));
    report.ratio(Measured::new("settled/s, Antom".to_owned(), &antom, &single, &one));
    report.ratio(
        Measured::new("settled/s, Antom".to_owned(), &antom, "1 / (sign + verify)", &limit).goal("P6", GOAL_ANTOM),
    );
    report.cost("settle Omise", "worker", &omise_cost);
    report.cost("settle Antom", "worker", &antom_cost);
    report.cost("raw settle, one a statement", "sqlx", &one_cost);
    report.cost(&format!("raw settle, {ROWS} a statement"), "sqlx", &many_cost);
    report.fact("sign + verify, RSA-2048", 1e6 / limit.median(), "µs");
    report.fact("worker: resident memory under load", rss.median(), "MB");
    let postgres_us = Series(omise_cost.iter().map(|cost| cost.postgres_us).collect()).median();
    report.at_most("P5", "PostgreSQL CPU per settled payment, Omise, µs", postgres_us, POSTGRES_US_MAX);
    Ok(())
}

pub(crate) fn queue(bench: &Bench) -> Result<RabbitQueue> {
    let mut options = RabbitOptions::new("bench", Clock::system(), &[Duration::from_secs(1)]);
    options.publish_channels = 256;
    Ok(RabbitQueue::open(&bench.vhost.url, options)?)
}

/// Registers orders, puts their notifications on the queue, and lets a worker loose on them.
async fn settled(bench: &Bench, queue: &RabbitQueue, provider: Provider) -> Result<SettledRound> {
    let size = bench.options.size;
    let count = if provider == Provider::Antom { size.antom } else { size.omise };
    let payments = bench.payments(provider);
    orders::register(&bench.pool, payments, count).await?;
    stream::iter(payments.envelopes.iter().take(count))
        .map(|envelope| queue.publish(envelope))
        .buffer_unordered(256)
        .try_collect::<()>()
        .await?;

    let asked_before = bench.stub.asked();
    let worker = bench.cluster.spawn("worker")?;
    let asked = || bench.stub.asked() - asked_before;
    // A process that has just started connects and has its statements planned. From here on, what has not been asked
    // about yet is counted, until all of it is settled; what is in flight now is settled meanwhile and not counted.
    while asked() < count / STARTING {
        ensure!(worker.is_young(ROUND_WITHIN), "the worker asks nothing: {}", worker.log());
        tokio::time::sleep(START_EVERY).await;
    }
    let (began, cpu, servers) = (Instant::now(), worker.cpu_s(), bench.servers_cpu());
    let counted = (count - asked()) as f64;
    // Counting costs the database something: not before the last question was asked.
    while asked() < count {
        ensure!(worker.is_young(ROUND_WITHIN), "the worker asks no more: {}", worker.log());
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let took = loop {
        let (paid, told) = orders::progress(&bench.pool).await?;
        if paid.min(told) >= count {
            break began.elapsed();
        }
        ensure!(worker.is_young(ROUND_WITHIN), "{paid} of {count} settled, {told} told: {}", worker.log());
        tokio::time::sleep(LOOK_EVERY).await;
    };
    let settled = SettledRound {
        per_s: counted / took.as_secs_f64(),
        cost: Cost::new(worker.cpu_s() - cpu, bench.servers_cpu().since(servers), counted),
        rss_mb: worker.rss_mb(),
    };
    worker.stop().await?;
    bench.purge().await?;
    Ok(settled)
}

async fn raw(bench: &Bench, connections: u32, rows: usize) -> Result<(f64, Cost)> {
    orders::register(&bench.pool, &bench.omise, bench.options.size.raw).await?;
    let servers = bench.servers_cpu();
    let task = Task::Settle { url: bench.database.url.clone(), connections, rows, body_bytes: body_bytes(bench) };
    let outcome = raw::run(bench.pinning, &task).await?;
    let cost = Cost::new(outcome.cpu_s, bench.servers_cpu().since(servers), outcome.done as f64);
    Ok((outcome.per_s(), cost))
}

/// The size of a notification's body, in bytes.
pub(crate) fn body_bytes(bench: &Bench) -> usize {
    match bench.omise.envelopes.first().map(|envelope| &envelope.hint) {
        Some(payhook_schema::Hint::Notification(notification)) => notification.body.len(),
        _ => 0,
    }
}

/// Measures the most questions per second that one core could ask Antom, with one signature made and one checked for
/// each.
async fn signature_limit(bench: &Bench) -> Result<f64> {
    let key = bench.world.keys().merchant().to_base64();
    let outcome = raw::run(bench.pinning, &Task::Sign { key }).await?;
    Ok(outcome.per_s())
}
