//! The end of a journey: nothing is left on the queue, and no secret in a log.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use payhook_queue::Queue;
use payhook_queue::embedded::EmbeddedQueue;
use payhook_queue::rabbitmq::{RabbitOptions, RabbitQueue};
use payhook_schema::Clock;
use payhook_store::sqlite::SqliteStore;
use payhook_store::traits::*;

use super::process::Process;
use super::world::TestPayhook;

/// A delivery that was put off may come back once or twice before the queue is empty.
const EMPTY_WITHIN: Duration = Duration::from_secs(20);

impl TestPayhook {
    /// Stops everything in good order; nothing may be left on the queue.
    pub(crate) async fn ends_well(&self) {
        let end = Instant::now() + EMPTY_WITHIN;
        loop {
            if let Err(why) = self.stop_all() {
                panic!("{why}\n{}", self.log_tails());
            }
            let left: Vec<String> = self
                .depths()
                .await
                .into_iter()
                .filter(|(_, ready)| *ready > 0)
                .map(|(queue, ready)| format!("{queue}: {ready}"))
                .collect();
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "left unsettled: {}\n{}", left.join(", "), self.log_tails());
            // What we asked for last may have come after the workers stopped taking.
            for name in self.names() {
                self.restart(&name).await;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn stop_all(&self) -> Result<(), String> {
        let mut processes = self.processes();
        processes.values().for_each(Process::ask_to_stop);
        processes.values_mut().try_for_each(Process::wait_stopped)
    }

    /// Returns the number of messages that wait on each queue. The processes must be stopped where one owns the file.
    async fn depths(&self) -> Vec<(String, u64)> {
        let (clock, delays) = (Clock::system(), self.plan.delays());
        let depths = match &self.servers {
            Some(servers) => {
                let mut options = RabbitOptions::new("a test", clock, &delays);
                let read = |file| std::fs::read_to_string(file).expect("the authority can be read");
                options.tls_ca_pem = self.plan.ca_file.as_ref().map(read);
                let queue = RabbitQueue::open(&servers.vhost.url, options).expect("the broker's address is good");
                let depths = queue.depths().await;
                queue.close().await;
                depths
            }
            None => {
                let file = self.folder().join("payhook.db");
                let store = SqliteStore::open(&file.to_string_lossy()).await.expect("the file is nobody's now");
                let queue = EmbeddedQueue::open(store.writer(), clock, &delays).expect("the delays are good");
                let depths = queue.depths().await;
                queue.close().await;
                store.close().await;
                depths
            }
        };
        depths.expect("the queue tells its depths").into_iter().map(|depth| (depth.queue, depth.ready)).collect()
    }

    /// Finds the secrets that a log holds.
    fn leaks(&self) -> Vec<String> {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut leaks = Vec::new();
        for (name, process) in self.processes().iter() {
            let log = process.log_text();
            for (what, secret) in secrets.iter().filter(|(_, secret)| log.contains(secret)) {
                let line = log.lines().find(|line| line.contains(secret)).unwrap_or_default();
                leaks.push(format!("the log of {name} holds {what}: {line}"));
            }
        }
        leaks
    }
}

impl Drop for TestPayhook {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log_tails());
            return;
        }
        let stopped = self.stop_all();
        let leaks = self.leaks();
        assert!(leaks.is_empty(), "{}", leaks.join("\n"));
        assert_eq!(stopped, Ok(()), "{}", self.log_tails());
    }
}
