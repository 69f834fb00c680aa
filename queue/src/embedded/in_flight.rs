//! Remembers which rows are with which consumer, in memory only, and wakes consumers that wait.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::Lane;

/// The rows that consumers hold, and the signals that wake consumers.
#[derive(Default)]
pub(super) struct InFlight {
    held: Mutex<HashMap<i64, HeldRow>>,
    /// Rows that this process counted when it handed them out: once, however often they are given back to it.
    counted: Mutex<HashSet<i64>>,
    notifications: Notify,
    dead: Notify,
}

struct HeldRow {
    consumer: u64,
    /// Waits for a commit: a second settle of the same delivery is refused.
    settling: bool,
    /// It may be what crashes its process: nothing else is handed out meanwhile.
    suspect: bool,
}

impl InFlight {
    /// Notified when something of `lane` may have become ready, or a consumer may take more.
    pub(super) fn ready(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Notifications => &self.notifications,
            Lane::Dead => &self.dead,
        }
    }

    pub(super) fn wake_all(&self) {
        self.notifications.notify_waiters();
        self.dead.notify_waiters();
    }

    pub(super) fn count(&self, consumer: u64) -> usize {
        self.lock().values().filter(|row| row.consumer == consumer).count()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(super) fn has_suspect(&self) -> bool {
        self.lock().values().any(|row| row.suspect)
    }

    pub(super) fn add(&self, consumer: u64, suspect: bool, ids: impl IntoIterator<Item = i64>) {
        let held = |id| (id, HeldRow { consumer, settling: false, suspect });
        self.lock().extend(ids.into_iter().map(held));
    }

    /// Marks `id` as being settled. Returns false if this consumer does not hold it, or if it is being settled already.
    pub(super) fn begin_settling(&self, consumer: u64, id: i64) -> bool {
        match self.lock().get_mut(&id) {
            Some(row) if row.consumer == consumer && !row.settling => {
                row.settling = true;
                true
            }
            _ => false,
        }
    }

    /// Notes that a commit failed: the rows stay held until the consumer is dropped or tries again.
    pub(super) fn commit_failed(&self, ids: impl IntoIterator<Item = i64>) {
        let mut all = self.lock();
        for id in ids {
            if let Some(row) = all.get_mut(&id) {
                row.settling = false;
            }
        }
    }

    /// Removes rows that were settled or released.
    pub(super) fn remove(&self, ids: impl IntoIterator<Item = i64>) {
        let mut all = self.lock();
        for id in ids {
            all.remove(&id);
        }
    }

    pub(super) fn remove_all_of(&self, consumer: u64) {
        self.lock().retain(|_, row| row.consumer != consumer);
    }

    /// Returns every held id as a JSON array: the next choice leaves them out.
    pub(super) fn ids_json(&self) -> String {
        json(self.lock().keys())
    }

    /// Returns those of `ids` that this process has not counted yet, and counts them.
    pub(super) fn count_once(&self, ids: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        ids.into_iter().filter(|id| counted.insert(*id)).collect()
    }

    /// Takes the count of `id` back, if this process made one: it was handed over in good order.
    pub(super) fn uncount(&self, id: i64) -> bool {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }

    /// Returns every id that was counted, as a JSON array.
    pub(super) fn counted_ids_json(&self) -> String {
        json(self.counted.lock().unwrap_or_else(PoisonError::into_inner).iter())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, HeldRow>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes ids as a JSON array.
pub(super) fn json<'a>(ids: impl Iterator<Item = &'a i64>) -> String {
    format!("[{}]", ids.map(i64::to_string).collect::<Vec<_>>().join(","))
}
