use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use payhook_schema::{AccountName, Provider, new_id};
use payhook_store::{Act, NewReplay, NotificationFilter, Replay, Selection};
use serde::Deserialize;
use serde_json::json;
use tracing::info;

use crate::problem::Problem;
use crate::query::{JsonBody, Parameters, RawQuery, time_or_ago};
use crate::replays::is_over;
use crate::selection::{Selecting, dead_letters_in_words, notifications_in_words, reason};
use crate::view::ReplayItemView;
use crate::{Caller, Console};

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replaying {
    #[serde(default)]
    filter: Selecting,
    #[serde(default)]
    plan: bool,
    #[serde(default)]
    reason: String,
    rate_per_s: Option<u32>,
    canary: Option<u32>,
    limit: Option<u32>,
}

/// The settings of a replay.
struct How {
    plan: bool,
    rate_per_s: u32,
    canary: u32,
    limit: u32,
    reason: String,
}

impl Replaying {
    fn how(&self) -> Result<How, Problem> {
        Ok(How {
            plan: self.plan,
            rate_per_s: within("rate_per_s", self.rate_per_s.unwrap_or(RATE_PER_S), 1, RATE_PER_S_MAX)?,
            // A plan does nothing to anybody: there is nothing to try on a few first.
            canary: within("canary", self.canary.unwrap_or(if self.plan { 0 } else { CANARY }), 0, LIMIT_MAX)?,
            limit: within("limit", self.limit.unwrap_or(LIMIT), 1, LIMIT_MAX)?,
            reason: match (self.plan, self.reason.trim()) {
                (true, "") => "plan".to_owned(),
                (_, text) => reason(text)?,
            },
        })
    }
}

fn within(name: &str, number: u32, min: u32, max: u32) -> Result<u32, Problem> {
    match (min..=max).contains(&number) {
        true => Ok(number),
        false => Err(Problem::unprocessable(format!("`{name}` is {min} to {max}, not {number}."))),
    }
}

/// `POST /v1/dead-letters/replay`: the open ones of a filter become hints again, paced; or a plan says what would come of it.
pub(crate) async fn dead_letters(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
    JsonBody(body): JsonBody<Replaying>,
) -> Result<Response, Problem> {
    let (how, wait) = (body.how()?, plan_wait(query)?);
    let filter = body.filter.dead_letters(console.clock.now())?;
    let matching = console.count_dead_letters(&filter).await?;
    let count = matching.min(how.limit.into());
    let action = if how.plan { "dead_letter.plan" } else { "dead_letter.replay" };
    console.audit(&caller, action, dead_letters_in_words(&filter), count, Some(&how.reason)).await?;
    let begun = console.begin(Selection::DeadLetters(filter), how, caller).await?;
    console.answer(begun, matching, wait).await
}

/// `POST /v1/notifications/replay`: the same for notifications out of the archive, whatever became of them the first time.
pub(crate) async fn notifications(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
    JsonBody(body): JsonBody<Replaying>,
) -> Result<Response, Problem> {
    let (how, wait) = (body.how()?, plan_wait(query)?);
    let filter = body.filter.notifications(console.clock.now())?;
    let matching = console.count_notifications(&filter, how.limit + 1).await?;
    let count = matching.min(how.limit.into());
    let action = if how.plan { "notification.plan" } else { "notification.replay" };
    console.audit(&caller, action, notifications_in_words(&filter), count, Some(&how.reason)).await?;
    let begun = console.begin(Selection::Notifications(filter), how, caller).await?;
    console.answer(begun, matching, wait).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Drift {
    since: String,
    until: Option<String>,
    provider: Option<String>,
    account: Option<String>,
    limit: Option<u32>,
}

/// `POST /v1/drift`: a plan over payments registered in a period. It shows the differences between the providers'
/// answers and the store.
pub(crate) async fn drift(
    State(console): State<Arc<Console>>,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
    JsonBody(body): JsonBody<Drift>,
) -> Result<Response, Problem> {
    let wrong = |what: &str, why: &dyn std::fmt::Display| Problem::unprocessable(format!("`{what}`: {why}"));
    let (now, wait) = (console.clock.now(), plan_wait(query)?);
    let since = time_or_ago(&body.since, now).map_err(|why| wrong("since", &why))?;
    let until = body.until.as_deref().map_or(Ok(now), |text| time_or_ago(text, now));
    let until = until.map_err(|why| wrong("until", &why))?;
    if since >= until {
        return Err(Problem::unprocessable(format!("`since` ({since}) must be before `until` ({until}).")));
    }
    let provider = body.provider.as_deref().map(str::parse::<Provider>).transpose();
    let provider = provider.map_err(|error| wrong("provider", &error))?;
    let account = body.account.as_deref().map(str::parse::<AccountName>).transpose();
    let account = account.map_err(|error| wrong("account", &error))?;
    let limit = within("limit", body.limit.unwrap_or(LIMIT), 1, LIMIT_MAX)?;

    let mut subject = format!("payments registered from {since} until {until}, at most {limit}");
    for (name, value) in
        [("provider", provider.map(|it| it.to_string())), ("account", account.as_ref().map(ToString::to_string))]
    {
        subject.extend(value.map(|value| format!(", {name} {value}")));
    }
    // Nothing is done to any of them: they are only asked about.
    console.audit(&caller, "drift", subject, 0, Some("drift")).await?;
    let selection = Selection::Payments { provider, account, since, until };
    let how = How { plan: true, rate_per_s: RATE_PER_S, canary: 0, limit, reason: "drift".to_owned() };
    let begun = console.begin(selection, how, caller).await?;
    // A plan takes what others have, too.
    let matching = begun.replay.total;
    console.answer(begun, matching, wait).await
}

struct Begun {
    replay: Replay,
    /// The limit left something out that it would have taken.
    more: bool,
}

fn plan_wait(query: RawQuery) -> Result<Duration, Problem> {
    let mut parameters = Parameters::new(query)?;
    let wait = parameters.wait_given()?;
    parameters.none_left()?;
    Ok(wait.unwrap_or(PLAN_WITHIN).min(PLAN_WITHIN))
}

impl Console {
    async fn begin(&self, selection: Selection, how: How, caller: Caller) -> Result<Begun, Problem> {
        let at = self.clock.now();
        let How { plan, rate_per_s, canary, limit, reason } = how;
        let act = Act { who: caller.name, reason, at };
        let new = NewReplay { id: new_id(at), selection, plan, rate_per_s, canary, limit, act };
        let (replay, more) = self.store.replay_create(&new).await?;
        let (total, who) = (replay.total, &replay.who);
        info!(replay.id = %replay.id, caller.name = %who, plan, total, "began a replay of {total}");
        Ok(Begun { replay, more })
    }

    /// A replay is answered at once; a plan when it is done, or when whoever asks has waited long enough.
    /// Of those that are `matching`, other replays may have some: whoever asked must not take them for done.
    async fn answer(&self, begun: Begun, matching: u64, wait: Duration) -> Result<Response, Problem> {
        let Begun { mut replay, more } = begun;
        let elsewhere = if more { 0 } else { matching.saturating_sub(replay.total) };
        let deadline = tokio::time::Instant::now() + wait;
        while replay.plan && !is_over(&replay) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(LOOK_EVERY).await;
            replay = self.replay(replay.id).await?;
        }
        if !replay.plan || !is_over(&replay) {
            let begun =
                json!({ "replay_id": replay.id, "total": replay.total, "in_other_replays": elsewhere, "more": more });
            return Ok((StatusCode::ACCEPTED, Json(begun)).into_response());
        }
        let items = self.store.replay_items(replay.id, 0, ITEMS_SHOWN).await?;
        let items: Vec<ReplayItemView> = items.into_iter().map(ReplayItemView::from).collect();
        let plan = json!({
            "replay_id": replay.id,
            "state": replay.state,
            "total": replay.total,
            "in_other_replays": elsewhere,
            "more": more,
            "would_change": replay.changed,
            "unchanged": replay.unchanged,
            "failed": replay.failed,
            "detail": replay.detail,
            "items": items,
        });
        Ok(Json(json!({ "plan": plan })).into_response())
    }

    /// As many of a filter as a replay may take.
    async fn count_notifications(&self, filter: &NotificationFilter, limit: u32) -> Result<u64, Problem> {
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
