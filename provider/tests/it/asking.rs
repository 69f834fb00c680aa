//! The client against a server that answers each request by a script, over real connections.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use payhook_provider::{
    Account, AgeLimit, AntomAccount, AskError, Client, Grant, IssuedToken, Limits, OmiseAccount, PrivateKey, antom,
};
use payhook_schema::{AccountName, Clock, PaymentId, RefundId, RefundState, Wallet};
use secrecy::{ExposeSecret, SecretString};

const CLIENT: &str = "SANDBOX_5X00000000000000";
const TOKEN: &str = include_str!("../../fixtures/antom/token_issued.json");
const REFUND: &str = include_str!("../../fixtures/antom/refund_inquiry_succeeded.json");
const PAYMENT: &str = include_str!("../../fixtures/antom/inquiry_paid.json");
const UNSIGNED: &str = include_str!("../../fixtures/antom/unsigned_error.json");

/// Ours and Antom's at once.
static KEY: LazyLock<PrivateKey> = LazyLock::new(PrivateKey::generate);
static ANOTHER: LazyLock<PrivateKey> = LazyLock::new(PrivateKey::generate);

/// The answer to a request.
enum ScriptedReply {
    Signed(&'static str),
    SignedByAnother(&'static str),
    Unsigned(&'static str),
    SlowDown,
    /// The request is taken, and no answer comes.
    HangUp,
}

/// A request as it came.
struct SeenRequest {
    path: String,
    headers: BTreeMap<String, String>,
    body: String,
}

struct ScriptedServer {
    api: String,
    requests: Receiver<SeenRequest>,
    thread: JoinHandle<()>,
}

impl ScriptedServer {
    /// Answers as many requests as there are replies, then closes its door.
    fn answering(replies: Vec<ScriptedReply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        let thread = std::thread::spawn(move || {
            for reply in replies {
                let (mut stream, _) = listener.accept().unwrap();
                let request = take(&stream);
                reply.write(&mut stream, &request.path);
                sender.send(request).unwrap();
            }
        });
        Self { api, requests, thread }
    }

    fn account(&self) -> Account {
        Account::Antom(AntomAccount {
            name: AccountName::new("shop-sg").unwrap(),
            client_id: CLIENT.to_owned(),
            api: self.api.clone(),
            sandbox: true,
            private_key: Some(PrivateKey::parse(&KEY.to_base64()).unwrap()),
            private_key_version: 3,
            public_keys: BTreeMap::from([(1, KEY.public_key())]),
            apply_token: true,
            signature_age_max: AgeLimit::Off,
            limits: Limits::ANTOM,
        })
    }

    fn requests(self) -> Vec<SeenRequest> {
        self.thread.join().unwrap();
        self.requests.into_iter().collect()
    }
}

fn take(stream: &TcpStream) -> SeenRequest {
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let path = line().split(' ').nth(1).unwrap().to_owned();
    let mut headers = BTreeMap::new();
    while let Some((name, value)) = line().split_once(": ") {
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    SeenRequest { path, headers, body: String::from_utf8(body).unwrap() }
}

impl ScriptedReply {
    fn write(&self, stream: &mut TcpStream, path: &str) {
        let time = "2026-11-21T03:00:01Z";
        let signed = |key: &PrivateKey, body: &str| {
            let signature = antom::sign(key, 1, &antom::signed_message(path, CLIENT, time, body.as_bytes()));
            format!("client-id: {CLIENT}\r\nresponse-time: {time}\r\nsignature: {signature}\r\n")
        };
        let (status, headers, body) = match self {
            Self::Signed(body) => ("200 OK", signed(&KEY, body), *body),
            Self::SignedByAnother(body) => ("200 OK", signed(&ANOTHER, body), *body),
            Self::Unsigned(body) => ("200 OK", String::new(), *body),
            Self::SlowDown => ("429 Too Many Requests", "retry-after: 7\r\n".to_owned(), ""),
            Self::HangUp => return,
        };
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
            .unwrap();
    }
}

fn client() -> Client {
    Client::new(Clock::stopped("2026-11-21T03:00:00Z".parse().unwrap())).unwrap()
}

fn omise() -> Account {
    Account::Omise(OmiseAccount {
        name: AccountName::new("shop-th").unwrap(),
        livemode: false,
        api: "http://127.0.0.1:1".to_owned(),
        secret_key: None,
        webhook_secrets: Vec::new(),
        signature_age_max: AgeLimit::Off,
        limits: Limits::OMISE,
    })
}

async fn exchange(account: &Account) -> Result<IssuedToken, AskError> {
    let code = SecretString::from("2810010312AB34CD56EF");
    client().apply_token(account, &Wallet::new("KPLUS").unwrap(), Grant::Code(&code)).await
}

async fn ask_refund(account: &Account) -> Result<antom::RefundAnswer, AskError> {
    client().ask_refund(account, &RefundId::new("RF-2026-0001").unwrap()).await
}

#[tokio::test]
async fn a_code_is_exchanged_by_a_request_we_sign_for_a_token_antom_signs() {
    let server = ScriptedServer::answering(vec![ScriptedReply::Signed(TOKEN)]);
    let token = exchange(&server.account()).await.unwrap();
    assert_eq!(token.access.expose_secret(), "28100103202611210000000001");
    assert_eq!(token.expires_at, Some("2027-11-21T03:00:00+08:00".parse().unwrap()));
    assert_eq!(token.refresh.unwrap().expose_secret(), "28100104202611210000000001");
    assert_eq!(token.refresh_expires_at, Some("2028-11-21T03:00:00+08:00".parse().unwrap()));

    let [request] = server.requests().try_into().ok().unwrap();
    assert_eq!(request.path, "/ams/sandbox/api/v1/authorizations/applyToken");
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    let expected = serde_json::json!({
        "grantType": "AUTHORIZATION_CODE", "customerBelongsTo": "KPLUS", "authCode": "2810010312AB34CD56EF"
    });
    assert_eq!(body, expected);
    let time = &request.headers["request-time"];
    assert_eq!((time.as_str(), request.headers["client-id"].as_str()), ("1795230000000", CLIENT));
    let message = antom::signed_message(&request.path, CLIENT, time, request.body.as_bytes());
    assert_eq!(request.headers["signature"], antom::sign(&KEY, 3, &message));
}

#[tokio::test]
async fn a_token_is_refreshed_by_its_refresh_token() {
    let server = ScriptedServer::answering(vec![ScriptedReply::Signed(TOKEN)]);
    let refresh = SecretString::from("28100104202611210000000000");
    let wallet = Wallet::new("DANA").unwrap();
    client().apply_token(&server.account(), &wallet, Grant::Refresh(&refresh)).await.unwrap();
    let [request] = server.requests().try_into().ok().unwrap();
    let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
    let expected = serde_json::json!({
        "grantType": "REFRESH_TOKEN", "customerBelongsTo": "DANA", "refreshToken": "28100104202611210000000000"
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn a_code_that_may_have_reached_antom_is_not_sent_again() {
    let server = ScriptedServer::answering(vec![ScriptedReply::HangUp]);
    let lost = exchange(&server.account()).await.unwrap_err();
    assert!(matches!(lost, AskError::Unavailable { connected: true, .. }), "{lost}");
    assert!(!lost.to_string().contains("2810010312AB34CD56EF"));
    assert_eq!(server.requests().len(), 1, "its door is closed: a second try would have failed to connect");
}

#[tokio::test]
async fn an_address_nobody_listens_at_is_no_lost_answer() {
    let mut account = ScriptedServer::answering(Vec::new()).account();
    if let Account::Antom(account) = &mut account {
        account.api = "http://127.0.0.1:1".to_owned();
    }
    let began = std::time::Instant::now();
    let refused = exchange(&account).await.unwrap_err();
    assert!(matches!(refused, AskError::Unavailable { connected: false, .. }), "{refused}");
    assert!(began.elapsed() > Duration::from_millis(100), "what never left is tried again, after a wait");
}

#[tokio::test]
async fn a_refund_is_asked_for_by_the_name_we_gave_it() {
    let server = ScriptedServer::answering(vec![ScriptedReply::Signed(REFUND)]);
    let answer = ask_refund(&server.account()).await.unwrap();
    assert_eq!(answer.refund.state, RefundState::Succeeded);
    assert_eq!(answer.refund.amount, "500.00 THB".parse().ok());
    assert_eq!(answer.refund.provider_reference.as_deref(), Some("202611211940108001001890000000002"));
    assert_eq!((answer.payment, answer.reference), (None, None));
    let [request] = server.requests().try_into().ok().unwrap();
    assert_eq!(request.path, "/ams/sandbox/api/v1/payments/inquiryRefund");
    assert_eq!(request.body, r#"{"refundRequestId":"RF-2026-0001"}"#);
}

#[tokio::test]
async fn what_another_key_signed_is_no_answer_to_anything_we_ask() {
    let replies = [TOKEN, REFUND, PAYMENT].map(ScriptedReply::SignedByAnother);
    let server = ScriptedServer::answering(replies.into());
    let account = server.account();
    let payment = PaymentId::new("PR-2026-0001").unwrap();
    for error in [
        exchange(&account).await.unwrap_err(),
        ask_refund(&account).await.unwrap_err(),
        client().ask(&account, &payment).await.unwrap_err(),
    ] {
        assert!(matches!(error, AskError::Unavailable { connected: true, .. }), "{error}");
    }
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn an_answer_without_a_signature_gives_no_token() {
    let server = ScriptedServer::answering(vec![
        ScriptedReply::Unsigned(UNSIGNED),
        ScriptedReply::Unsigned(TOKEN),
        ScriptedReply::Unsigned("<html>"),
    ]);
    let account = server.account();
    assert!(matches!(exchange(&account).await, Err(AskError::Misconfigured { .. })));
    assert!(matches!(exchange(&account).await, Err(AskError::Misconfigured { .. })));
    assert!(matches!(exchange(&account).await, Err(AskError::Unavailable { connected: true, .. })));
}

#[tokio::test]
async fn every_call_obeys_a_request_to_slow_down() {
    let server = ScriptedServer::answering(vec![ScriptedReply::SlowDown, ScriptedReply::SlowDown]);
    let account = server.account();
    let after = Some(Duration::from_secs(7));
    assert_eq!(ask_refund(&account).await.unwrap_err(), AskError::Throttled { after });
    assert_eq!(exchange(&account).await.unwrap_err(), AskError::Throttled { after });
}

#[tokio::test]
async fn omise_has_neither_refund_inquiries_nor_tokens() {
    assert!(matches!(ask_refund(&omise()).await, Err(AskError::OutsideTables { .. })));
    assert!(matches!(exchange(&omise()).await, Err(AskError::OutsideTables { .. })));
}
