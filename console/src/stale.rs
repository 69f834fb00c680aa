//! Reading an order refreshes what the providers were not asked about for a while.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use payhook_schema::{Because, Order, OrderId, Payment, PaymentKey};

use crate::Console;

/// The age after which a provider's answer is stale.
const STALE_AFTER: SignedDuration = SignedDuration::from_secs(30);
/// Orders remembered before those of longer ago are forgotten.
const REMEMBERED: usize = 10_000;

/// The time each order was last refreshed because somebody read it. A provider that does not answer leaves its payment
/// stale, and a page that reads every second must not cause a question every second.
#[derive(Default)]
pub struct RecentRefreshes(Mutex<HashMap<OrderId, Timestamp>>);

impl RecentRefreshes {
    /// Returns true if it is this order's turn; from then on it is not for a while.
    fn is_due(&self, order: &OrderId, now: Timestamp) -> bool {
        let mut refreshed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // By the distance either way: the clock may have gone back.
        let lately = |at: &Timestamp| now.duration_since(*at).abs() < STALE_AFTER;
        if refreshed.get(order).is_some_and(lately) {
            return false;
        }
        if refreshed.len() >= REMEMBERED {
            refreshed.retain(|_, at| lately(at));
        }
        refreshed.insert(order.clone(), now);
        true
    }
}

/// Returns true if the provider may know more than we do, has not been asked for a while, and is not about to be.
fn is_stale(payment: &Payment, now: Timestamp) -> bool {
    let known_at = payment.asked_at.unwrap_or(payment.created_at);
    payment.is_unfinished()
        && now.duration_since(known_at).abs() > STALE_AFTER
        && payment.next_check_at.is_some_and(|at| at > now)
}

impl Console {
    /// Refreshes stale payments in the background; the current response does not wait. If the hints are lost, each
    /// payment is still checked on its schedule.
    pub(crate) fn refresh_if_stale(self: &Arc<Self>, order: &Order) {
        let now = self.clock.now();
        let stale = order.payments.iter().filter(|payment| is_stale(payment, now));
        let stale: BTreeSet<PaymentKey> = stale.map(|payment| payment.key.clone()).collect();
        if stale.is_empty() || !self.recent_refreshes.is_due(&order.id, now) {
            return;
        }
        let console = self.clone();
        tokio::spawn(async move { console.hint(stale, Because::Refresh).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orders_turn_comes_although_the_clock_went_back() {
        let (recent, order) = (RecentRefreshes::default(), OrderId::new("O-1").unwrap());
        let at = |second| Timestamp::from_second(second).unwrap();
        let is_due = |second| recent.is_due(&order, at(second));
        assert!(is_due(3600));
        assert!(!is_due(3629) && !is_due(3571), "once in half a minute, and clocks differ by seconds");
        assert!(is_due(10), "not an hour later");
        assert!(!is_due(39) && is_due(40));
    }
}
