//! A refund that was announced for another payment than it is of.

use jiff::SignedDuration;
use payhook_queue::Queue;
use payhook_schema::{Because, Envelope, NewOrder, NewRefund, OrderId, OrderState, RefundId, RefundState};
use payhook_simulator::{AntomHabits, AntomKind, AntomOutcome, AntomStatus};
use payhook_store::{Registered, traits::*};

use crate::test_worker::{TestWorker, key, shop};

fn refund() -> RefundId {
    RefundId::new("RF-1").unwrap()
}

impl TestWorker {
    async fn ask(&self, id: &str) {
        let hint = Envelope::ask(key(id), Because::Refresh, self.now());
        self.queue.publish(&hint).await.unwrap();
    }

    fn habits(&self, refunds_listed: bool, refund_names_payment: bool) {
        let antom = self.simulator.antom();
        antom.set_habits(AntomHabits { refunds_listed, refund_names_payment, ..antom.habits() });
    }

    /// Two paid orders. Money of the second is on its way back, and the merchant announces that for the first.
    async fn announces_for_the_wrong_payment(&self, outcome: AntomOutcome) {
        for id in ["A-1", "A-2"] {
            self.registers(id, AntomStatus::Success).await;
            self.ask(id).await;
            self.until(id, "the payment", |order, _| order.state == OrderState::Paid).await;
        }
        self.simulator.antom().refund(&key("A-2").id, &refund(), 4_000).unwrap();
        self.simulator.antom().decide_refund(&refund(), outcome).unwrap();
        let announced = vec![NewRefund { payment: key("A-1"), id: refund() }];
        let id = OrderId::new("A-1").unwrap();
        let new = NewOrder { id, amount: "120.00 THB".parse().unwrap(), payments: Vec::new(), refunds: announced };
        let Registered::Order { .. } = self.store.order_register(&new, self.now()).await.unwrap() else {
            panic!("it is announced for a payment of its order")
        };
    }

    async fn receives_the_refund(&self) {
        let (antom, to) = (self.simulator.antom(), "http://payhook.test");
        self.receives(&antom.signed_refund(to, &shop(), &refund(), AntomKind::RefundState).unwrap()).await;
    }

    fn succeeds(&self) {
        self.simulator.antom().decide_refund(&refund(), AntomOutcome::Success).unwrap();
        self.becomes(self.now() + SignedDuration::from_hours(1));
    }

    /// The second order has its refund event once, the first has none, and neither is held.
    async fn is_announced_where_it_belongs(&self) {
        self.until("A-2", "the refund", |order, _| order.refunded_minor == 4_000).await;
        let [first, second] = [self.order("A-1").await, self.order("A-2").await];
        assert_eq!((first.state, first.refunded_minor, &first.payments[0].refunds), (OrderState::Paid, 0, &Vec::new()));
        assert_eq!((second.state, second.payments[0].refunds.len()), (OrderState::PartlyRefunded, 1));
        assert!(first.holds.is_empty() && second.holds.is_empty(), "{first:#?} {second:#?}");
        let sent = self.store.events_of(&second.id).await.unwrap();
        let types: Vec<_> = sent.events.iter().map(|event| event.event_type.as_str()).collect();
        assert_eq!(types, ["payhook.order.paid.v1", "payhook.order.refunded.v1"]);
        assert_eq!(self.store.events_of(&first.id).await.unwrap().events.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_follows_the_answer_that_names_another_payment() {
    let worker = TestWorker::start().await;
    worker.habits(false, true);
    worker.announces_for_the_wrong_payment(AntomOutcome::Processing).await;
    worker.until("A-2", "the refund to come here", |_, payment| !payment.refunds.is_empty()).await;
    worker.succeeds();
    worker.is_announced_where_it_belongs().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_that_is_done_already_is_booked_where_the_answer_names_it() {
    let worker = TestWorker::start().await;
    worker.habits(false, true);
    worker.announces_for_the_wrong_payment(AntomOutcome::Success).await;
    worker.receives_the_refund().await;
    worker.is_announced_where_it_belongs().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_goes_to_the_payment_whose_own_answer_lists_it() {
    let worker = TestWorker::start().await;
    worker.announces_for_the_wrong_payment(AntomOutcome::Processing).await;
    let is_told = |refund: &payhook_schema::Refund| refund.amount.is_some() && refund.state == RefundState::Pending;
    worker.until("A-1", "an answer about the refund", |_, payment| payment.refunds.iter().any(is_told)).await;
    worker.ask("A-2").await;
    worker.until("A-2", "the refund to come here", |_, payment| payment.refunds.iter().any(is_told)).await;
    assert_eq!(worker.order("A-1").await.payments[0].refunds, []);
    worker.succeeds();
    worker.is_announced_where_it_belongs().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_whose_money_was_booked_never_moves_and_a_person_must_look() {
    let worker = TestWorker::start().await;
    worker.habits(false, false);
    worker.announces_for_the_wrong_payment(AntomOutcome::Success).await;
    worker.until("A-1", "the refund", |order, _| order.refunded_minor == 4_000).await;

    // The other payment's own answer lists it.
    worker.habits(true, false);
    worker.ask("A-2").await;
    worker.until("A-2", "an objection", |order, _| order.state == OrderState::Held).await;
    // The answer about the refund names the other payment.
    worker.habits(false, true);
    worker.receives_the_refund().await;
    worker.until("A-1", "an objection", |order, _| order.state == OrderState::Held).await;
    let [first, second] = [worker.order("A-1").await, worker.order("A-2").await];
    assert_eq!((first.refunded_minor, second.refunded_minor), (4_000, 0));
    assert_eq!((first.holds.len(), second.holds.len(), second.payments[0].refunds.len()), (1, 1, 0));
}
