//! The routes of replays that were begun: the list, one of them, its items, and pause, resume and cancel.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use payhook_schema::ReplayState;
use payhook_store::{Replay, Steer};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::{PageQuery, ReplayItemPage, ReplayItemQuery, ReplayItemView, ReplayList, ReplayView};
use crate::problem::ApiProblem;
use crate::query::{IdInPath, NoParameters, Parameters, page_rows};
use crate::{Caller, Console};

/// `GET /v1/replays?limit=`: newest first, plans among them.
pub(crate) async fn list(
    State(console): State<Arc<Console>>,
    Parameters(query): Parameters<PageQuery>,
) -> Result<Json<Value>, ApiProblem> {
    let replays = console.store.replay_list(page_rows(query.limit)).await?;
    Ok(Json(json!(ReplayList { replays: replays.into_iter().map(ReplayView::of).collect() })))
}

/// `GET /v1/replays/{replay_id}`: its state and its counts.
pub(crate) async fn show(
    State(console): State<Arc<Console>>,
    IdInPath(id): IdInPath,
) -> Result<Json<ReplayView>, ApiProblem> {
    Ok(Json(ReplayView::of(console.replay(id).await?)))
}

/// `GET /v1/replays/{replay_id}/items?after=&limit=`: its items, in the order they are taken, with their outcomes.
pub(crate) async fn items(
    State(console): State<Arc<Console>>,
    IdInPath(id): IdInPath,
    Parameters(query): Parameters<ReplayItemQuery>,
) -> Result<Json<Value>, ApiProblem> {
    let (after, limit) = (query.after.unwrap_or(0), page_rows(query.limit));
    let replay = console.replay(id).await?;
    let items = console.store.replay_items(replay.id, after, limit).await?;
    let next = (items.len() == limit as usize).then(|| items.last().map(|item| item.n)).flatten();
    let items = items.into_iter().map(ReplayItemView::of).collect();
    Ok(Json(json!(ReplayItemPage { replay_id: replay.id, items, next })))
}

/// `POST /v1/replays/{replay_id}/pause`.
pub(crate) async fn pause(
    State(console): State<Arc<Console>>,
    _: NoParameters,
    Extension(caller): Extension<Caller>,
    IdInPath(id): IdInPath,
) -> Result<Json<ReplayView>, ApiProblem> {
    console.steer(&caller, id, Steer::Pause).await
}

/// `POST /v1/replays/{replay_id}/resume`: also after it stopped by itself.
pub(crate) async fn resume(
    State(console): State<Arc<Console>>,
    _: NoParameters,
    Extension(caller): Extension<Caller>,
    IdInPath(id): IdInPath,
) -> Result<Json<ReplayView>, ApiProblem> {
    console.steer(&caller, id, Steer::Resume).await
}

/// `POST /v1/replays/{replay_id}/cancel`: cancels a replay for good. Its finished items stay done.
pub(crate) async fn cancel(
    State(console): State<Arc<Console>>,
    _: NoParameters,
    Extension(caller): Extension<Caller>,
    IdInPath(id): IdInPath,
) -> Result<Json<ReplayView>, ApiProblem> {
    console.steer(&caller, id, Steer::Cancel).await
}

/// Returns true if nothing more comes unless a person resumes the replay.
pub(crate) fn is_over(replay: &Replay) -> bool {
    match replay.state {
        ReplayState::Done | ReplayState::Cancelled | ReplayState::Stopped => true,
        ReplayState::Running | ReplayState::Paused => replay.total == 0,
    }
}

/// The action's name, and the states it is for.
fn meant_for(steer: Steer) -> (&'static str, &'static [ReplayState]) {
    match steer {
        Steer::Pause => ("pause", &[ReplayState::Running]),
        Steer::Resume => ("resume", &[ReplayState::Paused, ReplayState::Stopped]),
        Steer::Cancel => ("cancel", &[ReplayState::Running, ReplayState::Paused, ReplayState::Stopped]),
    }
}

impl Console {
    pub(crate) async fn replay(&self, id: Uuid) -> Result<Replay, ApiProblem> {
        let replay = self.store.replay_get(id).await?;
        replay.ok_or_else(|| ApiProblem::not_found(format!("There is no replay {id}: GET /v1/replays lists them.")))
    }

    async fn steer(&self, caller: &Caller, id: Uuid, steer: Steer) -> Result<Json<ReplayView>, ApiProblem> {
        let (word, states) = meant_for(steer);
        let refused = |state: ReplayState| {
            let states = states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(" or ");
            ApiProblem::conflict(format!("Replay {id} is {state}: only one that is {states} takes `{word}`."))
        };
        let before = self.replay(id).await?;
        if !states.contains(&before.state) {
            return Err(refused(before.state));
        }
        let left = before.total.saturating_sub(before.done);
        self.audit(caller, &format!("replay.{word}"), format!("replay {id}"), left, None).await?;
        let after = self.store.replay_steer(id, steer, self.clock.now()).await?;
        let after = after.ok_or_else(|| ApiProblem::not_found(format!("There is no replay {id} any more.")))?;
        // Between the read and the write it may have ended, or somebody else may have steered it.
        let taken = match steer {
            Steer::Pause => after.state == ReplayState::Paused,
            Steer::Resume => !matches!(after.state, ReplayState::Paused | ReplayState::Cancelled),
            Steer::Cancel => after.state == ReplayState::Cancelled,
        };
        if taken { Ok(Json(ReplayView::of(after))) } else { Err(refused(after.state)) }
    }
}
