//! Every fixture is read as `fixtures/README.md` says, whatever else stands in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use payhook_provider::omise::{self, WebhookSecret};
#[cfg(debug_assertions)]
use payhook_provider::tamarind::{self, TamarindAccount};
use payhook_provider::{
    Account, AgeLimit, AntomAccount, AskError, AuthorizationNotice, IssuedToken, Limits, OmiseAccount, PrivateKey,
    Received, RefundAnswer, antom, authorization_in, dispute_in, verify,
};
use payhook_schema::{
    About, AccountName, AuthorizationName, Dispute, Notification, PaymentFacts, PaymentId, Provider, Refund, RefundId,
};
use serde_json::{Value, json};
use uuid::Uuid;

const CHARGE: &str = "chrg_test_60kq2v1x8m3n4p5r6s7";
const VERSIONS: [&str; 4] = ["2014-07-27", "2015-11-17", "2017-11-02", "2019-05-29"];
/// Tested beside what reads them: these are no bodies, or only their signatures matter.
const VECTORS: [&str; 4] = [
    "antom/header_vectors.json",
    "antom/signature_vectors.json",
    "omise/vector_compact.json",
    "omise/vector_pretty.json",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn bytes(file: &str) -> Vec<u8> {
    std::fs::read(folder().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Reads from the README how each file must be read.
fn rows() -> BTreeMap<String, String> {
    let readme = String::from_utf8(bytes("README.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in readme.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [file, _, reads, _] = cells[..] else { continue };
        for file in each(file.trim_matches('`')) {
            // A release build does not know the invented provider.
            if file.split('/').next().is_none_or(|provider| provider.parse::<Provider>().is_err()) {
                continue;
            }
            assert_eq!(rows.insert(file, reads.to_owned()), None, "{line}");
        }
    }
    rows
}

/// `a_{b,c}.json` is two files.
fn each(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let (choices, after) = rest.split_once('}').unwrap();
    choices.split(',').map(|choice| format!("{before}{choice}{after}")).collect()
}

static KEY: LazyLock<PrivateKey> = LazyLock::new(PrivateKey::generate);
const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

const PATH: &str = "/notify";

/// Signs a body as its provider would, so that only its content can be at fault.
fn signed(file: &str, body: &[u8]) -> (Account, Vec<(&'static str, String)>) {
    let name = AccountName::new("shop").unwrap();
    let (time, client) = ("1795244462", "SANDBOX_5X00000000000000");
    let (api, signature_age_max, limits) = (String::new(), AgeLimit::Off, Limits::OMISE);
    #[cfg(debug_assertions)]
    if file.starts_with("tamarind/") {
        let signature = tamarind::sign(SECRET, time, body);
        let (secret, token) = (SECRET.into(), None);
        let account = TamarindAccount { name, api, secret, token, signature_age_max, limits };
        return (
            Account::Tamarind(account),
            vec![("tamarind-signature", signature), ("tamarind-time", time.to_owned())],
        );
    }
    if file.starts_with("antom/") {
        let signature = antom::sign(&KEY, 1, &antom::signed_message(PATH, client, time, body));
        let account = Account::Antom(AntomAccount {
            name,
            client_id: client.to_owned(),
            api,
            sandbox: true,
            private_key: None,
            private_key_version: 1,
            public_keys: BTreeMap::from([(1, KEY.public_key())]),
            apply_token: false,
            signature_age_max,
            limits,
        });
        (account, vec![("client-id", client.to_owned()), ("request-time", time.to_owned()), ("signature", signature)])
    } else {
        let secret = WebhookSecret::parse(SECRET).unwrap();
        let signature = secret.sign(time, body);
        let webhook_secrets = vec![secret];
        let (livemode, secret_key) = (false, None);
        let account = OmiseAccount { name, livemode, api, secret_key, webhook_secrets, signature_age_max, limits };
        (Account::Omise(account), vec![("omise-signature", signature), ("omise-signature-timestamp", time.to_owned())])
    }
}

/// Verifies a signed body.
fn received(file: &str, body: &[u8]) -> Notification {
    let (account, headers) = signed(file, body);
    let headers: HeaderMap = headers
        .into_iter()
        .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), HeaderValue::from_str(&value).unwrap()))
        .collect();
    let received =
        Received { path: PATH, query: None, headers: &headers, body, at: Timestamp::UNIX_EPOCH, id: Uuid::nil() };
    match verify(&account, &received) {
        Ok(notification) => notification.into_inner(),
        Err(error) => panic!("{file}: {error}"),
    }
}

/// Reads a body and returns the result in the README's words.
fn reads(file: &str, body: &[u8]) -> String {
    let (folder, name) = file.split_once('/').unwrap();
    let payment = |id: &str| PaymentId::new(id).unwrap();
    let asked_at = Timestamp::UNIX_EPOCH;
    match (folder, name.split('_').next().unwrap()) {
        ("antom", "notify") | ("omise", "event") => notified(&received(file, body), body),
        ("antom", "inquiry" | "unsigned") => facts(antom::read_inquiry(body, &payment("PR-2026-0001"), asked_at)),
        ("antom", "refund") => answered(antom::read_refund(body, &RefundId::new("RF-2026-0001").unwrap())),
        ("antom", "token") => issued(antom::read_token(body)),
        #[cfg(debug_assertions)]
        ("tamarind", "notify") => notified(&received(file, body), body),
        #[cfg(debug_assertions)]
        ("tamarind", "payment") => facts(tamarind::read_payment(body, &payment("TM-2026-0001"), asked_at)),
        ("omise", "charge" | "error") => facts(omise::read_charge(body, &payment(CHARGE), false, asked_at)),
        _ => panic!("{file} is of no kind this test knows"),
    }
}

fn notified(notification: &Notification, body: &[u8]) -> String {
    let about = match &notification.about {
        About::Payment(id) => format!("payment {id}"),
        About::Reference(reference) => format!("reference {reference}"),
        About::Refund { id, payment: None } => format!("refund {id}"),
        About::Refund { id, payment: Some(payment) } => format!("refund {id} of {payment}"),
        About::Authorization(AuthorizationName::State(state)) => format!("authorization {state}"),
        About::Authorization(AuthorizationName::Token(_)) => "authorization by its token".to_owned(),
        About::Other => "nothing of ours".to_owned(),
        About::Unreadable(why) => format!("unreadable: {why}"),
    };
    let mut text = format!("{}: {about}", notification.kind);
    if let Some(dispute) = dispute_in(notification, body) {
        text += &format!(", dispute {}{}", dispute.state, reason(dispute.reason.as_deref()));
    }
    let authorization = authorization_in(notification, body);
    assert_eq!(authorization.is_some(), matches!(notification.about, About::Authorization(_)), "{text}");
    text + match authorization {
        Some(AuthorizationNotice::Granted { .. }) => ", granted",
        Some(AuthorizationNotice::Issued { .. }) => ", issued",
        Some(AuthorizationNotice::Cancelled { .. }) => ", cancelled",
        None => "",
    }
}

fn facts(facts: Result<PaymentFacts, AskError>) -> String {
    let facts = match facts {
        Ok(facts) => facts,
        Err(error) => return word(&error),
    };
    let amount = facts.amount.unwrap();
    let money = |minor| payhook_schema::Money::new(minor, amount.currency);
    let mut text = format!("{} {amount}", facts.state);
    if facts.captured_minor > 0 {
        text += &format!(", captured {}", money(facts.captured_minor));
    }
    if facts.refunded_minor > 0 {
        text += &format!(", refunded {}", money(facts.refunded_minor));
    }
    text += &reason(facts.reason.as_deref());
    text += &facts.refunds.iter().map(|refunded| format!(", {}", refund(refunded))).collect::<String>();
    text + &facts.disputes.iter().map(dispute).collect::<String>()
}

fn refund(refund: &Refund) -> String {
    let amount = refund.amount.map_or_else(String::new, |amount| format!(" {amount}"));
    let void = if refund.voided { " as a void" } else { "" };
    format!("refund {} {}{amount}{void}{}", refund.id, refund.state, reason(refund.reason.as_deref()))
}

fn dispute(dispute: &Dispute) -> String {
    format!(", dispute {} {}{}", dispute.id, dispute.state, reason(dispute.reason.as_deref()))
}

fn reason(word: Option<&str>) -> String {
    word.map_or_else(String::new, |word| format!(", for {word}"))
}

fn answered(answer: Result<RefundAnswer, AskError>) -> String {
    answer.map_or_else(|error| word(&error), |answer| refund(&answer.refund))
}

fn issued(token: Result<IssuedToken, AskError>) -> String {
    let token = match token {
        Ok(token) => token,
        Err(error) => return word(&error),
    };
    let refresh = token.refresh_expires_at.map_or_else(String::new, |at| format!(", refreshed until {at}"));
    assert_eq!(token.refresh.is_some(), token.refresh_expires_at.is_some());
    format!("a token until {}{refresh}", token.expires_at.unwrap())
}

fn word(error: &AskError) -> String {
    match error {
        AskError::Unavailable { .. } => "unavailable".to_owned(),
        AskError::Throttled { .. } => "throttled".to_owned(),
        AskError::NotThere { .. } => "not there".to_owned(),
        AskError::Misconfigured { .. } => "misconfigured".to_owned(),
        AskError::Refused { code } => format!("refused for {code}"),
        AskError::OutsideTables { .. } => "outside the tables".to_owned(),
    }
}

#[test]
fn every_fixture_is_read_as_the_readme_says() {
    for (file, expected) in rows() {
        assert_eq!(reads(&file, &bytes(&file)), expected, "{file}");
    }
}

#[test]
fn every_file_has_a_row_and_every_row_its_file() {
    let mut files = BTreeSet::new();
    for provider in Provider::ALL {
        for entry in std::fs::read_dir(folder().join(provider.as_str())).unwrap() {
            files.insert(format!("{provider}/{}", entry.unwrap().file_name().into_string().unwrap()));
        }
    }
    let listed = rows().into_keys().chain(VECTORS.map(str::to_owned)).collect();
    assert_eq!(files, listed);
}

#[test]
fn fixtures_keep_the_layout_their_provider_prints() {
    for file in rows().into_keys() {
        let text = String::from_utf8(bytes(&file)).unwrap();
        match file.starts_with("omise/") {
            false => assert!(!text.contains('\n') && !text.contains("\": "), "{file}"),
            true => assert!(text.starts_with("{\n  \"object\": ") && text.ends_with("\n}\n"), "{file}"),
        }
    }
}

/// Calls `change` on every object in a body, the outermost last.
fn each_object(value: &mut Value, change: &impl Fn(&mut serde_json::Map<String, Value>)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each_object(item, change)),
        Value::Object(fields) => {
            fields.values_mut().for_each(|field| each_object(field, change));
            change(fields);
        }
        _ => {}
    }
}

fn changed(body: &[u8], change: impl Fn(&mut serde_json::Map<String, Value>)) -> Vec<u8> {
    let mut json: Value = serde_json::from_slice(body).unwrap();
    each_object(&mut json, &change);
    json.to_string().into_bytes()
}

#[test]
fn a_body_reads_the_same_with_unknown_fields_at_every_level() {
    for (file, expected) in rows() {
        let more = changed(&bytes(&file), |fields| {
            fields.insert("brandNew".to_owned(), json!({ "list": [1, 0.5, "x", null, true, {}], "word": "BRAND_NEW" }));
            fields.insert("brand_new_word".to_owned(), json!("brand_new"));
            fields.insert("brand_new_number".to_owned(), json!(-1));
        });
        assert_eq!(reads(&file, &more), expected, "{file}");
    }
}

/// Words that decide nothing about what a body is or says.
const UNDECIDING: [&str; 20] = [
    "authorization_type",
    "bank",
    "brand",
    "charge_status",
    "direction",
    "disputeSource",
    "disputeType",
    "fileFormat",
    "financing",
    "flow",
    "in_words",
    "paymentMethodType",
    "period",
    "periodType",
    "pspName",
    "quoteCurrencyPair",
    "resultMessage",
    "subscriptionStatus",
    "type",
    "winRateLevel",
];
/// In a notification these decide nothing either: the truth is asked for.
const UNDECIDING_IN_NOTIFICATIONS: [&str; 4] = ["refundStatus", "resultCode", "resultStatus", "status"];

#[test]
fn a_body_reads_the_same_with_values_nobody_documented() {
    for (file, expected) in rows() {
        let notifies = file.contains("/notify") || file.contains("/event");
        let more = changed(&bytes(&file), |fields| {
            for (name, value) in fields.iter_mut() {
                let open = UNDECIDING.contains(&name.as_str())
                    || notifies && UNDECIDING_IN_NOTIFICATIONS.contains(&name.as_str());
                if open && value.is_string() {
                    *value = json!("BRAND_NEW");
                }
            }
            if let Some(Value::Array(transactions)) = fields.get_mut("transactions") {
                transactions.push(json!({ "transactionType": "BRAND_NEW", "transactionStatus": "BRAND_NEW" }));
                transactions.push(Value::Null);
            }
        });
        assert_eq!(reads(&file, &more), expected, "{file}");
    }
}

/// Writes each quoted number and boolean without its quotes.
fn bare(text: &str) -> String {
    let mut parts = text.split(":\"");
    let mut written = parts.next().unwrap().to_owned();
    for part in parts {
        let (value, rest) = part.split_once('"').unwrap();
        let bare = serde_json::from_str::<Value>(value).is_ok_and(|value| value.is_number() || value.is_boolean());
        match bare {
            true => written += &format!(":{value}{rest}"),
            false => written += &format!(":\"{part}"),
        }
    }
    written
}

#[test]
fn a_body_of_antoms_reads_the_same_with_bare_numbers_and_booleans() {
    for (file, expected) in rows().into_iter().filter(|(file, _)| file.starts_with("antom/")) {
        let text = bare(std::str::from_utf8(&bytes(&file)).unwrap());
        assert_eq!(reads(&file, text.as_bytes()), expected, "{file}: {text}");
    }
    let paid = bare(std::str::from_utf8(&bytes("antom/inquiry_paid.json")).unwrap());
    let facts = antom::read_inquiry(paid.as_bytes(), &PaymentId::new("PR-2026-0001").unwrap(), Timestamp::UNIX_EPOCH);
    assert_eq!(facts.unwrap().provider_reference.unwrap(), "202611201940108001001880000000001", "no digit is lost");
}

#[test]
fn a_field_of_antoms_that_is_null_is_one_that_is_not_there() {
    const FIELDS: [&str; 26] = [
        "notifyType",
        "result",
        "paymentRequestId",
        "paymentId",
        "refundId",
        "refundRequestId",
        "refundStatus",
        "captureId",
        "captureRequestId",
        "updateRequestId",
        "authorizationNotifyType",
        "authState",
        "authCode",
        "accessToken",
        "disputeNotificationType",
        "disputeId",
        "subscriptionNotificationType",
        "subscriptionId",
        "vaultingRequestId",
        "transactions",
        "paymentTime",
        "paymentAmount",
        "refundAmount",
        "refundTime",
        "disputeAmount",
        "refreshToken",
    ];
    for (file, expected) in rows().into_iter().filter(|(file, _)| file.starts_with("antom/")) {
        let mut json: Value = serde_json::from_slice(&bytes(&file)).unwrap();
        let body = json.as_object_mut().unwrap();
        for name in FIELDS {
            body.entry(name).or_insert(Value::Null);
        }
        assert_eq!(reads(&file, json.to_string().as_bytes()), expected, "{file}");
    }
}

#[test]
fn every_documented_key_of_omises_is_read_in_every_version() {
    const KEYS: [(&str, &[&str]); 9] = [
        ("charge", &["create", "complete", "capture", "reverse", "expire", "update"]),
        ("refund", &["create"]),
        ("dispute", &["create", "update", "accept", "close"]),
        ("transfer", &["create", "update", "destroy", "send", "pay", "fail"]),
        ("recipient", &["create", "update", "destroy", "activate", "deactivate", "verify"]),
        ("customer", &["create", "update", "destroy", "update.card"]),
        ("card", &["update", "destroy"]),
        ("link", &["create"]),
        ("schedule", &["create", "destroy", "expire", "expiring", "suspend"]),
    ];
    for version in VERSIONS {
        for (family, verbs) in KEYS {
            let file = format!("omise/event_{family}_{version}.json");
            let mut event: Value = serde_json::from_slice(&bytes(&file)).unwrap();
            for verb in verbs {
                event["key"] = json!(format!("{family}.{verb}"));
                let event = received(&file, event.to_string().as_bytes());
                assert_eq!(event.kind, format!("{family}.{verb}"));
                let about = match family {
                    "charge" | "refund" | "dispute" => About::Payment(PaymentId::new(CHARGE).unwrap()),
                    _ => About::Other,
                };
                assert_eq!(event.about, about, "{family}.{verb} in {version}");
            }
        }
    }
}

#[test]
fn a_token_or_code_of_a_fixture_is_in_no_print_of_what_was_read() {
    for file in rows().into_keys().filter(|file| file.starts_with("antom/")) {
        let body = bytes(&file);
        let json: Value = serde_json::from_slice(&body).unwrap();
        let mut printed = Vec::new();
        if file.starts_with("antom/notify") {
            let notification = received(&file, &body);
            printed.push(format!("{notification:?} {}", notification.idempotency_key));
            printed.push(format!("{:?}", authorization_in(&notification, &body)));
        } else {
            printed.push(format!("{:?}", antom::read_token(&body)));
        }
        for secret in ["authCode", "accessToken", "refreshToken"].map(|name| json[name].as_str()) {
            let shown = printed.iter().any(|text| secret.is_some_and(|secret| text.contains(secret)));
            assert!(!shown, "{file}");
        }
    }
}
