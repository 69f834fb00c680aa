//! The tables and texts that people read, as snapshots in `snapshots/`.

use insta::assert_snapshot;
use jiff::Timestamp;
use payhook_console::api::ReplayView;
use payhook_queue::{Depth, Unrouted};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const ID: &str = "01a1fcf9-4329-7dd6-8ccf-591e28112ca0";
const AT: &str = "2026-11-21T10:00:00Z";

fn view<T: DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

/// A replay of 40 items.
pub(crate) fn replay(state: &str, plan: bool, done: u64) -> ReplayView {
    let detail = (state == "stopped").then_some("8 of 12 failed, more than a fifth");
    view(json!({
        "replay_id": ID, "state": state, "plan": plan, "total": 40, "done": done, "changed": 3, "unchanged": 9, "failed": 0,
        "rate_per_s": 50, "canary": 5, "who": "the-operator", "reason": "Omise is back", "detail": detail,
        "created_at": AT, "updated_at": AT,
    }))
}

fn order(holds: &Value) -> Value {
    json!({
        "order_id": "A-1001", "state": "held", "amount_minor": 12_000, "currency": "THB", "captured_minor": 12_100,
        "refunded_minor": 4_000, "version": 3, "holds": holds, "hold": holds[0],
        "payments": [{
            "provider": "antom", "account": "shop-sg", "id": "PR-1", "state": "partly_refunded", "currency": "THB",
            "captured_minor": 12_100, "refunded_minor": 4_000, "asked_at": AT, "next_check_at": null,
        }, {
            "provider": "omise", "account": "shop-th", "id": "chrg_1", "state": "failed", "currency": "THB",
            "captured_minor": 0, "refunded_minor": 0, "reason": "insufficient_fund", "asked_at": null, "next_check_at": AT,
        }],
        "refunds": [{
            "id": "RF-1", "provider": "antom", "account": "shop-sg", "payment_id": "PR-1", "state": "succeeded",
            "amount_minor": 4_000, "currency": "THB", "voided": false, "reason": null, "occurred_at": AT,
        }, {
            "id": "RF-2", "provider": "antom", "account": "shop-sg", "payment_id": "PR-1", "state": "pending",
            "amount_minor": null, "currency": null, "voided": false, "reason": null, "occurred_at": null,
        }],
        "disputes": [{
            "id": "DP-1", "provider": "antom", "account": "shop-sg", "payment_id": "PR-1", "state": "open",
            "amount_minor": 12_100, "currency": "THB", "reason": "FRAUD", "answer_by": AT, "occurred_at": null,
        }],
        "created_at": AT, "updated_at": AT,
    })
}

fn timeline() -> Value {
    json!([
        { "at": AT, "kind": "registered", "text": "registered with 120.00 THB" },
        { "at": AT, "kind": "notification", "text": "PAYMENT_RESULT", "payment": "antom/shop-sg/PR-1", "detail": { "received": 2 } },
    ])
}

#[test]
fn orders() {
    let one = json!([{ "reason": "amount_mismatch", "detail": "paid 121.00 THB of 120.00 THB", "since": AT }]);
    let two = json!([one[0], { "reason": "double_payment", "detail": "paid twice\u{1b}[2J", "since": AT }]);
    let text = crate::order::order_text(&view(order(&two))) + &crate::order::timeline_text(&view::<Vec<_>>(timeline()));
    assert_snapshot!("order_show", text);
    let page = json!({ "orders": [order(&two), order(&one), order(&json!([]))], "next": "A-1001" });
    assert_snapshot!("order_list", crate::order::list_text(&view(page)).unwrap());
}

#[test]
fn authorizations() {
    let authorization = json!({
        "authorization_id": "AU-1", "provider": "antom", "account": "shop-sg", "customer_belongs_to": "KPLUS",
        "state": "token_issued", "version": 2, "expires_at": AT, "refresh_expires_at": null, "reason": null,
        "next_check_at": AT, "created_at": AT, "updated_at": AT,
    });
    assert_snapshot!("authorization_show", crate::authorization::text(&view(authorization)));
}

fn letter(order: Option<&str>) -> Value {
    json!({
        "id": ID, "cause": "provider_unreachable", "provider": "omise", "account": "shop-th", "payment_id": "chrg_1",
        "order_id": order, "order_state": order.map(|_| "pending"), "notification_id": ID, "attempts": 7,
        "first_failed_at": AT, "last_failed_at": AT, "detail": "Omise answered 503", "note": null, "state": "open",
    })
}

fn notification() -> Value {
    json!({
        "id": ID, "provider": "omise", "account": "shop-th", "kind": "charge.complete", "about": "payment",
        "payment_id": "chrg_1", "idempotency_key": "evnt_1", "received_at": AT, "received": 2, "last_received_at": AT,
        "signed_at": AT, "verified_by": "webhook secret 1", "signed_path": "/omise/shop-th", "sealed_with": null,
    })
}

#[test]
fn dead_letters() {
    let page = json!({ "dead_letters": [letter(Some("A-1001")), letter(None)], "next": ID });
    assert_snapshot!("dead_list", crate::dead::list_text(&view(page)).unwrap());
    let mut details = letter(Some("A-1001"));
    details["order_amount"] = json!({ "amount_minor": 12_000, "currency": "THB" });
    details["envelope"] =
        json!({ "bytes": 512, "sha256": "ab".repeat(32), "hint": "notification", "notification": notification() });
    assert_snapshot!("dead_show", crate::dead::text(&view(details)));
    let groups = json!({ "groups": [{
        "cause": "provider_unreachable", "provider": "omise", "account": "shop-th", "count": 2, "first_failed_at": AT,
        "last_failed_at": AT, "at_stake": [{ "amount_minor": 12_000, "currency": "THB" }, { "amount_minor": 5, "currency": "JPY" }],
        "paid_meanwhile": 1,
    }, {
        "cause": "poison", "provider": null, "account": null, "count": 1, "first_failed_at": AT, "last_failed_at": AT,
        "at_stake": [], "paid_meanwhile": 0,
    }] });
    assert_snapshot!("dead_groups", crate::dead::groups_text(&view(groups)).unwrap());
}

#[test]
fn notifications() {
    let page = json!({ "notifications": [notification()], "next": null });
    assert_snapshot!("notification_list", crate::notification::list_text(&view(page)).unwrap());
    let mut details = notification();
    details["headers"] =
        json!([{ "name": "omise-signature", "bytes": 64 }, { "name": "omise-signature-timestamp", "bytes": 10 }]);
    details["body_bytes"] = 1024.into();
    details["body_sha256"] = "ab".repeat(32).into();
    assert_snapshot!("notification_show", crate::notification::text(&view(details)));
}

#[test]
fn replays() {
    assert_snapshot!("replay_show", crate::replay::text(&replay("stopped", false, 12)));
    let list = json!({ "replays": [replay("running", false, 12), replay("done", true, 40)] });
    assert_snapshot!("replay_list", crate::replay::list_text(&view(list)).unwrap());
    let items = json!([
        { "n": 1, "dead_letter_id": ID, "provider": "omise", "account": "shop-th", "payment_id": "chrg_1", "outcome": "changed",
          "detail": "awaiting -> paid" },
        { "n": 2, "outcome": "failed", "detail": "Omise answered 503" },
    ]);
    let items: Vec<_> = view(items);
    let text = crate::watch::result_text(&replay("stopped", false, 12)) + &crate::watch::items_text(items.iter());
    assert_snapshot!("replay_result", text);
    assert_snapshot!("drift", crate::drift::text(&items[..1], &items[1..]).unwrap());
}

#[test]
fn audit_entries() {
    let page = json!({ "audit": [{
        "id": ID, "at": AT, "who": "the-operator", "role": "operator", "action": "dead_letter.replay",
        "subject": "dead letters: cause poison", "count": 3, "reason": "Omise is back",
    }, {
        "id": ID, "at": AT, "who": "console", "role": "all", "action": "token.read", "subject": "AU-1", "count": 1, "reason": null,
    }], "next": ID });
    assert_snapshot!("audit_list", crate::audit::text(&view(page)).unwrap());
}

#[test]
fn queues() {
    let (at, now): (Timestamp, Timestamp) = (AT.parse().unwrap(), "2026-11-21T10:00:07Z".parse().unwrap());
    let depth = |queue: &str| Depth {
        queue: queue.to_owned(),
        ready: 2,
        consumers: Some(1),
        oldest_at: None,
        next_due_at: None,
    };
    let work = Depth { oldest_at: Some(at), ..depth("payhook.notifications") };
    let retry = Depth { consumers: None, next_due_at: Some(at), ..depth("payhook.retry.1s") };
    assert_snapshot!("queue_stats", crate::queue::depths_text(&[work, retry], now));
    let unrouted = Unrouted {
        kind: payhook_queue::UnroutedKind::Hint,
        message_id: None,
        key: "payhook.notifications".to_owned(),
        sent_at: Some(at),
        bytes: 512,
    };
    assert_snapshot!("queue_unrouted", crate::queue::unrouted_text(vec![unrouted]));
}
