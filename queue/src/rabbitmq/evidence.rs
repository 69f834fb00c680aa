//! Remembers the results of the latest publishes: readiness is decided by them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::failure::RabbitFailure;
use super::topology::NOTIFICATIONS;

/// A confirm proves the way to the work queue for this long.
const FRESH_FOR: Duration = Duration::from_secs(10);
/// The same for a queue with a backlog and no consumer: probes would only add to it, so a confirm counts for longer.
const FRESH_FOR_UNTAKEN: Duration = Duration::from_mins(1);
/// A refusal counts this long. A publisher that meets one holds its message and tries again more often than that.
const REFUSED_FOR: Duration = Duration::from_mins(1);

#[derive(Default)]
pub(super) struct Evidence(Mutex<LatestPublishes>);

#[derive(Default)]
struct LatestPublishes {
    work_confirmed_at: Option<Instant>,
    /// By exchange: when and why a publish to it was refused for something only a person mends.
    refused: BTreeMap<String, (Instant, RabbitFailure)>,
}

impl Evidence {
    pub(super) fn confirmed(&self, exchange: &str) {
        let mut seen = self.lock();
        seen.refused.remove(exchange);
        if exchange == NOTIFICATIONS {
            seen.work_confirmed_at = Some(Instant::now());
        }
    }

    pub(super) fn failed(&self, exchange: &str, failure: &RabbitFailure) {
        let mut seen = self.lock();
        if failure.needs_a_person() {
            seen.refused.insert(exchange.to_owned(), (Instant::now(), failure.clone()));
        }
        if exchange == NOTIFICATIONS {
            seen.work_confirmed_at = None;
        }
    }

    /// Returns true if the way to the work queue was proven lately. `untaken`: the queue has a backlog and no consumer.
    pub(super) fn is_fresh(&self, untaken: bool) -> bool {
        let fresh_for = if untaken { FRESH_FOR_UNTAKEN } else { FRESH_FOR };
        self.lock().work_confirmed_at.is_some_and(|at| at.elapsed() < fresh_for)
    }

    /// Returns the other exchanges that refused a publish lately, and why.
    pub(super) fn refusals(&self) -> Vec<(String, RabbitFailure)> {
        let mut seen = self.lock();
        seen.refused.retain(|_, (at, _)| at.elapsed() < REFUSED_FOR);
        let others = seen.refused.iter().filter(|(exchange, _)| exchange.as_str() != NOTIFICATIONS);
        others.map(|(exchange, (_, failure))| (exchange.clone(), failure.clone())).collect()
    }

    /// Forgets everything: after the topology was declared anew, earlier refusals say nothing.
    pub(super) fn forget(&self) {
        *self.lock() = LatestPublishes::default();
    }

    fn lock(&self) -> MutexGuard<'_, LatestPublishes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
