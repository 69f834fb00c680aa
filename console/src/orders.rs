use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use jiff::SignedDuration;
use payhook_schema::{
    AccountName, Because, Currency, Envelope, METHODS, Method, Money, NewOrder, NewRefund, Order, OrderId,
    PAYMENTS_MAX, PaymentId, PaymentKey, Provider, Refund, RefundId, RefundState,
};
use payhook_store::{OrderFilter, Registered, TIMELINE_PAGE};
use serde::Deserialize;
use serde_json::json;
use tracing::warn;

use crate::problem::Problem;
use crate::query::{JsonBody, NoParameters, Parameters, RawQuery};
use crate::view::{OrderView, TimelineView};
use crate::{Caller, Console};

/// The largest amount every JSON reader has exactly: 2^53 - 1.
const AMOUNT_MINOR_MAX: i64 = 9_007_199_254_740_991;
/// Refunds announced in one request; an order may have more.
const REFUNDS_MAX: usize = 100;
/// A refresh hints at its payments itself. The sweep makes up for hints that were lost, and leaves them this long: two hints of one
/// payment would be two questions.
const HINT_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// The time between two looks of a waiting request.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    amount_minor: i64,
    currency: String,
    #[serde(default)]
    payments: Vec<PaymentName>,
    #[serde(default)]
    refunds: Vec<RefundName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PaymentName {
    provider: String,
    account: String,
    id: String,
    /// The method it will be paid by, as the provider spells it: its limits are checked before the customer meets them.
    method: Option<String>,
}

/// A refund of Antom's, before it is asked for: its notification names no payment.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundName {
    provider: String,
    account: String,
    payment_id: String,
    id: String,
}

pub(crate) type OrderPath = Result<Path<String>, PathRejection>;

/// `PUT /v1/orders/{order_id}`: repeating it is fine, adding payments and refunds is, changing the amount is not.
pub(crate) async fn register(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    _: NoParameters,
    path: OrderPath,
    JsonBody(body): JsonBody<Registration>,
) -> Result<(StatusCode, Json<OrderView>), Problem> {
    let new = console.read(order_id(path)?, body)?;
    console.audit(&caller, "order.register", new.id.to_string(), new.payments.len() as u64, None).await?;
    match console.store.order_register(&new, console.clock.now()).await? {
        Registered::Order { order, created, parked } => {
            // The notifications of these came first, or are about refunds nobody could place. Should the queue be away, the
            // sweep finds them: their check is due.
            let announced = new.refunds.iter().filter(|refund| is_untold(&order, refund)).map(|it| &it.payment);
            let due: BTreeSet<PaymentKey> = parked.into_iter().chain(announced.cloned()).collect();
            console.hint(due, Because::Registered).await;
            let status = if created { StatusCode::CREATED } else { StatusCode::OK };
            Ok((status, Json(order.into())))
        }
        Registered::AmountDiffers { registered } => Err(Problem::conflict(format!(
            "Order {} is registered with {registered}; an amount never changes. Register another order.",
            new.id
        ))),
        Registered::TooManyPayments { registered, added } => Err(Problem::conflict(format!(
            "Order {} has {registered} payments, and this adds {added}; an order has at most {PAYMENTS_MAX} payments. Register another order for further attempts.",
            new.id
        ))),
        Registered::PaymentTaken { payment, order: other } => {
            Err(Problem::conflict(format!("Payment {payment} belongs to order {other}.")))
        }
        Registered::RefundTaken { refund, payment } => {
            Err(Problem::conflict(format!("Refund {refund} is of payment {payment}; name each refund once.")))
        }
        Registered::RefundOfNoPayment { refund, payment } => Err(Problem::unprocessable(format!(
            "Refund {refund} names payment {payment}, which order {} does not have: name it under `payments`, too.",
            new.id
        ))),
    }
}

/// `GET /v1/orders/{order_id}`, with `?wait=10s&version=N` as soon as the version is above N. Somebody looks, so what we have not
/// asked about for a while is asked about now: they see it at the next look, or while they wait.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    path: OrderPath,
    query: RawQuery,
) -> Result<Json<OrderView>, Problem> {
    let id = order_id(path)?;
    let mut parameters = Parameters::new(query)?;
    let (wait, seen) = (parameters.wait()?, parameters.take::<i64>("version")?.unwrap_or(0));
    parameters.none_left()?;
    let deadline = tokio::time::Instant::now() + wait;
    let mut order = console.order(&id).await?;
    console.refresh_if_stale(&order);
    while order.version <= seen && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(LOOK_EVERY).await;
        order = console.order(&id).await?;
    }
    Ok(Json(order.into()))
}

/// `GET /v1/orders`: newest first.
pub(crate) async fn list(
    State(console): State<Arc<Console>>,
    query: RawQuery,
) -> Result<Json<serde_json::Value>, Problem> {
    let mut parameters = Parameters::new(query)?;
    let limit = parameters.limit()?;
    let filter = OrderFilter {
        state: parameters.take("state")?,
        provider: parameters.take("provider")?,
        account: parameters.take("account")?,
        before: parameters.take("before")?,
        limit,
    };
    parameters.none_left()?;
    let orders = console.store.order_list(&filter).await?;
    let next = (orders.len() == limit as usize).then(|| orders.last().map(|order| order.id.clone())).flatten();
    let orders: Vec<OrderView> = orders.into_iter().map(OrderView::from).collect();
    Ok(Json(json!({ "orders": orders, "next": next })))
}

/// `POST /v1/orders/{order_id}/refresh`: ask the provider now, once about each payment.
pub(crate) async fn refresh(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    _: NoParameters,
    path: OrderPath,
) -> Result<(StatusCode, Json<OrderView>), Problem> {
    let id = order_id(path)?;
    let order = console.order(&id).await?;
    console.audit(&caller, "order.refresh", id.to_string(), order.payments.len() as u64, None).await?;
    console.store.order_refresh(&id, console.clock.now() + HINT_WITHIN).await?;
    let payments = order.payments.iter().map(|payment| payment.key.clone()).collect();
    console.hint(payments, Because::Refresh).await;
    Ok((StatusCode::ACCEPTED, Json(order.into())))
}

/// `GET /v1/orders/{order_id}/timeline?after=&limit=`: everything that happened, oldest first, in pages.
pub(crate) async fn timeline(
    State(console): State<Arc<Console>>,
    path: OrderPath,
    query: RawQuery,
) -> Result<Json<serde_json::Value>, Problem> {
    let mut parameters = Parameters::new(query)?;
    let limit = parameters.take::<u32>("limit")?.unwrap_or(TIMELINE_PAGE).clamp(1, TIMELINE_PAGE);
    let after = parameters.take("after")?;
    parameters.none_left()?;
    let order = console.order(&order_id(path)?).await?;
    let page = console.store.order_timeline_page(&order.id, after, limit).await?;
    let entries: Vec<TimelineView> = page.entries.into_iter().map(TimelineView::from).collect();
    let next = page.next.map(|place| place.to_string());
    Ok(Json(json!({ "order_id": order.id, "timeline": entries, "next": next })))
}

/// Returns true if all that is known of a refund is that it was announced.
fn is_untold(order: &Order, announced: &NewRefund) -> bool {
    let payment = order.payment(&announced.payment);
    let refund = payment.and_then(|payment| payment.refunds.iter().find(|refund| refund.id == announced.id));
    matches!(refund, Some(Refund { state: RefundState::Pending, amount: None, .. }))
}

pub(crate) fn order_id(path: OrderPath) -> Result<OrderId, Problem> {
    let Path(id) = path.map_err(|error| Problem::malformed(error.body_text()))?;
    OrderId::new(id).map_err(|error| Problem::malformed(error.to_string()))
}

impl Console {
    pub(crate) async fn order(&self, id: &OrderId) -> Result<Order, Problem> {
        let order = self.store.order_get(id).await?;
        order.ok_or_else(|| {
            Problem::not_found(format!("Order {id} is not registered: PUT /v1/orders/{id} registers it."))
        })
    }

    /// Everything a registration can have wrong, told in words.
    fn read(&self, id: OrderId, body: Registration) -> Result<NewOrder, Problem> {
        let wrong = |what: &dyn std::fmt::Display| Problem::unprocessable(what.to_string());
        if !(1..=AMOUNT_MINOR_MAX).contains(&body.amount_minor) {
            return Err(wrong(&format!(
                "`amount_minor` must be 1 to {AMOUNT_MINOR_MAX}, in the currency's smallest unit."
            )));
        }
        if body.payments.len() > PAYMENTS_MAX {
            return Err(wrong(&format!("An order has at most {PAYMENTS_MAX} payments.")));
        }
        if body.refunds.len() > REFUNDS_MAX {
            return Err(wrong(&format!("At most {REFUNDS_MAX} refunds are announced at a time.")));
        }
        let currency = Currency::new(&body.currency).map_err(|error| wrong(&error))?;
        let mut payments = Vec::with_capacity(body.payments.len());
        for payment in body.payments {
            let key = self.payment_key(&payment.provider, payment.account, payment.id)?;
            if let Some(code) = payment.method {
                let method = Method::find(key.provider, &code).ok_or_else(|| {
                    let known =
                        METHODS.iter().filter(|method| method.provider == key.provider).map(|method| method.code);
                    let known = known.collect::<Vec<_>>().join(", ");
                    let code: String = code.chars().take(64).collect();
                    wrong(&format!(
                        "`{code}` is no method of {} we know the limits of; known are {known}.",
                        key.provider
                    ))
                })?;
                method.check(Money::new(body.amount_minor, currency)).map_err(|error| wrong(&error))?;
            }
            if !payments.contains(&key) {
                payments.push(key);
            }
        }
        let mut refunds = Vec::with_capacity(body.refunds.len());
        for RefundName { provider, account, payment_id, id } in body.refunds {
            let payment = self.payment_key(&provider, account, payment_id)?;
            let profile = payment.provider.profile();
            if !profile.merchant_names_refunds {
                return Err(wrong(&format!("{} names refunds itself, there is nothing to announce.", profile.name)));
            }
            let refund = NewRefund { payment, id: RefundId::new(id).map_err(|error| wrong(&error))? };
            if !refunds.contains(&refund) {
                refunds.push(refund);
            }
        }
        Ok(NewOrder { id, amount: Money::new(body.amount_minor, currency), payments, refunds })
    }

    /// A payment under one of our accounts.
    fn payment_key(&self, provider: &str, account: String, id: String) -> Result<PaymentKey, Problem> {
        let wrong = |what: &dyn std::fmt::Display| Problem::unprocessable(what.to_string());
        let key = PaymentKey {
            provider: provider.parse::<Provider>().map_err(|error| wrong(&error))?,
            account: AccountName::new(account).map_err(|error| wrong(&error))?,
            id: PaymentId::new(id).map_err(|error| wrong(&error))?,
        };
        match (self.has_account)(key.provider, &key.account) {
            true => Ok(key),
            false => {
                Err(wrong(&format!("There is no {} account `{}` in the configuration.", key.provider, key.account)))
            }
        }
    }

    /// Hints at payments whose check is due already: a hint that cannot be published is made up for by the sweep.
    pub(crate) async fn hint(&self, payments: BTreeSet<PaymentKey>, because: Because) {
        for payment in payments {
            let envelope = Envelope::ask(payment, because, self.clock.now());
            if let Err(error) = self.queue.publish(&envelope).await {
                warn!(error = %error, "cannot hint at payments now; the sweep will");
                break;
            }
        }
    }
}
