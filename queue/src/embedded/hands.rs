use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::Lane;

/// The rows that each consumer holds, and the bells that wake consumers.
#[derive(Default)]
pub(super) struct Hands {
    held: Mutex<HashMap<i64, Held>>,
    /// Rows that this process counted when it handed them out: once, however often they are given back to it.
    counted: Mutex<HashSet<i64>>,
    notifications: Notify,
    dead: Notify,
}

struct Held {
    holder: u64,
    /// On its way into a commit: a second settle of the same delivery finds it taken.
    settling: bool,
    /// It may be what crashes its process: nothing else is handed out meanwhile.
    suspect: bool,
}

impl Hands {
    /// Rung when something of `lane` may have become ready, or a hand became free.
    pub(super) fn bell(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Notifications => &self.notifications,
            Lane::Dead => &self.dead,
        }
    }

    pub(super) fn wake_all(&self) {
        self.notifications.notify_waiters();
        self.dead.notify_waiters();
    }

    pub(super) fn count(&self, holder: u64) -> usize {
        self.lock().values().filter(|held| held.holder == holder).count()
    }

    pub(super) fn are_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub(super) fn hold_a_suspect(&self) -> bool {
        self.lock().values().any(|held| held.suspect)
    }

    pub(super) fn take(&self, holder: u64, suspect: bool, ids: impl IntoIterator<Item = i64>) {
        let held = |id| (id, Held { holder, settling: false, suspect });
        self.lock().extend(ids.into_iter().map(held));
    }

    /// Marks `id` as being settled. Returns false if this holder does not hold it, or if it is being settled already.
    pub(super) fn begin_settling(&self, holder: u64, id: i64) -> bool {
        match self.lock().get_mut(&id) {
            Some(held) if held.holder == holder && !held.settling => {
                held.settling = true;
                true
            }
            _ => false,
        }
    }

    /// The commit failed: still in hand, until the consumer is dropped or tries again.
    pub(super) fn keep(&self, ids: impl IntoIterator<Item = i64>) {
        let mut all = self.lock();
        for id in ids {
            if let Some(held) = all.get_mut(&id) {
                held.settling = false;
            }
        }
    }

    /// Out of whoever's hand: settled, or free again.
    pub(super) fn let_go(&self, ids: impl IntoIterator<Item = i64>) {
        let mut all = self.lock();
        for id in ids {
            all.remove(&id);
        }
    }

    pub(super) fn let_go_of_all(&self, holder: u64) {
        self.lock().retain(|_, held| held.holder != holder);
    }

    /// Every held id as a JSON array: what the next choice must leave out.
    pub(super) fn as_json(&self) -> String {
        json(self.lock().keys())
    }

    /// Those of `ids` that this process has not counted yet; from now on they are.
    pub(super) fn count_once(&self, ids: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        ids.into_iter().filter(|id| counted.insert(*id)).collect()
    }

    /// Takes the count of `id` back, if this process made one: it is handed over in good order.
    pub(super) fn uncount(&self, id: i64) -> bool {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }

    /// Every id that was counted, as a JSON array.
    pub(super) fn counted_as_json(&self) -> String {
        json(self.counted.lock().unwrap_or_else(PoisonError::into_inner).iter())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ids as a JSON array.
pub(super) fn json<'a>(ids: impl Iterator<Item = &'a i64>) -> String {
    format!("[{}]", ids.map(i64::to_string).collect::<Vec<_>>().join(","))
}
