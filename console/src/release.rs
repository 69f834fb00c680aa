use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use payhook_schema::Envelope;
use serde::Deserialize;
use tracing::warn;

use crate::orders::{OrderPath, order_id};
use crate::problem::Problem;
use crate::query::{JsonBody, NoParameters};
use crate::selection::reason;
use crate::view::OrderView;
use crate::{Caller, Console};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Release {
    #[serde(default)]
    reason: String,
}

/// `POST /v1/orders/{order_id}/release`: a person has looked at a held order and lets it go on. A worker does it.
pub(crate) async fn release(
    State(console): State<Arc<Console>>,
    _: NoParameters,
    Extension(caller): Extension<Caller>,
    path: OrderPath,
    JsonBody(body): JsonBody<Release>,
) -> Result<(StatusCode, Json<OrderView>), Problem> {
    let id = order_id(path)?;
    let reason = reason(&body.reason)?;
    let order = console.order(&id).await?;
    let Some(hold) = order.hold.clone() else {
        return Err(Problem::conflict(format!(
            "Order {id} is {} and not held: there is nothing to release.",
            order.state
        )));
    };
    console.audit(&caller, "order.release", id.to_string(), 1, Some(&reason)).await?;
    let envelope = Envelope::release(id.clone(), hold, caller.name, reason, console.clock.now());
    console.queue.publish(&envelope).await.map_err(|error| {
        warn!(order.id = %id, error = %error, "cannot have an order released");
        Problem::unavailable(
            "Not released",
            "The queue is away, so no worker hears of it. Release it again; that is safe.",
        )
    })?;
    Ok((StatusCode::ACCEPTED, Json(order.into())))
}
