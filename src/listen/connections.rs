use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Limits;

/// Every peer has this long to send its request, or to read its answer, before its connection may be closed for another's.
const GRACE: Duration = Duration::from_millis(200);

/// The open connections of a listener, and for how long each has waited for its peer.
#[derive(Default)]
pub(super) struct Connections(Mutex<Open>);

#[derive(Default)]
struct Open {
    next_id: u64,
    all: HashMap<u64, Connection>,
}

struct Connection {
    peer: IpAddr,
    place: Place,
    /// Since when the peer has to send something or to read its answer; nothing while we work for it.
    waits_since: Option<Instant>,
    close: CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Ordinary,
    /// One of the few that are for health alone, given out while all others are at work.
    Health,
}

/// What became of a new connection.
pub(super) enum Entered {
    In {
        held: Held,
        closed: Option<Closed>,
    },
    /// Its peer has its share of connections, and all of them are at work.
    PeerHasShare,
    /// Every connection is at work, or just came.
    Full,
}

/// Why another connection was closed for a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    Full,
    PeerHasShare,
}

impl Connections {
    /// Finds a place for a new connection of `peer`. Where there is none, the connection that has waited for its peer the
    /// longest makes room: first of the same peer, if that has its share, then of all.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr, limits: &Limits) -> Entered {
        let mut open = self.lock();
        let now = Instant::now();
        let mut closed = None;
        let of_peer = open.all.values().filter(|connection| connection.peer == peer).count();
        if of_peer >= limits.connections.per_peer && !limits.connections.is_proxy(peer) {
            if !open.close_longest_waiting(now, |connection| connection.peer == peer) {
                return Entered::PeerHasShare;
            }
            closed = Some(Closed::PeerHasShare);
        }
        let mut place = None;
        for (kind, max) in [(Place::Ordinary, limits.connections.max), (Place::Health, limits.health_reserve)] {
            let taken = open.all.values().filter(|connection| connection.place == kind).count();
            if taken < max {
                place = Some(kind);
            } else if open.close_longest_waiting(now, |connection| connection.place == kind) {
                (place, closed) = (Some(kind), Some(Closed::Full));
            }
            if place.is_some() {
                break;
            }
        }
        let Some(place) = place else { return Entered::Full };
        let (id, close) = (open.next_id, CancellationToken::new());
        open.next_id += 1;
        open.all.insert(id, Connection { peer, place, waits_since: Some(now), close: close.clone() });
        Entered::In { held: Held { connections: self.clone(), id, place, close }, closed }
    }

    /// Closes whatever has waited for its peer for longer than `limit`; how many that were.
    pub(super) fn close_waiting_for(&self, limit: Duration) -> usize {
        let mut open = self.lock();
        let now = Instant::now();
        let late = |connection: &Connection| connection.waits_since.is_some_and(|since| now - since > limit);
        let ids: Vec<u64> = open.all.iter().filter(|(_, connection)| late(connection)).map(|(id, _)| *id).collect();
        ids.iter().for_each(|id| open.close(*id));
        ids.len()
    }

    /// Gives back the open file of the connection that has waited the longest.
    pub(super) fn close_one(&self) {
        self.lock().close_longest_waiting(Instant::now(), |_| true);
    }

    pub(super) fn count(&self) -> usize {
        self.lock().all.len()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn close_longest_waiting(&mut self, now: Instant, of: impl Fn(&Connection) -> bool) -> bool {
        let waiting = self.all.iter().filter(|(_, connection)| of(connection));
        let waiting = waiting.filter_map(|(id, connection)| Some((connection.waits_since?, *id)));
        match waiting.min().filter(|(since, _)| now - *since >= GRACE) {
            Some((_, id)) => {
                self.close(id);
                true
            }
            None => false,
        }
    }

    /// Its place is free at once: whoever serves it sees the token and lets go of the socket.
    fn close(&mut self, id: u64) {
        if let Some(connection) = self.all.remove(&id) {
            connection.close.cancel();
        }
    }
}

/// A connection's place, until it is dropped.
pub(super) struct Held {
    connections: Arc<Connections>,
    id: u64,
    pub(super) place: Place,
    /// Cancelled when somebody else needs the place, or the peer took too long.
    pub(super) close: CancellationToken,
}

impl Held {
    /// The peer's turn: it has to send a request, or the rest of one, or to read its answer.
    pub(super) fn waits(&self) {
        self.set(Some(Instant::now()));
    }

    /// Our turn: the request is complete and its answer is being made.
    pub(super) fn works(&self) {
        self.set(None);
    }

    fn set(&self, waits_since: Option<Instant>) {
        if let Some(connection) = self.connections.lock().all.get_mut(&self.id) {
            connection.waits_since = waits_since;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.connections.lock().all.remove(&self.id);
    }
}
