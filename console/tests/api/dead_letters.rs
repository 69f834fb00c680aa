use jiff::{SignedDuration, Timestamp};
use payhook_schema::{Because, DeadCause, DeadLetterState, Envelope, NewOrder, PaymentKey, Provider, new_id};
use payhook_store::{DeadLetter, traits::*};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{TestConsole, detail, now, test_console};
use crate::notifications::{SECRET, notification};

fn payment_key(id: &str) -> PaymentKey {
    PaymentKey { provider: Provider::Antom, account: "shop".parse().unwrap(), id: id.parse().unwrap() }
}

fn letter(payment: &str, cause: DeadCause, at: Timestamp) -> DeadLetter {
    let payment = payment_key(payment);
    DeadLetter {
        id: new_id(at),
        cause,
        detail: format!("gave up: {cause}"),
        provider: Some(payment.provider),
        account: Some(payment.account.clone()),
        order: None,
        attempts: 7,
        first_failed_at: at - SignedDuration::from_hours(1),
        last_failed_at: at,
        bytes: Envelope::ask(payment.clone(), Because::Sweep, at).encode(),
        payment: Some(payment),
        notification: None,
        notification_id: None,
        state: DeadLetterState::Open,
        note: None,
        order_now: None,
    }
}

impl TestConsole {
    /// A dead letter about a payment, so many minutes old.
    pub(crate) async fn gives_up(&self, payment: &str, cause: DeadCause, minutes: i64) -> Uuid {
        let letter = letter(payment, cause, now() - SignedDuration::from_mins(minutes));
        self.store.dead_letter_keep(std::slice::from_ref(&letter)).await.unwrap();
        letter.id
    }

    pub(crate) async fn has_order(&self, id: &str, payment: &str) {
        let amount = "120.00 THB".parse().unwrap();
        let new =
            NewOrder { id: id.parse().unwrap(), amount, payments: vec![payment_key(payment)], refunds: Vec::new() };
        self.store.order_register(&new, now()).await.unwrap();
    }

    async fn listed(&self, query: &str) -> Vec<Uuid> {
        let (status, answer) = self.call("GET", &format!("/v1/dead-letters?{query}")).await;
        assert_eq!(status, 200, "{query}: {answer}");
        let letters = answer["dead_letters"].as_array().unwrap();
        letters.iter().map(|letter| letter["id"].as_str().unwrap().parse().unwrap()).collect()
    }
}

#[tokio::test]
async fn the_open_ones_are_listed_by_every_filter_unless_another_state_is_named() {
    let console = test_console().await;
    let old = console.gives_up("PR-1", DeadCause::ProviderRefused, 120).await;
    let new = console.gives_up("PR-2", DeadCause::Poison, 1).await;
    let gone = console.gives_up("PR-3", DeadCause::Poison, 2).await;
    let body = json!({ "filter": { "ids": [gone] }, "reason": "a test of ours" });
    assert_eq!(
        console.post("/v1/dead-letters/discard", &body).await,
        (200, json!({ "discarded": 1, "in_other_replays": 0 }))
    );

    assert_eq!(console.listed("").await, [new, old]);
    assert_eq!(console.listed("state=all").await, [new, gone, old]);
    assert_eq!(console.listed("state=discarded").await, [gone]);
    assert_eq!(console.listed("state=all&cause=poison").await, [new, gone]);
    assert_eq!(console.listed("since=1h").await, [new]);
    assert_eq!(console.listed("provider=antom&account=shop").await, [new, old]);
    assert!(console.listed("provider=omise").await.is_empty());
    assert_eq!(console.listed(&format!("id={old},{gone}")).await, [old]);
    assert_eq!(console.listed(&format!("state=all&limit=1&before={gone}")).await, [old]);
    for wrong in ["state=closed", "cause=bad", "id=7", "since=1w", "kind=PAYMENT_RESULT"] {
        assert_eq!(console.call("GET", &format!("/v1/dead-letters?{wrong}")).await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn a_dead_letter_is_shown_without_what_the_provider_sent() {
    let console = test_console().await;
    console.has_order("O-1", "PR-1").await;
    let notification = notification("PAYMENT_RESULT", "PR-1", now());
    let bytes = Envelope::again(notification.clone(), Uuid::from_u128(7)).encode();
    let length = bytes.len();
    let letter = DeadLetter {
        bytes,
        notification: Some(notification.clone()),
        ..letter("PR-1", DeadCause::ProviderRefused, now())
    };
    console.store.dead_letter_keep(std::slice::from_ref(&letter)).await.unwrap();

    let (_, list) = console.call("GET", "/v1/dead-letters").await;
    let expected = json!([{
        "id": letter.id, "cause": "provider_refused", "provider": "antom", "account": "shop", "payment_id": "PR-1",
        "order_id": "O-1", "order_state": "pending", "notification_id": notification.id, "attempts": 7,
        "first_failed_at": "2026-11-21T09:00:00Z", "last_failed_at": "2026-11-21T10:00:00Z",
        "detail": "gave up: provider_refused", "note": null, "state": "open",
    }]);
    assert_eq!(list["dead_letters"], expected);

    let (status, mut shown) = console.call("GET", &format!("/v1/dead-letters/{}", letter.id)).await;
    assert_eq!(status, 200);
    for answer in [&list, &shown] {
        assert!(!answer.to_string().contains(SECRET), "{answer}");
    }
    let envelope = shown["envelope"].take();
    assert_eq!((&envelope["bytes"], &envelope["hint"]), (&json!(length), &json!("notification")));
    assert_eq!(envelope["sha256"].as_str().unwrap().len(), 64);
    assert_eq!(envelope["notification"]["verified_by"], "keyVersion 1");
    assert_eq!(shown["order_amount"], json!({ "amount_minor": 12_000, "currency": "THB" }));
    for (key, value) in expected[0].as_object().unwrap() {
        assert_eq!(&shown[key], value, "{key}");
    }

    let garbage = DeadLetter { bytes: SECRET.as_bytes().to_vec(), ..self::letter("PR-9", DeadCause::Poison, now()) };
    console.store.dead_letter_keep(std::slice::from_ref(&garbage)).await.unwrap();
    let (_, shown) = console.call("GET", &format!("/v1/dead-letters/{}", garbage.id)).await;
    assert_eq!((&shown["envelope"]["hint"], &shown["envelope"]["bytes"]), (&Value::Null, &json!(SECRET.len())));
    assert!(!shown.to_string().contains(SECRET), "{shown}");
    assert_eq!(console.call("GET", &format!("/v1/dead-letters/{}", Uuid::nil())).await.0, 404);
}

#[tokio::test]
async fn groups_tell_the_money_that_waits() {
    let console = test_console().await;
    console.has_order("O-1", "PR-1").await;
    for (payment, cause, minutes) in [
        ("PR-1", DeadCause::ProviderRefused, 3),
        ("PR-1", DeadCause::ProviderRefused, 1),
        ("PR-2", DeadCause::UnknownPayment, 2),
    ] {
        console.gives_up(payment, cause, minutes).await;
    }
    let (status, answer) = console.call("GET", "/v1/dead-letters/groups").await;
    assert_eq!(status, 200);
    let expected = json!([
        {
            "cause": "provider_refused", "provider": "antom", "account": "shop", "count": 2,
            "first_failed_at": "2026-11-21T08:57:00Z", "last_failed_at": "2026-11-21T09:59:00Z",
            "at_stake": [{ "amount_minor": 12_000, "currency": "THB" }], "paid_meanwhile": 0,
        },
        {
            "cause": "unknown_payment", "provider": "antom", "account": "shop", "count": 1,
            "first_failed_at": "2026-11-21T08:58:00Z", "last_failed_at": "2026-11-21T09:58:00Z",
            "at_stake": [], "paid_meanwhile": 0,
        },
    ]);
    assert_eq!(answer["groups"], expected);
    let (_, one) = console.call("GET", "/v1/dead-letters/groups?cause=unknown_payment").await;
    assert_eq!(one["groups"], json!([expected[1]]));
    assert_eq!(console.call("GET", "/v1/dead-letters/groups?limit=3").await.0, 400, "there are no pages of groups");
}

#[tokio::test]
async fn discarding_is_written_down_before_it_is_done() {
    let console = test_console().await;
    console.has_order("O-1", "PR-1").await;
    console.gives_up("PR-1", DeadCause::Poison, 1).await;
    console.gives_up("PR-2", DeadCause::Poison, 2).await;
    let body = json!({ "filter": { "cause": "poison", "since": "90s" }, "reason": "a test of ours" });
    assert_eq!(
        console.post("/v1/dead-letters/discard", &body).await,
        (200, json!({ "discarded": 1, "in_other_replays": 0 }))
    );
    let subject = "dead letters: cause poison, since 2026-11-21T09:58:30Z".to_owned();
    let reason = Some("a test of ours".to_owned());
    assert_eq!(console.audited().await, [("dead_letter.discard".to_owned(), subject, 1, reason)]);
    let (_, timeline) = console.call("GET", "/v1/orders/O-1/timeline").await;
    assert!(timeline.to_string().contains("a test of ours"), "{timeline}");
    assert_eq!(console.listed("").await.len(), 1);

    console.cannot_write().await;
    assert_eq!(
        console.post("/v1/dead-letters/discard", &json!({ "filter": { "all": true }, "reason": "x" })).await.0,
        503
    );
    assert_eq!(console.listed("").await.len(), 1, "what cannot be written down is not done");
}

#[tokio::test]
async fn a_note_stands_with_its_letters_until_it_is_taken_away() {
    let console = test_console().await;
    let open = console.gives_up("PR-1", DeadCause::Poison, 1).await;
    let gone = console.gives_up("PR-2", DeadCause::Poison, 2).await;
    console.post("/v1/dead-letters/discard", &json!({ "filter": { "ids": [gone] }, "reason": "x" })).await;
    let note = async |filter: Value, note: &str| {
        console.post("/v1/dead-letters/note", &json!({ "filter": filter, "note": note })).await
    };
    let shown = async |id: Uuid| console.call("GET", &format!("/v1/dead-letters/{id}")).await.1["note"].clone();

    assert_eq!(note(json!({ "all": true }), "asked Antom").await, (200, json!({ "noted": 1 })));
    assert_eq!((shown(open).await, shown(gone).await), (json!("asked Antom"), Value::Null), "all means the open ones");
    assert_eq!(note(json!({ "ids": [gone] }), "not ours").await.1["noted"], 1, "one that is named is meant");
    assert_eq!(note(json!({ "ids": [open] }), "").await.1["noted"], 1);
    assert_eq!((shown(open).await, shown(gone).await), (Value::Null, json!("not ours")));
    assert_eq!(note(json!({ "all": true }), "two\nlines").await.0, 422);
    let noted = |subject: String, note: &str| ("dead_letter.note".to_owned(), subject, 1, Some(note.to_owned()));
    let audited = console.audited().await;
    assert!(audited.contains(&noted("dead letters: all".to_owned(), "asked Antom")), "{audited:?}");
    assert!(audited.contains(&noted(format!("dead letters: id {open}"), "")), "{audited:?}");
}

#[tokio::test]
async fn a_reason_that_can_disguise_itself_is_refused() {
    let console = test_console().await;
    console.gives_up("PR-1", DeadCause::Poison, 1).await;
    for disguised in ["a\u{1b}[2Kb", "a\nb", "a\u{7f}b", "a\u{202e}b", "a\u{2066}b", "a\u{200f}b", "a\u{2028}b"] {
        let body = json!({ "filter": { "all": true }, "reason": disguised });
        let (status, answer) = console.post("/v1/dead-letters/discard", &body).await;
        assert_eq!(status, 422, "{disguised:?}: {answer}");
        assert!(detail(&answer).contains("direction of writing"), "{answer}");
    }
    for plain in ["ลูกค้าโทรมา", "קיבלנו טלפון", "👨‍👩‍👧 asked", "naïve"]
    {
        let body = json!({ "filter": { "cause": "misconfigured" }, "reason": plain });
        let (status, answer) = console.post("/v1/dead-letters/discard", &body).await;
        assert_eq!(status, 200, "{plain}: {answer}");
    }
}

#[tokio::test]
async fn a_forgotten_filter_does_not_mean_everything() {
    let console = test_console().await;
    console.gives_up("PR-1", DeadCause::Poison, 1).await;
    for (path, body) in [
        ("/v1/dead-letters/discard", json!({ "reason": "x" })),
        ("/v1/dead-letters/note", json!({ "note": "x" })),
        ("/v1/dead-letters/replay", json!({ "reason": "x" })),
        ("/v1/notifications/replay", json!({ "reason": "x" })),
    ] {
        for filter in [None, Some(json!({})), Some(json!({ "ids": [], "all": false, "cause": null }))] {
            let mut body = body.clone();
            if let Some(filter) = filter {
                body["filter"] = filter;
            }
            let (status, answer) = console.post(path, &body).await;
            assert_eq!(status, 422, "{path}: {answer}");
            assert!(detail(&answer).contains("selects nothing"), "{answer}");
        }
        for (filter, why) in [
            (json!({ "provider": "paypal" }), "`filter.provider` in the body: unknown variant `paypal`"),
            (json!({ "since": "yesterday" }), "`filter.since` in the body: `yesterday`"),
            (json!({ "account": "Shop" }), "`filter.account` in the body: an account name must be"),
        ] {
            let mut body = body.clone();
            body["filter"] = filter;
            let (status, answer) = console.post(path, &body).await;
            assert_eq!(status, 422, "{path}: {answer}");
            assert!(detail(&answer).contains(why), "{answer}");
        }
        let mut body = body.clone();
        body["filter"] = json!({ "al": true });
        assert_eq!(console.post(path, &body).await.0, 400, "a misspelt word is no word");
    }
    assert_eq!(console.listed("").await.len(), 1);
    assert!(console.audited().await.is_empty(), "nothing was done");
}
