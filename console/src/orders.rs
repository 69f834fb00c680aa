//! The routes of orders: registration, the order itself, the list, refresh and timeline.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use jiff::SignedDuration;
use payhook_schema::{
    AccountName, Because, Envelope, Method, Money, NewOrder, NewRefund, Order, OrderId, PAYMENTS_MAX, PaymentKey,
    Provider, Refund, RefundState,
};
use payhook_store::{OrderFilter, Registered, TIMELINE_PAGE};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::warn;

use crate::api::{
    OrderPage, OrderQuery, OrderRegistration, OrderTimeline, OrderView, PaymentRegistration, RefundRegistration,
    TimelineQuery, TimelineView, WaitTime,
};
use crate::problem::ApiProblem;
use crate::query::{JsonBody, NameInPath, NoParameters, Parameters, page_rows, waits};
use crate::{Caller, Console};

/// The largest amount every JSON reader has exactly: 2^53 - 1.
const AMOUNT_MINOR_MAX: i64 = 9_007_199_254_740_991;
/// Refunds announced in one request; an order may have more.
const REFUNDS_MAX: usize = 100;
/// A refresh hints at its payments itself, so the sweep leaves them this long: two hints would be two questions. After
/// that the sweep makes up for hints that were lost.
const HINT_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// The time between two looks of a waiting request.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// `PUT /v1/orders/{order_id}`: repeating it is fine, adding payments and refunds is, changing the amount is not.
pub(crate) async fn register(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    _: NoParameters,
    NameInPath(id): NameInPath<OrderId>,
    JsonBody(body): JsonBody<OrderRegistration>,
) -> Result<(StatusCode, Json<OrderView>), ApiProblem> {
    let new = console.read(id, body)?;
    console.audit(&caller, "order.register", new.id.to_string(), new.payments.len() as u64, None).await?;
    match console.store.order_register(&new, console.clock.now()).await? {
        Registered::Order { order, created, parked } => {
            // Their notifications came before the registration, or are about refunds of unknown payments. If the queue
            // is unavailable, the sweep finds them: their check is due.
            let announced = new.refunds.iter().filter(|refund| is_only_announced(&order, refund)).map(|it| &it.payment);
            let due: BTreeSet<PaymentKey> = parked.into_iter().chain(announced.cloned()).collect();
            console.hint(due, Because::Registered).await;
            let status = if created { StatusCode::CREATED } else { StatusCode::OK };
            Ok((status, Json(OrderView::of(order))))
        }
        Registered::AmountDiffers { registered } => Err(ApiProblem::conflict(format!(
            "Order {} is registered with {registered}; an amount never changes. Register another order.",
            new.id
        ))),
        Registered::TooManyPayments { registered, added } => Err(ApiProblem::conflict(format!(
            "Order {} has {registered} payments, and this adds {added}; an order has at most {PAYMENTS_MAX} payments. Register another order for further attempts.",
            new.id
        ))),
        Registered::PaymentTaken { payment, order: other } => {
            Err(ApiProblem::conflict(format!("Payment {payment} belongs to order {other}: a payment pays one order.")))
        }
        Registered::RefundTaken { refund, payment } => Err(ApiProblem::conflict(format!(
            "Refund {refund} is of payment {payment}; name each refund under one payment."
        ))),
        Registered::RefundOfNoPayment { refund, payment } => Err(ApiProblem::unprocessable(format!(
            "Refund {refund} names payment {payment}, which order {} does not have: add it to `payments`.",
            new.id
        ))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShowQuery {
    wait: Option<WaitTime>,
    version: Option<i64>,
}

/// `GET /v1/orders/{order_id}`, with `?wait=10s&version=N` as soon as the version is above N. Somebody reads, so stale
/// payments are refreshed: the reader sees the result while waiting, or the next time.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    NameInPath(id): NameInPath<OrderId>,
    Parameters(ShowQuery { wait, version }): Parameters<ShowQuery>,
) -> Result<Json<OrderView>, ApiProblem> {
    let seen = version.unwrap_or(0);
    let deadline = tokio::time::Instant::now() + waits(wait);
    let mut order = console.order(&id).await?;
    console.refresh_if_stale(&order);
    while order.version <= seen && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(LOOK_EVERY).await;
        order = console.order(&id).await?;
    }
    Ok(Json(OrderView::of(order)))
}

/// `GET /v1/orders`: newest first.
pub(crate) async fn list(
    State(console): State<Arc<Console>>,
    Parameters(query): Parameters<OrderQuery>,
) -> Result<Json<Value>, ApiProblem> {
    let OrderQuery { state, provider, account, before, limit } = query;
    let limit = page_rows(limit);
    let filter = OrderFilter { state, provider, account, before, limit };
    let orders = console.store.order_list(&filter).await?;
    let next = (orders.len() == limit as usize).then(|| orders.last().map(|order| order.id.clone())).flatten();
    Ok(Json(json!(OrderPage { orders: orders.into_iter().map(OrderView::of).collect(), next })))
}

/// `POST /v1/orders/{order_id}/refresh`: ask the provider now, once about each payment.
pub(crate) async fn refresh(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    _: NoParameters,
    NameInPath(id): NameInPath<OrderId>,
) -> Result<(StatusCode, Json<OrderView>), ApiProblem> {
    let order = console.order(&id).await?;
    console.audit(&caller, "order.refresh", id.to_string(), order.payments.len() as u64, None).await?;
    console.store.order_refresh(&id, console.clock.now() + HINT_WITHIN).await?;
    let payments = order.payments.iter().map(|payment| payment.key.clone()).collect();
    console.hint(payments, Because::Refresh).await;
    Ok((StatusCode::ACCEPTED, Json(OrderView::of(order))))
}

/// `GET /v1/orders/{order_id}/timeline?after=&limit=`: everything that happened, oldest first, in pages.
pub(crate) async fn timeline(
    State(console): State<Arc<Console>>,
    NameInPath(id): NameInPath<OrderId>,
    Parameters(query): Parameters<TimelineQuery>,
) -> Result<Json<Value>, ApiProblem> {
    let limit = query.limit.unwrap_or(TIMELINE_PAGE).clamp(1, TIMELINE_PAGE);
    let after = query.after.map(|place| place.parse()).transpose();
    let after = after.map_err(|error| ApiProblem::malformed(format!("`after`: {error}")))?;
    let order = console.order(&id).await?;
    let page = console.store.order_timeline_page(&order.id, after, limit).await?;
    let timeline = page.entries.into_iter().map(TimelineView::of).collect();
    let next = page.next.map(|place| place.to_string());
    Ok(Json(json!(OrderTimeline { order_id: order.id, timeline, next })))
}

/// Returns true if nothing is known of a refund except that it was announced.
fn is_only_announced(order: &Order, announced: &NewRefund) -> bool {
    let payment = order.payment(&announced.payment);
    let refund = payment.and_then(|payment| payment.refunds.iter().find(|refund| refund.id == announced.id));
    matches!(refund, Some(Refund { state: RefundState::Pending, amount: None, .. }))
}

impl Console {
    pub(crate) async fn order(&self, id: &OrderId) -> Result<Order, ApiProblem> {
        let order = self.store.order_get(id).await?;
        order.ok_or_else(|| {
            ApiProblem::not_found(format!("Order {id} is not registered: PUT /v1/orders/{id} registers it."))
        })
    }

    /// Checks what the types of a registration do not: its amount, its size, its accounts, and the limits of its
    /// methods.
    fn read(&self, id: OrderId, body: OrderRegistration) -> Result<NewOrder, ApiProblem> {
        let refuse = |why: String| Err(ApiProblem::unprocessable(why));
        let amount = Money::new(body.amount_minor, body.currency);
        if !(1..=AMOUNT_MINOR_MAX).contains(&amount.amount_minor) {
            return refuse(format!("`amount_minor` must be 1 to {AMOUNT_MINOR_MAX}, in the currency's smallest unit."));
        }
        if body.payments.len() > PAYMENTS_MAX {
            return refuse(format!("An order has at most {PAYMENTS_MAX} payments."));
        }
        if body.refunds.len() > REFUNDS_MAX {
            return refuse(format!("At most {REFUNDS_MAX} refunds are announced at a time."));
        }
        let (mut payments, mut refunds) = (Vec::new(), Vec::new());
        for PaymentRegistration { provider, account, id, method } in body.payments {
            self.check_account(provider, &account)?;
            if let Some(code) = method {
                check_method(provider, (self.methods)(provider), &code, amount)?;
            }
            let key = PaymentKey { provider, account, id };
            if !payments.contains(&key) {
                payments.push(key);
            }
        }
        for RefundRegistration { provider, account, payment_id, id } in body.refunds {
            self.check_account(provider, &account)?;
            let profile = provider.profile();
            if !profile.merchant_names_refunds {
                return refuse(format!("{} names refunds itself, so there is nothing to announce.", profile.name));
            }
            let refund = NewRefund { payment: PaymentKey { provider, account, id: payment_id }, id };
            if !refunds.contains(&refund) {
                refunds.push(refund);
            }
        }
        Ok(NewOrder { id, amount, payments, refunds })
    }

    fn check_account(&self, provider: Provider, account: &AccountName) -> Result<(), ApiProblem> {
        match (self.has_account)(provider, account) {
            true => Ok(()),
            false => Err(ApiProblem::unprocessable(format!(
                "There is no {provider} account `{account}` in the configuration."
            ))),
        }
    }

    /// Hints at payments whose check is due already. If a hint cannot be published, the sweep asks.
    pub(crate) async fn hint(&self, payments: BTreeSet<PaymentKey>, because: Because) {
        for payment in payments {
            let envelope = Envelope::ask(payment, because, self.clock.now());
            if let Err(error) = self.queue.publish(&envelope).await {
                warn!(error = %error, "cannot hint at payments now; the sweep asks about them");
                break;
            }
        }
    }
}

/// Checks the order's amount against the limits of the method it will be paid by.
fn check_method(provider: Provider, methods: &[Method], code: &str, amount: Money) -> Result<(), ApiProblem> {
    let method = methods.iter().find(|method| method.code == code).ok_or_else(|| {
        let known = methods.iter().map(|method| method.code).collect::<Vec<_>>().join(", ");
        let code: String = code.chars().take(64).collect();
        ApiProblem::unprocessable(format!("No limits are known of a method `{code}` of {provider}; known are {known}."))
    })?;
    method.check(amount).map_err(|error| ApiProblem::unprocessable(error.to_string()))
}
