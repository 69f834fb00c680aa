use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::Console;
use crate::problem::Problem;

/// The bearer token, kept as its digest: comparing digests tells nothing about the token through time.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    pub fn new(token: &SecretString) -> Self {
        Self(Sha256::digest(token.expose_secret().as_bytes()).into())
    }

    fn is(&self, offered: &str) -> bool {
        let offered: [u8; 32] = Sha256::digest(offered.as_bytes()).into();
        self.0 == offered
    }
}

/// Lets a request through that carries the token, or any where none is configured.
pub(crate) async fn require_token(State(console): State<Arc<Console>>, request: Request, next: Next) -> Response {
    let Some(token) = &console.token else {
        return next.run(request).await;
    };
    let mut offered = request.headers().get_all(AUTHORIZATION).iter();
    let bearer = match (offered.next(), offered.next()) {
        (Some(value), None) => value.to_str().ok().and_then(|value| value.strip_prefix("Bearer ")),
        _ => None,
    };
    match bearer {
        Some(bearer) if token.is(bearer.trim()) => next.run(request).await,
        _ => Problem::unauthorized().into_response(),
    }
}
