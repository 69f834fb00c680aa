use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use payhook_schema::DeadLetterState;
use payhook_store::{Act, DeadLetterFilter};
use serde::Deserialize;
use serde_json::json;

use crate::problem::Problem;
use crate::query::{JsonBody, NoParameters, Parameters, RawQuery, id_in};
use crate::selection::{Selecting, dead_letters_in_words, grouped_dead_letters, listed_dead_letters, reason, sentence};
use crate::view::{DeadLetterGroupView, DeadLetterView, DeadLetterWhole};
use crate::{Caller, Console};

/// `GET /v1/dead-letters`: what was given up on, the latest failure first. Never a body.
pub(crate) async fn list(
    State(console): State<Arc<Console>>,
    query: RawQuery,
) -> Result<Json<serde_json::Value>, Problem> {
    let mut parameters = Parameters::new(query)?;
    let filter = listed_dead_letters(&mut parameters, console.clock.now())?;
    parameters.none_left()?;
    let letters = console.store.dead_letter_list(&filter).await?;
    let next = (letters.len() == filter.limit as usize).then(|| letters.last().map(|letter| letter.id)).flatten();
    let letters: Vec<DeadLetterView> = letters.into_iter().map(DeadLetterView::from).collect();
    Ok(Json(json!({ "dead_letters": letters, "next": next })))
}

/// `GET /v1/dead-letters/{dead_letter_id}`: everything we know about one but what the provider sent.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Json<DeadLetterWhole>, Problem> {
    let id = id_in(path)?;
    let letter = console.store.dead_letter_get(id).await?;
    let letter = letter.ok_or_else(|| {
        Problem::not_found(format!("There is no dead letter {id}: GET /v1/dead-letters?state=all lists them."))
    })?;
    Ok(Json(DeadLetterWhole::of(letter)))
}

/// `GET /v1/dead-letters/groups`: the open ones by cause, provider and account, with the money that waits for them.
pub(crate) async fn groups(
    State(console): State<Arc<Console>>,
    query: RawQuery,
) -> Result<Json<serde_json::Value>, Problem> {
    let mut parameters = Parameters::new(query)?;
    let filter = grouped_dead_letters(&mut parameters, console.clock.now())?;
    parameters.none_left()?;
    let groups = console.store.dead_letter_groups(&filter).await?;
    let groups: Vec<DeadLetterGroupView> = groups.into_iter().map(DeadLetterGroupView::from).collect();
    Ok(Json(json!({ "groups": groups })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Discarding {
    #[serde(default)]
    filter: Selecting,
    #[serde(default)]
    reason: String,
}

/// `POST /v1/dead-letters/discard`: nobody needs these any more. They are kept, and told apart.
pub(crate) async fn discard(
    State(console): State<Arc<Console>>,
    _: NoParameters,
    Extension(caller): Extension<Caller>,
    JsonBody(body): JsonBody<Discarding>,
) -> Result<Json<serde_json::Value>, Problem> {
    let at = console.clock.now();
    let filter = body.filter.dead_letters(at)?;
    let reason = reason(&body.reason)?;
    let count = console.count_dead_letters(&filter).await?;
    console.audit(&caller, "dead_letter.discard", dead_letters_in_words(&filter), count, Some(&reason)).await?;
    let discarded = console.store.dead_letter_discard(&filter, &Act { who: caller.name, reason, at }).await?;
    // Those of a replay that is not over are the replay's.
    Ok(Json(json!({ "discarded": discarded, "in_other_replays": count.saturating_sub(discarded) })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Noting {
    #[serde(default)]
    filter: Selecting,
    note: String,
}

/// `POST /v1/dead-letters/note`: for whoever looks next. An empty note takes one away.
pub(crate) async fn note(
    State(console): State<Arc<Console>>,
    _: NoParameters,
    Extension(caller): Extension<Caller>,
    JsonBody(body): JsonBody<Noting>,
) -> Result<Json<serde_json::Value>, Problem> {
    let mut filter = body.filter.dead_letters(console.clock.now())?;
    // Whoever names a letter means that one, whatever became of it; `all` and its like mean what is still to be dealt with.
    if filter.ids.is_empty() {
        filter.state = Some(DeadLetterState::Open);
    }
    let note = sentence("note", &body.note)?;
    let count = match filter.ids.len() {
        0 => console.count_dead_letters(&filter).await?,
        named => named as u64,
    };
    console.audit(&caller, "dead_letter.note", dead_letters_in_words(&filter), count, Some(&note)).await?;
    let noted = console.store.dead_letter_note(&filter, &note).await?;
    Ok(Json(json!({ "noted": noted })))
}

impl Console {
    /// Counts the open dead letters of a filter: the audit log has the count before anything is done to them.
    pub(crate) async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, Problem> {
        let groups = self.store.dead_letter_groups(filter).await?;
        Ok(groups.iter().map(|group| group.count).sum())
    }
}
