//! Ships what is paid, from RabbitMQ.
#![expect(clippy::disallowed_methods, reason = "a program of its own reads its own environment")]

use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use serde::Deserialize;
use sqlx::PgPool;

const PREFETCH: u16 = 20;
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// New types are added: a shop acts on those it knows, and acks the others.
const KNOWN: [&str; 5] = [
    "payhook.order.authorized.v1",
    "payhook.order.paid.v1",
    "payhook.order.refunded.v1",
    "payhook.order.held.v1",
    "payhook.order.released.v1",
];

/// The fields of a CloudEvent that are read here; unknown ones are ignored.
#[derive(Deserialize)]
struct ShopEvent {
    id: String,
    r#type: String,
    subject: String,
    data: serde_json::Value,
}

/// The data of the types in [`KNOWN`].
#[derive(Deserialize)]
struct ShopOrder {
    version: i64,
    state: String,
    amount_minor: i64,
    currency: String,
    refunded_minor: i64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let variable = |name: &str| std::env::var(name).with_context(|| format!("set {name}"));
    let (url, queue) = (variable("AMQP_URL")?, variable("QUEUE")?);
    let database = PgPool::connect(&variable("DATABASE_URL")?).await?;
    loop {
        // Messages that were not acked come again, on the next connection.
        if let Err(error) = consume(&url, &queue, &database).await {
            eprintln!("the connection ended, trying again: {error:#}");
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

async fn consume(url: &str, queue: &str, database: &PgPool) -> Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), durable, arguments).await?;
    let (exchange, key) = ("payhook.events".into(), "order.#".into());
    channel.queue_bind(queue.into(), exchange, key, QueueBindOptions::default(), FieldTable::default()).await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let consuming =
        channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
    let mut deliveries = consuming.await?;
    eprintln!("consuming {queue}");
    while let Some(delivery) = deliveries.next().await {
        handle(database, &delivery?).await?;
    }
    anyhow::bail!("the broker ended the consumption")
}

async fn handle(database: &PgPool, delivery: &Delivery) -> Result<()> {
    let Ok(event) = serde_json::from_slice::<ShopEvent>(&delivery.data) else {
        eprintln!("rejecting message {}: it is no event", delivery.delivery_tag);
        delivery.nack(BasicNackOptions { requeue: false, ..BasicNackOptions::default() }).await?;
        return Ok(());
    };
    let word = if apply(database, &event).await? { "applied" } else { "seen before:" };
    delivery.ack(BasicAckOptions::default()).await?;
    eprintln!("{word} {} of {}", event.r#type, event.subject);
    Ok(())
}

/// Acts on one event in one transaction. Returns false for a repeat.
async fn apply(database: &PgPool, event: &ShopEvent) -> Result<bool> {
    let mut transaction = database.begin().await?;
    // First, and in the same transaction: of two copies in work at once, the second waits here and then does nothing.
    let seen = sqlx::query("insert into payhook_events (id) values ($1) on conflict do nothing").bind(&event.id);
    let is_new = seen.execute(&mut *transaction).await?.rows_affected() == 1;
    if is_new && KNOWN.contains(&event.r#type.as_str()) {
        let order = ShopOrder::deserialize(&event.data).context("an event of a known type lacks a field")?;
        sqlx::query(
            "insert into shop_orders as o (id, version, state, refunded_minor) values ($1, $2, $3, $4) \
             on conflict (id) do update \
             set version = excluded.version, state = excluded.state, refunded_minor = excluded.refunded_minor \
             where o.version < excluded.version",
        )
        .bind(&event.subject)
        .bind(order.version)
        .bind(order.state)
        .bind(order.refunded_minor)
        .execute(&mut *transaction)
        .await?;
        if event.r#type == "payhook.order.paid.v1" {
            sqlx::query("insert into shipments (order_id, amount_minor, currency) values ($1, $2, $3)")
                .bind(&event.subject)
                .bind(order.amount_minor)
                .bind(order.currency)
                .execute(&mut *transaction)
                .await?;
        }
    }
    transaction.commit().await?;
    Ok(is_new)
}
