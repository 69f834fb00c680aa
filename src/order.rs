//! `payhook order`: registers orders, shows them, asks the providers again, and releases held ones.

use clap::Subcommand;
use payhook_console::api::{
    OrderPage, OrderQuery, OrderRegistration, OrderTimeline, OrderView, PaymentRegistration, RefundRegistration,
    ReleaseRequest, ReturnedPayment, TimelineQuery, TimelineView,
};
use payhook_schema::{AccountName, Money, NewRefund, OrderId, OrderState, PaymentId, PaymentKey, Provider, RefundId};

use crate::api::{Api, ApiAnswer};
use crate::failure::Exit;
use crate::output::{self, or_dash};

#[derive(Debug, Subcommand)]
pub(crate) enum OrderCommand {
    /// Register an order and its payments; repeating it is fine
    Register {
        /// The merchant's id of the order
        order: OrderId,
        /// The amount to be paid, such as "120.00 THB"
        #[arg(long)]
        amount: Money,
        /// PROVIDER/ACCOUNT/ID of a payment; may be repeated
        #[arg(long = "payment", value_name = "PAYMENT", value_parser = payment_key)]
        payments: Vec<PaymentKey>,
        /// PROVIDER/ACCOUNT/ID=REFUND of a refund of Antom's, before it is asked for; may be repeated
        #[arg(long = "refund", value_name = "PAYMENT=REFUND", value_parser = new_refund)]
        refunds: Vec<NewRefund>,
    },
    /// Show an order and its timeline, oldest entry first
    Show {
        /// The merchant's id of the order
        order: OrderId,
        /// Only timeline entries after this place, which the page before names
        #[arg(long, value_name = "PLACE")]
        after: Option<String>,
        /// Timeline entries to show, at most
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
    },
    /// List orders, newest first
    List {
        /// pending, authorized, paid, partly_refunded, refunded or held
        #[arg(long)]
        state: Option<OrderState>,
        /// antom or omise
        #[arg(long)]
        provider: Option<Provider>,
        /// The account's name, as configured
        #[arg(long)]
        account: Option<AccountName>,
        /// Only orders registered before this one
        #[arg(long, value_name = "ORDER")]
        before: Option<OrderId>,
        /// Orders to show, at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: u32,
    },
    /// Ask the provider about every payment of an order now
    Refresh {
        /// The merchant's id of the order
        order: OrderId,
    },
    /// Lift every objection to a held order that is open at the version shown, after a person has read them
    Release {
        /// The merchant's id of the order
        order: OrderId,
        /// The reason it may go on; stored in its timeline and the audit log
        #[arg(long)]
        reason: String,
        /// The version that you read; without it, the version that the command reads and shows
        #[arg(long, value_name = "N")]
        version: Option<i64>,
        /// PROVIDER/ACCOUNT/ID of a payment whose money went back although the provider does not say so; may be
        /// repeated
        #[arg(long = "returned", value_name = "PAYMENT", value_parser = payment_key)]
        returned: Vec<PaymentKey>,
    },
}

pub(crate) async fn run(api: &Api, command: OrderCommand) -> anyhow::Result<Exit> {
    match command {
        OrderCommand::Register { order, amount, payments, refunds } => {
            let body = registration(amount, payments, refunds);
            let answer = api.put(&["orders", order.as_str()], &body).await?;
            Ok(print(api, answer))
        }
        OrderCommand::Show { order, after, limit } => {
            let id = order.as_str();
            let page = TimelineQuery { after, limit: Some(limit) };
            let Some(mut found) = api.get::<OrderView>(&["orders", id], &()).await? else {
                return Ok(Exit::NothingFound);
            };
            let page = api.get::<OrderTimeline>(&["orders", id, "timeline"], &page).await?;
            let Some(ApiAnswer { mut json, view: OrderTimeline { timeline, next, .. } }) = page else {
                return Ok(Exit::NothingFound);
            };
            found.json["timeline"] = json["timeline"].take();
            found.json["timeline_next"] = json["next"].take();
            note_release(api, &found.view);
            let more = next.map_or_else(String::new, |next| format!("\nmore: payhook order show {id} --after {next}"));
            let text = |order: &OrderView| Some(order_text(order) + &timeline_text(&timeline) + &more);
            Ok(api.print(Some(found), text))
        }
        OrderCommand::List { state, provider, account, before, limit } => {
            let query = OrderQuery { state, provider, account, before, limit: Some(limit) };
            let answer = api.get(&["orders"], &query).await?;
            Ok(api.print(answer, list_text))
        }
        OrderCommand::Refresh { order } => {
            let answer = api.post(&["orders", order.as_str(), "refresh"], &()).await?;
            Ok(print(api, answer))
        }
        OrderCommand::Release { order, reason, version, returned } => {
            let id = order.as_str();
            let Some(found) = api.get::<OrderView>(&["orders", id], &()).await? else {
                return Ok(Exit::NothingFound);
            };
            for hold in &found.view.holds {
                output::note(format_args!("open: {}: {}", hold.reason, hold.detail));
            }
            let returned = returned.into_iter().map(|PaymentKey { provider, account, id }| ReturnedPayment {
                provider,
                account,
                id,
            });
            let version = version.or(Some(found.view.version));
            let body = ReleaseRequest { version, reason, returned: returned.collect() };
            let exit = print(api, api.post(&["orders", id, "release"], &body).await?);
            if exit == Exit::Done {
                output::note(format_args!("a worker releases it in a moment: `payhook order show {order}`"));
            }
            Ok(exit)
        }
    }
}

pub(crate) fn registration(amount: Money, payments: Vec<PaymentKey>, refunds: Vec<NewRefund>) -> OrderRegistration {
    let payments = payments.into_iter().map(|PaymentKey { provider, account, id }| PaymentRegistration {
        provider,
        account,
        id,
        method: None,
    });
    let refunds = refunds.into_iter().map(|NewRefund { payment, id }| RefundRegistration {
        provider: payment.provider,
        account: payment.account,
        payment_id: payment.id,
        id,
    });
    let Money { amount_minor, currency } = amount;
    OrderRegistration { amount_minor, currency, payments: payments.collect(), refunds: refunds.collect() }
}

fn print(api: &Api, answer: Option<ApiAnswer<OrderView>>) -> Exit {
    if let Some(answer) = &answer {
        note_release(api, &answer.view);
    }
    api.print(answer, |order| Some(order_text(order)))
}

/// Says how a held order is released.
fn note_release(api: &Api, order: &OrderView) {
    if !(order.holds.is_empty() || api.json) {
        output::note(format_args!(
            "hint: once a person has read the objections: payhook order release {} --version {} --reason \"…\"",
            order.order_id, order.version
        ));
    }
}

pub(crate) fn order_text(order: &OrderView) -> String {
    let money = |minor| Money::new(minor, order.currency);
    let mut text = format!(
        "{}  {}  {}  captured {}  refunded {}  version {}",
        order.order_id,
        order.state,
        money(order.amount_minor),
        money(order.captured_minor),
        money(order.refunded_minor),
        order.version
    );
    for hold in &order.holds {
        text += &format!("\nheld since {}: {}: {}", hold.since, hold.reason, output::visible(&hold.detail));
    }
    let payments = order.payments.iter().map(|payment| {
        [
            payment.key.to_string(),
            payment.state.to_string(),
            or_dash(payment.reason.as_ref()),
            or_dash(payment.asked_at),
            or_dash(payment.next_check_at),
        ]
    });
    text += &output::section(["PAYMENT", "STATE", "REASON", "LAST ASKED", "NEXT CHECK"], payments);
    let refunds = order.refunds.iter().map(|refund| {
        [
            refund.id.to_string(),
            key_text(refund.provider, &refund.account, &refund.payment_id),
            if refund.voided { "voided".to_owned() } else { refund.state.to_string() },
            or_dash(refund.amount_minor.zip(refund.currency).map(|(minor, currency)| Money::new(minor, currency))),
            or_dash(refund.reason.as_ref()),
        ]
    });
    text += &output::section(["REFUND", "PAYMENT", "STATE", "AMOUNT", "REASON"], refunds);
    let disputes = order.disputes.iter().map(|dispute| {
        [
            dispute.id.to_string(),
            key_text(dispute.provider, &dispute.account, &dispute.payment_id),
            dispute.state.to_string(),
            or_dash(dispute.amount_minor.zip(dispute.currency).map(|(minor, currency)| Money::new(minor, currency))),
            or_dash(dispute.reason.as_ref()),
            or_dash(dispute.answer_by),
        ]
    });
    text + &output::section(["DISPUTE", "PAYMENT", "STATE", "AMOUNT", "REASON", "ANSWER BY"], disputes)
}

/// Returns the timeline of an order or an authorization, below its other text.
pub(crate) fn timeline_text(timeline: &[TimelineView]) -> String {
    let rows = timeline.iter().map(|entry| [entry.at.to_string(), entry.kind.to_string(), entry.text.clone()]);
    output::section(["AT", "KIND", "WHAT HAPPENED"], rows)
}

pub(crate) fn list_text(page: &OrderPage) -> Option<String> {
    let rows = page.orders.iter().map(|order| {
        let money = |minor| Money::new(minor, order.currency).to_string();
        let hold = match order.holds.as_slice() {
            [] => "-".to_owned(),
            [first] => first.reason.to_string(),
            [first, more @ ..] => format!("{} +{}", first.reason, more.len()),
        };
        [
            order.order_id.to_string(),
            order.state.to_string(),
            money(order.amount_minor),
            money(order.captured_minor),
            money(order.refunded_minor),
            hold,
            order.updated_at.to_string(),
        ]
    });
    let next = page.next.as_ref().map(ToString::to_string);
    output::page(["ORDER", "STATE", "AMOUNT", "CAPTURED", "REFUNDED", "HOLD", "UPDATED"], rows, next)
}

/// `antom/shop-sg/PR-1`.
fn key_text(provider: Provider, account: &AccountName, id: &PaymentId) -> String {
    format!("{provider}/{account}/{id}")
}

fn payment_key(text: &str) -> Result<PaymentKey, String> {
    let mut parts = text.splitn(3, '/');
    let (Some(provider), Some(account), Some(id)) = (parts.next(), parts.next(), parts.next()) else {
        return Err("write it PROVIDER/ACCOUNT/ID, such as antom/shop-sg/PR-1".to_owned());
    };
    Ok(PaymentKey {
        provider: provider.parse().map_err(|error: payhook_schema::UnknownWord| error.to_string())?,
        account: AccountName::new(account).map_err(|error| error.to_string())?,
        id: PaymentId::new(id).map_err(|error| error.to_string())?,
    })
}

fn new_refund(text: &str) -> Result<NewRefund, String> {
    // A payment's id may contain `=`, so the last one separates.
    let (payment, id) = text
        .rsplit_once('=')
        .ok_or_else(|| "write it PROVIDER/ACCOUNT/ID=REFUND, such as antom/shop-sg/PR-1=RF-1".to_owned())?;
    Ok(NewRefund { payment: payment_key(payment)?, id: RefundId::new(id).map_err(|error| error.to_string())? })
}
