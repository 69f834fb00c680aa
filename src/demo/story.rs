//! The story of the demo: each step says what happens, makes it happen, and checks it from outside.

use std::time::{Duration, Instant};

use anyhow::ensure;
use payhook_console::api::ReplayAnswer;
use payhook_schema::{
    AccountName, AuthState, AuthorizationState, DeadCause, Money, OrderState, PaymentId, Provider, RefundId,
    TimelineKind, Wallet,
};
use payhook_simulator::{AntomKind, AntomOutcome, AntomStatus, Fault, Keys, Simulator};

use super::merchant::Merchant;
use crate::output::{self, or_dash};

pub(super) struct Story<'a> {
    simulator: &'a Simulator,
    merchant: &'a Merchant,
    account: AccountName,
    ingress: String,
    failed: usize,
}

type StepOutcome = anyhow::Result<String>;

impl<'a> Story<'a> {
    pub(super) fn new(simulator: &'a Simulator, merchant: &'a Merchant, account: AccountName, ingress: String) -> Self {
        Self { simulator, merchant, account, ingress, failed: 0 }
    }

    pub(super) async fn tell(&mut self) {
        self.failed += step("Antom notifies a paid order", self.paid()).await;
        self.failed += step("Antom sends the same notification four times more", self.repeated()).await;
        self.failed += step("Omise notifies before the order is registered", self.out_of_order()).await;
        self.failed += step("a stranger forges a notification", self.forged()).await;
        self.failed += step("a genuine notification says paid, but Antom says failed", self.contradicted()).await;
        self.failed += step("PAYMENT_PENDING comes with resultStatus S", self.pending()).await;
        self.failed += step("a customer pays the wrong amount", self.mismatched()).await;
        self.failed += step("Omise authorizes, then captures", self.authorized()).await;
        self.failed += step("Omise refunds a part, then the rest", self.refunded()).await;
        self.failed += step("Antom's dashboard refunds a part", self.refunded_elsewhere()).await;
        self.failed += step("a customer agrees to be charged, then revokes it", self.consented()).await;
        self.failed += step("Omise is down until a notification becomes a dead letter", self.dead_lettered()).await;
        self.failed += step("Omise is back, and the dead letter is replayed", self.replayed()).await;
    }

    /// Prints the closing table. Returns the number of steps that failed.
    pub(super) async fn close(&self) -> anyhow::Result<usize> {
        let mut rows = Vec::new();
        for order in self.merchant.orders().await?.iter().rev() {
            let money = |minor| Money::new(minor, order.currency).to_string();
            let hold = order.hold.as_ref().map_or(String::new(), |hold| format!(" ({})", hold.reason));
            let events = self.merchant.events(order.order_id.as_str()).await?;
            rows.push([
                order.order_id.to_string(),
                format!("{}{hold}", order.state),
                money(order.captured_minor),
                money(order.refunded_minor),
                or_dash((!events.is_empty()).then(|| events.join(", "))),
            ]);
        }
        output::line("");
        output::line(output::table(["ORDER", "STATE", "CAPTURED", "REFUNDED", "EVENTS"], rows));
        for letter in self.merchant.dead_letters().await? {
            output::line(format_args!(
                "dead letter: {} of {} after {} attempts: {}",
                letter.cause,
                or_dash(letter.payment_id),
                letter.attempts,
                letter.detail
            ));
        }
        Ok(self.failed)
    }

    async fn paid(&self) -> StepOutcome {
        let payment = self.antom_payment("D-1001", "120.00 THB").await?;
        self.simulator.antom().decide(&payment, AntomStatus::Success)?;
        self.antom_notifies(&payment, AntomKind::State).await?;
        self.merchant.sees("D-1001", OrderState::Paid, &["order.paid"]).await?;
        Ok("answered 200, Antom asked: SUCCESS, 120.00 THB as registered; order.paid sent".to_owned())
    }

    async fn repeated(&self) -> StepOutcome {
        let payment = id("PR-D-1001");
        for _ in 0..4 {
            self.antom_notifies(&payment, AntomKind::State).await?;
        }
        self.merchant
            .watches(async || {
                let timeline = self.merchant.timeline("D-1001").await?;
                let notified = timeline.iter().filter(|entry| entry.kind == TimelineKind::Notification);
                let notifications: u64 = notified.filter_map(|entry| entry.detail["received"].as_u64()).sum();
                ensure!(notifications == 5, "{notifications} notifications are in the timeline, not 5");
                Ok(())
            })
            .await?;
        self.merchant.sees("D-1001", OrderState::Paid, &["order.paid"]).await?;
        Ok("all five in the timeline, the order paid once, one order.paid".to_owned())
    }

    async fn out_of_order(&self) -> StepOutcome {
        let charge = self.simulator.omise().new_charge_id();
        let amount = thb("350.00 THB");
        self.simulator.omise().create(&charge, amount);
        self.simulator.omise().pay(&charge)?;
        self.omise_notifies(&charge, "charge.complete").await?;
        // The shop registers the order a moment later.
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.merchant.registers("D-1002", amount, Provider::Omise, &charge).await?;
        self.merchant.sees("D-1002", OrderState::Paid, &["order.paid"]).await?;
        Ok("stored, then linked and paid as soon as the order was registered".to_owned())
    }

    async fn forged(&self) -> StepOutcome {
        let payment = self.antom_payment("D-1003", "900.00 THB").await?;
        let genuine = self.simulator.antom().signed(&self.ingress, &self.account, &payment, AntomKind::Paid)?;
        let reply = genuine.signed_by(&Keys::generate()).send().await?;
        ensure!(reply.status == 401, "answered {}", reply.status);
        let calls = self.simulator.journal().calls_for(&payment).len();
        ensure!(calls == 0, "Antom was asked {calls} times");
        self.merchant.sees("D-1003", OrderState::Pending, &[]).await?;
        Ok("answered 401; Antom was not asked, nothing was stored".to_owned())
    }

    async fn contradicted(&self) -> StepOutcome {
        let payment = self.antom_payment("D-1004", "80.00 THB").await?;
        self.simulator.antom().decide(&payment, AntomStatus::Fail("USER_BALANCE_NOT_ENOUGH".to_owned()))?;
        self.antom_notifies(&payment, AntomKind::Paid).await?;
        self.merchant.sees("D-1004", OrderState::Pending, &["payment.failed"]).await?;
        Ok("the provider's answer counts: not paid; payment.failed sent".to_owned())
    }

    async fn pending(&self) -> StepOutcome {
        let payment = self.antom_payment("D-1005", "60.00 THB").await?;
        self.simulator.antom().decide(&payment, AntomStatus::Pending)?;
        self.antom_notifies(&payment, AntomKind::State).await?;
        self.merchant
            .watches(async || {
                let order = self.merchant.order("D-1005").await?;
                ensure!(order.payments[0].asked_at.is_some(), "Antom was not asked yet");
                Ok(())
            })
            .await?;
        self.merchant.sees("D-1005", OrderState::Pending, &[]).await?;
        Ok("asked, still awaiting: not paid, asked again on a schedule".to_owned())
    }

    async fn mismatched(&self) -> StepOutcome {
        let charge = self.simulator.omise().new_charge_id();
        self.merchant.registers("D-1006", thb("500.00 THB"), Provider::Omise, &charge).await?;
        self.simulator.omise().create(&charge, thb("50.00 THB"));
        self.simulator.omise().pay(&charge)?;
        self.omise_notifies(&charge, "charge.complete").await?;
        let order = self.merchant.sees("D-1006", OrderState::Held, &["order.held"]).await?;
        Ok(format!("held for a person: {}", or_dash(order.hold.map(|hold| hold.detail))))
    }

    async fn authorized(&self) -> StepOutcome {
        let charge = self.simulator.omise().new_charge_id();
        let amount = thb("240.00 THB");
        self.merchant.registers("D-1007", amount, Provider::Omise, &charge).await?;
        self.simulator.omise().create(&charge, amount);
        self.simulator.omise().authorize(&charge)?;
        self.omise_notifies(&charge, "charge.complete").await?;
        self.merchant.sees("D-1007", OrderState::Authorized, &["order.authorized"]).await?;
        self.simulator.omise().capture(&charge, amount.amount_minor)?;
        self.omise_notifies(&charge, "charge.capture").await?;
        self.merchant.sees("D-1007", OrderState::Paid, &["order.authorized", "order.paid"]).await?;
        Ok("authorized on the hold, paid on the capture".to_owned())
    }

    async fn refunded(&self) -> StepOutcome {
        let order = self.merchant.order("D-1002").await?;
        let charge = order.payments[0].key.id.clone();
        for (refunded, state) in [(10_000, OrderState::PartlyRefunded), (25_000, OrderState::Refunded)] {
            self.simulator.omise().refund(&charge, refunded)?;
            self.omise_notifies(&charge, "refund.create").await?;
            let refunds = if state == OrderState::Refunded { 2 } else { 1 };
            let events = ["order.paid"].into_iter().chain(std::iter::repeat_n("order.refunded", refunds));
            self.merchant.sees("D-1002", state, &events.collect::<Vec<_>>()).await?;
        }
        Ok("100.00 of 350.00 THB back, then all of it; order.refunded each time".to_owned())
    }

    async fn refunded_elsewhere(&self) -> StepOutcome {
        let (payment, refund) = (id("PR-D-1001"), RefundId::new("RF-dashboard-1").expect("a good id"));
        let antom = self.simulator.antom();
        antom.refund(&payment, &refund, 4_000)?;
        antom.decide_refund(&refund, AntomOutcome::Success)?;
        let reply = antom.notify_refund(&self.ingress, &self.account, &refund, AntomKind::RefundState).await?;
        ensure!(reply.acknowledged(), "the notification was answered {} {}", reply.status, reply.body);
        let events = ["order.paid", "order.refunded"];
        let order = self.merchant.sees("D-1001", OrderState::PartlyRefunded, &events).await?;
        ensure!(order.refunded_minor == 4_000, "refunded is {}", order.refunded_minor);
        Ok("the notification names no payment; found by asking, 40.00 of 120.00 THB back".to_owned())
    }

    async fn consented(&self) -> StepOutcome {
        let (auth_state, wallet) =
            (AuthState::new("AS-D-1").expect("a good one"), Wallet::new("KPLUS").expect("a wallet"));
        let antom = self.simulator.antom();
        self.merchant.registers_authorization("AU-D-1", auth_state.clone(), wallet.clone()).await?;
        antom.consult(&auth_state, &wallet);
        antom.agree(&auth_state)?;
        for _ in 0..3 {
            self.antom_notifies_consent(&auth_state, AntomKind::AuthcodeCreated).await?;
        }
        self.merchant.sees_authorization("AU-D-1", AuthorizationState::TokenIssued, &["authorization.granted"]).await?;
        let exchanges = antom.exchanges(&auth_state)?;
        ensure!(exchanges == 1, "the code was exchanged {exchanges} times");
        let token = self.merchant.reads_token("AU-D-1").await?;
        ensure!(token == antom.access_token(&auth_state)?, "the merchant reads another token than Antom gave");
        antom.revoke(&auth_state, Some("user request"))?;
        self.antom_notifies_consent(&auth_state, AntomKind::TokenCanceled).await?;
        let events = ["authorization.granted", "authorization.cancelled"];
        self.merchant.sees_authorization("AU-D-1", AuthorizationState::Cancelled, &events).await?;
        Ok("notified three times, the code exchanged once, the token sealed; then revoked and deleted".to_owned())
    }

    async fn antom_notifies_consent(&self, auth_state: &AuthState, kind: AntomKind) -> anyhow::Result<()> {
        let antom = self.simulator.antom();
        let reply = antom.notify_authorization(&self.ingress, &self.account, auth_state, kind).await?;
        ensure!(reply.acknowledged(), "the notification was answered {} {}", reply.status, reply.body);
        Ok(())
    }

    async fn dead_lettered(&self) -> StepOutcome {
        let charge = self.simulator.omise().new_charge_id();
        let amount = thb("75.00 THB");
        self.merchant.registers("D-1008", amount, Provider::Omise, &charge).await?;
        self.simulator.omise().create(&charge, amount);
        self.simulator.omise().pay(&charge)?;
        self.simulator.faults().set(Provider::Omise, Fault::Down { status: 503 })?;
        self.omise_notifies(&charge, "charge.complete").await?;
        let letter = self
            .merchant
            .watches(async || {
                let letters = self.merchant.dead_letters().await?;
                let ours = letters.into_iter().find(|letter| letter.payment_id.as_ref() == Some(&charge));
                ours.ok_or_else(|| anyhow::anyhow!("no dead letter yet"))
            })
            .await?;
        ensure!(letter.cause == DeadCause::ProviderUnreachable, "the cause is {}", letter.cause);
        let order = or_dash(letter.order_id);
        ensure!(order == "D-1008", "the letter names order {order}");
        self.merchant.sees("D-1008", OrderState::Pending, &[]).await?;
        Ok(format!("answered 200 and tried {} times; now a dead letter, and the order is not failed", letter.attempts))
    }

    async fn replayed(&self) -> StepOutcome {
        self.simulator.faults().clear(Provider::Omise);
        let plan = self.merchant.replays(DeadCause::ProviderUnreachable, true).await?;
        ensure!(matches!(&plan, ReplayAnswer::Plan { plan } if plan.would_change == 1), "the plan is {plan:?}");
        self.merchant.sees("D-1008", OrderState::Pending, &[]).await?;
        self.merchant.replays(DeadCause::ProviderUnreachable, false).await?;
        self.merchant.sees("D-1008", OrderState::Paid, &["order.paid"]).await?;
        let letters = async || {
            let open = self.merchant.dead_letters().await?.len();
            ensure!(open == 0, "{open} dead letters are open");
            Ok(())
        };
        self.merchant.watches(letters).await?;
        Ok("planned first: one order would be paid; then replayed: paid once, no dead letter is open".to_owned())
    }

    async fn antom_payment(&self, order: &str, amount: &str) -> anyhow::Result<PaymentId> {
        let (payment, amount) = (id(&format!("PR-{order}")), thb(amount));
        self.merchant.registers(order, amount, Provider::Antom, &payment).await?;
        self.simulator.antom().create(&payment, amount);
        Ok(payment)
    }

    async fn antom_notifies(&self, payment: &PaymentId, kind: AntomKind) -> anyhow::Result<()> {
        let reply = self.simulator.antom().notify(&self.ingress, &self.account, payment, kind).await?;
        ensure!(reply.acknowledged(), "the notification was answered {} {}", reply.status, reply.body);
        Ok(())
    }

    async fn omise_notifies(&self, charge: &PaymentId, key: &str) -> anyhow::Result<()> {
        let reply = self.simulator.omise().notify(&self.ingress, &self.account, charge, key).await?;
        ensure!(reply.acknowledged(), "the notification was answered {} {}", reply.status, reply.body);
        Ok(())
    }
}

/// Makes one step happen and prints its outcome. Returns the number of failures: 0 or 1.
async fn step(what: &str, action: impl Future<Output = StepOutcome>) -> usize {
    let started = Instant::now();
    let outcome = action.await;
    let took = started.elapsed().as_millis();
    match outcome {
        Ok(seen) => {
            output::line(format_args!("  ok   {what}\n       {seen}   ({took} ms)"));
            0
        }
        Err(error) => {
            output::line(format_args!("  NOT  {what}\n       {error:#}   ({took} ms)"));
            1
        }
    }
}

fn id(text: &str) -> PaymentId {
    PaymentId::new(text).expect("the story's ids are ids")
}

fn thb(text: &str) -> Money {
    text.parse().expect("the story's amounts are amounts")
}
