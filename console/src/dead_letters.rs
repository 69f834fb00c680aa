//! The routes of dead letters: lists, groups, one of them, discard and note.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use payhook_schema::DeadLetterState;
use payhook_store::{Act, DeadLetterFilter};
use serde_json::{Value, json};

use crate::api::{
    DeadLetterDetails, DeadLetterGroupList, DeadLetterGroupView, DeadLetterPage, DeadLetterQuery, DeadLetterView,
    DiscardReport, DiscardRequest, NoteReport, NoteRequest,
};
use crate::problem::ApiProblem;
use crate::query::{IdInPath, JsonBody, NoParameters, Parameters};
use crate::selection::{
    dead_letters, dead_letters_in_words, grouped_dead_letters, listed_dead_letters, reason, sentence,
};
use crate::{Caller, Console};

/// `GET /v1/dead-letters`: the latest failure first. Never a body.
pub(crate) async fn list(
    State(console): State<Arc<Console>>,
    Parameters(query): Parameters<DeadLetterQuery>,
) -> Result<Json<Value>, ApiProblem> {
    let filter = listed_dead_letters(query, console.clock.now())?;
    let letters = console.store.dead_letter_list(&filter).await?;
    let next = (letters.len() == filter.limit as usize).then(|| letters.last().map(|letter| letter.id)).flatten();
    let dead_letters = letters.into_iter().map(DeadLetterView::of).collect();
    Ok(Json(json!(DeadLetterPage { dead_letters, next })))
}

/// `GET /v1/dead-letters/{dead_letter_id}`: everything about one except what the provider sent.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    IdInPath(id): IdInPath,
) -> Result<Json<DeadLetterDetails>, ApiProblem> {
    let letter = console.store.dead_letter_get(id).await?;
    let letter = letter.ok_or_else(|| {
        ApiProblem::not_found(format!("There is no dead letter {id}: GET /v1/dead-letters?state=all lists them."))
    })?;
    Ok(Json(DeadLetterDetails::of(letter)))
}

/// `GET /v1/dead-letters/groups`: the open ones by cause, provider and account, with the money that waits for them.
pub(crate) async fn groups(
    State(console): State<Arc<Console>>,
    Parameters(query): Parameters<DeadLetterQuery>,
) -> Result<Json<Value>, ApiProblem> {
    let filter = grouped_dead_letters(query, console.clock.now())?;
    let groups = console.store.dead_letter_groups(&filter).await?;
    Ok(Json(json!(DeadLetterGroupList { groups: groups.into_iter().map(DeadLetterGroupView::of).collect() })))
}

/// `POST /v1/dead-letters/discard`: marks dead letters that nobody needs. They stay in the store.
pub(crate) async fn discard(
    State(console): State<Arc<Console>>,
    _: NoParameters,
    Extension(caller): Extension<Caller>,
    JsonBody(body): JsonBody<DiscardRequest>,
) -> Result<Json<Value>, ApiProblem> {
    let at = console.clock.now();
    let filter = dead_letters(body.filter, at)?;
    let reason = reason(&body.reason)?;
    let count = console.count_dead_letters(&filter).await?;
    console.audit(&caller, "dead_letter.discard", dead_letters_in_words(&filter), count, Some(&reason)).await?;
    let discarded = console.store.dead_letter_discard(&filter, &Act { who: caller.name, reason, at }).await?;
    // Those of a replay that is not over are the replay's.
    Ok(Json(json!(DiscardReport { discarded, in_other_replays: count.saturating_sub(discarded) })))
}

/// `POST /v1/dead-letters/note`: puts a note on dead letters, for the next reader. An empty note removes one.
pub(crate) async fn note(
    State(console): State<Arc<Console>>,
    _: NoParameters,
    Extension(caller): Extension<Caller>,
    JsonBody(body): JsonBody<NoteRequest>,
) -> Result<Json<Value>, ApiProblem> {
    let mut filter = dead_letters(body.filter, console.clock.now())?;
    // An id means that letter in any state; every other condition means open letters.
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
    Ok(Json(json!(NoteReport { noted })))
}

impl Console {
    /// Counts the open dead letters of a filter: the audit log has the count before anything is done to them.
    pub(crate) async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, ApiProblem> {
        let groups = self.store.dead_letter_groups(filter).await?;
        Ok(groups.iter().map(|group| group.count).sum())
    }
}
