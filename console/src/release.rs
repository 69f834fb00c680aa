//! `POST /v1/orders/{order_id}/release`: a person looked at a held order and lets it go on. A worker does it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use payhook_schema::{Envelope, Order, Payment, PaymentKey, PaymentState, new_id};
use payhook_store::Release;
use serde::Deserialize;
use tracing::warn;

use crate::audit::not_audited;
use crate::orders::{OrderPath, order_id};
use crate::problem::Problem;
use crate::query::{JsonBody, NoParameters};
use crate::selection::reason;
use crate::view::OrderView;
use crate::{Caller, Console};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReleaseBody {
    /// The version of the order that was looked at.
    version: Option<i64>,
    #[serde(default)]
    reason: String,
    /// Payments whose money went back although the provider does not say so.
    #[serde(default)]
    returned: Vec<Returned>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Returned {
    provider: String,
    account: String,
    id: String,
}

pub(crate) async fn release(
    State(console): State<Arc<Console>>,
    _: NoParameters,
    Extension(caller): Extension<Caller>,
    path: OrderPath,
    JsonBody(body): JsonBody<ReleaseBody>,
) -> Result<(StatusCode, Json<OrderView>), Problem> {
    let id = order_id(path)?;
    let version = body.version.ok_or_else(|| {
        Problem::malformed(format!(
            "`version` is missing: send the order's version that you looked at, from GET /v1/orders/{id}."
        ))
    })?;
    let reason = reason(&body.reason)?;
    let order = console.order(&id).await?;
    if order.holds.is_empty() {
        return Err(Problem::conflict(format!(
            "Order {id} is {} and not held: there is nothing to release.",
            order.state
        )));
    }
    if order.version != version {
        return Err(Problem::conflict(format!(
            "Order {id} changed since you looked: it is at version {}, you sent {version}. Look again: GET /v1/orders/{id}.",
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
        warn!(order.id = %id, error = %error, "cannot have an order released");
        Problem::unavailable(
            "Not released",
            "The queue is away, so no worker hears of it. Release it again; that is safe.",
        )
    })?;
    Ok((StatusCode::ACCEPTED, Json(order.into())))
}

/// Finds a payment of the order that still has money to give back.
fn returned(order: &Order, named: Returned) -> Result<PaymentKey, Problem> {
    let Returned { provider, account, id } = named;
    let is_named = |payment: &&Payment| {
        let key = &payment.key;
        (key.provider.as_str(), key.account.as_str(), key.id.as_str()) == (&*provider, &*account, &*id)
    };
    let Some(payment) = order.payments.iter().find(is_named) else {
        return Err(Problem::unprocessable(format!(
            "`returned` names a payment that order {} does not have; GET /v1/orders/{} lists them.",
            order.id, order.id
        )));
    };
    match payment.state {
        PaymentState::Paid | PaymentState::PartlyRefunded => Ok(payment.key.clone()),
        state => Err(Problem::unprocessable(format!(
            "`returned` names payment {}, which is {state}: it has no money to give back.",
            payment.key
        ))),
    }
}
