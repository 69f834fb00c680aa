//! `payhook queue`: counts what waits, lists and moves unrouted messages. It asks the broker of the configuration, or
//! reads the file, and needs no other process.

use std::path::Path;

use anyhow::Context;
use clap::Subcommand;
use jiff::Timestamp;
use payhook_queue::embedded::depths_of_file;
use payhook_queue::{Depth, MoveBack, MovedBack, Queue, Unrouted};
use payhook_schema::Clock;
use serde_json::{Value, json};

use crate::cli::JsonOutput;
use crate::config::{Config, OwnKeys, QueueConfig, StoreConfig};
use crate::failure::{Exit, failed_by};
use crate::output::or_dash;
use crate::{backends, output, process};

const HINT: &str = "`payhook check` shows the queue's address and what is wrong with it";
/// Messages moved in one go, and shown at most.
const AT_ONCE: usize = 1000;

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Count what waits in every queue, and who takes from it
    Stats {
        #[command(flatten)]
        output: JsonOutput,
    },
    /// List messages that no queue took, in payhook.unrouted; on RabbitMQ only
    Unrouted {
        /// Publish each to its queue again, then remove it. Events are dropped, because the feed has them
        #[arg(long)]
        republish: bool,
        /// Messages to list, at most
        #[arg(long, value_name = "N", default_value_t = 50, conflicts_with = "republish")]
        limit: usize,
        #[command(flatten)]
        output: JsonOutput,
    },
}

pub(crate) async fn run(file: Option<&Path>, command: QueueCommand) -> anyhow::Result<Exit> {
    let config = process::load(file, OwnKeys::Unused)?;
    let clock = Clock::system();
    match command {
        QueueCommand::Stats { output } => {
            let depths = depths(&config, &clock).await;
            let depths = depths.map_err(|error| failed_by(error, "cannot count what waits in the queues", HINT))?;
            match output.json {
                true => output::json(&depths_json(&depths)),
                false => output::line(depths_text(&depths, clock.now())),
            }
            Ok(Exit::Done)
        }
        QueueCommand::Unrouted { republish, limit, output } => {
            // One file has no routes, so none of its messages is unrouted.
            let QueueConfig::Rabbit(url) = &config.queue else { return Ok(Exit::NothingFound) };
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

fn depths_json(depths: &[Depth]) -> Value {
    let queues: Vec<_> = depths
        .iter()
        .map(|depth| {
            json!({
                "queue": depth.queue, "ready": depth.ready, "consumers": depth.consumers,
                "oldest_at": depth.oldest_at, "next_due_at": depth.next_due_at,
            })
        })
        .collect();
    json!({ "queues": queues })
}

pub(crate) fn depths_text(depths: &[Depth], now: Timestamp) -> String {
    let seconds = |at: Option<Timestamp>| or_dash(at.map(|at| format!("{} s", at.duration_since(now).as_secs().abs())));
    let rows = depths.iter().map(|depth| {
        let (oldest, next) = (seconds(depth.oldest_at), seconds(depth.next_due_at));
        [depth.queue.clone(), depth.ready.to_string(), or_dash(depth.consumers), oldest, next]
    });
    output::table(["QUEUE", "READY", "CONSUMERS", "OLDEST", "NEXT DUE IN"], rows)
}

async fn list(queue: &dyn Queue, limit: usize, as_json: bool) -> anyhow::Result<Exit> {
    let hint =
        "reading `payhook.unrouted` needs a broker user with read right on it, such as the one for `payhook migrate`";
    let listed = queue.unrouted(limit).await;
    let listed = listed.map_err(|error| failed_by(error, "cannot read `payhook.unrouted`", hint))?;
    if listed.is_empty() {
        return Ok(Exit::NothingFound);
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
        output::line(unrouted_text(listed));
    }
    Ok(Exit::Done)
}

pub(crate) fn unrouted_text(listed: Vec<Unrouted>) -> String {
    let rows = listed.into_iter().map(|Unrouted { kind, message_id, key, sent_at, bytes }| {
        [kind.as_str().to_owned(), or_dash(message_id), key, or_dash(sent_at), bytes.to_string()]
    });
    output::table(["KIND", "ID", "KEY", "SENT", "BYTES"], rows)
}

async fn move_all_back(queue: &dyn Queue, as_json: bool) -> anyhow::Result<Exit> {
    let moved = move_back(queue, MoveBack::All).await.map_err(|error| {
        let hint = "`payhook migrate` declares what is missing; messages that were not moved are still there";
        failed_by(error, "cannot empty `payhook.unrouted`", hint)
    })?;
    if moved.is_nothing() && moved.left == 0 {
        return Ok(Exit::NothingFound);
    }
    let MovedBack { hints, dead_letters, events_dropped, left } = moved;
    if as_json {
        output::json(&json!({
            "hints": hints, "dead_letters": dead_letters, "events_dropped": events_dropped, "left": left,
        }));
    } else {
        output::line(output::facts([
            ("moved to payhook.notifications", hints.to_string()),
            ("moved to payhook.dead", dead_letters.to_string()),
            ("events dropped (the feed has them)", events_dropped.to_string()),
            ("left", left.to_string()),
        ]));
    }
    Ok(Exit::Done)
}

/// Moves messages in portions until none is left that can be moved.
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
