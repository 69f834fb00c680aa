//! Answers the requests of one connection, and notes when it waits for its peer.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, Request, Response, StatusCode};
use axum::response::IntoResponse;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::connections::{HeldConnection, PlaceKind};

/// The paths that are answered on connections for health alone.
const HEALTH: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Answers one request of a connection, and notes whose turn it is meanwhile.
pub(super) async fn answer(
    request: Request<Incoming>,
    router: Router,
    held: Arc<HeldConnection>,
) -> Result<Response<Body>, Infallible> {
    if held.place == PlaceKind::Health && !HEALTH.contains(&request.uri().path()) {
        let only_health = "every connection is in use, and this one is for health checks: try again\n";
        let headers = [(RETRY_AFTER, "1"), (CONNECTION, "close")];
        return Ok((StatusCode::SERVICE_UNAVAILABLE, headers, only_health).into_response());
    }
    let request = match request.body().is_end_stream() {
        true => {
            held.works();
            request.map(Body::new)
        }
        false => {
            held.waits();
            request.map(|body| Body::new(Arriving { body, held: held.clone() }))
        }
    };
    let mut response = TowerToHyperService::new(router.into_service::<Body>()).call(request).await?;
    if !held.answered() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// A request's body: the peer's turn until all of it is there.
struct Arriving {
    body: Incoming,
    held: Arc<HeldConnection>,
}

impl hyper::body::Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None)) || (frame.is_ready() && self.body.is_end_stream()) {
            self.held.works();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
