//! `payhook migrate`: brings the store and the queue to this version.

use payhook_queue::MoveBack;
use payhook_schema::Clock;

use crate::config::Config;
use crate::failure::{Exit, failed_by};
use crate::{backends, output};

/// Migrates the store first: the broker's topology is of no use without it.
pub(crate) async fn run(config: &Config) -> anyhow::Result<Exit> {
    let hint = "`payhook check` shows every address in use and what is wrong with it";
    let open_hint = match config.one_process_only(false) {
        Some(_) => "a running `payhook serve` owns the file: it migrates the file itself when it starts",
        None => hint,
    };
    let backends = backends::open(config, "migrate", true, &Clock::system()).await;
    let backends = backends.map_err(|error| failed_by(error, "cannot open the queue and the store", open_hint))?;
    let store = backends.store.expect("opened with the store");
    store.migrate().await.map_err(|error| failed_by(error, "cannot migrate the store", hint))?;
    output::line(format_args!("store  {}  up to date", store.address()));
    let queue = backends.queue;
    queue.migrate().await.map_err(|error| failed_by(error, "cannot migrate the queue", hint))?;
    output::line(format_args!("queue  {}  up to date", queue.address()));
    // Messages that were unrouted while a queue was missing have a queue now.
    let moved = crate::queue::move_back(&*queue, MoveBack::Harmless).await;
    let moved = moved.map_err(|error| failed_by(error, "cannot empty `payhook.unrouted`", hint))?;
    if !moved.is_nothing() {
        output::line(format_args!(
            "queue  payhook.unrouted  {} hint(s) and {} dead letter(s) moved back, {} event(s) dropped",
            moved.hints, moved.dead_letters, moved.events_dropped
        ));
    }
    queue.close().await;
    store.close().await;
    Ok(Exit::Done)
}
