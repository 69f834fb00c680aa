//! The acts of customers, providers, merchants, and operators in a world.

use payhook_schema::*;
use payhook_simulator::{AntomKind, AntomOutcome, AntomStatus, OmiseStatus};
use rand::RngExt;
use serde_json::{Value, json};

use crate::oracle::{OrderTruth, PaymentStateTruth, PaymentTruth, objections};
use crate::world::{BASE, SimulatedWorld, shop};

/// The providers whose payments a world has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Simulated {
    Antom,
    Omise,
}

impl Simulated {
    fn of(provider: Provider) -> Self {
        if provider == Provider::Antom { Self::Antom } else { Self::Omise }
    }
}

impl SimulatedWorld {
    pub(crate) fn new_order(&mut self, amount: &str) -> usize {
        let id = OrderId::new(format!("A-{}", self.orders.len() + 1)).expect("a good id");
        let amount = amount.parse().expect("an amount");
        self.orders.push(OrderTruth { id, amount, registered: false });
        self.orders.len() - 1
    }

    /// A payment that began at its provider; nobody of ours knows yet.
    pub(crate) fn attempt(&mut self, order: usize, provider: Provider, amount: &str) -> usize {
        let amount: Money = amount.parse().expect("an amount");
        let simulated = Simulated::of(provider);
        let id = match simulated {
            Simulated::Antom => PaymentId::new(format!("PR-{}", self.payments.len() + 1)).expect("a good id"),
            Simulated::Omise => self.simulator.omise().new_charge_id(),
        };
        match simulated {
            Simulated::Antom => self.simulator.antom().create(&id, amount),
            Simulated::Omise => self.simulator.omise().create(&id, amount),
        }
        let began = PaymentStateTruth { state: PaymentState::Awaiting, captured_minor: 0, refunded_minor: 0 };
        self.payments.push(PaymentTruth {
            key: PaymentKey { provider, account: shop("shop"), id },
            amount,
            order,
            registered: false,
            history: vec![began],
            refunds: Vec::new(),
            announced: Vec::new(),
            event: "charge.create",
            to_capture: amount.amount_minor,
            elsewhere: false,
            odd: None,
        });
        self.payments.len() - 1
    }

    /// The merchant registers an order, with all its attempts and announced refunds.
    pub(crate) async fn register(&mut self, order: usize) {
        let truth = &self.orders[order];
        let of_order = || self.payments.iter().filter(move |payment| payment.order == order);
        let refunds = of_order().flat_map(|payment| payment.announced.iter().map(|id| (&payment.key, id)));
        let body = json!({
            "amount_minor": truth.amount.amount_minor,
            "currency": truth.amount.currency,
            "payments": of_order().map(|payment| name(&payment.key)).collect::<Vec<_>>(),
            "refunds": refunds.map(|(key, id)| json!({
                "provider": key.provider, "account": key.account, "payment_id": key.id, "id": id,
            })).collect::<Vec<_>>(),
        });
        let path = format!("/v1/orders/{}", truth.id);
        let (status, problem) = self.call("PUT", &path, &body).await;
        assert!(matches!(status, 200 | 201), "{path}: {status} {problem}");
        self.orders[order].registered = true;
        self.payments.iter_mut().filter(|payment| payment.order == order).for_each(|payment| payment.registered = true);
    }

    fn becomes(&mut self, payment: usize, state: PaymentState, captured_minor: i64, event: &'static str) {
        let truth = &mut self.payments[payment];
        truth.history.push(PaymentStateTruth { state, captured_minor, refunded_minor: 0 });
        truth.event = event;
    }

    fn id(&self, payment: usize) -> (Simulated, PaymentId) {
        let key = &self.payments[payment].key;
        (Simulated::of(key.provider), key.id.clone())
    }

    pub(crate) fn pay(&mut self, payment: usize) {
        let (simulated, id) = self.id(payment);
        match simulated {
            Simulated::Antom => self.simulator.antom().decide(&id, AntomStatus::Success).expect("there"),
            Simulated::Omise => self.simulator.omise().pay(&id).expect("not paid yet"),
        }
        let captured = self.payments[payment].amount.amount_minor;
        self.becomes(payment, PaymentState::Paid, captured, "charge.complete");
    }

    /// The money is held at the provider; so much of it will be captured.
    pub(crate) fn authorize(&mut self, payment: usize, to_capture: i64) {
        let (simulated, id) = self.id(payment);
        match simulated {
            Simulated::Antom => {
                self.simulator.antom().decide(&id, AntomStatus::Success).expect("there");
                self.simulator.antom().capture(&id, to_capture).expect("as much as there is");
            }
            Simulated::Omise => self.simulator.omise().authorize(&id).expect("pending"),
        }
        self.payments[payment].to_capture = to_capture;
        self.becomes(payment, PaymentState::Authorized, 0, "charge.complete");
    }

    pub(crate) fn capture(&mut self, payment: usize) {
        let ((simulated, id), minor) = (self.id(payment), self.payments[payment].to_capture);
        match simulated {
            Simulated::Antom => self.simulator.antom().decide_capture(&id, AntomOutcome::Success).expect("begun"),
            Simulated::Omise => self.simulator.omise().capture(&id, minor).expect("authorized"),
        }
        self.becomes(payment, PaymentState::Paid, minor, "charge.capture");
    }

    /// It ends without money; Antom takes its word back even where it said that there was some.
    pub(crate) fn refuse(&mut self, payment: usize, cancelled: bool) {
        let (simulated, id) = self.id(payment);
        let (omise, was) = (self.simulator.omise(), self.payments[payment].now().state);
        let (state, event) = match (simulated, cancelled) {
            (Simulated::Antom, true) => {
                self.simulator.antom().decide(&id, AntomStatus::Cancelled).expect("there");
                (PaymentState::Cancelled, "")
            }
            (Simulated::Antom, false) => {
                self.simulator.antom().decide(&id, AntomStatus::Fail("RISK_REJECT".to_owned())).expect("there");
                (PaymentState::Failed, "")
            }
            (Simulated::Omise, _) if was == PaymentState::Authorized => {
                omise.reverse(&id).expect("authorized");
                (PaymentState::Cancelled, "charge.reverse")
            }
            (Simulated::Omise, true) => {
                omise.expire(&id).expect("not paid");
                (PaymentState::Expired, "charge.expire")
            }
            (Simulated::Omise, false) => {
                omise.fail(&id, "payment_rejected").expect("not paid");
                (PaymentState::Failed, "charge.complete")
            }
        };
        self.becomes(payment, state, 0, event);
    }

    /// Money goes back, announced before or made in the dashboard; it may fail.
    pub(crate) async fn refund(&mut self, payment: usize, minor: i64, announced: bool, succeeds: bool) {
        let (simulated, id) = self.id(payment);
        let refund = match simulated {
            Simulated::Omise => match self.simulator.omise().refund(&id, minor) {
                Ok(refund) => refund,
                // Disputed: nothing goes back meanwhile.
                Err(_) => return,
            },
            Simulated::Antom => {
                let refund = RefundId::new(format!("RF-{id}-{}", self.payments[payment].refunds.len() + 1));
                let refund = refund.expect("a good id");
                if announced || self.shape.refunds_unlisted {
                    let announced_for = self.announced_for(payment);
                    self.payments[announced_for].announced.push(refund.clone());
                    self.register(self.payments[announced_for].order).await;
                }
                self.simulator.antom().refund(&id, &refund, minor).expect("as much as is left");
                let outcome = if succeeds { AntomOutcome::Success } else { AntomOutcome::Fail("NO".to_owned()) };
                self.simulator.antom().decide_refund(&refund, outcome).expect("begun");
                refund
            }
        };
        let truth = &mut self.payments[payment];
        truth.refunds.push(refund);
        truth.event = "refund.create";
        if succeeds || simulated == Simulated::Omise {
            let PaymentStateTruth { captured_minor, refunded_minor, .. } = truth.now();
            let refunded_minor = refunded_minor + minor;
            let whole = refunded_minor == captured_minor;
            let state = if whole { PaymentState::Refunded } else { PaymentState::PartlyRefunded };
            truth.history.push(PaymentStateTruth { state, captured_minor, refunded_minor });
        }
    }

    /// The payment that the merchant announces a refund of `payment` for.
    fn announced_for(&mut self, payment: usize) -> usize {
        let is_antoms = |it: &usize| self.payments[*it].key.provider == Provider::Antom;
        let antoms: Vec<usize> = (0..self.payments.len()).filter(is_antoms).collect();
        if self.shape.tangled { antoms[self.rng.random_range(0..antoms.len())] } else { payment }
    }

    /// More goes back than came, or another currency: answered by Antom's older gateway alone, refund by refund.
    pub(crate) async fn refund_oddly(&mut self, payment: usize, amount: &str) {
        let ((_, id), amount) = (self.id(payment), amount.parse::<Money>().expect("an amount"));
        let truth = &mut self.payments[payment];
        let refund = RefundId::new(format!("RX-{id}-{}", truth.announced.len() + 1)).expect("a good id");
        let other = amount.currency != truth.amount.currency;
        truth.odd = Some(if other { HoldReason::CurrencyMismatch } else { HoldReason::AmountMismatch });
        truth.announced.push(refund.clone());
        let order = truth.order;
        self.simulator.antom().refund_anything(&id, &refund, amount).expect("there");
        self.register(order).await;
    }

    /// A refund that was announced for one payment is one of another, which says so.
    pub(crate) async fn refund_of_another(&mut self, announced: usize, made: usize, minor: i64) {
        let refund = RefundId::new(format!("RO-{}", self.id(made).1)).expect("a good id");
        self.payments[announced].announced.push(refund.clone());
        self.register(self.payments[announced].order).await;
        self.simulator.antom().refund(&self.id(made).1, &refund, minor).expect("as much as is left");
        self.simulator.antom().decide_refund(&refund, AntomOutcome::Success).expect("begun");
        self.payments[made].odd = Some(HoldReason::ImpossibleTransition);
        // `inquiryRefund` names no payment: what was announced is believed.
        self.payments[announced].history.clear();
        let whole = self.payments[announced].amount.amount_minor;
        let state = if minor == whole { PaymentState::Refunded } else { PaymentState::PartlyRefunded };
        self.payments[announced].history.push(PaymentStateTruth {
            state,
            captured_minor: whole,
            refunded_minor: minor,
        });
    }

    /// The provider notifies of what happened last, under this account of ours; not of what it says nothing about.
    pub(crate) async fn notify_under(&mut self, payment: usize, account: &str) -> bool {
        let (simulated, id) = self.id(payment);
        let account = shop(account);
        let truth = &mut self.payments[payment];
        truth.elsewhere |= account != truth.key.account;
        let signed = match (simulated, truth.event, truth.refunds.last()) {
            (Simulated::Antom, "refund.create", Some(refund)) => {
                self.simulator.antom().signed_refund(BASE, &account, refund, AntomKind::RefundState)
            }
            (Simulated::Antom, "charge.capture", _) => {
                self.simulator.antom().signed(BASE, &account, &id, AntomKind::Capture)
            }
            (Simulated::Antom, _, _) => self.simulator.antom().signed(BASE, &account, &id, AntomKind::State),
            (Simulated::Omise, event, _) => self.simulator.omise().signed(BASE, &account, &id, event),
        };
        let Ok(signed) = signed else { return false };
        self.receives(&signed).await;
        true
    }

    pub(crate) async fn notify(&mut self, payment: usize) -> bool {
        self.notify_under(payment, "shop").await
    }

    /// The customer disputes a payment; money stays where it is.
    pub(crate) async fn dispute(&mut self, payment: usize) {
        let (simulated, id) = self.id(payment);
        let signed = match simulated {
            Simulated::Antom => {
                let dispute = DisputeId::new(format!("D-{id}")).expect("a good id");
                self.simulator.antom().dispute(&id, &dispute, 100).expect("less than all");
                self.simulator.antom().signed(BASE, &shop("shop"), &id, AntomKind::Dispute)
            }
            // Once: a second dispute of one charge is refused.
            Simulated::Omise => match self.simulator.omise().dispute(&id) {
                Ok(_) => self.simulator.omise().signed(BASE, &shop("shop"), &id, "dispute.create"),
                Err(refused) => Err(refused),
            },
        };
        if let Ok(signed) = signed {
            self.receives(&signed).await;
        }
    }

    /// A notification that nobody signed, and one that says what is not so.
    pub(crate) async fn forge(&mut self, payment: usize) {
        let (simulated, id) = self.id(payment);
        let signed = match simulated {
            Simulated::Antom => self.simulator.antom().signed(BASE, &shop("shop"), &id, AntomKind::Paid),
            Simulated::Omise => {
                let omise = self.simulator.omise();
                omise.signed_saying(BASE, &shop("shop"), &id, "charge.complete", OmiseStatus::Successful)
            }
        };
        let Ok(signed) = signed else { return };
        let status = self.posted(&signed.clone().flipped(20)).await;
        assert!(matches!(status, None | Some(401 | 429)), "a forgery is answered {status:?}");
        self.receives(&signed).await;
    }

    /// The operator has looked at a held order, and lets it go on; whether it was held.
    pub(crate) async fn release(&mut self, order: usize) -> bool {
        let Some(order) = self.order(&self.orders[order].id).await else { return false };
        if order.state != OrderState::Held {
            return false;
        }
        // Money that the provider says never came went back: the operator looked, and records it.
        let contradicted = |key: &PaymentKey| self.payments.iter().any(|it| it.key == *key && it.is_contradicted());
        let objected = |key: &PaymentKey| objections(&order).open_names(HoldReason::ImpossibleTransition, key);
        let paid = order.payments.iter().filter(|it| it.state == PaymentState::Paid).map(|it| &it.key);
        let returned: Vec<_> = paid.filter(|key| contradicted(key) && objected(key)).map(name).collect();
        let body = json!({ "reason": "looked at this", "version": order.version, "returned": returned });
        let (status, problem) = self.call("POST", &format!("/v1/orders/{}/release", order.id), &body).await;
        // Something new was objected to meanwhile, or another release came first.
        assert!(matches!(status, 202 | 409), "{status} {problem}");
        true
    }

    pub(crate) async fn refresh(&mut self, order: usize) {
        let path = format!("/v1/orders/{}/refresh", self.orders[order].id);
        let (status, problem) = self.call("POST", &path, &Value::Null).await;
        assert_eq!(status, 202, "{problem}");
    }

    /// The operator replays every dead letter.
    pub(crate) async fn replay(&mut self) {
        let body = json!({ "filter": { "all": true }, "reason": "after the outage" });
        let (status, problem) = self.call("POST", "/v1/dead-letters/replay", &body).await;
        assert!(matches!(status, 200 | 202 | 404 | 409), "{status} {problem}");
    }
}

fn name(key: &PaymentKey) -> Value {
    json!({ "provider": key.provider, "account": key.account, "id": key.id })
}
