//! Measures one process with one file, which accepts notifications and settles them while more arrive. Compares it with
//! the same rows written raw: queued in transactions of 32, then settled in transactions of 32.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use payhook_schema::Provider;

use crate::accept::envelope_bytes;
use crate::bench::Bench;
use crate::figures::Series;
use crate::http::LoadConnection;
use crate::orders;
use crate::program::Deployment;
use crate::raw::{self, RawOutcome, Task};
use crate::report::{Cost, Measured, Report};
use crate::settle::body_bytes;

const GOAL: f64 = 0.5;
const ROWS: usize = 32;
const LOOK_EVERY: Duration = Duration::from_millis(25);
const ROUND_WITHIN: Duration = Duration::from_mins(1);

struct Round {
    accepted_per_s: f64,
    settled_per_s: f64,
    cost: Cost,
    rss_mb: f64,
    ready_ms: f64,
}

pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let [mut accepted, mut settled, mut raw_queued, mut raw_both, mut rss, mut ready] =
        std::array::from_fn(|_| Series::default());
    let mut costs = Vec::new();
    for round in 0..bench.options.size.rounds {
        let dir = bench.dir.path().join(format!("embedded-{round}"));
        std::fs::create_dir(&dir)?;
        let ours = ours(bench, &dir).await?;
        accepted.push(ours.accepted_per_s);
        settled.push(ours.settled_per_s);
        rss.push(ours.rss_mb);
        ready.push(ours.ready_ms);
        costs.push(ours.cost);
        let raw = raw_round(bench, &dir).await?;
        raw_queued.push(raw.done as f64 / raw.queued_s);
        raw_both.push(raw.per_s());
        std::fs::remove_dir_all(&dir)?;
    }
    let anchor = format!("sqlx-sqlite, {ROWS} a transaction: queue");
    report.ratio(Measured::new("serve: accepted/s while settling, Omise".to_owned(), &accepted, &anchor, &raw_queued));
    let anchor = format!("sqlx-sqlite, {ROWS} a transaction: queue + settle");
    report.ratio(
        Measured::new("serve: settled/s, door to feed, Omise".to_owned(), &settled, &anchor, &raw_both)
            .goal("P9", GOAL),
    );
    report.cost("accept and settle, embedded", "serve", &costs);
    report.fact("serve: start to ready", ready.median(), "ms");
    report.fact("serve: resident memory under load", rss.median(), "MB");
    Ok(())
}

/// A fresh file with registered orders; also what `payhook serve` runs with.
pub(crate) async fn deployment(bench: &Bench, dir: &Path, file: &Path) -> Result<Deployment> {
    let config = format!(
        "[queue]\nurl = \"embedded\"\n[store]\nurl = \"sqlite://{}\"\n[worker]\nconcurrency = {}\n{}",
        file.display(),
        bench.options.concurrency,
        bench.world.accounts_toml(&format!("http://{}", bench.stub.address)),
    );
    let deployment = Deployment::new(&bench.options.environment.payhook, dir, bench.pinning, config);
    deployment.migrate()?;
    let mut connection = orders::sqlite(file).await?;
    orders::register_in_file(&mut connection, &bench.omise, bench.options.size.embedded).await?;
    sqlx::Connection::close(connection).await?;
    Ok(deployment)
}

async fn ours(bench: &Bench, dir: &Path) -> Result<Round> {
    let file = dir.join("payhook.db");
    let deployment = deployment(bench, dir, &file).await?;
    let serve = deployment.start("serve").await?;
    let count = bench.options.size.embedded;
    let connections = bench.options.connections;
    let mut eyes = orders::sqlite(&file).await?;

    let (cpu, servers, began) = (serve.cpu_s(), bench.servers_cpu(), Instant::now());
    let requests = bench.omise.requests.clone();
    let sending = (0..connections).map(|first| {
        let (requests, to) = (requests.clone(), serve.ingress);
        tokio::spawn(async move {
            let mut connection = LoadConnection::open(to).await?;
            for request in requests[..count].iter().skip(first).step_by(connections) {
                let status = connection.send(request).await?;
                ensure!(status == 200, "a notification was answered {status}");
            }
            Ok(())
        })
    });
    for sent in sending.collect::<Vec<_>>() {
        sent.await?.context("cannot send to `payhook serve`")?;
    }
    let accepted_s = began.elapsed().as_secs_f64();
    loop {
        let done = orders::progress_in_file(&mut eyes).await?;
        if done >= count {
            break;
        }
        ensure!(began.elapsed() < ROUND_WITHIN, "{done} of {count} settled: {}", serve.log());
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let settled_s = began.elapsed().as_secs_f64();
    let round = Round {
        accepted_per_s: count as f64 / accepted_s,
        settled_per_s: count as f64 / settled_s,
        cost: Cost::new(serve.cpu_s() - cpu, bench.servers_cpu().since(servers), count as f64),
        rss_mb: serve.rss_mb(),
        ready_ms: serve.ready_after.as_secs_f64() * 1e3,
    };
    serve.stop().await?;
    Ok(round)
}

async fn raw_round(bench: &Bench, dir: &Path) -> Result<RawOutcome> {
    let file = dir.join("raw.db");
    deployment(bench, dir, &file).await?;
    let task = Task::Sqlite {
        file,
        rows: ROWS,
        envelope_bytes: envelope_bytes(bench, Provider::Omise),
        body_bytes: body_bytes(bench),
    };
    raw::run(bench.pinning, &task).await
}
