//! The answers of the public contract, over a queue that remembers what it was given.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::HttpBody;
use axum::http::StatusCode;
use hyper::body::Frame;
use payhook_provider::{AgeLimit, AntomAccount, Limits, OmiseAccount, PrivateKey, antom, omise::WebhookSecret};
use payhook_queue::conformance::PublishRecorder;
use payhook_schema::Hint;
use payhook_vault::VaultKey;
use secrecy::SecretString;
use tower::ServiceExt;

use super::*;

const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const EVENT: &str = r#"{"object":"event","id":"evnt_test_1","livemode":false,"key":"charge.complete",
    "data":{"object":"charge","id":"chrg_test_1"}}"#;

struct IngressUnderTest {
    queue: Arc<PublishRecorder>,
    router: Router,
    antom: PrivateKey,
}

fn ingress_with(queue: PublishRecorder, options: IngressOptions) -> IngressUnderTest {
    sealing_ingress(queue, options, Vault::default())
}

fn sealing_ingress(queue: PublishRecorder, options: IngressOptions, vault: Vault) -> IngressUnderTest {
    let (queue, antom) = (Arc::new(queue), PrivateKey::generate());
    let name = AccountName::new("shop").unwrap();
    let accounts = Accounts::new([
        Account::Antom(AntomAccount {
            name: name.clone(),
            client_id: "SANDBOX_1".to_owned(),
            api: "http://127.0.0.1:1".to_owned(),
            sandbox: true,
            private_key: None,
            private_key_version: 1,
            public_keys: [(1, antom.public_key())].into(),
            apply_token: false,
            signature_age_max: AgeLimit::Off,
            limits: Limits::ANTOM,
        }),
        Account::Omise(OmiseAccount {
            name,
            livemode: false,
            api: "http://127.0.0.1:1".to_owned(),
            secret_key: None,
            webhook_secrets: vec![WebhookSecret::parse(SECRET).unwrap()],
            signature_age_max: AgeLimit::Off,
            limits: Limits::OMISE,
        }),
    ]);
    let clock = Clock::stopped("2026-01-01T00:00:02Z".parse().unwrap());
    let router = routes(Ingress::new(accounts, queue.clone(), clock, vault, options));
    IngressUnderTest { queue, router, antom }
}

fn ingress() -> IngressUnderTest {
    ingress_with(PublishRecorder::default(), IngressOptions::default())
}

fn omise_request(body: impl AsRef<[u8]>) -> axum::http::request::Builder {
    let signature = WebhookSecret::parse(SECRET).unwrap().sign("1767225600", body.as_ref());
    Request::post("/omise/shop")
        .header("content-type", "application/json")
        .header("omise-signature", signature)
        .header("omise-signature-timestamp", "1767225600")
}

impl IngressUnderTest {
    async fn answers(&self, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn status(&self, request: Request<Body>) -> StatusCode {
        let (status, headers, body) = self.answers(request).await;
        if status != StatusCode::OK {
            assert_eq!(headers["content-type"], "application/problem+json", "{body}");
            let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(problem["status"], status.as_u16());
            let half_read = matches!(status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT);
            assert_eq!(
                headers.contains_key("connection"),
                half_read,
                "it ends where a body was left unread, and only there"
            );
            assert!(self.queue.published.lock().unwrap().is_empty(), "refused, so nothing is published");
        }
        status
    }

    fn antom_request(&self, signed_path: &str, path: &str, body: impl AsRef<[u8]>) -> Request<Body> {
        let body = body.as_ref();
        let message = antom::signed_message(signed_path, "SANDBOX_1", "1767225600000", body);
        Request::post(path)
            .header("content-type", "application/json; charset=UTF-8")
            .header("client-id", "SANDBOX_1")
            .header("request-time", "1767225600000")
            .header("signature", antom::sign(&self.antom, 1, &message))
            .body(body.to_vec().into())
            .unwrap()
    }
}

const PAID: &str = r#"{"notifyType":"PAYMENT_RESULT","paymentRequestId":"PR-1","result":{"resultStatus":"S"}}"#;

#[tokio::test]
async fn a_genuine_event_of_omise_is_published_and_answered_200() {
    let ingress = ingress();
    let (status, _, body) = ingress.answers(omise_request(EVENT).body(EVENT.into()).unwrap()).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, ""));
    assert_eq!(ingress.queue.published.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn antoms_notifications_get_the_documented_answer_on_each_of_its_paths() {
    let ingress = ingress();
    for path in ["/antom/shop/notifyPayment", "/antom/shop/notifyRefund", "/antom/shop/notifyAuthorization"] {
        let (status, headers, body) = ingress.answers(ingress.antom_request(path, path, PAID)).await;
        assert_eq!((status, body.as_str()), (StatusCode::OK, antom::SUCCESS));
        assert_eq!(headers["content-type"], "application/json");
    }
    assert_eq!(ingress.queue.published.lock().unwrap().len(), 3);
}

/// Antom's notification for a wallet that gives its token at once.
const TOKEN: &str = r#"{"authorizationNotifyType":"TOKEN_CREATED","authState":"AS-1","accessToken":"28100103",
    "accessTokenExpiryTime":"2099-01-01T00:00:00Z"}"#;

fn vault() -> Vault {
    let key = VaultKey::parse(&SecretString::from("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")).unwrap();
    Vault::new([(1, key)].into())
}

impl IngressUnderTest {
    /// The one notification that was published.
    fn published(&self) -> Notification {
        let published = self.queue.published.lock().unwrap();
        let [envelope] = published.as_slice() else { panic!("{} were published", published.len()) };
        let sent = Envelope::decode(&envelope.encode()).unwrap();
        let Hint::Notification(notification) = sent.hint else { panic!("a notification was published") };
        *notification
    }
}

#[tokio::test]
async fn a_notification_with_a_token_is_sealed_before_it_is_published_and_opens_again() {
    let vault = vault();
    let ingress = sealing_ingress(PublishRecorder::default(), IngressOptions::default(), vault.clone());
    let path = "/antom/shop/notifyAuthorization";
    let (status, ..) = ingress.answers(ingress.antom_request(path, path, TOKEN)).await;
    assert_eq!(status, StatusCode::OK);
    let notification = ingress.published();
    assert_eq!(notification.sealed_with, Some(1));
    assert!(!notification.body.windows(8).any(|bytes| bytes == b"28100103"), "no token is on the queue");
    assert_eq!(vault.open_body(&notification).unwrap(), TOKEN.as_bytes());
}

#[tokio::test]
async fn a_payments_notification_is_sealed_too_and_opens_byte_for_byte() {
    let vault = vault();
    let ingress = sealing_ingress(PublishRecorder::default(), IngressOptions::default(), vault.clone());
    let path = "/antom/shop/notifyPayment";
    let (status, ..) = ingress.answers(ingress.antom_request(path, path, PAID)).await;
    assert_eq!(status, StatusCode::OK);
    let notification = ingress.published();
    assert_eq!(notification.sealed_with, Some(1), "it may tell of a card");
    assert_eq!(vault.open_body(&notification).unwrap(), PAID.as_bytes());
}

#[tokio::test]
async fn without_a_key_a_token_is_taken_as_it_comes() {
    let ingress = ingress();
    let path = "/antom/shop/notifyAuthorization";
    let (status, ..) = ingress.answers(ingress.antom_request(path, path, TOKEN)).await;
    assert_eq!(status, StatusCode::OK, "a provider is never refused for what we have not configured");
    assert_eq!(ingress.published().body, TOKEN.as_bytes());
}

#[tokio::test]
async fn keys_that_change_while_it_runs_count_from_the_next_notification() {
    let vault = Vault::default();
    let ingress = sealing_ingress(PublishRecorder::default(), IngressOptions::default(), vault.clone());
    vault.replace(&self::vault());
    let path = "/antom/shop/notifyAuthorization";
    ingress.answers(ingress.antom_request(path, path, TOKEN)).await;
    assert_eq!(ingress.published().sealed_with, Some(1));
}

#[tokio::test]
async fn behind_a_proxy_the_public_path_is_the_signed_one() {
    let options = IngressOptions { public_path: "/pay".to_owned(), ..IngressOptions::default() };
    let ingress = ingress_with(PublishRecorder::default(), options);
    let inside = "/antom/shop/notifyPayment";
    assert_eq!(ingress.status(ingress.antom_request(inside, inside, PAID)).await, StatusCode::UNAUTHORIZED);
    let genuine = ingress.antom_request("/pay/antom/shop/notifyPayment", inside, PAID);
    assert_eq!(ingress.status(genuine).await, StatusCode::OK);
}

#[tokio::test]
async fn what_cannot_be_made_durable_is_a_retryable_503() {
    let ingress =
        ingress_with(PublishRecorder { down: true.into(), ..PublishRecorder::default() }, IngressOptions::default());
    let (status, headers, _) = ingress.answers(omise_request(EVENT).body(EVENT.into()).unwrap()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(headers.contains_key("retry-after"));
}

#[tokio::test]
async fn forgeries_learn_nothing_but_that_they_are() {
    let ingress = ingress();
    let forged = omise_request("{}").body(EVENT.into()).unwrap();
    let (status, _, body) = ingress.answers(forged).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(body, r#"{"type":"about:blank","title":"Not genuine","status":401}"#);
    let unsigned = Request::post("/omise/shop").header("content-type", "application/json").body(EVENT.into()).unwrap();
    assert_eq!(ingress.status(unsigned).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_flood_of_forgeries_is_answered_429_and_genuine_ones_still_pass() {
    let options = IngressOptions { unverified_per_s: 2, ..IngressOptions::default() };
    let ingress = ingress_with(PublishRecorder::default(), options);
    for expected in [401, 401, 429, 429] {
        let status = ingress.status(omise_request("{}").body(EVENT.into()).unwrap()).await;
        assert_eq!(status.as_u16(), expected);
    }
    assert_eq!(ingress.status(omise_request(EVENT).body(EVENT.into()).unwrap()).await, StatusCode::OK);
}

#[tokio::test]
async fn genuine_but_unreadable_is_published_with_its_exact_bytes() {
    let ingress = ingress();
    let deep =
        format!(r#"{{"notifyType":"PAYMENT_RESULT","paymentRequestId":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
    let omise_deep =
        EVENT.replace(r#""object":"charge""#, &format!(r#""object":{}{}"#, "[".repeat(500), "]".repeat(500)));
    let omise_twice = EVENT.replace(r#""livemode":false"#, r#""livemode":false,"livemode":false"#);
    let antom_twice = PAID.replace(r#""paymentRequestId""#, r#""paymentRequestId":"PR-2","paymentRequestId""#);
    let bodies: [(&str, Provider, &[u8]); 14] = [
        ("nothing", Provider::Omise, b""),
        ("half of it", Provider::Omise, b"{"),
        ("a list", Provider::Omise, b"[]"),
        ("an event without anything", Provider::Omise, br#"{"object":"event"}"#),
        ("another object", Provider::Omise, br#"{"object":"account","id":"account_1","livemode":false}"#),
        ("an object where a charge belongs", Provider::Omise, br#"{"object":"event","id":"evnt_test_1","livemode":false,"key":"charge.complete","data":{"object":"event","id":{}}}"#),
        ("nested too deep", Provider::Omise, omise_deep.as_bytes()),
        ("a key twice", Provider::Omise, omise_twice.as_bytes()),
        ("no UTF-8", Provider::Omise, b"{\"object\":\"event\",\"id\":\"\xff\xfe\"}"),
        ("nothing", Provider::Antom, b""),
        ("nested too deep", Provider::Antom, deep.as_bytes()),
        ("a key twice", Provider::Antom, antom_twice.as_bytes()),
        ("no UTF-8", Provider::Antom, b"{\"paymentRequestId\":\"\xff\xfe\"}"),
        ("an object where a text belongs", Provider::Antom, br#"{"notifyType":"PAYMENT_RESULT","paymentRequestId":{"id":"x"}}"#),
    ];
    for (what, provider, body) in bodies {
        let path = "/antom/shop/notifyPayment";
        let request = if provider == Provider::Antom {
            ingress.antom_request(path, path, body)
        } else {
            omise_request(body).body(body.to_vec().into()).unwrap()
        };
        assert_eq!(ingress.status(request).await, StatusCode::OK, "{provider}: {what}");
        let Hint::Notification(published) =
            ingress.queue.published.lock().unwrap().pop().expect("it is on the queue").hint
        else {
            panic!("{provider}: {what}")
        };
        assert!(matches!(published.about, About::Unreadable(_)), "{provider}: {what}: {published:?}");
        assert_eq!(published.body, body, "{provider}: {what}");
    }
}

#[tokio::test]
async fn a_signature_header_that_cannot_be_parsed_is_400() {
    let ingress = ingress();
    for signature in ["garbage", "00", "sha256=00", ",,,", "zz"] {
        let request = omise_request(EVENT).body(Body::from(EVENT)).unwrap();
        assert_eq!(ingress.status(with_header(request, "omise-signature", signature)).await, StatusCode::BAD_REQUEST);
    }
    let path = "/antom/shop/notifyPayment";
    for signature in [
        "garbage",
        "algorithm=RSA256,keyVersion=1",
        "algorithm=RSA256,keyVersion=one,signature=AAAA",
        "algorithm=RSA256,keyVersion=1,signature=%FF",
        "algorithm=RSA256,keyVersion=1,signature=!!!",
        "signature=AAAA,signature=AAAA",
    ] {
        let request = ingress.antom_request(path, path, PAID);
        assert_eq!(
            ingress.status(with_header(request, "signature", signature)).await,
            StatusCode::BAD_REQUEST,
            "{signature}"
        );
    }
    // These can be parsed, and are nobody's.
    for signature in ["algorithm=RSA256,keyVersion=1,signature=AAAA", "algorithm=HS256,keyVersion=1,signature=AAAA"] {
        let request = ingress.antom_request(path, path, PAID);
        assert_eq!(
            ingress.status(with_header(request, "signature", signature)).await,
            StatusCode::UNAUTHORIZED,
            "{signature}"
        );
    }
}

fn with_header(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

#[tokio::test]
async fn a_body_that_broke_off_is_400() {
    let ingress = ingress();
    let broken = omise_request(EVENT).body(Body::new(BrokenOff(false))).unwrap();
    assert_eq!(ingress.status(broken).await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn unknown_paths_accounts_and_methods_have_their_own_answers() {
    let ingress = ingress();
    for path in [
        "/",
        "/omise",
        "/omise/other",
        "/omise/SHOP",
        "/omise/shop/",
        "/antom/shop",
        "/antom/shop/notify",
        "/v1/orders",
    ] {
        let request = Request::post(path).body(Body::empty()).unwrap();
        assert_eq!(ingress.status(request).await, StatusCode::NOT_FOUND, "{path}");
    }
    let got = Request::get("/omise/shop").body(Body::empty()).unwrap();
    let (status, headers, _) = ingress.answers(got).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(headers["allow"], "POST");
}

#[tokio::test]
async fn only_plain_json_is_read() {
    let ingress = ingress();
    let with = |content_type: &str| {
        let mut request = omise_request(EVENT).body(Body::from(EVENT)).unwrap();
        request.headers_mut().insert("content-type", content_type.parse().unwrap());
        request
    };
    for refused in ["text/plain", "application/json; charset=utf-16", "application/x-www-form-urlencoded", "json"] {
        assert_eq!(ingress.status(with(refused)).await, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{refused}");
    }
    let mut packed = with("application/json");
    packed.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    assert_eq!(ingress.status(packed).await, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(ingress.status(with("Application/JSON; Charset=\"UTF-8\"")).await, StatusCode::OK);
}

#[tokio::test]
async fn bodies_over_the_limit_are_413_announced_or_not() {
    let options = IngressOptions { body_bytes_max: 100, ..IngressOptions::default() };
    let ingress = ingress_with(PublishRecorder::default(), options);
    let announced = omise_request(EVENT).header("content-length", "101").body(Body::empty()).unwrap();
    assert_eq!(ingress.status(announced).await, StatusCode::PAYLOAD_TOO_LARGE);
    let streamed = omise_request(EVENT).body(Body::new(EndlessZeros)).unwrap();
    assert_eq!(ingress.status(streamed).await, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_408() {
    let ingress = ingress();
    let stalled = omise_request(EVENT).body(Body::new(Never)).unwrap();
    assert_eq!(ingress.status(stalled).await, StatusCode::REQUEST_TIMEOUT);
}

/// A body of zeros without an end.
struct EndlessZeros;

impl HttpBody for EndlessZeros {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'0'; 64])))))
    }
}

/// A body whose connection ends after its first bytes.
struct BrokenOff(bool);

impl HttpBody for BrokenOff {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(Some(match std::mem::replace(&mut self.0, true) {
            false => Ok(Frame::data(Bytes::from_static(b"{\"object\":"))),
            true => Err(std::io::ErrorKind::UnexpectedEof.into()),
        }))
    }
}

/// A body of which nothing arrives.
struct Never;

impl HttpBody for Never {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Pending
    }
}
