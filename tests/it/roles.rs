//! The rights of each role: the merchant's API as each caller of the configuration meets it.

use payhook_schema::{AuthState, Wallet};
use payhook_simulator::AntomKind;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{TestPayhook, journeys, shop};

/// A caller of each role.
const CALLERS: &str = r#"
[console.callers.window]
role = "viewer"
token = "token-of-the-viewer"
[console.callers.night-shift]
role = "operator"
token = "token-of-the-operator"
[console.callers.owner]
role = "admin"
token = "token-of-the-admin"
[console.callers.web-shop]
role = "merchant"
token = "token-of-the-merchant"
"#;

const ROLES: [&str; 4] = ["viewer", "operator", "admin", "merchant"];
const EVERYBODY: &[&str] = &ROLES;

/// Every route, and who may. `AU-1` has its token, `W-1` is registered.
const WHO_MAY: &[(&str, &str, &[&str])] = &[
    ("GET", "/v1/orders", EVERYBODY),
    ("GET", "/v1/orders/W-1", EVERYBODY),
    ("GET", "/v1/orders/W-1/timeline", EVERYBODY),
    ("GET", "/v1/events?after=0", EVERYBODY),
    ("GET", "/v1/dead-letters", EVERYBODY),
    ("GET", "/v1/authorizations/AU-1", EVERYBODY),
    ("GET", "/v1/authorizations/AU-1/timeline", EVERYBODY),
    ("POST", "/v1/orders/W-1/refresh", &["operator", "admin", "merchant"]),
    ("PUT", "/v1/orders/W-1", &["admin", "merchant"]),
    ("PUT", "/v1/authorizations/AU-1", &["admin", "merchant"]),
    ("POST", "/v1/authorizations/AU-1/token", &["merchant"]),
    ("GET", "/v1/audit", &["admin"]),
    ("POST", "/v1/keys/rotate", &["admin"]),
];

journeys! { Plan::usual().tables(super::CALLERS);
    each_caller_may_what_its_role_needs_and_no_more,
    reading_a_token_is_written_down_with_the_callers_name,
}

fn token_of(role: &str) -> String {
    format!("token-of-the-{role}")
}

fn tokens_are_secret(payhook: &TestPayhook) {
    for role in ROLES {
        payhook.keep_secret("a caller's token", &token_of(role));
    }
}

/// Returns the body to send where one is needed.
fn body(method: &str, path: &str) -> Option<Value> {
    match (method, path) {
        ("PUT", "/v1/orders/W-1") => Some(json!({ "amount_minor": 9_000, "currency": "THB" })),
        ("PUT", _) => Some(json!({ "account": shop(), "auth_state": "AS-AU-1", "customer_belongs_to": "KPLUS" })),
        _ => None,
    }
}

async fn called(payhook: &TestPayhook, token: Option<&str>, method: &str, path: &str) -> (StatusCode, Value) {
    let sent = Method::from_bytes(method.as_bytes()).unwrap();
    payhook.call_as(token, sent, path, body(method, path)).await.unwrap()
}

/// An authorization whose customer agreed and whose token we have.
async fn token_issued(payhook: &TestPayhook) -> String {
    let (state, antom) = (AuthState::new("AS-AU-1").unwrap(), payhook.simulator.antom());
    antom.consult(&state, &Wallet::new("KPLUS").unwrap());
    let registered = called(payhook, Some(&token_of("merchant")), "PUT", "/v1/authorizations/AU-1").await;
    assert_eq!(registered.0, StatusCode::CREATED, "{}", registered.1);
    payhook.keep_secret("an auth code", &antom.agree(&state).unwrap());
    let signed = antom.signed_authorization(&payhook.ingress(), &shop(), &state, AntomKind::AuthcodeCreated);
    payhook.delivers(&payhook.marked(signed.unwrap())).await;
    payhook
        .until("the token is there", async || {
            let (_, seen) = called(payhook, Some(&token_of("viewer")), "GET", "/v1/authorizations/AU-1").await;
            if seen["state"] == "token_issued" { Ok(()) } else { Err(seen.to_string()) }
        })
        .await;
    let token = antom.access_token(&state).unwrap().expect("it was exchanged");
    payhook.keep_secret("an access token", &token);
    token
}

async fn each_caller_may_what_its_role_needs_and_no_more(payhook: &TestPayhook) {
    tokens_are_secret(payhook);
    payhook.antom_order("W-1", "90.00 THB").await;
    token_issued(payhook).await;
    for (method, path, may) in WHO_MAY {
        for role in ROLES {
            let (status, answer) = called(payhook, Some(&token_of(role)), method, path).await;
            if may.contains(&role) {
                assert!(status.is_success(), "{role}: {method} {path}: {status} {answer}");
            } else {
                assert_eq!(status, StatusCode::FORBIDDEN, "{role}: {method} {path}: {answer}");
                assert!(answer.get("access_token").is_none(), "{answer}");
            }
        }
        // The one token without a name may do everything; without one, nothing.
        let body = body(method, path);
        let (status, answer) = payhook.call(method.parse().unwrap(), path, body).await.unwrap();
        assert!(status.is_success(), "the one token: {method} {path}: {status} {answer}");
        for stranger in [None, Some("token-of-nobody-at-all")] {
            let (status, answer) = called(payhook, stranger, method, path).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{stranger:?}: {method} {path}: {answer}");
        }
    }
    // Guessing tokens shows.
    let refused = payhook.metric_sum("payhook_console_refused_total{reason=\"unknown_token\"} ").await;
    assert_eq!(refused, 2 * WHO_MAY.len() as u64);
    payhook.logged("the console refused a request: its token is missing or unknown").await;
    // What nobody is asked a token for.
    for path in ["/healthz", "/readyz"] {
        assert_eq!(called(payhook, None, "GET", path).await.0, StatusCode::OK, "{path}");
    }
}

async fn reading_a_token_is_written_down_with_the_callers_name(payhook: &TestPayhook) {
    tokens_are_secret(payhook);
    let token = token_issued(payhook).await;
    let path = "/v1/authorizations/AU-1/token";
    let (status, answer) = called(payhook, Some(&token_of("merchant")), "POST", path).await;
    assert_eq!((status, &answer["access_token"]), (StatusCode::OK, &token.as_str().into()));
    for role in ["viewer", "operator", "admin"] {
        assert_eq!(called(payhook, Some(&token_of(role)), "POST", path).await.0, StatusCode::FORBIDDEN);
    }
    assert_eq!(payhook.call(Method::POST, path, None).await.unwrap().0, StatusCode::OK);

    let (status, audit) = called(payhook, Some(&token_of("admin")), "GET", "/v1/audit").await;
    assert_eq!(status, StatusCode::OK, "{audit}");
    let entries = audit["audit"].as_array().unwrap();
    let read: Vec<(&str, &str, &str)> = entries
        .iter()
        .filter(|entry| entry["action"] == "token.read")
        .map(|entry| {
            let word = |field: &str| entry[field].as_str().unwrap_or("?");
            (word("who"), word("role"), word("subject"))
        })
        .collect();
    // Newest first; whoever was refused read nothing.
    let subject = read[0].2;
    assert!(subject.contains("AU-1"), "{audit}");
    assert_eq!(read, [("console", "all", subject), ("web-shop", "merchant", subject)], "{audit}");
    assert!(!audit.to_string().contains(&token), "{audit}");

    // The command says the same to whoever may know.
    let admin = payhook.cli(&["audit", "list", "--json", "--token", "token-of-the-admin"]).await.ends_with(0).json();
    assert_eq!(admin["audit"], audit["audit"]);
    let viewer = payhook.cli(&["audit", "list", "--token", "token-of-the-viewer"]).await.ends_with(1);
    assert!(viewer.stderr.contains("`admin`") && viewer.stderr.contains("`window`"), "{}", viewer.stderr);
    assert!(!viewer.stderr.contains("token-of-the-viewer"), "{}", viewer.stderr);
}
