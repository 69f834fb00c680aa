use std::time::{Duration, Instant};

use anyhow::ensure;
use payhook_schema::{AccountName, AuthState, Money, PaymentId, Provider, RefundId, Wallet};
use payhook_simulator::{AntomKind, AntomOutcome, AntomStatus, Fault, Keys, Simulator};

use super::merchant::Merchant;
use crate::order::{money, text};
use crate::output;

/// The told story: each step says what happens, makes it happen, and checks it from outside.
pub(super) struct Story<'a> {
    simulator: &'a Simulator,
    merchant: &'a Merchant,
    account: AccountName,
    ingress: String,
    otherwise: usize,
}

type Step = anyhow::Result<String>;

impl<'a> Story<'a> {
    pub(super) fn new(simulator: &'a Simulator, merchant: &'a Merchant, account: AccountName, ingress: String) -> Self {
        Self { simulator, merchant, account, ingress, otherwise: 0 }
    }

    pub(super) async fn tell(&mut self) {
        self.otherwise += step("Antom notifies a paid order", self.paid()).await;
        self.otherwise += step("Antom sends the same notification four times more", self.repeated()).await;
        self.otherwise += step("Omise notifies before the order is registered", self.out_of_order()).await;
        self.otherwise += step("a stranger forges a notification", self.forged()).await;
        self.otherwise += step("a genuine notification says paid, but Antom says failed", self.contradicted()).await;
        self.otherwise += step("PAYMENT_PENDING comes with resultStatus S", self.pending()).await;
        self.otherwise += step("a customer pays the wrong amount", self.mismatched()).await;
        self.otherwise += step("Omise authorizes, then captures", self.authorized()).await;
        self.otherwise += step("Omise refunds a part, then the rest", self.refunded()).await;
        self.otherwise += step("Antom's dashboard refunds a part", self.refunded_elsewhere()).await;
        self.otherwise += step("a customer agrees to be charged, then takes it back", self.consented()).await;
        self.otherwise += step("Omise is down until we give up", self.dead_lettered()).await;
        self.otherwise += step("Omise is back, and the dead letter is replayed", self.replayed()).await;
    }

    /// The closing table; how many steps went otherwise than told.
    pub(super) async fn close(&self) -> anyhow::Result<usize> {
        let mut rows = Vec::new();
        for order in self.merchant.orders().await?.iter().rev() {
            let id = text(&order["order_id"]);
            let hold = order["hold"]["reason"].as_str().map_or(String::new(), |reason| format!(" ({reason})"));
            let events = self.merchant.events(&id).await?;
            let told = if events.is_empty() { "-".to_owned() } else { events.join(", ") };
            rows.push([
                id,
                text(&order["state"]) + &hold,
                money(order, "captured_minor"),
                money(order, "refunded_minor"),
                told,
            ]);
        }
        output::line("");
        output::table(["ORDER", "STATE", "CAPTURED", "REFUNDED", "TOLD TO FULFILMENT"], rows);
        for letter in self.merchant.dead_letters().await? {
            output::line(format_args!(
                "dead letter: {} of {} after {} attempts: {}",
                text(&letter["cause"]),
                text(&letter["payment_id"]),
                letter["attempts"],
                text(&letter["detail"])
            ));
        }
        Ok(self.otherwise)
    }

    async fn paid(&self) -> Step {
        let payment = self.antom_payment("D-1001", "120.00 THB").await?;
        self.simulator.antom().decide(&payment, AntomStatus::Success)?;
        self.antom_notifies(&payment, AntomKind::State).await?;
        self.merchant.sees("D-1001", "paid", &["order.paid"]).await?;
        Ok("answered 200, Antom asked: SUCCESS, 120.00 THB as registered; order.paid sent".to_owned())
    }

    async fn repeated(&self) -> Step {
        let payment = id("PR-D-1001");
        for _ in 0..4 {
            self.antom_notifies(&payment, AntomKind::State).await?;
        }
        self.merchant
            .watches(async || {
                let kept = self.merchant.timeline("D-1001").await?;
                let notified = kept.iter().filter(|entry| entry["kind"] == "notification");
                let notifications: u64 = notified.filter_map(|entry| entry["detail"]["received"].as_u64()).sum();
                ensure!(notifications == 5, "{notifications} notifications are in the timeline, not 5");
                Ok(())
            })
            .await?;
        self.merchant.sees("D-1001", "paid", &["order.paid"]).await?;
        Ok("all five kept in the timeline, the order paid once, one order.paid".to_owned())
    }

    async fn out_of_order(&self) -> Step {
        let charge = self.simulator.omise().new_charge_id();
        let amount = thb("350.00 THB");
        self.simulator.omise().create(&charge, amount);
        self.simulator.omise().pay(&charge)?;
        self.omise_notifies(&charge, "charge.complete").await?;
        // The shop is a moment late, as shops are.
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.merchant.registers("D-1002", amount, Provider::Omise, &charge).await?;
        self.merchant.sees("D-1002", "paid", &["order.paid"]).await?;
        Ok("parked, then linked and paid the moment the order was registered".to_owned())
    }

    async fn forged(&self) -> Step {
        let payment = self.antom_payment("D-1003", "900.00 THB").await?;
        let genuine = self.simulator.antom().signed(&self.ingress, &self.account, &payment, AntomKind::Paid)?;
        let reply = genuine.signed_by(&Keys::generate()).send().await?;
        ensure!(reply.status == 401, "answered {}", reply.status);
        let calls = self.simulator.journal().calls_for(&payment).len();
        ensure!(calls == 0, "Antom was asked {calls} times");
        self.merchant.sees("D-1003", "pending", &[]).await?;
        Ok("answered 401; Antom was not asked, nothing was stored".to_owned())
    }

    async fn contradicted(&self) -> Step {
        let payment = self.antom_payment("D-1004", "80.00 THB").await?;
        self.simulator.antom().decide(&payment, AntomStatus::Fail("USER_BALANCE_NOT_ENOUGH".to_owned()))?;
        self.antom_notifies(&payment, AntomKind::Paid).await?;
        self.merchant.sees("D-1004", "pending", &["payment.failed"]).await?;
        Ok("the provider's answer counts: not paid; payment.failed sent".to_owned())
    }

    async fn pending(&self) -> Step {
        let payment = self.antom_payment("D-1005", "60.00 THB").await?;
        self.simulator.antom().decide(&payment, AntomStatus::Pending)?;
        self.antom_notifies(&payment, AntomKind::State).await?;
        self.merchant
            .watches(async || {
                let order = self.merchant.order("D-1005").await?;
                ensure!(!order["payments"][0]["asked_at"].is_null(), "Antom was not asked yet");
                Ok(())
            })
            .await?;
        self.merchant.sees("D-1005", "pending", &[]).await?;
        Ok("asked, still awaiting: not paid, looked at again on a schedule".to_owned())
    }

    async fn mismatched(&self) -> Step {
        let charge = self.simulator.omise().new_charge_id();
        self.merchant.registers("D-1006", thb("500.00 THB"), Provider::Omise, &charge).await?;
        self.simulator.omise().create(&charge, thb("50.00 THB"));
        self.simulator.omise().pay(&charge)?;
        self.omise_notifies(&charge, "charge.complete").await?;
        let order = self.merchant.sees("D-1006", "held", &["order.held"]).await?;
        Ok(format!("held, never silently paid: {}", text(&order["hold"]["detail"])))
    }

    async fn authorized(&self) -> Step {
        let charge = self.simulator.omise().new_charge_id();
        let amount = thb("240.00 THB");
        self.merchant.registers("D-1007", amount, Provider::Omise, &charge).await?;
        self.simulator.omise().create(&charge, amount);
        self.simulator.omise().authorize(&charge)?;
        self.omise_notifies(&charge, "charge.complete").await?;
        self.merchant.sees("D-1007", "authorized", &["order.authorized"]).await?;
        self.simulator.omise().capture(&charge, amount.amount_minor)?;
        self.omise_notifies(&charge, "charge.capture").await?;
        self.merchant.sees("D-1007", "paid", &["order.authorized", "order.paid"]).await?;
        Ok("authorized on the hold, paid on the capture".to_owned())
    }

    async fn refunded(&self) -> Step {
        let order = self.merchant.order("D-1002").await?;
        let charge = id(&text(&order["payments"][0]["id"]));
        for (refunded, state) in [(10_000, "partly_refunded"), (25_000, "refunded")] {
            self.simulator.omise().refund(&charge, refunded)?;
            self.omise_notifies(&charge, "refund.create").await?;
            let told = if state == "refunded" { 2 } else { 1 };
            let events: Vec<&str> =
                ["order.paid"].into_iter().chain(std::iter::repeat_n("order.refunded", told)).collect();
            self.merchant.sees("D-1002", state, &events).await?;
        }
        Ok("100.00 of 350.00 THB back, then all of it; order.refunded each time".to_owned())
    }

    async fn refunded_elsewhere(&self) -> Step {
        let (payment, refund) = (id("PR-D-1001"), RefundId::new("RF-dashboard-1").expect("a good id"));
        let antom = self.simulator.antom();
        antom.refund(&payment, &refund, 4_000)?;
        antom.decide_refund(&refund, AntomOutcome::Success)?;
        let reply = antom.notify_refund(&self.ingress, &self.account, &refund, AntomKind::RefundState).await?;
        ensure!(reply.acknowledged(), "the notification was answered {} {}", reply.status, reply.body);
        let told = ["order.paid", "order.refunded"];
        let order = self.merchant.sees("D-1001", "partly_refunded", &told).await?;
        ensure!(order["refunded_minor"] == 4_000, "refunded is {}", order["refunded_minor"]);
        Ok("the notification names no payment; found by asking, 40.00 of 120.00 THB back".to_owned())
    }

    async fn consented(&self) -> Step {
        let (auth_state, wallet) =
            (AuthState::new("AS-D-1").expect("a good one"), Wallet::new("KPLUS").expect("a wallet"));
        let antom = self.simulator.antom();
        self.merchant.registers_authorization("AU-D-1", &auth_state, &wallet).await?;
        antom.consult(&auth_state, &wallet);
        antom.agree(&auth_state)?;
        for _ in 0..3 {
            self.antom_notifies_consent(&auth_state, AntomKind::AuthcodeCreated).await?;
        }
        self.merchant.sees_authorization("AU-D-1", "token_issued", &["authorization.granted"]).await?;
        let exchanges = antom.exchanges(&auth_state)?;
        ensure!(exchanges == 1, "the code was exchanged {exchanges} times");
        let token = self.merchant.reads_token("AU-D-1").await?;
        ensure!(token == antom.access_token(&auth_state)?, "the merchant reads another token than Antom gave");
        antom.revoke(&auth_state, Some("user request"))?;
        self.antom_notifies_consent(&auth_state, AntomKind::TokenCanceled).await?;
        let told = ["authorization.granted", "authorization.cancelled"];
        self.merchant.sees_authorization("AU-D-1", "cancelled", &told).await?;
        Ok("notified three times, exchanged once, the token sealed and read by the merchant alone; then forgotten"
            .to_owned())
    }

    async fn antom_notifies_consent(&self, auth_state: &AuthState, kind: AntomKind) -> anyhow::Result<()> {
        let antom = self.simulator.antom();
        let reply = antom.notify_authorization(&self.ingress, &self.account, auth_state, kind).await?;
        ensure!(reply.acknowledged(), "the notification was answered {} {}", reply.status, reply.body);
        Ok(())
    }

    async fn dead_lettered(&self) -> Step {
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
                let ours = letters.into_iter().find(|letter| letter["payment_id"] == charge.as_str());
                ours.ok_or_else(|| anyhow::anyhow!("no dead letter yet"))
            })
            .await?;
        ensure!(letter["cause"] == "provider_unreachable", "the cause is {}", letter["cause"]);
        ensure!(letter["order_id"] == "D-1008", "the letter names order {}", letter["order_id"]);
        self.merchant.sees("D-1008", "pending", &[]).await?;
        Ok(format!(
            "answered 200 and tried {} times; a dead letter now, and silence is never failure",
            letter["attempts"]
        ))
    }

    async fn replayed(&self) -> Step {
        self.simulator.faults().clear(Provider::Omise);
        let plan = self.merchant.replays("provider_unreachable", true).await?;
        ensure!(plan["plan"]["would_change"] == 1, "the plan is {plan}");
        self.merchant.sees("D-1008", "pending", &[]).await?;
        self.merchant.replays("provider_unreachable", false).await?;
        self.merchant.sees("D-1008", "paid", &["order.paid"]).await?;
        let letters = async || {
            let open = self.merchant.dead_letters().await?.len();
            ensure!(open == 0, "{open} dead letters are open");
            Ok(())
        };
        self.merchant.watches(letters).await?;
        Ok("planned first: it would pay one order; then replayed: paid, once, and no dead letter is open".to_owned())
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

/// Makes one step happen and prints how it went; 1 if otherwise than told.
async fn step(what: &str, happening: impl Future<Output = Step>) -> usize {
    let started = Instant::now();
    let outcome = happening.await;
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
