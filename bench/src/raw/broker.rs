//! Publishes to the broker as its client library shows it, without payhook.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::task::JoinSet;

use super::RawOutcome;
use crate::figures::Latencies;

/// The exchange, and behind it the quorum queue, that payhook's ingress publishes to.
const EXCHANGE: &str = "payhook.notifications";

async fn channels(connection: &Connection, count: usize) -> Result<Vec<Channel>> {
    let mut channels = Vec::with_capacity(count);
    for _ in 0..count {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        channels.push(channel);
    }
    Ok(channels)
}

async fn confirmed(channel: &Channel, payload: &[u8]) -> Result<()> {
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    let properties = BasicProperties::default().with_delivery_mode(2).with_content_type("application/json".into());
    let sent = channel.basic_publish(EXCHANGE.into(), "".into(), options, payload, properties).await?;
    ensure!(matches!(sent.await?, Confirmation::Ack(None)), "the broker did not keep a message");
    Ok(())
}

/// As many as go.
pub(super) async fn publish(
    url: &str,
    channel_count: usize,
    in_flight: usize,
    bytes: usize,
    warm_up: Duration,
    count_for: Duration,
) -> Result<RawOutcome> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let payload: Arc<[u8]> = vec![b'x'; bytes].into();
    let from = Instant::now() + warm_up;
    let until = from + count_for;
    let mut running = JoinSet::new();
    for channel in channels(&connection, channel_count).await? {
        let payload = Arc::clone(&payload);
        running.spawn(async move {
            let (mut done, mut latencies) = (0, Latencies::default());
            let one = async || {
                let began = Instant::now();
                confirmed(&channel, &payload).await.map(|()| began)
            };
            let mut air: FuturesUnordered<_> = (0..in_flight).map(|_| one()).collect();
            while let Some(began) = air.next().await {
                let (began, now) = (began?, Instant::now());
                if now >= from && now < until {
                    done += 1;
                    latencies.push(now - began);
                }
                if now < until {
                    air.push(one());
                }
            }
            anyhow::Ok((done, latencies))
        });
    }
    let (done, latencies) = all(running).await?;
    goodbye(&connection).await;
    Ok(RawOutcome { done, took_s: count_for.as_secs_f64(), ..RawOutcome::default() }.with(&latencies))
}

/// At a rate that is kept: what is late was late from when it should have been sent.
pub(super) async fn publish_steadily(
    url: &str,
    channel_count: usize,
    bytes: usize,
    rate: f64,
    during: Duration,
) -> Result<RawOutcome> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let payload: Arc<[u8]> = vec![b'x'; bytes].into();
    let channels = channels(&connection, channel_count).await?;
    let began = Instant::now() + Duration::from_millis(20);
    let total = (rate * during.as_secs_f64()) as usize;
    let mut running = JoinSet::new();
    for (first, channel) in channels.into_iter().enumerate() {
        let payload = Arc::clone(&payload);
        running.spawn(async move {
            let (mut done, mut latencies) = (0, Latencies::default());
            for turn in (first..total).step_by(channel_count) {
                let due = began + Duration::from_secs_f64(turn as f64 / rate);
                tokio::time::sleep_until(due.into()).await;
                confirmed(&channel, &payload).await?;
                done += 1;
                latencies.push(due.elapsed());
            }
            anyhow::Ok((done, latencies))
        });
    }
    let (done, latencies) = all(running).await?;
    goodbye(&connection).await;
    Ok(RawOutcome { done, took_s: began.elapsed().as_secs_f64(), ..RawOutcome::default() }.with(&latencies))
}

/// Closes a connection. Channels that are dropped meanwhile can make lapin fail at it, or wait for ever.
pub(crate) async fn goodbye(connection: &Connection) {
    let _ = tokio::time::timeout(Duration::from_millis(500), connection.close(200, "bye".into())).await;
}

async fn all(mut running: JoinSet<Result<(usize, Latencies)>>) -> Result<(usize, Latencies)> {
    let (mut done, mut latencies) = (0, Latencies::default());
    while let Some(ended) = running.join_next().await {
        let (some, took) = ended??;
        done += some;
        latencies.extend(took);
    }
    Ok((done, latencies))
}
