use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use jiff::Timestamp;
use payhook_schema::parse_duration;
use payhook_store::DeadLetterFilter;
use serde_json::json;

use crate::Console;
use crate::problem::Problem;
use crate::query::Parameters;
use crate::view::DeadLetterView;

/// `GET /v1/dead-letters`: what was given up on, the latest failure first. Never a body.
pub(crate) async fn list(
    State(console): State<Arc<Console>>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Json<serde_json::Value>, Problem> {
    let mut parameters = Parameters::new(query)?;
    let limit = parameters.limit()?;
    let now = console.clock.now();
    let filter = DeadLetterFilter {
        ids: parameters.take("id")?.into_iter().collect(),
        cause: parameters.take("cause")?,
        provider: parameters.take("provider")?,
        account: parameters.take("account")?,
        since: parameters.take_with("since", |text| since(text, now))?,
        before: parameters.take("before")?,
        limit,
    };
    parameters.none_left()?;
    let letters = console.store.dead_letter_list(&filter).await?;
    let next = (letters.len() == limit as usize).then(|| letters.last().map(|letter| letter.id)).flatten();
    let letters: Vec<DeadLetterView> = letters.into_iter().map(DeadLetterView::from).collect();
    Ok(Json(json!({ "dead_letters": letters, "next": next })))
}

/// A time, or how long ago: `2026-11-21T10:00:00Z`, `2h`.
fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let ago = parse_duration(text).map_err(|_| format!("`{text}` is neither a time nor a duration"))?;
    now.checked_sub(ago).map_err(|_| format!("`{text}` is too long ago"))
}
