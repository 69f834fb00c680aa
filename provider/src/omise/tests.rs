//! The reference vectors, accepted and refused, through the whole of `verify`; the charge table row by row.

use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use payhook_schema::{About, AccountName, DisputeState, Notification, PaymentFacts, PaymentId, PaymentState, Verified};
use uuid::Uuid;

use super::{WebhookSecret, read_charge};
use crate::client::AskError;
use crate::{Account, AgeLimit, Limits, OmiseAccount, Received, Refusal, verify};

const SECRET_A: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const SECRET_B: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const TIMESTAMP: &str = "1767225600";
const COMPACT: &[u8] = include_bytes!("../../fixtures/omise/vector_compact.json");
const PRETTY: &[u8] = include_bytes!("../../fixtures/omise/vector_pretty.json");
const V1: &str = "349611d458af53590479b46f98da4338e8519a96fa2bc3a5c0e668cf4a84c467";
const V2_A: &str = "fc8b8834d021f288869d46417fb3ab0a0fe67a8e6305afc0a58fa9e2e5bc6499";
const V2_B: &str = "641df5fa47e39b8015dcb6a4972ba76d4adba0c2677925ce3b45cea01f777979";

fn account(secrets: &[&str], limit: AgeLimit) -> OmiseAccount {
    OmiseAccount {
        name: AccountName::new("shop-th").unwrap(),
        livemode: false,
        api: "http://127.0.0.1:1".to_owned(),
        secret_key: None,
        webhook_secrets: secrets.iter().map(|secret| WebhookSecret::parse(secret).unwrap()).collect(),
        signature_age_max: limit,
        limits: Limits::OMISE,
    }
}

fn check_at(
    now: i64,
    limit: AgeLimit,
    secrets: &[&str],
    body: &[u8],
    headers: &[(&'static str, &str)],
) -> Result<Notification, Refusal> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_str(value).unwrap());
    }
    let received = Received {
        path: "/omise/shop-th",
        query: None,
        headers: &map,
        body,
        at: Timestamp::from_second(now).unwrap(),
        id: Uuid::nil(),
    };
    verify(&Account::Omise(account(secrets, limit)), &received).map(Verified::into_inner)
}

fn check(secrets: &[&str], body: &[u8], signature: &str) -> Result<Notification, Refusal> {
    let headers = [("omise-signature", signature), ("omise-signature-timestamp", TIMESTAMP)];
    check_at(1_767_225_602, AgeLimit::Off, secrets, body, &headers)
}

#[expect(clippy::needless_pass_by_value, reason = "reads as one sentence where it is asked")]
fn is_forgery(checked: Result<Notification, Refusal>) -> bool {
    matches!(checked, Err(Refusal::NotGenuine(_) | Refusal::Malformed(_)))
}

#[test]
fn v1_a_plain_signature_holds_and_the_event_names_its_charge() {
    let event = check(&[SECRET_A], COMPACT, V1).unwrap();
    assert_eq!(event.kind, "charge.complete");
    assert_eq!(event.about, About::Payment(PaymentId::new("chrg_test_vector0001").unwrap()));
    assert_eq!(event.idempotency_key, "evnt_test_vector0001");
    assert_eq!(event.body, COMPACT);
    assert_eq!(event.verified_by, WebhookSecret::parse(SECRET_A).unwrap().name());
    assert_eq!(event.signed_at, Some("2026-01-01T00:00:00Z".parse().unwrap()));
}

#[test]
fn v2_either_secret_holds_while_one_is_rotated_in_either_order() {
    let both = format!("{V2_A},{V2_B}");
    check(&[SECRET_A], PRETTY, &both).unwrap();
    check(&[SECRET_B], PRETTY, &both).unwrap();
    check(&[SECRET_B], PRETTY, &format!("{V2_B}, {V2_A}")).unwrap();
    let name = |secret| WebhookSecret::parse(secret).unwrap().name();
    assert_eq!(check(&[SECRET_B, SECRET_A], PRETTY, V2_A).unwrap().verified_by, name(SECRET_A));
    assert_ne!(name(SECRET_A), name(SECRET_B), "a name is a secret's own, in any place of the list");
}

#[test]
fn v3_v4_an_altered_body_or_another_secret_is_refused() {
    let raised = String::from_utf8(COMPACT.to_vec()).unwrap().replace("150000", "150001");
    assert!(is_forgery(check(&[SECRET_A], raised.as_bytes(), V1)));
    assert!(is_forgery(check(&[SECRET_B], COMPACT, V1)));
    assert!(is_forgery(check(&[SECRET_A], PRETTY.trim_ascii_end(), V2_A)));
    let json: serde_json::Value = serde_json::from_slice(PRETTY).unwrap();
    assert!(is_forgery(check(&[SECRET_A], json.to_string().as_bytes(), V2_A)));
}

#[test]
fn v5_v6_v7_an_age_limit_includes_its_edge_and_is_off_by_default() {
    let headers = [("omise-signature", V1), ("omise-signature-timestamp", TIMESTAMP)];
    let five_minutes = AgeLimit::Within(std::time::Duration::from_mins(5));
    for (now, fresh) in [(1_767_225_901, false), (1_767_225_900, true), (1_767_225_300, true), (1_767_225_299, false)] {
        assert_eq!(check_at(now, five_minutes, &[SECRET_A], COMPACT, &headers).is_ok(), fresh, "{now}");
        assert!(check_at(now, AgeLimit::Off, &[SECRET_A], COMPACT, &headers).is_ok(), "{now}");
    }
}

#[test]
fn v8_v9_hexadecimal_of_either_case_and_nothing_else() {
    check(&[SECRET_A], COMPACT, &V1.to_uppercase()).unwrap();
    for junk in ["deadbeef", &format!("t=1767225600,v1={V1}"), &format!("v1={V1}"), &format!("{V1}00"), ",,,"] {
        assert!(is_forgery(check(&[SECRET_A], COMPACT, junk)), "{junk}");
    }
    assert!(is_forgery(check(&[SECRET_A], COMPACT, "")));
    let many = format!("{}{V1}", "00,".repeat(8));
    assert!(is_forgery(check(&[SECRET_A], COMPACT, &many)), "only so many are compared");
}

#[test]
fn v10_an_empty_body_can_be_genuine_and_is_unreadable() {
    let signature = "a9e8b2c6a50789a6fb00909a5a8809a6aa6f42cfad74a087fc3bdd88b1faf9d6";
    let notification = check(&[SECRET_A], b"", signature).unwrap();
    assert!(
        matches!(&notification.about, About::Unreadable(why) if why.contains("not a JSON object")),
        "{notification:?}"
    );
    assert!(notification.idempotency_key.starts_with(payhook_schema::DIGEST_PREFIX));
}

#[test]
fn the_digests_of_common_mistakes_are_refused() {
    for mistake in [
        "25e49f3b4c048fc29b90c598e8309de6aa9d289a7f34b5bc9bbeef36b2f8fe2e",
        "b6a07414abe78ddeeee36190cb7e60093668b6eea8699368fee636f6f3fd8a95",
        "144a2e67dc9a3d18104896a8294cbeb979f538ef5ba2da31d1617b768605dd73",
        "NJYR1FivU1kEebRvmNpDOOhRmpb6K8OlwOZoz0qExGc=",
        "a5764e798ee7d894e43b93a5b680991fe60287b5efd8f7aca6fc1aa74904a131",
    ] {
        assert!(is_forgery(check(&[SECRET_A], COMPACT, mistake)), "{mistake}");
    }
}

#[test]
fn headers_missing_or_doubled_are_refused() {
    let (signature, timestamp) = (("omise-signature", V1), ("omise-signature-timestamp", TIMESTAMP));
    for headers in
        [&[signature][..], &[timestamp], &[], &[signature, signature, timestamp], &[signature, timestamp, timestamp]]
    {
        assert!(is_forgery(check_at(1_767_225_602, AgeLimit::Off, &[SECRET_A], COMPACT, headers)));
    }
    let odd = [signature, ("omise-signature-timestamp", "1767225600 ")];
    assert!(is_forgery(check_at(1_767_225_602, AgeLimit::Off, &[SECRET_A], COMPACT, &odd)));
}

/// An event signed with the right secret, so that only its content can be at fault.
fn read(body: &str) -> Result<Notification, Refusal> {
    let signature = WebhookSecret::parse(SECRET_A).unwrap().sign(TIMESTAMP, body.as_bytes());
    check(&[SECRET_A], body.as_bytes(), &signature)
}

fn event(key: &str, data: &str) -> String {
    format!(r#"{{"object":"event","id":"evnt_test_1","livemode":false,"key":"{key}","data":{data}}}"#)
}

#[test]
fn events_name_the_charge_they_settle_and_others_are_kept() {
    let charge = About::Payment(PaymentId::new("chrg_test_1").unwrap());
    for (key, data) in [
        ("charge.create", r#"{"object":"charge","id":"chrg_test_1","amount":1}"#),
        ("charge.update", r#"{"object":"charge","id":"chrg_test_1","captured":true}"#),
        ("refund.create", r#"{"object":"refund","id":"rfnd_test_1","charge":"chrg_test_1"}"#),
        ("dispute.close", r#"{"object":"dispute","id":"dspt_test_1","charge":{"object":"charge","id":"chrg_test_1"}}"#),
    ] {
        assert_eq!(read(&event(key, data)).unwrap().about, charge, "{key}");
    }
    for (key, data) in [
        ("transfer.pay", "{}"),
        ("customer.destroy", r#"{"deleted":true}"#),
        ("brand.new", "null"),
        ("schedule.create", r#"{"object":"schedule","charge":{"amount":1}}"#),
    ] {
        let notification = read(&event(key, data)).unwrap();
        assert_eq!((notification.kind.as_str(), notification.about), (key, About::Other));
    }
}

#[test]
fn test_and_live_never_mix() {
    let live = event("charge.complete", r#"{"object":"charge","id":"chrg_test_1"}"#).replace("false", "true");
    assert!(is_forgery(read(&live)));
    let disguised =
        event("charge.complete", r#"{"object":"charge","id":"chrg_test_1"}"#).replace("evnt_test_1", "evnt_1");
    assert!(is_forgery(read(&disguised)));
    let mixed = read(&event("charge.complete", r#"{"object":"charge","id":"chrg_1"}"#)).unwrap();
    assert!(matches!(mixed.about, About::Unreadable(_)), "{mixed:?}");
}

#[test]
fn genuine_events_without_what_they_must_have_are_unreadable() {
    for body in [
        "{}".to_owned(),
        "null".to_owned(),
        event("charge.complete", "{}"),
        event("charge.complete", "null"),
        event("charge.complete", r#"{"object":"charge","id":7}"#),
        event("charge.complete", r#"{"object":"charge","id":"../charges"}"#),
        event("refund.create", r#"{"object":"refund"}"#),
        event("refund.create", r#"{"object":"transfer","id":"trsf_test_1"}"#),
        event("charge.complete", r#"{"object":"charge","id":"chrg_test_1"}"#).replace("event\"", "charge\""),
        event("charge.complete", r#"{"object":"charge","id":"chrg_test_1","id":"chrg_test_2"}"#),
        event("charge.complete", r#"{"object":"charge","id":"chrg_test_1"}"#).replace("false", "\"false\""),
    ] {
        let notification = read(&body).unwrap();
        assert!(matches!(notification.about, About::Unreadable(_)), "{body}");
        assert_eq!(notification.body, body.as_bytes(), "stored, and not interpreted");
    }
}

fn charge(fields: &str) -> Result<PaymentFacts, AskError> {
    let body = format!(
        r#"{{"object":"charge","id":"chrg_test_1","livemode":false,"currency":"THB","amount":150000,"metadata":{{}},{fields}}}"#
    );
    read_charge(body.as_bytes(), &PaymentId::new("chrg_test_1").unwrap(), false, Timestamp::UNIX_EPOCH)
}

#[test]
fn the_charge_table_is_read_row_by_row() {
    use PaymentState::{Authorized, Awaiting, Cancelled, Expired, Failed, Paid, PartlyRefunded, Refunded};
    let paid = r#""status":"successful","paid":true,"authorized":true,"transaction":"trxn_test_1","#;
    for (fields, state, captured, refunded) in [
        (r#""status":"pending","paid":false,"authorized":false,"captured_amount":150000"#.to_owned(), Awaiting, 0, 0),
        (r#""status":"pending","authorized":true,"capturable":true"#.to_owned(), Authorized, 0, 0),
        (r#""status":"failed","failure_code":"payment_rejected""#.to_owned(), Failed, 0, 0),
        (r#""status":"expired""#.to_owned(), Expired, 0, 0),
        (r#""status":"reversed","authorized":true"#.to_owned(), Cancelled, 0, 0),
        (format!(r#"{paid}"refunded_amount":0"#), Paid, 150_000, 0),
        (format!(r#"{paid}"captured_amount":3000"#), Paid, 3_000, 0),
        (format!(r#"{paid}"refunded_amount":50000"#), PartlyRefunded, 150_000, 50_000),
        (format!(r#"{paid}"refunded_amount":150000"#), Refunded, 150_000, 150_000),
        (format!(r#"{paid}"refunded_amount":150000,"voided":true"#), Refunded, 150_000, 150_000),
    ] {
        let facts = charge(&fields).unwrap();
        assert_eq!((facts.state, facts.captured_minor, facts.refunded_minor), (state, captured, refunded), "{fields}");
    }
    assert_eq!(
        charge(r#""status":"failed","failure_code":"payment_rejected""#).unwrap().reason.unwrap(),
        "payment_rejected"
    );
}

#[test]
fn a_charge_carries_its_refunds_and_disputes() {
    let body = include_bytes!("../../fixtures/omise/charge_refunded.json");
    let asked = PaymentId::new("chrg_test_60kq2v1x8m3n4p5r6s7").unwrap();
    let facts = read_charge(body, &asked, false, Timestamp::UNIX_EPOCH).unwrap();
    let refund = &facts.refunds[1];
    assert_eq!(refund.id.as_str(), "rfnd_test_60kq32a2b3c4d5e6f7g");
    assert_eq!(refund.provider_reference.as_deref(), Some("trxn_test_60kq32h8i9j1k2l3m4n"));
    assert_eq!(refund.occurred_at, Some("2026-11-21T05:00:00Z".parse().unwrap()));
    assert_eq!(facts.clone().with_refunds(&[]), facts, "the list and the sum agree");

    let body = include_bytes!("../../fixtures/omise/charge_disputed_lost.json");
    let facts = read_charge(body, &asked, false, Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(facts.answer, "status successful, paid true, 1500.00 THB, dispute lost");
    let dispute = &facts.disputes[0];
    assert_eq!(dispute.amount, "1500.00 THB".parse().ok());
    assert_eq!(dispute.occurred_at, Some("2026-12-01T06:00:00Z".parse().unwrap()));
    assert_eq!((facts.state, facts.refunded_minor), (PaymentState::Paid, 0), "a dispute moves no money of the order");
}

#[test]
fn refunds_and_disputes_that_cannot_be_read_never_stand_between_us_and_the_money() {
    for odd in [
        r#""refunds":null,"dispute":null"#,
        r#""refunds":"/charges/chrg_test_1/refunds","dispute":"dspt_test_1""#,
        r#""refunds":{"object":"list","data":[null,7,"rfnd_test_1",{"id":7},{"id":"a b"}]},"dispute":{"id":7}"#,
        r#""refunds":{"object":"list","data":null},"dispute":{"status":"open"}"#,
        r#""refunds":[],"dispute":[]"#,
    ] {
        let facts = charge(&format!(r#""status":"successful","paid":true,"refunded_amount":50000,{odd}"#)).unwrap();
        assert_eq!((facts.state, facts.refunded_minor), (PaymentState::PartlyRefunded, 50_000), "{odd}");
        assert_eq!((facts.refunds.len(), facts.disputes.len()), (0, 0), "{odd}");
    }
    let sparse =
        r#""refunds":{"data":[{"id":"rfnd_test_1","amount":-1,"created_at":"soon"}]},"dispute":{"id":"dspt_test_1"}"#;
    let facts = charge(&format!(r#""status":"successful","paid":true,{sparse}"#)).unwrap();
    assert_eq!((facts.refunds[0].amount, facts.refunds[0].occurred_at), (None, None));
    assert_eq!(facts.disputes[0].state, DisputeState::Open);
}

#[test]
fn charges_outside_the_table_are_never_guessed() {
    for fields in [
        r#""status":"successful","paid":false"#,
        r#""status":"failed","paid":true"#,
        r#""status":"reversed","paid":true"#,
        r#""status":"settled","paid":true"#,
        r#""status":"successful","paid":true,"refunded_amount":150001"#,
        r#""status":"successful","paid":true,"captured_amount":150001"#,
        r#""status":"successful","paid":true,"refunded_amount":-1"#,
    ] {
        assert!(matches!(charge(fields), Err(AskError::OutsideTables { .. })), "{fields}");
    }
}

#[test]
fn an_answer_that_is_not_the_charge_asked_for_is_not_believed() {
    let body = |text: &str| {
        read_charge(text.as_bytes(), &PaymentId::new("chrg_test_1").unwrap(), false, Timestamp::UNIX_EPOCH)
    };
    let good =
        r#"{"object":"charge","id":"chrg_test_1","livemode":false,"currency":"thb","amount":1,"status":"pending"}"#;
    assert_eq!(body(good).unwrap().amount.unwrap().currency.as_str(), "THB");
    for bad in [
        good.replace("chrg_test_1", "chrg_test_2"),
        good.replace("\"livemode\":false", "\"livemode\":true"),
        good.replace("\"amount\":1", "\"amount\":1.5"),
        good.replace("\"amount\":1", "\"amount\":\"1\""),
        good.replace("\"charge\"", "\"error\""),
        good[..40].to_owned(),
        "<html>".to_owned(),
    ] {
        assert!(matches!(body(&bad), Err(AskError::Unavailable { .. })), "{bad}");
    }
}
