//! Shows the messages in `payhook.unrouted`, and moves them to where they belong.

use lapin::Channel;
use lapin::message::BasicGetMessage;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions};
use metrics::counter;

use super::consumer::RabbitContext;
use super::failure::RabbitFailure;
use super::message;
use super::supervisor::Live;
use super::topology::{DEAD, NOTIFICATIONS, UNROUTED};
use crate::{MoveBack, MovedBack, Unrouted, UnroutedKind};

/// A message that was read this often is published again as a new one: RabbitMQ 4 drops what a queue without a limit of
/// its own delivered 20 times.
const LOOKS_MAX: i64 = 5;

/// Reads up to `at_most` messages and puts them back.
pub(super) async fn list(context: &RabbitContext, live: &Live, at_most: usize) -> Result<Vec<Unrouted>, RabbitFailure> {
    let channel = live.channel().await?;
    let mut seen = Vec::new();
    let mut listed = Vec::new();
    while seen.len() < at_most
        && let Some(got) = get(live, &channel).await?
    {
        if !message::is_probe(&got.properties) {
            listed.push(message::unrouted(&got).0);
        }
        seen.push(got);
    }
    put_back(context, live, seen).await?;
    Ok(listed)
}

/// Takes up to `at_most` messages of those that lie there now, one at a time: published, confirmed, then acked.
pub(super) async fn move_back(
    context: &RabbitContext,
    live: &Live,
    which: MoveBack,
    waiting: u32,
    at_most: usize,
) -> Result<MovedBack, RabbitFailure> {
    let channel = live.channel().await?;
    let mut moved = MovedBack::default();
    let mut stay = Vec::new();
    let mut failed = None;
    for _ in 0..at_most.min(waiting as usize) {
        let Some(got) = get(live, &channel).await? else { break };
        let (unrouted, properties) = message::unrouted(&got);
        let (to, count) = match unrouted.kind {
            _ if message::is_probe(&got.properties) => (None, None),
            UnroutedKind::Event => (None, Some(&mut moved.events_dropped)),
            UnroutedKind::Crashing if which == MoveBack::Harmless => {
                stay.push(got);
                continue;
            }
            UnroutedKind::Crashing | UnroutedKind::DeadLetter => (Some(DEAD), Some(&mut moved.dead_letters)),
            UnroutedKind::Hint => (Some(NOTIFICATIONS), Some(&mut moved.hints)),
        };
        if let Some(exchange) = to
            && let Err(failure) = context.publisher.publish(exchange, &unrouted.key, properties, &got.data).await
        {
            stay.push(got);
            failed = Some(failure);
            break;
        }
        let acked = got.acker.ack(BasicAckOptions::default());
        live.answer("take an ack", acked).await?;
        if let Some(count) = count {
            *count += 1;
            counter!("payhook_queue_unrouted_moved_total", "kind" => unrouted.kind.as_str()).increment(1);
        }
    }
    moved.left = stay.len() as u64;
    put_back(context, live, stay).await?;
    match failed {
        Some(failure) => Err(failure),
        None => Ok(moved),
    }
}

async fn get(live: &Live, channel: &Channel) -> Result<Option<BasicGetMessage>, RabbitFailure> {
    let doing = format!("hand out `{UNROUTED}`");
    live.answer(&doing, channel.basic_get(UNROUTED.into(), BasicGetOptions::default())).await
}

/// Puts messages back where they were, the last first so that their order stays.
async fn put_back(context: &RabbitContext, live: &Live, messages: Vec<BasicGetMessage>) -> Result<(), RabbitFailure> {
    for got in messages.into_iter().rev() {
        if message::deliveries(&got.properties) >= LOOKS_MAX {
            let (key, properties) = (got.routing_key.as_str().to_owned(), got.properties.clone());
            context.publisher.publish(UNROUTED, &key, properties, &got.data).await?;
            live.answer("take an ack", got.acker.ack(BasicAckOptions::default())).await?;
        } else {
            let requeue = BasicNackOptions { multiple: false, requeue: true };
            live.answer("take a message back", got.acker.nack(requeue)).await?;
        }
    }
    Ok(())
}
