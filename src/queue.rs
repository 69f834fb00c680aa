//! `payhook queue`: what waits, and what lost its way. It asks the broker of the configuration, or reads the file, and needs no other
//! process.

use std::path::Path;

use anyhow::Context;
use jiff::Timestamp;
use payhook_queue::embedded::depths_of_file;
use payhook_queue::{Depth, MoveBack, MovedBack, Queue, Unrouted};
use payhook_schema::Clock;
use serde_json::json;

use crate::cli::{QueueArguments, QueueCommand};
use crate::config::{Config, Keys, QueueConfig, StoreConfig};
use crate::failure::{Ended, failed_by};
use crate::{backends, output, process};

const HINT: &str = "`payhook check` shows the queue's address and what is wrong with it";
/// Messages moved in one go, and shown at most.
const AT_ONCE: usize = 1000;

pub(crate) async fn run(file: Option<&Path>, arguments: QueueArguments) -> anyhow::Result<Ended> {
    let config = process::load(file, Keys::NotNeeded)?;
    let clock = Clock::system();
    match arguments.command {
        QueueCommand::Stats { output } => {
            let depths = depths(&config, &clock).await;
            show_depths(
                &depths.map_err(|error| failed_by(error, "cannot count what waits", HINT))?,
                &clock,
                output.json,
            );
            Ok(Ended::Done)
        }
        QueueCommand::Unrouted { republish, limit, output } => {
            // One file has no routes: nothing in it can lose its way.
            let QueueConfig::Rabbit(url) = &config.queue else { return Ok(Ended::NothingFound) };
            let queue = backends::rabbit(&config, url, "queue", &clock)?;
            let ended = match republish {
                true => move_all_back(&*queue, output.json).await,
                false => list(&*queue, limit, output.json).await,
            };
            queue.close().await;
            ended
        }
    }
}

async fn depths(config: &Config, clock: &Clock) -> anyhow::Result<Vec<Depth>> {
    match (&config.queue, &config.store) {
        (QueueConfig::Rabbit(url), _) => {
            let queue = backends::rabbit(config, url, "queue", clock)?;
            let depths = queue.depths().await;
            queue.close().await;
            Ok(depths?)
        }
        (QueueConfig::Embedded, StoreConfig::Sqlite(path)) => {
            depths_of_file(path, clock, &config.worker.retry_delays).await.context("cannot read the file")
        }
        (QueueConfig::Embedded, StoreConfig::Postgres(_)) => {
            unreachable!("the configuration refuses an embedded queue without a SQLite store")
        }
    }
}

fn show_depths(depths: &[Depth], clock: &Clock, as_json: bool) {
    if as_json {
        let list: Vec<_> = depths
            .iter()
            .map(|depth| {
                json!({
                    "queue": depth.queue, "ready": depth.ready, "consumers": depth.consumers,
                    "oldest_at": depth.oldest_at, "next_due_at": depth.next_due_at,
                })
            })
            .collect();
        return output::json(&json!({ "queues": list }));
    }
    let now = clock.now();
    let unknown = || "-".to_owned();
    let seconds = |at: Timestamp| format!("{} s", at.duration_since(now).as_secs().abs());
    let rows = depths.iter().map(|depth| {
        [
            depth.queue.clone(),
            depth.ready.to_string(),
            depth.consumers.map_or_else(unknown, |consumers| consumers.to_string()),
            depth.oldest_at.map_or_else(unknown, seconds),
            depth.next_due_at.map_or_else(unknown, seconds),
        ]
    });
    output::table(["QUEUE", "READY", "CONSUMERS", "OLDEST", "NEXT DUE IN"], rows);
}

async fn list(queue: &dyn Queue, limit: usize, as_json: bool) -> anyhow::Result<Ended> {
    let hint =
        "reading `payhook.unrouted` needs a broker user with read right on it, such as the one for `payhook migrate`";
    let listed = queue.unrouted(limit).await;
    let listed = listed.map_err(|error| failed_by(error, "cannot read `payhook.unrouted`", hint))?;
    if listed.is_empty() {
        return Ok(Ended::NothingFound);
    }
    if as_json {
        let list: Vec<_> = listed
            .iter()
            .map(|Unrouted { kind, message_id, key, sent_at, bytes }| {
                json!({ "kind": kind.as_str(), "id": message_id, "key": key, "sent_at": sent_at, "bytes": bytes })
            })
            .collect();
        output::json(&json!({ "unrouted": list }));
    } else {
        let unknown = || "-".to_owned();
        let rows = listed.into_iter().map(|message| {
            [
                message.kind.as_str().to_owned(),
                message.message_id.unwrap_or_else(unknown),
                message.key,
                message.sent_at.map_or_else(unknown, |at| at.to_string()),
                message.bytes.to_string(),
            ]
        });
        output::table(["KIND", "ID", "KEY", "SENT", "BYTES"], rows);
    }
    Ok(Ended::Done)
}

async fn move_all_back(queue: &dyn Queue, as_json: bool) -> anyhow::Result<Ended> {
    let moved = move_back(queue, MoveBack::All).await.map_err(|error| {
        let hint = "`payhook migrate` declares what is missing; nothing is lost, what was not moved is still there";
        failed_by(error, "cannot empty `payhook.unrouted`", hint)
    })?;
    if moved.is_nothing() && moved.left == 0 {
        return Ok(Ended::NothingFound);
    }
    let MovedBack { hints, dead_letters, events_dropped, left } = moved;
    if as_json {
        output::json(&json!({
            "hints": hints, "dead_letters": dead_letters, "events_dropped": events_dropped, "left": left,
        }));
    } else {
        output::facts([
            ("moved to payhook.notifications", hints.to_string()),
            ("moved to payhook.dead", dead_letters.to_string()),
            ("events dropped (the feed has them)", events_dropped.to_string()),
            ("left", left.to_string()),
        ]);
    }
    Ok(Ended::Done)
}

/// Moves in portions, until nothing is left that moves.
pub(crate) async fn move_back(queue: &dyn Queue, which: MoveBack) -> anyhow::Result<MovedBack> {
    let mut all = MovedBack::default();
    loop {
        let moved = queue.unrouted_move_back(which, AT_ONCE).await?;
        all.hints += moved.hints;
        all.dead_letters += moved.dead_letters;
        all.events_dropped += moved.events_dropped;
        all.left = moved.left;
        if moved.is_nothing() || moved.left == 0 {
            return Ok(all);
        }
    }
}
