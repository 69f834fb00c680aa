use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use payhook_schema::ReplayState;
use payhook_store::{Replay, Steer};
use serde_json::json;
use uuid::Uuid;

use crate::problem::Problem;
use crate::query::{NoParameters, Parameters, RawQuery, id_in};
use crate::view::{ReplayItemView, ReplayView};
use crate::{Caller, Console};

type ReplayPath = Result<Path<String>, PathRejection>;

/// `GET /v1/replays?limit=`: newest first, plans among them.
pub(crate) async fn list(
    State(console): State<Arc<Console>>,
    query: RawQuery,
) -> Result<Json<serde_json::Value>, Problem> {
    let mut parameters = Parameters::new(query)?;
    let limit = parameters.limit()?;
    parameters.none_left()?;
    let replays = console.store.replay_list(limit).await?;
    let replays: Vec<ReplayView> = replays.into_iter().map(ReplayView::from).collect();
    Ok(Json(json!({ "replays": replays })))
}

/// `GET /v1/replays/{replay_id}`: how far it is.
pub(crate) async fn show(State(console): State<Arc<Console>>, path: ReplayPath) -> Result<Json<ReplayView>, Problem> {
    Ok(Json(console.replay(id_in(path)?).await?.into()))
}

/// `GET /v1/replays/{replay_id}/items?after=&limit=`: what it takes, in that order, and what became of each.
pub(crate) async fn items(
    State(console): State<Arc<Console>>,
    path: ReplayPath,
    query: RawQuery,
) -> Result<Json<serde_json::Value>, Problem> {
    let mut parameters = Parameters::new(query)?;
    let (after, limit) = (parameters.take::<i64>("after")?.unwrap_or(0), parameters.limit()?);
    parameters.none_left()?;
    let replay = console.replay(id_in(path)?).await?;
    let items = console.store.replay_items(replay.id, after, limit).await?;
    let next = (items.len() == limit as usize).then(|| items.last().map(|item| item.n)).flatten();
    let items: Vec<ReplayItemView> = items.into_iter().map(ReplayItemView::from).collect();
    Ok(Json(json!({ "replay_id": replay.id, "items": items, "next": next })))
}

/// `POST /v1/replays/{replay_id}/pause`.
pub(crate) async fn pause(
    State(console): State<Arc<Console>>,
    _: NoParameters,
    Extension(caller): Extension<Caller>,
    path: ReplayPath,
) -> Result<Json<ReplayView>, Problem> {
    console.steer(&caller, id_in(path)?, Steer::Pause).await
}

/// `POST /v1/replays/{replay_id}/resume`: one that stopped by itself, too.
pub(crate) async fn resume(
    State(console): State<Arc<Console>>,
    _: NoParameters,
    Extension(caller): Extension<Caller>,
    path: ReplayPath,
) -> Result<Json<ReplayView>, Problem> {
    console.steer(&caller, id_in(path)?, Steer::Resume).await
}

/// `POST /v1/replays/{replay_id}/cancel`: cancels a replay for good. Its finished items stay done.
pub(crate) async fn cancel(
    State(console): State<Arc<Console>>,
    _: NoParameters,
    Extension(caller): Extension<Caller>,
    path: ReplayPath,
) -> Result<Json<ReplayView>, Problem> {
    console.steer(&caller, id_in(path)?, Steer::Cancel).await
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
    pub(crate) async fn replay(&self, id: Uuid) -> Result<Replay, Problem> {
        let replay = self.store.replay_get(id).await?;
        replay.ok_or_else(|| Problem::not_found(format!("There is no replay {id}: GET /v1/replays lists them.")))
    }

    async fn steer(&self, caller: &Caller, id: Uuid, steer: Steer) -> Result<Json<ReplayView>, Problem> {
        let (word, states) = meant_for(steer);
        let refused = |state: ReplayState| {
            let states = states.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(" or ");
            Problem::conflict(format!("Replay {id} is {state}, and only one that is {states} can be told to {word}."))
        };
        let before = self.replay(id).await?;
        if !states.contains(&before.state) {
            return Err(refused(before.state));
        }
        let left = before.total.saturating_sub(before.done);
        self.audit(caller, &format!("replay.{word}"), format!("replay {id}"), left, None).await?;
        let after = self.store.replay_steer(id, steer, self.clock.now()).await?;
        let after = after.ok_or_else(|| Problem::not_found(format!("There is no replay {id} any more.")))?;
        // It may have ended, or somebody else have steered it, between the look and the word.
        let taken = match steer {
            Steer::Pause => after.state == ReplayState::Paused,
            Steer::Resume => !matches!(after.state, ReplayState::Paused | ReplayState::Cancelled),
            Steer::Cancel => after.state == ReplayState::Cancelled,
        };
        if taken { Ok(Json(after.into())) } else { Err(refused(after.state)) }
    }
}
