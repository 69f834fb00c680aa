//! Measures how many notifications one ingress accepts, against raw confirmed publishes.

use std::time::{Duration, Instant};

use anyhow::Result;
use payhook_schema::Provider;

use crate::bench::Bench;
use crate::figures::Series;
use crate::http;
use crate::program::RunningRole;
use crate::raw::{self, Task};
use crate::report::{Cost, Measured, Report};

pub(crate) const GOAL_OMISE: f64 = 0.80;
pub(crate) const GOAL_ANTOM: f64 = 0.65;
const ACK_P99_MS_MAX: f64 = 50.0;

/// The rounds of one provider's notifications and of the two raw shapes, turn by turn.
#[derive(Default)]
struct Rounds {
    ours: Series,
    channels: Series,
    pipelined: Series,
    our_cost: Vec<Cost>,
    raw_cost: Vec<Cost>,
}

pub(crate) async fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let ingress = bench.cluster.start("ingress").await?;
    report.fact("ingress: start to ready", ingress.ready_after.as_secs_f64() * 1e3, "ms");
    tokio::time::sleep(Duration::from_millis(300)).await;
    report.fact("ingress: resident memory at rest", ingress.rss_mb(), "MB");
    let connections = bench.options.connections;
    let (mut omise, mut antom) = (Rounds::default(), Rounds::default());
    for _ in 0..bench.options.size.rounds {
        omise.one(bench, &ingress, Provider::Omise).await?;
        antom.one(bench, &ingress, Provider::Antom).await?;
    }
    report.fact("ingress: resident memory under load", ingress.rss_mb(), "MB");

    for (provider, rounds, goal) in
        [(Provider::Omise, omise, ("P1", GOAL_OMISE)), (Provider::Antom, antom, ("P2", GOAL_ANTOM))]
    {
        let Rounds { ours, channels, pipelined, our_cost, raw_cost } = rounds;
        let bytes = envelope_bytes(bench, provider);
        report.fact(&format!("message of {provider} on the queue"), bytes as f64, "bytes");
        let what = format!("accepted/s, {provider}, {connections} connections");
        let many = format!("lapin, {connections} channels × 1 in flight");
        report.ratio(Measured::new(what.clone(), &ours, &many, &channels).goal(goal.0, goal.1));
        let one = format!("lapin, 1 channel × {connections} in flight");
        report.ratio(Measured::new(what, &ours, &one, &pipelined));
        report.cost(&format!("accept {provider}"), "ingress", &our_cost);
        report.cost(&format!("raw publish of as much, {connections} × 1"), "lapin", &raw_cost);
        at_half(bench, &ingress, report, provider, ours.median() / 2.0).await?;
    }
    ingress.stop().await
}

impl Rounds {
    async fn one(&mut self, bench: &Bench, ingress: &RunningRole, provider: Provider) -> Result<()> {
        let (connections, bytes) = (bench.options.connections, envelope_bytes(bench, provider));
        let (rate, cost) = flood(bench, ingress, provider).await?;
        self.ours.push(rate);
        self.our_cost.push(cost);
        let (rate, cost) = publish(bench, connections, 1, bytes).await?;
        self.channels.push(rate);
        self.raw_cost.push(cost);
        self.pipelined.push(publish(bench, 1, connections, bytes).await?.0);
        Ok(())
    }
}

async fn flood(bench: &Bench, ingress: &RunningRole, provider: Provider) -> Result<(f64, Cost)> {
    let size = bench.options.size;
    let (cpu, servers, began) = (ingress.cpu_s(), bench.servers_cpu(), Instant::now());
    let requests = &bench.payments(provider).requests;
    let load = http::flood(ingress.ingress, requests, bench.options.connections, size.warm_up, size.round).await?;
    let rate = load.accepted as f64 / load.took.as_secs_f64();
    // Of the warm-up, too: processor time is read around all of it.
    let done = rate * began.elapsed().as_secs_f64();
    let cost = Cost::new(ingress.cpu_s() - cpu, bench.servers_cpu().since(servers), done);
    bench.purge().await?;
    Ok((rate, cost))
}

async fn publish(bench: &Bench, channels: usize, in_flight: usize, bytes: usize) -> Result<(f64, Cost)> {
    let size = bench.options.size;
    let servers = bench.servers_cpu();
    let task = Task::Publish {
        url: bench.vhost.url.clone(),
        channels,
        in_flight,
        bytes,
        warm_up: size.warm_up,
        count_for: size.round,
    };
    let outcome = raw::run(bench.pinning, &task).await?;
    let done = outcome.per_s() * (size.warm_up + size.round).as_secs_f64();
    let cost = Cost::new(outcome.cpu_s, bench.servers_cpu().since(servers), done);
    bench.purge().await?;
    Ok((outcome.per_s(), cost))
}

/// The size of a payhook message, in bytes.
pub(crate) fn envelope_bytes(bench: &Bench, provider: Provider) -> usize {
    bench.payments(provider).envelopes.first().map_or(0, |envelope| envelope.encode().len())
}

/// Measures the time of an acknowledgement at half of the possible rate, against a raw confirm at the same rate, turn
/// by turn.
async fn at_half(
    bench: &Bench,
    ingress: &RunningRole,
    report: &mut Report,
    provider: Provider,
    rate: f64,
) -> Result<()> {
    let (size, connections) = (bench.options.size, bench.options.connections);
    let requests = &bench.payments(provider).requests;
    let [mut p50, mut p99, mut raw_p50, mut raw_p99, mut kept] = std::array::from_fn(|_| Series::default());
    for _ in 0..size.rounds {
        let load = http::steady(ingress.ingress, requests, connections, rate, size.steady).await?;
        bench.purge().await?;
        p50.push(load.latencies.ms(0.5));
        p99.push(load.latencies.ms(0.99));
        kept.push(load.accepted as f64 / load.took.as_secs_f64() / rate);
        let (url, bytes) = (bench.vhost.url.clone(), envelope_bytes(bench, provider));
        let task = Task::PublishSteadily { url, channels: connections, bytes, rate, during: size.steady };
        let raw = raw::run(bench.pinning, &task).await?;
        bench.purge().await?;
        raw_p50.push(raw.p50_ms);
        raw_p99.push(raw.p99_ms);
    }
    let name = format!("{provider}, {rate:.0}/s (half)");
    report.fact(&format!("acknowledged, {name}: p50"), p50.median(), "ms");
    report.fact(&format!("acknowledged, {name}: p99"), p99.median(), "ms");
    report.fact(&format!("raw confirm, {name}: p50"), raw_p50.median(), "ms");
    report.fact(&format!("raw confirm, {name}: p99"), raw_p99.median(), "ms");
    report.fact(&format!("rate kept, {name}"), kept.median(), "×");
    let what = format!("{provider}: acknowledgement p99 at half the rate, against a raw confirm's at the same rate");
    report.at_most("P4", &what, p99.over(&raw_p99).median(), 2.0);
    report.at_most(
        "P4",
        &format!("{provider}: acknowledgement p99 at half the rate, ms"),
        p99.median(),
        ACK_P99_MS_MAX,
    );
    Ok(())
}
