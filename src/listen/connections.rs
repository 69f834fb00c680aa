//! The open connections of a listener, and the choice of the one that makes room.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ListenLimits;

/// Every peer has this long to send its request, or to read its answer, before its connection may be closed for
/// another's.
const GRACE: Duration = Duration::from_millis(200);

/// A peer that waited for so long does nothing: its connection goes before all others.
const IDLE: Duration = Duration::from_secs(2);

/// After a connection had to make room for another, connections are closed after one answer for so long: nobody keeps a
/// place by asking again and again.
const CROWDED_FOR: Duration = Duration::from_secs(1);

/// The open connections of a listener, and for how long each has waited for its peer.
#[derive(Default)]
pub(super) struct Connections(Mutex<OpenConnections>);

#[derive(Default)]
struct OpenConnections {
    next_id: u64,
    all: HashMap<u64, PeerConnection>,
    crowded_at: Option<Instant>,
}

struct PeerConnection {
    peer: IpAddr,
    place: PlaceKind,
    /// Since when the peer has to send something or to read its answer; nothing while we work for it.
    waits_since: Option<Instant>,
    answered: bool,
    close: CancellationToken,
}

impl PeerConnection {
    /// Returns the rank for closing, least first: idle peers, then those that have had an answer, then those that have
    /// not been served yet; of each, the one that waits the longest. `None` while we work for the peer, or before it
    /// had its grace.
    fn order_of_closing(&self, now: Instant) -> Option<(u8, Instant)> {
        let since = self.waits_since.filter(|since| now - *since >= GRACE)?;
        let rank = match (now - since >= IDLE, self.answered) {
            (true, _) => 0,
            (false, true) => 1,
            (false, false) => 2,
        };
        Some((rank, since))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlaceKind {
    Ordinary,
    /// A place of the few that are for health alone, given out while all others are at work.
    Health,
}

/// The result of a new connection.
pub(super) enum Entered {
    In {
        held: HeldConnection,
        closed: Option<Closed>,
    },
    /// Its peer has its share of connections, and all of them are at work.
    PeerHasShare,
    /// Every connection is at work, or just came.
    Full,
}

/// The reason why another connection was closed for a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    Full,
    PeerHasShare,
}

impl Connections {
    /// Finds a place for a new connection of `peer`. If there is none, the connection that has waited for its peer the
    /// longest makes room: first of the same peer, if that has its share, then of all.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr, limits: &ListenLimits) -> Entered {
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
        for (kind, max) in [(PlaceKind::Ordinary, limits.connections.max), (PlaceKind::Health, limits.health_reserve)] {
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
        if place != Some(PlaceKind::Ordinary) || closed == Some(Closed::Full) {
            open.crowded_at = Some(now);
        }
        let Some(place) = place else { return Entered::Full };
        let (id, close) = (open.next_id, CancellationToken::new());
        open.next_id += 1;
        open.all
            .insert(id, PeerConnection { peer, place, waits_since: Some(now), answered: false, close: close.clone() });
        Entered::In { held: HeldConnection { connections: self.clone(), id, place, close }, closed }
    }

    /// Closes whatever has waited for its peer for longer than `limit`; how many that were.
    pub(super) fn close_waiting_for(&self, limit: Duration) -> usize {
        let mut open = self.lock();
        let now = Instant::now();
        let late = |connection: &PeerConnection| connection.waits_since.is_some_and(|since| now - since > limit);
        let ids: Vec<u64> = open.all.iter().filter(|(_, connection)| late(connection)).map(|(id, _)| *id).collect();
        for id in &ids {
            open.close(*id);
        }
        ids.len()
    }

    /// Gives back the open file of the connection that has waited the longest.
    pub(super) fn close_one(&self) {
        self.lock().close_longest_waiting(Instant::now(), |_| true);
    }

    pub(super) fn count(&self) -> usize {
        self.lock().all.len()
    }

    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenConnections {
    fn close_longest_waiting(&mut self, now: Instant, of: impl Fn(&PeerConnection) -> bool) -> bool {
        let waiting = self.all.iter().filter(|(_, connection)| of(connection));
        let waiting = waiting.filter_map(|(id, connection)| Some((connection.order_of_closing(now)?, *id)));
        match waiting.min() {
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
pub(super) struct HeldConnection {
    connections: Arc<Connections>,
    id: u64,
    pub(super) place: PlaceKind,
    /// Cancelled when somebody else needs the place, or the peer took too long.
    pub(super) close: CancellationToken,
}

impl HeldConnection {
    /// The peer's turn: it has to send the rest of a request.
    pub(super) fn waits(&self) {
        self.set(|connection| connection.waits_since = Some(Instant::now()));
    }

    /// Our turn: the request is complete and its answer is being made.
    pub(super) fn works(&self) {
        self.set(|connection| connection.waits_since = None);
    }

    /// Notes the peer's turn: it has to read its answer, and may then ask again. Returns true if it may do so on this
    /// connection: not while others need it.
    pub(super) fn answered(&self) -> bool {
        self.set(|connection| {
            connection.waits_since = Some(Instant::now());
            connection.answered = true;
        });
        self.connections.lock().crowded_at.is_none_or(|at| at.elapsed() > CROWDED_FOR)
    }

    fn set(&self, change: impl FnOnce(&mut PeerConnection)) {
        if let Some(connection) = self.connections.lock().all.get_mut(&self.id) {
            change(connection);
        }
    }
}

impl Drop for HeldConnection {
    fn drop(&mut self) {
        self.connections.lock().all.remove(&self.id);
    }
}
