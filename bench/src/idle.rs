//! Measures one notification at a time, at rest: from its first byte sent to its event received by fulfilment.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{ConnectionProperties, Consumer};

use payhook_schema::Provider;

use crate::accept::envelope_bytes;
use crate::bench::Bench;
use crate::embedded;
use crate::figures::Latencies;
use crate::http::LoadConnection;
use crate::orders;
use crate::raw::broker::goodbye;
use crate::raw::{self, Task};
use crate::report::Report;
use crate::settle::body_bytes;

const EVENTS: &str = "payhook.events";
const EVENT_P50_MS_MAX: f64 = 15.0;
const PAUSE: Duration = Duration::from_millis(25);
const EVENT_WITHIN: Duration = Duration::from_secs(10);
/// Confirmed publishes a second when measuring one alone: slow enough that none waits for another.
const ALONE_PER_S: f64 = 50.0;

pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let (on_servers, raw_ms) = (on_servers(bench, report).await?, raw_steps_ms(bench).await?);
    let p50 = on_servers.ms(0.5);
    report.fact("received to event, RabbitMQ and PostgreSQL, at rest: p50", p50, "ms");
    report.fact("received to event, RabbitMQ and PostgreSQL, at rest: p99", on_servers.ms(0.99), "ms");
    report.fact("the raw steps of it: two confirms and one transaction, p50 each", raw_ms, "ms");
    report.at_most("P8", "received to event at rest, p50, against its raw steps", p50 / raw_ms, 2.0);
    report.at_most("P8", "received to event at rest, p50, ms", p50, EVENT_P50_MS_MAX);
    let in_one = in_one_process(bench).await?;
    report.fact("received to event in the feed, serve on one file, at rest: p50", in_one.ms(0.5), "ms");
    Ok(())
}

async fn on_servers(bench: &Bench, report: &mut Report) -> Result<Latencies> {
    let count = bench.options.size.idle;
    orders::register(&bench.pool, &bench.omise, count).await?;
    let connection = lapin::Connection::connect(&bench.vhost.url, ConnectionProperties::default()).await?;
    let mut fulfilment = fulfilment(&connection).await?;
    let ingress = bench.cluster.start("ingress").await?;
    let worker = bench.cluster.start("worker").await?;
    report.fact("worker: start to ready", worker.ready_after.as_secs_f64() * 1e3, "ms");
    // The worker's first look at everything is over.
    tokio::time::sleep(Duration::from_millis(800)).await;
    report.fact("worker: resident memory at rest", worker.rss_mb(), "MB");
    let mut door = LoadConnection::open(ingress.ingress).await?;
    let mut latencies = Latencies::default();
    for request in bench.omise.requests.iter().take(count) {
        let began = Instant::now();
        let status = door.send(request).await?;
        ensure!(status == 200, "a notification was answered {status}");
        let event = tokio::time::timeout(EVENT_WITHIN, fulfilment.next()).await;
        event.with_context(|| format!("no event: {}", worker.log()))?.context("the broker ended the flow")??;
        latencies.push(began.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    ingress.stop().await?;
    worker.stop().await?;
    goodbye(&connection).await;
    Ok(latencies)
}

/// A queue of our own behind the events' exchange.
async fn fulfilment(connection: &lapin::Connection) -> Result<Consumer> {
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
    let (name, all) = (queue.name().clone(), "#");
    let (bind, no_arguments) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(name.clone(), EVENTS.into(), all.into(), bind, no_arguments).await?;
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    Ok(channel.basic_consume(name, "".into(), options, FieldTable::default()).await?)
}

/// Measures the steps that no design can leave out: the notification confirmed, the settlement committed, the event
/// confirmed.
async fn raw_steps_ms(bench: &Bench) -> Result<f64> {
    let during = Duration::from_secs_f64(bench.options.size.idle as f64 / ALONE_PER_S);
    let (url, bytes) = (bench.vhost.url.clone(), envelope_bytes(bench, Provider::Omise));
    let task = Task::PublishSteadily { url, channels: 1, bytes, rate: ALONE_PER_S, during };
    let confirm = raw::run(bench.pinning, &task).await?;
    bench.purge().await?;
    orders::register(&bench.pool, &bench.omise, bench.options.size.idle * 4).await?;
    let (url, body_bytes) = (bench.database.url.clone(), body_bytes(bench));
    let transaction = raw::run(bench.pinning, &Task::Settle { url, connections: 1, rows: 1, body_bytes }).await?;
    Ok(2.0 * confirm.p50_ms + transaction.p50_ms)
}

async fn in_one_process(bench: &Bench) -> Result<Latencies> {
    let dir = bench.dir.path().join("idle");
    std::fs::create_dir(&dir)?;
    let file = dir.join("payhook.db");
    let serve = embedded::deployment(bench, &dir, &file).await?.start("serve").await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut eyes = orders::sqlite(&file).await?;
    let mut door = LoadConnection::open(serve.ingress).await?;
    let mut latencies = Latencies::default();
    for (before, request) in bench.omise.requests.iter().take(bench.options.size.idle).enumerate() {
        let began = Instant::now();
        let status = door.send(request).await?;
        ensure!(status == 200, "a notification was answered {status}");
        while orders::progress_in_file(&mut eyes).await? <= before {
            ensure!(began.elapsed() < EVENT_WITHIN, "no event: {}", serve.log());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        latencies.push(began.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    serve.stop().await?;
    Ok(latencies)
}
