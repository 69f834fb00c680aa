use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use payhook_schema::{DeadCause, ReplayOutcome};
use payhook_store::{ReplayResult, traits::*};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{TestConsole, detail, now, test_console};
use crate::notifications::notification;

const DEAD: &str = "/v1/dead-letters/replay";

fn everything() -> Value {
    json!({ "filter": { "all": true }, "reason": "the provider is back" })
}

/// `everything` with one value changed.
fn with(key: &str, value: impl Into<Value>) -> Value {
    let mut body = everything();
    body[key] = value.into();
    body
}

impl TestConsole {
    async fn begins(&self, path: &str, body: &Value) -> (String, u64) {
        let (status, answer) = self.post(path, body).await;
        assert_eq!(status, 202, "{answer}");
        (answer["replay_id"].as_str().unwrap().to_owned(), answer["total"].as_u64().unwrap())
    }

    /// Claims the waiting items as a worker does, and notes `outcome` for each.
    async fn works(&self, outcome: ReplayOutcome) -> usize {
        let mut items = Vec::new();
        for replay in self.store.replay_running().await.unwrap() {
            items.extend(self.store.replay_claim(replay.id, now(), Duration::from_mins(1), 100).await.unwrap());
        }
        let result = |item: &payhook_store::ReplayItem| ReplayResult {
            item: item.id,
            outcome: Some(outcome),
            detail: format!("{outcome}"),
        };
        let results: Vec<ReplayResult> = items.iter().map(result).collect();
        self.store.replay_note(&results, now()).await.unwrap();
        items.len()
    }

    async fn steers(&self, id: &str, word: &str) -> (u16, Value) {
        self.call("POST", &format!("/v1/replays/{id}/{word}")).await
    }
}

#[tokio::test]
async fn a_replay_begins_after_its_audit_entry_and_shows_its_progress() {
    let console = test_console().await;
    let letter = console.gives_up("PR-1", DeadCause::Poison, 1).await;
    console.gives_up("PR-2", DeadCause::ProviderRefused, 2).await;
    let body = json!({ "filter": { "cause": "poison" }, "reason": "mended", "rate_per_s": 7, "canary": 0 });
    let (id, total) = console.begins(DEAD, &body).await;
    assert_eq!(total, 1);
    let entry =
        ("dead_letter.replay".to_owned(), "dead letters: cause poison".to_owned(), 1, Some("mended".to_owned()));
    assert_eq!(console.audited().await, [entry]);
    let (_, answer) = console.post(DEAD, &body).await;
    assert_eq!((&answer["total"], &answer["in_other_replays"]), (&json!(0), &json!(1)), "the first one has it");
    let discarding = json!({ "filter": { "cause": "poison" }, "reason": "not while it is replayed" });
    let answer = console.post("/v1/dead-letters/discard", &discarding).await;
    assert_eq!(answer, (200, json!({ "discarded": 0, "in_other_replays": 1 })), "it is the replay's");

    let (status, replay) = console.call("GET", &format!("/v1/replays/{id}")).await;
    assert_eq!(status, 200);
    let expected = json!({
        "replay_id": id, "state": "running", "plan": false, "total": 1, "done": 0, "changed": 0, "unchanged": 0, "failed": 0,
        "rate_per_s": 7, "canary": 0, "who": "local", "reason": "mended", "detail": null,
        "created_at": "2026-11-21T10:00:00Z", "updated_at": "2026-11-21T10:00:00Z",
    });
    assert_eq!(replay, expected);

    assert_eq!(console.works(ReplayOutcome::Changed).await, 1);
    let (_, replay) = console.call("GET", &format!("/v1/replays/{id}")).await;
    assert_eq!((&replay["state"], &replay["done"], &replay["changed"]), (&json!("done"), &json!(1), &json!(1)));
    let (_, items) = console.call("GET", &format!("/v1/replays/{id}/items")).await;
    let item = json!([{
        "n": 1, "dead_letter_id": letter, "notification_id": null, "provider": "antom", "account": "shop",
        "payment_id": "PR-1", "outcome": "changed", "detail": "changed",
    }]);
    assert_eq!((&items["items"], &items["next"]), (&item, &Value::Null));
    let (_, list) = console.call("GET", "/v1/replays").await;
    assert!(list["replays"].as_array().unwrap().contains(&replay), "{list}");
    let (_, open) = console.call("GET", "/v1/dead-letters").await;
    assert_eq!(open["dead_letters"].as_array().unwrap().len(), 1, "what was replayed is not open any more");
}

#[tokio::test]
async fn a_replay_without_a_reason_or_beyond_its_limits_is_refused() {
    let console = test_console().await;
    console.gives_up("PR-1", DeadCause::Poison, 1).await;
    for (body, why) in [
        (json!({ "filter": { "all": true } }), "`reason`"),
        (with("reason", " "), "`reason`"),
        (with("rate_per_s", 0), "`rate_per_s` must be 1 to 1000"),
        (with("rate_per_s", 1001), "`rate_per_s` must be 1 to 1000"),
        (with("limit", 0), "`limit` must be 1 to 100000"),
        (with("limit", 100_001), "`limit` must be 1 to 100000"),
        (with("filter", json!({ "kind": "PAYMENT_RESULT" })), "select notifications"),
        (with("filter", json!({ "ids": vec![Uuid::nil(); 1001] })), "At most 1000 `ids`"),
    ] {
        let (status, answer) = console.post(DEAD, &body).await;
        assert_eq!(status, 422, "{answer}");
        assert!(detail(&answer).contains(why), "{answer}");
    }
    let (_, replays) = console.call("GET", "/v1/replays").await;
    assert_eq!(replays["replays"], json!([]));
    console.cannot_write().await;
    assert_eq!(console.post(DEAD, &everything()).await.0, 503);
}

#[tokio::test]
async fn a_replay_takes_up_to_its_limit_and_the_audit_log_has_the_count() {
    let console = test_console().await;
    for number in 0..4 {
        console.gives_up(&format!("PR-{number}"), DeadCause::Poison, number).await;
    }
    let (id, total) = console.begins(DEAD, &with("limit", 3)).await;
    assert_eq!((total, console.audited().await[0].2), (3, 3));
    let (_, first) = console.call("GET", &format!("/v1/replays/{id}/items?limit=2")).await;
    let (_, rest) = console.call("GET", &format!("/v1/replays/{id}/items?limit=2&after={}", first["next"])).await;
    let payments = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|it| it["payment_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!([payments(&first), payments(&rest)].concat(), ["PR-3", "PR-2", "PR-1"], "the oldest first");
    console.gives_up("PR-4", DeadCause::Poison, 5).await;
    let left_out = async |limit: u32| {
        let (_, answer) = console.post(&format!("{DEAD}?wait=0s"), &with("limit", limit)).await;
        (answer["total"].as_u64(), answer["more"] == true, answer["in_other_replays"].as_u64())
    };
    assert_eq!(left_out(1).await, (Some(1), true, Some(0)), "beyond the limit there is another");
    assert_eq!(left_out(1).await, (Some(1), false, Some(4)), "what is left out, other replays have");
}

#[tokio::test]
async fn a_replay_is_steered_as_its_state_allows() {
    let console = test_console().await;
    console.gives_up("PR-1", DeadCause::Poison, 1).await;
    let (id, _) = console.begins(DEAD, &everything()).await;
    let allowed = async |word: &str, state: &str| {
        let (status, replay) = console.steers(&id, word).await;
        assert_eq!((status, replay["state"].as_str()), (200, Some(state)), "{word}: {replay}");
    };
    let refused = async |word: &str, state: &str| {
        let (status, answer) = console.steers(&id, word).await;
        assert_eq!(status, 409, "{word}: {answer}");
        assert!(detail(&answer).contains(&format!("is {state}: only one that is")), "{answer}");
    };
    refused("resume", "running").await;
    allowed("pause", "paused").await;
    refused("pause", "paused").await;
    assert_eq!(console.works(ReplayOutcome::Changed).await, 0);
    allowed("resume", "running").await;
    allowed("pause", "paused").await;
    allowed("cancel", "cancelled").await;
    for word in ["pause", "resume", "cancel"] {
        refused(word, "cancelled").await;
    }
    let audited = console.audited().await;
    let times = |action: &str| {
        audited.iter().filter(|(it, subject, ..)| *it == action && *subject == format!("replay {id}")).count()
    };
    assert_eq!([times("replay.pause"), times("replay.resume"), times("replay.cancel")], [2, 1, 1], "{audited:?}");
    let nobody = Uuid::nil().to_string();
    for word in ["pause", "resume", "cancel"] {
        assert_eq!(console.steers(&nobody, word).await.0, 404);
    }
    assert_eq!(console.call("GET", &format!("/v1/replays/{nobody}/items")).await.0, 404);
}

#[tokio::test]
async fn a_replay_that_stopped_by_itself_shows_the_reason_and_resumes() {
    let console = test_console().await;
    for number in 0..3 {
        console.gives_up(&format!("PR-{number}"), DeadCause::Poison, number).await;
    }
    let (id, _) = console.begins(DEAD, &with("canary", 1)).await;
    assert_eq!(console.works(ReplayOutcome::Failed).await, 1, "the canary goes alone");
    let (_, replay) = console.call("GET", &format!("/v1/replays/{id}")).await;
    assert_eq!(replay["state"], "stopped");
    assert!(replay["detail"].is_string(), "{replay}");
    assert_eq!(console.steers(&id, "pause").await.0, 409);
    let (status, replay) = console.steers(&id, "resume").await;
    assert_eq!((status, &replay["state"]), (200, &json!("running")));
}

#[tokio::test]
async fn a_plan_is_waited_for_and_shows_the_changes() {
    let console = Arc::new(test_console().await);
    let letter = console.gives_up("PR-1", DeadCause::Poison, 1).await;
    let worker = tokio::spawn({
        let console = console.clone();
        async move {
            while console.works(ReplayOutcome::Changed).await == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    });
    let (status, answer) = console.post(DEAD, &json!({ "filter": { "all": true }, "plan": true })).await;
    worker.await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let plan = json!({
        "replay_id": answer["plan"]["replay_id"], "state": "done", "total": 1, "in_other_replays": 0, "more": false, "would_change": 1,
        "unchanged": 0, "failed": 0, "detail": null,
        "items": [{
            "n": 1, "dead_letter_id": letter, "notification_id": null, "provider": "antom", "account": "shop",
            "payment_id": "PR-1", "outcome": "changed", "detail": "changed",
        }],
    });
    assert_eq!(answer["plan"], plan);
    let entry = ("dead_letter.plan".to_owned(), "dead letters: all".to_owned(), 1, Some("plan".to_owned()));
    assert_eq!(console.audited().await, [entry], "a plan needs no reason, and is written down all the same");
    let (_, open) = console.call("GET", "/v1/dead-letters").await;
    assert_eq!(open["dead_letters"].as_array().unwrap().len(), 1, "a plan changes nothing");
}

#[tokio::test]
async fn a_plan_that_takes_longer_than_the_wait_is_answered_by_its_id() {
    let console = test_console().await;
    console.gives_up("PR-1", DeadCause::Poison, 1).await;
    let (id, total) = console.begins(&format!("{DEAD}?wait=0s"), &with("plan", true)).await;
    assert_eq!(total, 1);
    let (_, replay) = console.call("GET", &format!("/v1/replays/{id}")).await;
    assert_eq!((&replay["state"], &replay["plan"], &replay["canary"]), (&json!("running"), &json!(true), &json!(0)));
    let (status, answer) = console.post(DEAD, &json!({ "filter": { "cause": "misconfigured" }, "plan": true })).await;
    assert_eq!((status, &answer["plan"]["total"]), (200, &json!(0)), "over nothing there is nothing to wait for");
    assert_eq!(console.post(&format!("{DEAD}?wait=long"), &with("plan", true)).await.0, 400);
}

#[tokio::test]
async fn notifications_are_replayed_by_their_own_words() {
    let console = test_console().await;
    for (kind, payment, minutes) in
        [("PAYMENT_RESULT", "PR-1", 3), ("CAPTURE_RESULT", "PR-1", 2), ("PAYMENT_RESULT", "PR-2", 1)]
    {
        console.keeps(&notification(kind, payment, now() - SignedDuration::from_mins(minutes))).await;
    }
    let path = "/v1/notifications/replay";
    let filter = |filter: Value| with("filter", filter);
    let (id, total) = console.begins(path, &filter(json!({ "kind": "PAYMENT_RESULT", "payment_id": "PR-1" }))).await;
    assert_eq!(total, 1);
    let (_, items) = console.call("GET", &format!("/v1/replays/{id}/items")).await;
    assert_eq!(
        (&items["items"][0]["dead_letter_id"], &items["items"][0]["payment_id"]),
        (&Value::Null, &json!("PR-1"))
    );
    assert!(items["items"][0]["notification_id"].is_string());
    assert_eq!(console.audited().await[0].1, "notifications: kind PAYMENT_RESULT, payment PR-1");
    assert_eq!(console.begins(path, &everything()).await.1, 2, "one is in the other replay");
    let all =
        ("notification.replay".to_owned(), "notifications: all".to_owned(), 3, Some("the provider is back".to_owned()));
    assert!(console.audited().await.contains(&all));

    let (status, answer) = console.post(path, &filter(json!({ "cause": "poison" }))).await;
    assert_eq!(status, 422);
    assert!(detail(&answer).contains("selects dead letters"), "{answer}");
    for wrong in [json!({ "kind": "" }), json!({ "kind": "a\u{0}b" }), json!({ "payment_id": "with space" })] {
        assert_eq!(console.post(path, &filter(wrong)).await.0, 422);
    }
}

#[tokio::test]
async fn drift_asks_about_the_payments_of_a_period() {
    let console = test_console().await;
    console.has_order("O-1", "PR-1").await;
    let drift = async |body: Value| console.post("/v1/drift?wait=0s", &body).await;
    let (status, answer) = drift(json!({ "since": "24h", "until": "2026-11-21T10:00:01Z", "account": "shop" })).await;
    assert_eq!((status, &answer["total"]), (202, &json!(1)), "{answer}");
    let (_, replay) = console.call("GET", &format!("/v1/replays/{}", answer["replay_id"].as_str().unwrap())).await;
    assert_eq!((&replay["plan"], &replay["reason"]), (&json!(true), &json!("drift")));
    let subject =
        "payments registered from 2026-11-20T10:00:00Z until 2026-11-21T10:00:01Z, at most 1000, account shop";
    assert_eq!(console.audited().await, [("drift".to_owned(), subject.to_owned(), 0, Some("drift".to_owned()))]);
    let (status, answer) = drift(json!({ "since": "24h", "provider": "omise" })).await;
    assert_eq!((status, &answer["plan"]["total"]), (200, &json!(0)), "{answer}");

    for (body, why) in [
        (json!({ "since": "soon" }), "`since` in the body: `soon` is neither"),
        (json!({ "since": "1h", "until": "2h" }), "must be before"),
        (json!({ "since": "1h", "provider": "paypal" }), "`provider`"),
        (json!({ "since": "1h", "limit": 0 }), "`limit`"),
    ] {
        let (status, answer) = drift(body).await;
        assert_eq!(status, 422, "{answer}");
        assert!(detail(&answer).contains(why), "{answer}");
    }
}
