//! The reference vectors, accepted and refused, through the whole of `verify`.

use http::{HeaderMap, HeaderValue};
use payhook_schema::{About, AccountName, AuthorizationName, Notification, PaymentId, RefundId, SecretDigest};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{SignatureHeader, api_path, sign, signed_message};
use crate::{
    Account, AgeLimit, AntomAccount, AskError, Limits, PrivateKey, PublicKey, Received, Refusal, read_again, verify,
    verify_again,
};

#[expect(clippy::struct_field_names, reason = "as the file has it")]
#[derive(Deserialize)]
struct Vectors {
    merchant_private_key: String,
    public_key: String,
    other_public_key: String,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    id: String,
    path: String,
    client_id: String,
    time: String,
    body: String,
    body_len: usize,
    message_sha256: String,
    signature: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../fixtures/antom/signature_vectors.json")).unwrap()
}

fn vector(id: &str) -> Vector {
    vectors().vectors.into_iter().find(|vector| vector.id == id).unwrap()
}

fn account(keys: &[(u32, &str)]) -> AntomAccount {
    AntomAccount {
        name: AccountName::new("shop-sg").unwrap(),
        client_id: "SANDBOX_5X00000000000000".to_owned(),
        api: "http://127.0.0.1:1".to_owned(),
        sandbox: true,
        private_key: None,
        private_key_version: 1,
        public_keys: keys.iter().map(|(version, key)| (*version, PublicKey::parse(key).unwrap())).collect(),
        apply_token: false,
        signature_age_max: AgeLimit::Off,
        limits: Limits::ANTOM,
    }
}

/// A request as a vector describes it, to be bent by each test.
struct VectorRequest {
    path: String,
    query: Option<String>,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn request(vector: &Vector) -> VectorRequest {
    let (path, query) = match vector.path.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (vector.path.as_str(), None),
    };
    VectorRequest {
        path: path.to_owned(),
        query,
        headers: vec![
            ("client-id", vector.client_id.clone()),
            ("request-time", vector.time.clone()),
            ("signature", header(&vector.signature)),
        ],
        body: vector.body.clone().into_bytes(),
    }
}

fn header(signature: &str) -> String {
    format!("algorithm=RSA256,keyVersion=1,signature={signature}")
}

impl VectorRequest {
    fn signed(mut self, signature: String) -> Self {
        self.headers[2].1 = signature;
        self
    }

    fn check(&self, account: AntomAccount) -> Result<payhook_schema::Notification, Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let received = Received {
            path: &self.path,
            query: self.query.as_deref(),
            headers: &headers,
            body: &self.body,
            at: "2024-06-01T10:02:00Z".parse().unwrap(),
            id: Uuid::nil(),
        };
        verify(&Account::Antom(account), &received).map(payhook_schema::Verified::into_inner)
    }

    fn accepted(&self) -> payhook_schema::Notification {
        self.check(account(&[(1, &vectors().public_key)])).unwrap()
    }

    fn refused(&self) -> String {
        match self.check(account(&[(1, &vectors().public_key)])).unwrap_err() {
            Refusal::NotGenuine(why) | Refusal::Malformed(why) => why,
            Refusal::Unreadable(why) => panic!("unreadable, so its signature held: {why}"),
        }
    }
}

#[test]
fn every_vector_signs_as_the_official_sdks_do() {
    let key = PrivateKey::parse(&vectors().merchant_private_key).unwrap();
    for vector in vectors().vectors {
        assert_eq!(vector.body.len(), vector.body_len, "{}", vector.id);
        let message = signed_message(&vector.path, &vector.client_id, &vector.time, vector.body.as_bytes());
        let digest: String = Sha256::digest(&message).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, vector.message_sha256, "{}", vector.id);
        assert_eq!(sign(&key, 1, &message), header(&vector.signature), "{}", vector.id);
    }
}

#[test]
fn printed_signature_headers_of_the_documentation_are_taken_apart() {
    #[derive(Deserialize)]
    struct Printed {
        header: String,
    }
    let printed: Vec<Printed> = serde_json::from_str(include_str!("../../fixtures/antom/header_vectors.json")).unwrap();
    assert_eq!(printed.len(), 3);
    for Printed { header } in printed {
        SignatureHeader::parse(&header).unwrap();
    }
}

#[test]
fn genuine_notifications_are_accepted_with_their_exact_bytes() {
    let paid = request(&vector("V2")).accepted();
    assert_eq!(paid.kind, "PAYMENT_RESULT");
    assert_eq!(paid.about, About::Payment(PaymentId::new("PR-2024-0001").unwrap()));
    assert_eq!(paid.idempotency_key, "202406011940108001001880000000001:PAYMENT_RESULT:-:S");
    assert_eq!(paid.signed_at, Some("2024-06-01T10:01:02Z".parse().unwrap()));
    assert_eq!(paid.verified_by, "keyVersion 1");

    let cancelled = request(&vector("V3")).accepted();
    assert_eq!(cancelled.kind, "TOKEN_CANCELED");
    let token = AuthorizationName::Token(SecretDigest::of("28100103_TEST"));
    assert_eq!(cancelled.about, About::Authorization(token));
    assert_eq!(cancelled.idempotency_key, "TOKEN_CANCELED:sha256-b00f1be9a685605c940493644ce55b75");
    assert_eq!(cancelled.body, vector("V3").body.as_bytes());
    assert!(!cancelled.idempotency_key.contains("28100103_TEST"), "a token is a secret");

    let refund = request(&vector("V4")).accepted();
    assert_eq!(
        (refund.kind.as_str(), refund.signed_path.as_str()),
        ("REFUND_RESULT", "/webhooks/antom?tenant=7&env=test")
    );
    assert_eq!(refund.about, About::Refund { id: RefundId::new("RF-2024-0001").unwrap(), payment: None });
    assert_eq!(refund.idempotency_key, "202406021940108001001890000000002:SUCCESS");
    assert_eq!(request(&vector("V4b")).accepted().signed_path, "/webhooks/antom");
}

#[test]
fn a_signature_over_the_bare_path_holds_for_a_url_with_a_query() {
    let mut bare = request(&vector("V4b"));
    bare.query = Some("tenant=7&env=test".to_owned());
    assert_eq!(bare.accepted().signed_path, "/webhooks/antom");
}

#[test]
fn one_changed_byte_anywhere_is_refused() {
    let v3 = vector("V3");
    let mut compact = request(&v3);
    let json: serde_json::Value = serde_json::from_str(&v3.body).unwrap();
    compact.body = json.to_string().into_bytes();
    compact.refused();

    let mut trimmed = request(&v3);
    trimmed.body.pop();
    trimmed.refused();

    let mut later = request(&v3);
    later.headers[1].1 = "1717236062001".to_owned();
    later.refused();

    let mut slash = request(&v3);
    slash.path.push('/');
    slash.refused();

    request(&vector("V4b")).signed(header(&vector("V4").signature)).refused();
    request(&vector("V4")).signed(header(&v3.signature)).refused();
}

#[test]
fn flipping_any_single_bit_of_the_body_is_refused() {
    let genuine = request(&vector("V2"));
    for index in 0..genuine.body.len() {
        let mut flipped = request(&vector("V2"));
        flipped.body[index] ^= 1 << (index % 8);
        flipped.refused();
    }
}

#[test]
fn a_signature_with_the_query_does_not_hold_without_it() {
    let mut v4 = request(&vector("V4"));
    v4.query = None;
    v4.refused();
}

#[test]
fn another_key_another_account_or_another_version_is_refused() {
    let Vectors { public_key, other_public_key, .. } = vectors();
    for id in ["V2", "V3", "V4", "V4b"] {
        let request = request(&vector(id));
        assert!(request.check(account(&[(1, &other_public_key)])).is_err(), "{id}");
        assert!(request.check(account(&[(2, &public_key)])).is_err(), "{id}: only version 2 is configured");
        assert!(request.check(AntomAccount { client_id: "5X".to_owned(), ..account(&[(1, &public_key)]) }).is_err());
        assert!(request.check(account(&[(1, &public_key), (2, &other_public_key)])).is_ok(), "{id}: while rotating");
    }
    let unnamed = format!("signature={}", vector("V2").signature);
    let rotating = account(&[(6, &other_public_key), (7, &public_key)]);
    assert_eq!(request(&vector("V2")).signed(unnamed).check(rotating).unwrap().verified_by, "keyVersion 7");
}

#[test]
fn tolerated_spellings_of_the_signature_hold() {
    for id in ["V2", "V3", "V4"] {
        let encoded = vector(id).signature;
        let raw = encoded.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=");
        let spellings = [
            encoded.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d"),
            raw.clone(),
            raw.trim_end_matches('=').to_owned(),
            encoded.replace("%3D", ""),
        ];
        for spelling in spellings {
            request(&vector(id)).signed(header(&spelling)).accepted();
        }
        request(&vector(id)).signed(format!("algorithm=RSA256, keyVersion=1, signature={encoded}")).accepted();
        request(&vector(id)).signed(format!("signature={encoded},keyVersion=1,algorithm=RSA256")).accepted();
        request(&vector(id)).signed(header(&raw.replace('+', " "))).refused();
        request(&vector(id)).signed(header(&raw.replace('+', "-").replace('/', "_"))).refused();
    }
}

#[test]
fn a_signature_header_that_invites_doubt_is_refused() {
    let good = vector("V2").signature;
    for bad in [
        format!("algorithm=none,keyVersion=1,signature={good}"),
        format!("algorithm=HS256,keyVersion=1,signature={good}"),
        format!("algorithm=RSA256,keyVersion=1,signature={good},signature={good}"),
        format!("algorithm=RSA256,keyVersion=one,signature={good}"),
        "algorithm=RSA256,keyVersion=1,signature=".to_owned(),
        "algorithm=RSA256,keyVersion=1".to_owned(),
        good.clone(),
    ] {
        request(&vector("V2")).signed(bad).refused();
    }
    let mut doubled = request(&vector("V2"));
    doubled.headers.push(("signature", header(&good)));
    doubled.refused();
    let mut stripped = request(&vector("V2"));
    stripped.headers.pop();
    stripped.refused();
}

#[test]
fn an_age_limit_refuses_what_was_signed_outside_it() {
    let limited = |seconds| AntomAccount {
        signature_age_max: AgeLimit::Within(std::time::Duration::from_secs(seconds)),
        ..account(&[(1, &vectors().public_key)])
    };
    assert!(request(&vector("V2")).check(limited(58)).is_ok());
    assert!(request(&vector("V2")).check(limited(57)).is_err());
}

/// A body signed by the simulated Antom, so that only its content can be at fault.
fn read(body: &str) -> Result<payhook_schema::Notification, Refusal> {
    let key = PrivateKey::parse(&vectors().merchant_private_key).unwrap();
    let message =
        signed_message("/antom/shop-sg/notifyPayment", "SANDBOX_5X00000000000000", "1717236062000", body.as_bytes());
    let request = VectorRequest {
        path: "/antom/shop-sg/notifyPayment".to_owned(),
        query: None,
        headers: vec![
            ("client-id", "SANDBOX_5X00000000000000".to_owned()),
            ("request-time", "1717236062000".to_owned()),
            ("signature", sign(&key, 1, &message)),
        ],
        body: body.as_bytes().to_vec(),
    };
    request.check(account(&[(1, &vectors().public_key)]))
}

#[test]
fn genuine_but_unreadable_bodies_are_no_forgeries() {
    for body in [
        "",
        "[]",
        "{",
        r#"{"notifyType":"PAYMENT_RESULT"}"#,
        r#"{"notifyType":"PAYMENT_RESULT","paymentRequestId":null,"paymentId":"1"}"#,
        r#"{"notifyType":"PAYMENT_RESULT","paymentRequestId":["a"]}"#,
        r#"{"notifyType":"PAYMENT_RESULT","paymentRequestId":"a b"}"#,
        r#"{"notifyType":"PAYMENT_RESULT","paymentRequestId":"a","paymentRequestId":"b"}"#,
        r#"{"notifyType":"PAYMENT_RESULT","paymentRequestId":"a","x":{"y":1,"y":2}}"#,
        r#"{"notifyType":["PAYMENT_RESULT"],"paymentRequestId":"a"}"#,
    ] {
        let notification = read(body).unwrap();
        assert!(matches!(notification.about, About::Unreadable(_)), "{body}");
        assert_eq!(
            (notification.body.as_slice(), notification.payment()),
            (body.as_bytes(), None),
            "stored and not interpreted"
        );
    }
}

#[test]
fn a_notification_is_checked_again_from_what_was_kept_of_it() {
    let account = Account::Antom(account(&[(1, &vectors().public_key)]));
    let notification = read(r#"{"notifyType":"PAYMENT_RESULT","paymentRequestId":"PR-1"}"#).unwrap();
    // Whatever travelled beside the bytes is read anew.
    let tampered = Notification {
        about: About::Other,
        kind: "x".to_owned(),
        idempotency_key: "y".to_owned(),
        ..notification.clone()
    };
    assert_eq!(verify_again(&account, &tampered).unwrap().into_inner(), notification);
    assert_eq!(read_again(&account, tampered).unwrap().into_inner(), notification);
    let forged = Notification {
        body: br#"{"notifyType":"PAYMENT_RESULT","paymentRequestId":"PR-2"}"#.to_vec(),
        ..notification.clone()
    };
    assert!(matches!(verify_again(&account, &forged), Err(Refusal::NotGenuine(_))));
    let garbled = Notification { headers: vec![("a b".to_owned(), "\n".to_owned())], ..notification };
    assert!(matches!(verify_again(&account, &garbled), Err(Refusal::NotGenuine(_))));
}

#[test]
fn kinds_nobody_documented_yet_are_kept_and_unknown_fields_ignored() {
    let new = read(r#"{"notifyType":"SOMETHING_NEW","amount":1.5,"x":null}"#).unwrap();
    assert_eq!((new.kind.as_str(), new.about), ("SOMETHING_NEW", About::Other));
    assert_eq!(read("{}").unwrap().kind, "unknown");
    let odd = read(r#"{"notifyType":"PAYMENT_RESULT","paymentRequestId":"PR-1","guaranteed":false,"quotePrice":0.06}"#);
    assert_eq!(odd.unwrap().about, About::Payment(PaymentId::new("PR-1").unwrap()));
    let bare = read(r#"{"notifyType":"PAYMENT_RESULT","paymentRequestId":12,"result":{"resultStatus":true}}"#).unwrap();
    assert_eq!(bare.about, About::Payment(PaymentId::new("12").unwrap()));
    assert_eq!(bare.idempotency_key, "12:PAYMENT_RESULT:-:true");
}

fn key(body: &str) -> String {
    read(body).unwrap().idempotency_key
}

#[test]
fn repeats_of_one_fact_have_one_key_and_another_fact_has_another() {
    let dispute = |kind: &str| key(&format!(r#"{{"disputeId":"D-1","disputeNotificationType":"{kind}"}}"#));
    assert_eq!(dispute("DISPUTE_CREATED"), "D-1:DISPUTE_CREATED");
    assert_ne!(dispute("DISPUTE_CREATED"), dispute("DISPUTE_JUDGED"));
    let capture = r#"{"notifyType":"CAPTURE_RESULT","captureId":"C-1","result":{"resultStatus":"S"}}"#;
    assert_eq!(key(capture), "C-1:S");
    assert_eq!(key(&capture.replace("captureId", "captureRequestId")), "C-1:S");
    let granted = r#"{"authorizationNotifyType":"AUTHCODE_CREATED","authState":"AS-1","authCode":"a code"}"#;
    assert!(key(granted).starts_with("AUTHCODE_CREATED:sha256-"));
    assert!(!key(granted).contains("a code"));
    assert_ne!(key(granted), key(&granted.replace("a code", "another")));
}

#[test]
fn facts_without_a_name_of_their_own_are_named_by_their_bytes() {
    for body in [
        r#"{"authorizationNotifyType":"AUTHCODE_CREATED","authState":"AS-1"}"#,
        r#"{"disputeNotificationType":"DISPUTE_CREATED","paymentRequestId":"PR-1"}"#,
        r#"{"notifyType":"REFUND_RESULT","refundStatus":"SUCCESS"}"#,
        r#"{"notifyType":"CAPTURE_RESULT","result":{"resultStatus":"S"}}"#,
        r#"{"subscriptionNotificationType":"CREATE"}"#,
    ] {
        assert_eq!(key(body), key(body));
        assert_ne!(key(body), key(&body.replace('}', r#","more":"PR-2"}"#)), "{body}");
    }
}

#[test]
fn what_lacks_a_usable_name_is_kept_and_about_nothing() {
    for body in [
        r#"{"notifyType":"REFUND_RESULT","refundStatus":"SUCCESS","refundRequestId":"two words"}"#,
        r#"{"notifyType":"CAPTURE_RESULT","paymentRequestId":"","paymentId":null}"#,
        r#"{"disputeNotificationType":"DISPUTE_CREATED","disputeId":"D-1"}"#,
        r#"{"authorizationNotifyType":"AUTHCODE_CREATED","authCode":"a code"}"#,
        r#"{"authorizationNotifyType":"TOKEN_CREATED","authState":"AS-1"}"#,
        r#"{"authorizationNotifyType":"TOKEN_CANCELED","authState":"AS-1"}"#,
    ] {
        assert_eq!(read(body).unwrap().about, About::Other, "{body}");
    }
    let refund =
        r#"{"notifyType":"REFUND_RESULT","refundRequestId":"two words","refundId":7,"paymentRequestId":"PR-1"}"#;
    let about = About::Refund { id: RefundId::new("7").unwrap(), payment: PaymentId::new("PR-1").ok() };
    assert_eq!(read(refund).unwrap().about, about);
}

#[test]
fn an_answers_signature_is_checked_over_the_path_we_asked() {
    let v5 = vector("V5");
    let account = account(&[(1, &vectors().public_key)]);
    let mut headers = HeaderMap::new();
    let put = |headers: &mut HeaderMap, name: &'static str, value: &str| {
        headers.insert(name, HeaderValue::from_str(value).unwrap());
    };
    put(&mut headers, "client-id", &v5.client_id);
    put(&mut headers, "response-time", &v5.time);
    put(&mut headers, "signature", &header(&v5.signature));
    let path = api_path(true, super::INQUIRY_PAYMENT);
    account.check_answer(&path, &headers, v5.body.as_bytes()).unwrap();
    account.check_answer(&api_path(false, super::INQUIRY_PAYMENT), &headers, v5.body.as_bytes()).unwrap_err();
    account.check_answer(&path, &headers, &v5.body.as_bytes()[1..]).unwrap_err();
    put(&mut headers, "signature", &header(&v5.signature).replace("keyVersion=1", "keyVersion=2"));
    let rotated = account.check_answer(&path, &headers, v5.body.as_bytes()).unwrap_err();
    assert!(matches!(&rotated, AskError::Misconfigured { what } if what.contains("keyVersion 2")), "{rotated}");
    headers.remove("signature");
    account.check_answer(&path, &headers, v5.body.as_bytes()).unwrap_err();
}
