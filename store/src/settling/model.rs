//! Holds random operations against a plain model.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use payhook_schema::{
    About, AccountName, Event, NewOrder, NewRefund, Notification, Order, OrderId, OrderState, Payment, PaymentId,
    PaymentKey, PaymentState, Provider, Refund, RefundId, TimelineKind,
};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use uuid::Uuid;

use crate::authorizations::model::AuthorizationModel;
use crate::conformance::Harness;
use crate::conformance::sample::{at, capture, entry, key_of, notification, uuid};
use crate::{
    Asked, Backlog, DeadLetter, DeadLetterFilter, FeedEvent, Found, OrderFilter, PaymentCheck, PaymentName, Registered,
    Settled, Settlement, Store, TimelineEntry,
};

mod random;
use random::{dead_letter, new_order, report_more, some_key, some_order, some_payment, some_refund};

/// The number of random operations made of one seed.
const OPERATIONS: usize = 400;

/// More than the operations leave behind of anything.
const ALL: u32 = 10_000;

pub async fn any_operations_do_what_a_plain_model_does(Harness { store, seed, .. }: &Harness) {
    let mut random = StdRng::seed_from_u64(*seed);
    let mut model = Model::default();
    for step in 0..OPERATIONS {
        let now = at(step as i64 * 7);
        model.operate(&**store, &mut random, now).await;
        if step % 50 == 49 {
            model.compare(&**store).await;
        }
    }
}

/// A store that is nothing but its contract: maps, and no second thought about speed, sharing or crashes.
#[derive(Default)]
struct Model {
    orders: BTreeMap<OrderId, Order>,
    written: Vec<(OrderId, TimelineEntry)>,
    /// And the payment each is stored under.
    notifications: BTreeMap<Uuid, (Notification, Option<PaymentKey>)>,
    /// As written; the place in the feed, and when it was published.
    events: Vec<(Event, Option<i64>, Option<Timestamp>)>,
    letters: BTreeMap<Uuid, DeadLetter>,
    leases: BTreeMap<&'static str, (Uuid, Timestamp)>,
    /// Orders as they were some time ago, to decide on what is no longer so.
    old: Vec<Order>,
    authorizations: AuthorizationModel,
    /// Payments that were finished when they were last written.
    finished: BTreeSet<PaymentKey>,
}

impl Model {
    /// Does one random operation on both and compares the answers.
    async fn operate(&mut self, store: &dyn Store, random: &mut StdRng, now: Timestamp) {
        match random.random_range(0..120) {
            100.. => {
                let made = self.authorizations.operate(store, random, now).await;
                self.events.extend(made.into_iter().map(|event| (event, None, None)));
            }
            0..20 => {
                let new = new_order(random);
                assert_eq!(store.order_register(&new, now).await.unwrap(), self.register(&new, now), "{new:?}");
            }
            20..70 => {
                let batch: Vec<_> = (0..random.random_range(1..8)).map(|_| self.settlement(random, now)).collect();
                let expected: Vec<_> = batch.iter().map(|settlement| self.settle(settlement)).collect();
                assert_eq!(store.settle(&batch).await.unwrap(), expected, "{batch:#?}");
            }
            70..75 => {
                let (limit, hold_for) = (random.random_range(0..6), Duration::from_secs(random.random_range(1..900)));
                let late = random.random_bool(0.5);
                let due = match late {
                    true => store.payments_due_late(now, hold_for, limit).await.unwrap(),
                    false => store.payments_due(now, hold_for, limit, &[]).await.unwrap(),
                };
                self.take_due(&due, late, now, hold_for, limit);
            }
            75..80 => {
                let id = some_order(random);
                assert_eq!(store.order_refresh(&id, now).await.unwrap(), self.refresh(&id, now));
            }
            80..85 => {
                store.events_sequence(random.random_range(0..9), at(0)).await.unwrap();
                self.follow(&store.events_after(0, ALL).await.unwrap());
            }
            85..90 => {
                let ids: Vec<_> = self.events.iter().map(|(event, ..)| event.id).collect();
                let ids: Vec<_> = ids.sample(random, 3).copied().collect();
                store.events_mark_published(&ids, now).await.unwrap();
                for (_, _, published) in self
                    .events
                    .iter_mut()
                    .filter(|(event, seq, published)| ids.contains(&event.id) && seq.is_some() && published.is_none())
                {
                    *published = Some(now);
                }
            }
            90..95 => {
                let letters: Vec<_> = (0..random.random_range(1..4)).map(|_| dead_letter(random, now)).collect();
                store.dead_letter_keep(&letters).await.unwrap();
                for letter in letters {
                    if let Some(notification) = &letter.notification {
                        self.archive(notification, None);
                    }
                    self.die(letter);
                }
            }
            _ => {
                let name = *["sweep", "relay"].choose(random).unwrap();
                let (holder, hold_for) = (uuid(random.random_range(0..3)), random.random_range(0..60));
                let hold_for = Duration::from_secs(hold_for);
                let free = self.leases.get(name).is_none_or(|lease| is_free(*lease, holder, now, hold_for));
                let taken = store.lease_take(name, holder, now, hold_for).await.unwrap();
                assert_eq!(taken, free);
                if taken {
                    self.leases.insert(name, (holder, now + hold_for));
                }
            }
        }
    }

    /// The latest death of a letter counts, and opens it; of its first one, the rest stays.
    fn die(&mut self, letter: DeadLetter) {
        let stored = self.letters.entry(letter.id).or_insert_with(|| letter.clone());
        if stored.last_failed_at < letter.last_failed_at {
            let DeadLetter { cause, detail, last_failed_at, .. } = letter;
            let attempts = stored.attempts + letter.attempts;
            *stored = DeadLetter { cause, detail, attempts, last_failed_at, ..stored.clone() };
        }
    }

    fn owner(&self, key: &PaymentKey) -> Option<&Order> {
        self.orders.values().find(|order| order.payment(key).is_some())
    }

    fn payment(&mut self, key: &PaymentKey) -> Option<&mut Payment> {
        self.orders.values_mut().flat_map(|order| &mut order.payments).find(|payment| payment.key == *key)
    }

    /// Keeps a notification once by its id, under its own payment or the one it was found to be about.
    fn archive(&mut self, notification: &Notification, about: Option<&PaymentKey>) {
        let of = |id: &PaymentId| key_of(notification.provider, notification.account.as_str(), id.as_str());
        let payment = match &notification.about {
            About::Payment(id) | About::Refund { payment: Some(id), .. } => Some(of(id)),
            About::Reference(_) | About::Refund { payment: None, .. } => {
                about.filter(|key| **key == of(&key.id)).cloned()
            }
            About::Authorization(_) | About::Other | About::Unreadable(_) => None,
        };
        let stored =
            self.notifications.entry(notification.id).or_insert_with(|| (notification.clone(), payment.clone()));
        // A notification that names a payment is of that one for ever, and another of the same id is not stored.
        if stored.1.is_none() && !matches!(notification.about, About::Payment(_)) {
            stored.1 = payment;
        }
    }

    /// Returns the payment that has the refund `id` of `payment`'s account, if it is known.
    fn refunded(&self, payment: &PaymentKey, id: &RefundId) -> Option<PaymentKey> {
        let payments = self.orders.values().flat_map(|order| &order.payments);
        let mut same = payments.filter(|it| (it.key.provider, &it.key.account) == (payment.provider, &payment.account));
        Some(same.find(|it| it.refunds.iter().any(|refund| refund.id == *id))?.key.clone())
    }

    fn refund_refused(&self, new: &NewOrder) -> Option<Registered> {
        let mut owners: Vec<(PaymentKey, RefundId)> = Vec::new();
        for NewRefund { payment, id } in &new.refunds {
            let there = self.orders.get(&new.id).is_some_and(|order| order.payment(payment).is_some());
            if !there && !new.payments.contains(payment) {
                return Some(Registered::RefundOfNoPayment { refund: id.clone(), payment: payment.clone() });
            }
            let earlier = owners.iter().find(|(owner, known)| {
                known == id && (owner.provider, &owner.account) == (payment.provider, &payment.account)
            });
            let owner = self.refunded(payment, id).or_else(|| Some(earlier?.0.clone()));
            if let Some(owner) = owner.filter(|owner| owner != payment) {
                return Some(Registered::RefundTaken { refund: id.clone(), payment: owner });
            }
            owners.push((payment.clone(), id.clone()));
        }
        None
    }

    fn register(&mut self, new: &NewOrder, now: Timestamp) -> Registered {
        if let Some(order) = self.orders.get(&new.id).filter(|order| order.amount != new.amount) {
            return Registered::AmountDiffers { registered: order.amount };
        }
        for key in &new.payments {
            if let Some(owner) = self.owner(key).filter(|owner| owner.id != new.id) {
                return Registered::PaymentTaken { payment: key.clone(), order: owner.id.clone() };
            }
        }
        if let Some(refused) = self.refund_refused(new) {
            return refused;
        }
        let created = !self.orders.contains_key(&new.id);
        let order = self.orders.entry(new.id.clone()).or_insert_with(|| Order {
            id: new.id.clone(),
            amount: new.amount,
            state: OrderState::Pending,
            captured_minor: 0,
            refunded_minor: 0,
            version: 0,
            holds: Vec::new(),
            released: Vec::new(),
            revision: 1,
            created_at: now,
            updated_at: now,
            payments: Vec::new(),
        });
        let (mut added, mut parked) = (0, Vec::new());
        for key in &new.payments {
            if order.payment(key).is_some() {
                continue;
            }
            let early = self.notifications.values().any(|(_, payment)| payment.as_ref() == Some(key));
            let first_check = if early { now } else { now + SignedDuration::from_mins(1) };
            parked.extend(early.then(|| key.clone()));
            added += 1;
            order.payments.push(Payment {
                key: key.clone(),
                state: PaymentState::Awaiting,
                captured_minor: 0,
                refunded_minor: 0,
                currency: new.amount.currency,
                provider_reference: None,
                reason: None,
                asked_at: None,
                final_at: None,
                next_check_at: Some(first_check),
                checks: 0,
                refunds: Vec::new(),
                disputes: Vec::new(),
                created_at: now,
            });
        }
        for NewRefund { payment, id } in &new.refunds {
            let payment =
                order.payments.iter_mut().find(|known| known.key == *payment).expect("it was looked for before");
            if payment.refunds.iter().any(|refund| refund.id == *id) {
                continue;
            }
            added += 1;
            payment.refunds.push(Refund::announced(id.clone()));
            (payment.next_check_at, payment.checks) = (Some(now), 0);
            self.finished.remove(&payment.key);
            for (notification, of) in self.notifications.values_mut() {
                let same =
                    (notification.provider, &notification.account) == (payment.key.provider, &payment.key.account);
                let names = matches!(&notification.about, About::Refund { id: named, .. } if named == id);
                if same && names && of.is_none() {
                    *of = Some(payment.key.clone());
                }
            }
        }
        if !created && added > 0 {
            order.revision += 1;
            order.updated_at = now;
        }
        if created || added > 0 {
            let registered = TimelineEntry { kind: TimelineKind::Registered, ..entry("", None, now) };
            self.written.push((new.id.clone(), registered));
        }
        Registered::Order { order: order.clone(), created, parked }
    }

    /// Any settlement at all: decided on what is so or was so, with or without a change, now and then one nobody can
    /// keep.
    fn settlement(&mut self, random: &mut StdRng, now: Timestamp) -> Settlement {
        let current = self.orders.values().cloned().collect::<Vec<_>>();
        let decided_on = if random.random_ratio(1, 5) { self.old.choose(random) } else { current.choose(random) };
        let mut settlement = Settlement { order: Some(some_order(random)), ..Settlement::default() };
        if settlement.order.as_ref().is_some_and(|id| !self.orders.contains_key(id)) {
            settlement.order = None;
        }
        if let Some(order) = decided_on
            && let Some(payment) = order.payments.choose(random)
            && random.random_ratio(3, 4)
        {
            settlement = capture(order, &payment.key, order.captured_minor + random.random_range(0..9), now);
            report_more(&mut settlement, random, now);
            if random.random_ratio(1, 10) {
                settlement.timeline[0].text.push('\0');
            }
        }
        self.old.extend(current.choose(random).cloned());
        for _ in 0..random.random_range(0..3) {
            let about = random.random_bool(0.8).then(|| some_payment(random));
            let mut notification = notification(random.random_range(100..200), about.as_ref(), now);
            notification.idempotency_key = format!("evnt_{}", random.random_range(0..5));
            settlement.notifications.push(notification);
        }
        if random.random_bool(0.3) {
            let number = random.random_range(0..12);
            let payment = some_key(number, "p");
            let about = [
                About::Reference("2024".to_owned()),
                About::Refund { id: some_refund(&payment, random), payment: None },
            ];
            let mut nameless = notification(300 + number, Some(&payment), now);
            nameless.about = about.choose(random).unwrap().clone();
            settlement.notifications.push(nameless);
            settlement.about = random.random_bool(0.5).then_some(payment);
        }
        if random.random_bool(0.3) {
            settlement.timeline.push(TimelineEntry {
                detail: serde_json::json!({ "n": random.random::<i64>(), "text": "ไทย \u{1}" }),
                ..entry("looked", Some(some_payment(random)), now)
            });
        }
        if random.random_bool(0.3) {
            let next_check_at =
                random.random_bool(0.8).then(|| now + SignedDuration::from_secs(random.random_range(0..900)));
            let key = some_payment(random);
            let before = self.payment(&key).and_then(|payment| payment.asked_at).filter(|_| random.random_bool(0.7));
            let at = now - SignedDuration::from_secs(random.random_range(0..20));
            let asked = random.random_bool(0.5).then_some(Asked { at, before });
            settlement.check = Some(PaymentCheck { key, next_check_at, checks: random.random_range(0..9), asked });
        }
        settlement
    }

    fn settle(&mut self, settlement: &Settlement) -> Settled {
        if settlement.timeline.iter().any(|entry| entry.text.contains('\0')) {
            return Settled::Refused("a text has a NUL character in it".to_owned());
        }
        if let Some(change) = &settlement.change {
            let order = self.orders.get_mut(&change.order.id).expect("orders are never deleted");
            if order.revision != change.order.revision {
                return Settled::Conflict;
            }
            let (payments, created_at) = (std::mem::take(&mut order.payments), order.created_at);
            *order = Order { revision: order.revision + 1, created_at, payments, ..change.order.clone() };
            let payment = order.payments.iter_mut().find(|payment| payment.key == change.payment.key).unwrap();
            let (refunds, disputes) = (payment.refunds.clone(), payment.disputes.clone());
            let asked_at = payment.asked_at.max(change.payment.asked_at);
            *payment = Payment { created_at: payment.created_at, asked_at, ..change.payment.clone() };
            match change.payment.is_unfinished() {
                true => self.finished.remove(&payment.key),
                false => self.finished.insert(payment.key.clone()),
            };
            payment.refunds = upserted(refunds, &change.payment.refunds, |left, right| left.id == right.id);
            payment.disputes = upserted(disputes, &change.payment.disputes, |left, right| left.id == right.id);
            self.events.extend(change.events.iter().map(|event| (event.clone(), None, None)));
        }
        if let Some(check) = &settlement.check
            && let Some(payment) = self.payment(&check.key)
        {
            // As part of a change it says the schedule, whatever was asked when.
            let asked = check.asked.filter(|_| settlement.change.as_ref().is_none_or(|it| it.payment.key != check.key));
            if asked.is_none_or(|asked| asked.before == payment.asked_at) {
                (payment.next_check_at, payment.checks) = (check.next_check_at, check.checks);
            }
            payment.asked_at = payment.asked_at.max(asked.map(|asked| asked.at));
        }
        for notification in &settlement.notifications {
            self.archive(notification, settlement.about.as_ref());
        }
        if let Some(id) = &settlement.order {
            self.written.extend(settlement.timeline.iter().map(|entry| (id.clone(), entry.clone())));
        }
        Settled::Written
    }

    /// Checks that `due` is what may be taken, and takes it; which of two that wait equally long comes first is open.
    /// As many as there are, up to the limit; of each account its oldest, and of none more than one more than of
    /// another that has more.
    fn take_due(&mut self, due: &[PaymentKey], late: bool, now: Timestamp, hold_for: Duration, limit: u32) {
        if !late {
            self.set_right(now, hold_for);
        }
        let payments = self.orders.values().flat_map(|order| &order.payments);
        let payments = payments.filter(|payment| self.finished.contains(&payment.key) == late);
        let mut waiting: BTreeMap<(Provider, AccountName), Vec<Timestamp>> = BTreeMap::new();
        for payment in payments {
            if let Some(at) = payment.next_check_at.filter(|at| *at <= now) {
                waiting.entry((payment.key.provider, payment.key.account.clone())).or_default().push(at);
            }
        }
        let all: usize = waiting.values().map(Vec::len).sum();
        assert_eq!(due.len(), all.min(limit as usize), "late {late}, limit {limit}, now {now}: {due:?} of {waiting:?}");
        let most = |key: &PaymentKey| {
            due.iter().filter(|other| other.account == key.account && other.provider == key.provider).count()
        };
        let most = due.iter().map(most).max().unwrap_or(0);
        for ((provider, account), mut waiting) in waiting {
            let taken = due.iter().filter(|key| key.provider == provider && key.account == account);
            let taken: Vec<_> = taken.map(|key| self.payment(key).unwrap().next_check_at.unwrap()).collect();
            assert!(
                late || taken.len() == waiting.len() || taken.len() + 1 >= most,
                "{provider}/{account}: {}",
                taken.len()
            );
            waiting.sort();
            waiting.truncate(taken.len());
            assert_eq!(taken, waiting);
        }
        for key in due {
            self.payment(key).unwrap().next_check_at = Some(now + SignedDuration::try_from(hold_for).unwrap());
        }
    }

    /// Makes each payment due now whose times no right clock wrote.
    fn set_right(&mut self, now: Timestamp, hold_for: Duration) {
        let payments = self.orders.values_mut().flat_map(|order| &mut order.payments);
        for payment in payments.filter(|payment| !payment.state.is_final()) {
            let is_later = |than: Timestamp| payment.next_check_at.is_some_and(|at| at > than);
            let ahead = payment.asked_at.is_some_and(|at| at > crate::clocks::longest(now, hold_for));
            let longest = crate::clocks::longest(now, hold_for);
            if is_later(now) && payment.asked_at.is_none() && payment.created_at > longest {
                (payment.next_check_at, payment.created_at) = (Some(now), now);
            } else if is_later(now) && ahead {
                (payment.next_check_at, payment.asked_at) = (Some(now), Some(now));
            } else if is_later(now + crate::clocks::UNFINISHED_WAIT_MAX) {
                payment.next_check_at = Some(now);
            }
        }
    }

    fn refresh(&mut self, id: &OrderId, now: Timestamp) -> bool {
        let Some(order) = self.orders.get_mut(id) else { return false };
        for payment in &mut order.payments {
            payment.next_check_at = Some(now);
        }
        true
    }

    /// Checks the feed and follows it; in which order the events of different orders come is open.
    fn follow(&mut self, feed: &[FeedEvent]) {
        assert!(feed.is_sorted_by(|earlier, later| earlier.seq < later.seq), "no place is given twice");
        for FeedEvent { seq, event } in feed {
            let lower = |(other, seq, _): &&(Event, Option<i64>, _)| {
                other.subject == event.subject && other.version() < event.version() && seq.is_none()
            };
            assert!(self.events.iter().find(lower).is_none(), "in version order");
            let known = self.events.iter_mut().find(|(known, ..)| known == event).expect("only what was written");
            assert!(known.1.is_none_or(|before| before == *seq), "a place is for ever");
            known.1 = Some(*seq);
        }
        assert_eq!(feed.len(), self.events.iter().filter(|(_, seq, _)| seq.is_some()).count());
    }

    /// Compares all that can be read.
    async fn compare(&self, store: &dyn Store) {
        let mut orders: Vec<_> = self.orders.values().cloned().collect();
        orders.sort_by_key(|order| (order.created_at, order.id.clone()));
        orders.reverse();
        for state in [None, Some(OrderState::Paid), Some(OrderState::Held)] {
            let listed = store.order_list(&OrderFilter { state, limit: ALL, ..OrderFilter::default() }).await.unwrap();
            let expected: Vec<_> =
                orders.iter().filter(|order| state.is_none_or(|state| order.state == state)).collect();
            assert_eq!(listed.iter().collect::<Vec<_>>(), expected);
        }
        let keys: Vec<_> = ["p", "q"].iter().flat_map(|p| (0..12).map(move |n| some_key(n, p))).collect();
        let expected: Vec<_> = keys.iter().map(|key| self.find(key)).collect();
        assert_eq!(store.payments_find(&keys).await.unwrap(), expected);
        for order in &orders {
            let entries = store.order_timeline(&order.id).await.unwrap();
            assert_eq!(entries.iter().map(brief).collect::<Vec<_>>(), self.timeline(order), "{}", order.id);
        }
        let unpublished = store.events_unpublished(0, ALL).await.unwrap();
        let mut expected: Vec<_> = self.events.iter().filter(|(_, seq, at)| seq.is_some() && at.is_none()).collect();
        expected.sort_by_key(|(_, seq, _)| *seq);
        assert!(unpublished.iter().map(|event| &event.event).eq(expected.iter().map(|(event, ..)| event)));
        self.compare_letters(store).await;
        self.authorizations.compare(store, &self.events).await;
        for payment in orders.iter().flat_map(|order| &order.payments) {
            for refund in &payment.refunds {
                let (provider, account) = (payment.key.provider, payment.key.account.clone());
                let name = PaymentName::Refund { provider, account, id: refund.id.clone() };
                assert_eq!(store.payment_named(&name).await.unwrap().as_ref(), Some(&payment.key));
            }
        }
        let payments = || orders.iter().flat_map(|order| &order.payments);
        assert_eq!(
            store.backlog().await.unwrap(),
            Backlog {
                payments_unfinished: payments().filter(|payment| !payment.state.is_final()).count() as u64,
                silent_since: payments()
                    .filter(|payment| !payment.state.is_final())
                    .map(|payment| payment.asked_at.unwrap_or(payment.created_at))
                    .min(),
                events_unpublished: self.events.iter().filter(|(.., published)| published.is_none()).count() as u64,
                dead_letters: self.letters.len() as u64,
            }
        );
    }

    fn find(&self, key: &PaymentKey) -> Found {
        let other = |order: &&Order| {
            order.payments.iter().any(|payment| payment.key.id == key.id && payment.key.provider == key.provider)
        };
        match (self.owner(key), self.orders.values().find(other)) {
            (Some(order), _) => Found::Order(Box::new(order.clone())),
            (None, Some(order)) => Found::OtherAccount(Box::new(order.clone())),
            (None, None) => Found::Unknown,
        }
    }

    /// Returns time and kind of each entry, and the text of the written ones: the words of the others are promised
    /// elsewhere.
    fn timeline(&self, order: &Order) -> Vec<(Timestamp, &'static str, String)> {
        let ours = |of: &Option<PaymentKey>| of.as_ref().is_some_and(|key| order.payment(key).is_some());
        let archived = self.notifications.values().filter(|(_, of)| ours(of));
        let mut notifications: Vec<_> = archived.map(|(notification, _)| notification).collect();
        notifications.sort_by_key(|notification| (notification.received_at, notification.id));
        let mut seen = BTreeSet::new();
        let notifications = notifications.into_iter().map(|it| {
            let first = seen.insert((it.provider, it.account.clone(), it.idempotency_key.clone()));
            (it.received_at, "notification", (!first).to_string())
        });
        let written = self.written.iter().filter(|(id, _)| *id == order.id).map(|(_, entry)| brief(entry));
        let events = self.events.iter().filter(|(event, ..)| event.subject == order.id.as_str());
        let published = events.filter_map(|(event, _, at)| Some(((*at)?, "publish", event.id.to_string())));
        let mut all: Vec<_> = notifications.chain(written).chain(published).collect();
        all.sort_by_key(|(at, ..)| *at);
        all
    }

    async fn compare_letters(&self, store: &dyn Store) {
        let filter = DeadLetterFilter { limit: ALL, ..DeadLetterFilter::default() };
        let listed = store.dead_letter_list(&filter).await.unwrap();
        let mut expected: Vec<_> = self.letters.values().cloned().collect();
        expected.sort_by_key(|letter| (letter.last_failed_at, letter.id));
        expected.reverse();
        for letter in &mut expected {
            letter.notification_id = letter.notification.take().map(|inside| inside.id);
            letter.bytes.clear();
            let order = letter.payment.as_ref().and_then(|key| self.owner(key));
            letter.order = order.map(|order| order.id.clone());
            letter.order_now = order.map(|order| (order.state, order.amount));
        }
        assert_eq!(listed, expected);
    }
}

/// Returns what is there afterwards: the same ones as they now are, in their old order, and then the new ones.
fn upserted<T: Clone>(mut known: Vec<T>, news: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<T> {
    for new in news {
        match known.iter_mut().find(|known| same(known, new)) {
            Some(known) => *known = new.clone(),
            None => known.push(new.clone()),
        }
    }
    known
}

pub(crate) fn brief(entry: &TimelineEntry) -> (Timestamp, &'static str, String) {
    let text = match entry.kind.as_str() {
        "notification" => entry.detail["repeat"].to_string(),
        "publish" => entry.detail["id"].as_str().unwrap_or_default().to_owned(),
        // The entries of a registration are promised elsewhere, too.
        "registered" => String::new(),
        _ => format!("{}{}", entry.text, entry.detail),
    };
    (entry.at, entry.kind.as_str(), text)
}

/// Returns true if a lease or claim is `holder`'s to take for `hold_for`: it is theirs, it ended, or it ends later than
/// a clock that is right would have it.
pub(crate) fn is_free((by, until): (Uuid, Timestamp), holder: Uuid, now: Timestamp, hold_for: Duration) -> bool {
    by == holder || until <= now || until > crate::clocks::longest(now, hold_for)
}
