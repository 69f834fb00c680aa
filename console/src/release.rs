//! `POST /v1/orders/{order_id}/release`: lifts the objections of a held order that a person has read. A worker does it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use payhook_schema::{Envelope, Order, OrderId, PaymentKey, PaymentState, new_id};
use payhook_store::Release;
use tracing::warn;

use crate::api::{OrderView, ReleaseRequest, ReturnedPayment};
use crate::audit::not_audited;
use crate::problem::ApiProblem;
use crate::query::{JsonBody, NameInPath, NoParameters};
use crate::selection::reason;
use crate::{Caller, Console};

pub(crate) async fn release(
    State(console): State<Arc<Console>>,
    _: NoParameters,
    Extension(caller): Extension<Caller>,
    NameInPath(id): NameInPath<OrderId>,
    JsonBody(body): JsonBody<ReleaseRequest>,
) -> Result<(StatusCode, Json<OrderView>), ApiProblem> {
    let version = body.version.ok_or_else(|| {
        ApiProblem::malformed(format!(
            "`version` is missing: send the version of the order that you read, from GET /v1/orders/{id}."
        ))
    })?;
    let reason = reason(&body.reason)?;
    let order = console.order(&id).await?;
    if order.holds.is_empty() {
        return Err(ApiProblem::conflict(format!(
            "Order {id} is {} and not held: there is nothing to release.",
            order.state
        )));
    }
    if order.version != version {
        return Err(ApiProblem::conflict(format!(
            "Order {id} changed: it is at version {}, you sent {version}. Read it again: GET /v1/orders/{id}.",
            order.version
        )));
    }
    let returned = body.returned.into_iter().map(|named| returned(&order, named)).collect::<Result<_, _>>()?;
    let at = console.clock.now();
    let release = Release {
        id: new_id(at),
        order: id.clone(),
        version,
        holds: order.holds.clone(),
        returned,
        who: caller.name.clone(),
        reason,
        at,
    };
    let audit = console.audit_entry(&caller, "order.release", id.to_string(), 1, Some(&release.reason));
    console.store.release_write(&release, &audit).await.map_err(|error| not_audited(&error, "order.release"))?;
    console.queue.publish(&Envelope::release(id.clone(), release.id)).await.map_err(|error| {
        warn!(order.id = %id, error = %error, "cannot publish the release of an order");
        ApiProblem::unavailable(
            "Not released",
            "The queue is unavailable, so no worker got the release. Release it again; that is safe.",
        )
    })?;
    Ok((StatusCode::ACCEPTED, Json(OrderView::of(order))))
}

/// Finds a payment of the order that still has money to give back.
fn returned(order: &Order, named: ReturnedPayment) -> Result<PaymentKey, ApiProblem> {
    let ReturnedPayment { provider, account, id } = named;
    let key = PaymentKey { provider, account, id };
    match order.payment(&key).map(|payment| payment.state) {
        Some(PaymentState::Paid | PaymentState::PartlyRefunded) => Ok(key),
        Some(state) => Err(ApiProblem::unprocessable(format!(
            "`returned` names payment {key}, which is {state}: it has no money to give back."
        ))),
        None => Err(ApiProblem::unprocessable(format!(
            "`returned` names a payment that order {} does not have; GET /v1/orders/{} lists them.",
            order.id, order.id
        ))),
    }
}
