//! Requests that were bent on their way, and the cause that is named; each time it agrees with `verify`.

use std::time::Duration;

use http::HeaderMap;
use payhook_schema::AccountName;
use uuid::Uuid;

use super::*;
use crate::omise::WebhookSecret;
use crate::{AntomAccount, Limits, OmiseAccount, PrivateKey, antom};

const CLIENT: &str = "SANDBOX_5X00000000000000";
const PATH: &str = "/antom/shop/notifyPayment";
const BODY: &str =
    r#"{"notifyType":"PAYMENT_RESULT","paymentRequestId":"PR-2024-0001","n":1.50,"text":"ผู้ใช้/a b","list":[]}"#;
const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const EVENT: &str = include_str!("../../fixtures/omise/vector_pretty.json");

#[derive(Clone)]
struct BentRequest {
    path: String,
    query: Option<String>,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    at: Timestamp,
}

impl BentRequest {
    /// Signed as Antom signs.
    fn antoms(key: &PrivateKey, path: &str) -> Self {
        let time = "1717236062000";
        let signature = antom::sign(key, 1, &antom::signed_message(path, CLIENT, time, BODY.as_bytes()));
        let headers = [("client-id", CLIENT), ("request-time", time), ("signature", signature.as_str())];
        Self::new(path, &headers, BODY, "2024-06-01T10:02:00Z")
    }

    fn omises() -> Self {
        let digest = WebhookSecret::parse(SECRET).unwrap().sign("1767225600", EVENT.as_bytes());
        let headers = [("omise-signature", digest.as_str()), ("omise-signature-timestamp", "1767225600")];
        Self::new("/omise/shop", &headers, EVENT, "2026-01-01T00:00:02Z")
    }

    fn new(path: &str, headers: &[(&'static str, &str)], body: &str, at: &str) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { path: path.to_owned(), query: None, headers, body: body.as_bytes().to_vec(), at: at.parse().unwrap() }
    }

    fn path(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    fn at(self, at: &str) -> Self {
        Self { at: at.parse().unwrap(), ..self }
    }

    fn header(mut self, name: &str, change: impl Fn(&str) -> String) -> Self {
        self.headers.iter_mut().filter(|(known, _)| *known == name).for_each(|(_, value)| *value = change(value));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    /// Diagnoses it, and compares with `verify`.
    fn diagnosed(&self, account: &Account) -> Diagnosis {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let query = self.query.as_deref();
        let (path, body, at) = (self.path.as_str(), self.body.as_slice(), self.at);
        let received = Received { path, query, headers: &headers, body, at, id: Uuid::nil() };
        let diagnosis = diagnose(account, &received);
        match verify(account, &received) {
            Ok(notification) => {
                let is_unreadable = matches!(notification.about, About::Unreadable(_));
                assert_eq!(diagnosis.causes.is_empty(), !is_unreadable, "{diagnosis:?}");
                assert_eq!(diagnosis.by.as_ref(), Some(&notification.verified_by));
            }
            Err(refusal) => assert!(diagnosis.by.is_none() || !diagnosis.causes.is_empty(), "{refusal}: {diagnosis:?}"),
        }
        let shown = format!("{diagnosis:?}");
        for secret in ["PR-2024-0001", "chrg_test", SECRET].into_iter().chain(query) {
            assert!(!shown.contains(secret), "{secret} is in {shown}");
        }
        diagnosis
    }

    /// The words of its causes, a likely one with `?` behind it.
    #[track_caller]
    fn causes(&self, account: &Account) -> Vec<String> {
        let causes = self.diagnosed(account).causes;
        causes.iter().map(|cause| format!("{}{}", cause.word, if cause.proven { "" } else { "?" })).collect()
    }
}

fn shop(client_id: &str, public_keys: &[(u32, &PrivateKey)], own: Option<&str>) -> Account {
    Account::Antom(AntomAccount {
        name: AccountName::new("shop").unwrap(),
        client_id: client_id.to_owned(),
        api: "http://127.0.0.1:1".to_owned(),
        sandbox: true,
        private_key: own.map(|own| PrivateKey::parse(own).unwrap()),
        private_key_version: 1,
        public_keys: public_keys.iter().map(|(version, key)| (*version, key.public_key())).collect(),
        apply_token: false,
        signature_age_max: AgeLimit::Off,
        limits: Limits::ANTOM,
    })
}

fn kiosk(secret: &str, livemode: bool, signature_age_max: AgeLimit) -> Account {
    Account::Omise(OmiseAccount {
        name: AccountName::new("kiosk").unwrap(),
        livemode,
        api: "http://127.0.0.1:1".to_owned(),
        secret_key: None,
        webhook_secrets: vec![WebhookSecret::parse(secret).unwrap()],
        signature_age_max,
        limits: Limits::OMISE,
    })
}

#[test]
fn a_signature_that_holds_is_named_with_its_key_and_its_age() {
    let key = PrivateKey::generate();
    let held = BentRequest::antoms(&key, PATH).diagnosed(&shop(CLIENT, &[(1, &key)], None));
    assert_eq!((held.by.as_deref(), held.causes), (Some("keyVersion 1"), vec![]));
    assert_eq!((held.signed_at, held.age), ("2024-06-01T10:01:02Z".parse().ok(), Some(SignedDuration::from_secs(58))));
    let held = BentRequest::omises().diagnosed(&kiosk(SECRET, false, AgeLimit::Off));
    assert_eq!((held.by, held.causes), (Some(WebhookSecret::parse(SECRET).unwrap().name()), vec![]));
    assert_eq!(held.age, Some(SignedDuration::from_secs(2)));
}

#[test]
fn one_accident_on_the_way_is_undone_and_named() {
    let in_signature = "signature";
    // One signature in two hundred has no `+`, and none to become a blank.
    let has_plus = |sent: &BentRequest| sent.headers.iter().any(|(_, value)| value.contains("%2B"));
    let keys = std::iter::repeat_with(PrivateKey::generate);
    let (sent, key) = keys.map(|key| (BentRequest::antoms(&key, PATH), key)).find(|(sent, _)| has_plus(sent)).unwrap();
    let account = shop(CLIENT, &[(1, &key)], None);
    let pretty = serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(BODY).unwrap()).unwrap();
    assert_ne!(compact(&pretty).unwrap(), BODY, "serde_json sorts the keys, and forgets the digits of numbers");
    let spaced = BODY.replace(',', ", ").replace('/', "\\/").replace('ผ', "\\u0e1c") + "\n";
    for (bent, word) in [
        (sent.clone().body(format!("{BODY}\n")), "blanks_added"),
        (sent.clone().body(format!("\u{feff}{BODY}")), "byte_order_mark_added"),
        (sent.clone().body(spaced), "json_reprinted"),
        (sent.clone().path("/antom/shop/notifyPayment/"), "trailing_slash"),
        (sent.clone().path("/antom/shop/notifyRefund"), "other_path"),
        (sent.clone().path("/edge/eu/antom/shop/notifyPayment"), "other_path"),
        (BentRequest::antoms(&key, "/hook").path("/edge/eu/hook"), "proxy_prefix_added"),
        (BentRequest::antoms(&key, "/pay/hook").path("/hook"), "proxy_prefix_missing"),
        (sent.clone().header(in_signature, |value| value.replace("%2B", " ").replace("%2F", "/")), "plus_became_blank"),
        (sent.clone().header(in_signature, |value| value.replace('%', "%25")), "percent_encoded_twice"),
    ] {
        assert_eq!(bent.causes(&account), [word], "{word}");
    }
    let account = kiosk(SECRET, false, AgeLimit::Off);
    for (body, word) in [
        (EVENT.trim_end().to_owned(), "final_newline_missing"),
        (EVENT.replace('\n', "\r\n"), "line_endings_changed"),
        (compact(EVENT).unwrap(), "json_reprinted?"),
    ] {
        assert_eq!(BentRequest::omises().body(body).causes(&account), [word], "{word}");
    }
}

#[test]
fn keys_and_client_ids_of_somebody_else_are_named() {
    let (key, other) = (PrivateKey::generate(), PrivateKey::generate());
    let sent = BentRequest::antoms(&key, PATH);
    assert_eq!(sent.causes(&shop(CLIENT, &[(1, &other), (2, &key)], None)), ["other_key_version"]);
    assert_eq!(sent.causes(&shop(CLIENT, &[(2, &other)], None)), ["key_version_unknown?"]);
    assert_eq!(sent.causes(&shop("5X", &[(1, &key)], None)), ["sandbox_at_live"]);
    assert_eq!(sent.causes(&shop("SANDBOX_5Y", &[(1, &key)], None)), ["other_client_id"]);
    let live = sent.clone().header("client-id", |_| "5X".to_owned());
    assert_eq!(live.causes(&shop(CLIENT, &[(1, &key)], None)), ["live_at_sandbox"]);

    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../fixtures/antom/signature_vectors.json")).unwrap();
    let ours = vectors["merchant_private_key"].as_str().unwrap();
    let our_key = PrivateKey::parse(ours).unwrap();
    assert_eq!(
        BentRequest::antoms(&our_key, PATH).causes(&shop(CLIENT, &[(1, &key)], Some(ours))),
        ["signed_by_our_own_key"]
    );
    assert_eq!(sent.causes(&shop(CLIENT, &[(1, &our_key)], Some(ours))), ["own_key_configured"]);

    let events = BentRequest::omises();
    assert_eq!(events.causes(&kiosk(SECRET, true, AgeLimit::Off)), ["refused"], "it holds, and is of test mode");
    assert_eq!(events.causes(&kiosk("AAEC", true, AgeLimit::Off)), ["test_at_live"]);
}

#[test]
fn headers_that_are_missing_or_garbled_are_named_first() {
    let key = PrivateKey::generate();
    let account = shop(CLIENT, &[(1, &key)], None);
    let sent = BentRequest::antoms(&key, PATH);
    let unsigned = sent.clone().without("signature");
    assert_eq!(unsigned.causes(&account), ["header_missing"]);
    assert_eq!(unsigned.diagnosed(&account).causes[0].what, "there is no `signature` header");
    assert_eq!(sent.header("signature", |_| "junk".to_owned()).causes(&account), ["header_malformed?"]);
    let mut twice = BentRequest::omises();
    twice.headers.push(("omise-signature", "00".to_owned()));
    let account = kiosk(SECRET, false, AgeLimit::Off);
    assert_eq!(twice.causes(&account), ["header_missing"]);
    let junk = BentRequest::omises().header("omise-signature", |_| "deadbeef".to_owned());
    assert_eq!(junk.causes(&account), ["header_malformed"]);
}

#[test]
fn an_altered_request_is_not_explained_away() {
    let key = PrivateKey::generate();
    let account = shop(CLIENT, &[(1, &key)], None);
    let sent = BentRequest::antoms(&key, PATH);
    assert_eq!(sent.clone().header("request-time", |_| "1717236062001".to_owned()).causes(&account), [""; 0]);
    assert_eq!(sent.clone().body(BODY.replace("1.50", "1.51")).causes(&account), [""; 0]);
    assert_eq!(sent.clone().body(&BODY.as_bytes()[..40]).causes(&account), ["body_cut_short?"]);
    assert_eq!(sent.clone().body("a=b").causes(&account), ["body_not_json?"]);
    assert_eq!(sent.clone().body("").causes(&account), ["body_empty?"]);
    let queried = BentRequest { query: Some("token=hush-hush".to_owned()), ..sent.body(BODY.replace("1.50", "1.51")) };
    assert_eq!(queried.causes(&account), ["query_changed?"]);
}

#[test]
fn an_age_beyond_the_limit_and_content_nobody_documents_are_named() {
    let strict = kiosk(SECRET, false, AgeLimit::Within(Duration::from_mins(5)));
    for (at, causes) in [
        ("2026-01-01T00:05:01Z", vec!["too_old"]),
        ("2026-01-01T00:05:00Z", vec![]),
        ("2025-12-31T23:55:00Z", vec![]),
        ("2025-12-31T23:54:59Z", vec!["too_new"]),
    ] {
        assert_eq!(BentRequest::omises().at(at).causes(&strict), causes, "{at}");
    }
    let digest = WebhookSecret::parse(SECRET).unwrap().sign("1767225600", b"{}");
    let empty = BentRequest::omises().body("{}").header("omise-signature", |_| digest.clone());
    assert_eq!(empty.causes(&strict), ["unreadable"]);
}

#[test]
fn json_is_made_compact_without_changing_what_it_says() {
    for (text, expected) in [
        (" { \"a\" : [ 1.50 , -2e3 ] }\n", Some("{\"a\":[1.50,-2e3]}")),
        (r#"["\u0E3f\/\ud83d\ude00\u000b\n \" "]"#, Some("[\"฿/😀\\u000b\\n \\\" \"]")),
        ("{\"a\":1", None),
        ("", None),
    ] {
        assert_eq!(compact(text).as_deref(), expected, "{text}");
    }
}
