//! The routes that begin replays, plans, and comparisons with the providers.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use payhook_schema::new_id;
use payhook_store::{Act, NewReplay, NotificationFilter, Replay, Selection};
use serde_json::json;
use tracing::info;

use crate::api::{
    DriftRequest, PlanQuery, PlanView, ReplayAnswer, ReplayBegun, ReplayItemView, ReplayRequest, WaitTime,
};
use crate::problem::ApiProblem;
use crate::query::{JsonBody, Parameters};
use crate::replays::is_over;
use crate::selection::{dead_letters_in_words, notifications_in_words, reason};
use crate::{Caller, Console, selection};

const RATE_PER_S: u32 = 50;
const RATE_PER_S_MAX: u32 = 1000;
const CANARY: u32 = 5;
/// Things one replay takes, unless asked otherwise, and at most.
const LIMIT: u32 = 1000;
const LIMIT_MAX: u32 = 100_000;
/// The time a request waits for a plan, by default and at most.
const PLAN_WITHIN: Duration = Duration::from_mins(1);
/// The time between two looks of a waiting request.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Items in a plan's answer; all of them are under the replay's own path.
const ITEMS_SHOWN: u32 = 200;
/// Notifications counted in one look.
const COUNTED_AT_ONCE: u32 = 1000;

/// The settings of a replay.
struct ReplaySettings {
    plan: bool,
    rate_per_s: u32,
    canary: u32,
    limit: u32,
    reason: String,
}

impl ReplaySettings {
    fn of(request: &ReplayRequest) -> Result<Self, ApiProblem> {
        let ReplayRequest { plan, reason: text, rate_per_s, canary, limit, .. } = request;
        Ok(Self {
            plan: *plan,
            rate_per_s: within("rate_per_s", rate_per_s.unwrap_or(RATE_PER_S), 1, RATE_PER_S_MAX)?,
            // A plan changes nothing, so there is nothing to try on a few first.
            canary: within("canary", canary.unwrap_or(if *plan { 0 } else { CANARY }), 0, LIMIT_MAX)?,
            limit: within("limit", limit.unwrap_or(LIMIT), 1, LIMIT_MAX)?,
            reason: match (plan, text.trim()) {
                (true, "") => "plan".to_owned(),
                (_, text) => reason(text)?,
            },
        })
    }
}

fn within(name: &str, number: u32, min: u32, max: u32) -> Result<u32, ApiProblem> {
    match (min..=max).contains(&number) {
        true => Ok(number),
        false => Err(ApiProblem::unprocessable(format!("`{name}` must be {min} to {max}, not {number}."))),
    }
}

/// `POST /v1/dead-letters/replay`: replays the open ones of a filter at a limited rate, or plans it.
pub(crate) async fn dead_letters(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    Parameters(query): Parameters<PlanQuery>,
    JsonBody(body): JsonBody<ReplayRequest>,
) -> Result<Response, ApiProblem> {
    let how = ReplaySettings::of(&body)?;
    let filter = selection::dead_letters(body.filter, console.clock.now())?;
    let matching = console.count_dead_letters(&filter).await?;
    let count = matching.min(how.limit.into());
    let action = if how.plan { "dead_letter.plan" } else { "dead_letter.replay" };
    console.audit(&caller, action, dead_letters_in_words(&filter), count, Some(&how.reason)).await?;
    let begun = console.begin(Selection::DeadLetters(filter), how, caller).await?;
    console.answer(begun, matching, plan_waits(&query)).await
}

/// `POST /v1/notifications/replay`: the same for stored notifications, whatever their first outcome.
pub(crate) async fn notifications(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    Parameters(query): Parameters<PlanQuery>,
    JsonBody(body): JsonBody<ReplayRequest>,
) -> Result<Response, ApiProblem> {
    let how = ReplaySettings::of(&body)?;
    let filter = selection::notifications(body.filter, console.clock.now())?;
    let matching = console.count_notifications(&filter, how.limit + 1).await?;
    let count = matching.min(how.limit.into());
    let action = if how.plan { "notification.plan" } else { "notification.replay" };
    console.audit(&caller, action, notifications_in_words(&filter), count, Some(&how.reason)).await?;
    let begun = console.begin(Selection::Notifications(filter), how, caller).await?;
    console.answer(begun, matching, plan_waits(&query)).await
}

/// `POST /v1/drift`: a plan over payments registered in a period. It shows the differences between the providers'
/// answers and the store.
pub(crate) async fn drift(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    Parameters(query): Parameters<PlanQuery>,
    JsonBody(body): JsonBody<DriftRequest>,
) -> Result<Response, ApiProblem> {
    let wrong = |what: &str, why: &str| ApiProblem::unprocessable(format!("`{what}`: {why}"));
    let DriftRequest { since, until, provider, account, limit } = body;
    let now = console.clock.now();
    let since = since.at(now).map_err(|why| wrong("since", &why))?;
    let until = until.map_or(Ok(now), |until| until.at(now)).map_err(|why| wrong("until", &why))?;
    if since >= until {
        return Err(ApiProblem::unprocessable(format!("`since` ({since}) must be before `until` ({until}).")));
    }
    let limit = within("limit", limit.unwrap_or(LIMIT), 1, LIMIT_MAX)?;

    let mut subject = format!("payments registered from {since} until {until}, at most {limit}");
    for (name, value) in
        [("provider", provider.map(|it| it.to_string())), ("account", account.as_ref().map(ToString::to_string))]
    {
        subject.extend(value.map(|value| format!(", {name} {value}")));
    }
    // The providers are only asked: nothing is done to any of the payments, so the count is 0.
    console.audit(&caller, "drift", subject, 0, Some("drift")).await?;
    let selection = Selection::Payments { provider, account, since, until };
    let how = ReplaySettings { plan: true, rate_per_s: RATE_PER_S, canary: 0, limit, reason: "drift".to_owned() };
    let begun = console.begin(selection, how, caller).await?;
    // A plan takes what others have, too.
    let matching = begun.replay.total;
    console.answer(begun, matching, plan_waits(&query)).await
}

struct CreatedReplay {
    replay: Replay,
    /// The limit left something out that it would have taken.
    more: bool,
}

fn plan_waits(query: &PlanQuery) -> Duration {
    query.wait.map_or(PLAN_WITHIN, |WaitTime(wait)| wait.min(PLAN_WITHIN))
}

impl Console {
    async fn begin(
        &self,
        selection: Selection,
        how: ReplaySettings,
        caller: Caller,
    ) -> Result<CreatedReplay, ApiProblem> {
        let at = self.clock.now();
        let ReplaySettings { plan, rate_per_s, canary, limit, reason } = how;
        let act = Act { who: caller.name, reason, at };
        let new = NewReplay { id: new_id(at), selection, plan, rate_per_s, canary, limit, act };
        let (replay, more) = self.store.replay_create(&new).await?;
        let (total, who) = (replay.total, &replay.who);
        info!(replay.id = %replay.id, caller.name = %who, plan, total, "began a replay of {total}");
        Ok(CreatedReplay { replay, more })
    }

    /// Answers a replay at once, and a plan when it is done or the wait is over. Other replays may have some of the
    /// `matching` items; the answer counts them, so that the caller does not take them for done.
    async fn answer(&self, begun: CreatedReplay, matching: u64, wait: Duration) -> Result<Response, ApiProblem> {
        let CreatedReplay { mut replay, more } = begun;
        let elsewhere = if more { 0 } else { matching.saturating_sub(replay.total) };
        let begun = ReplayBegun { replay_id: replay.id, total: replay.total, in_other_replays: elsewhere, more };
        let deadline = tokio::time::Instant::now() + wait;
        while replay.plan && !is_over(&replay) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
            replay = self.replay(replay.id).await?;
        }
        if !replay.plan || !is_over(&replay) {
            return Ok((StatusCode::ACCEPTED, Json(json!(ReplayAnswer::Begun(begun)))).into_response());
        }
        let items = self.store.replay_items(replay.id, 0, ITEMS_SHOWN).await?;
        let plan = PlanView {
            begun,
            state: replay.state,
            would_change: replay.changed,
            unchanged: replay.unchanged,
            failed: replay.failed,
            detail: replay.detail,
            items: items.into_iter().map(ReplayItemView::of).collect(),
        };
        Ok(Json(json!(ReplayAnswer::Plan { plan })).into_response())
    }

    /// Counts what a filter selects, up to what a replay may take.
    async fn count_notifications(&self, filter: &NotificationFilter, limit: u32) -> Result<u64, ApiProblem> {
        let (mut filter, mut count) = (filter.clone(), 0);
        while count < limit {
            filter.limit = COUNTED_AT_ONCE.min(limit - count);
            let counted = self.store.notification_list(&filter).await?;
            count += counted.len() as u32;
            filter.before = counted.last().map(|it| it.notification.id);
            if counted.len() < filter.limit as usize {
                break;
            }
        }
        Ok(count.into())
    }
}
