use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{OriginalUri, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use axum::routing::any;
use base64::{Engine, prelude::BASE64_STANDARD};
use payhook_provider::antom::{INQUIRY_PAYMENT, api_path, signed_message};
use payhook_schema::{PaymentId, Provider};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::body::{self, KEY_VERSION, iso};
use crate::Fault;
use crate::faults::{Answer, bend, instead};
use crate::journal::OpenCall;
use crate::request::antom_signature;
use crate::shared::Shared;

/// Antom's gateway: everything below `/ams/` is its, known or not.
pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/ams/{*call}", any(call))
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Asked {
    payment_id: Option<String>,
    payment_request_id: Option<String>,
}

/// What is said in answer, and whether Antom knows who asked: only then it signs.
enum Word {
    Signed(Vec<u8>),
    Unsigned(Vec<u8>),
}

async fn call(
    State(shared): State<Arc<Shared>>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let asked: Option<Asked> = serde_json::from_slice(&body).ok();
    let named = asked.as_ref().and_then(|asked| asked.payment_id.clone().or(asked.payment_request_id.clone()));
    let what = uri.path().rsplit('/').next().unwrap_or_default();
    let fault = shared.faults().take(Provider::Antom);
    let open = OpenCall::begin(&shared, Provider::Antom, what, named, fault.as_ref());
    if let Some(response) = instead(fault.as_ref()).await {
        return open.answered("", response);
    }
    // The answer is made before a slow provider's wait: it tells what was true when it was asked.
    let (answer, said) = match fault {
        Some(Fault::Throttle { retry_after: Some(after) }) => {
            let body = body::only_result("REQUEST_TRAFFIC_EXCEED_LIMIT", "U");
            let headers = vec![(CONTENT_TYPE.as_str(), "application/json".to_owned())];
            let answer = Answer { status: StatusCode::TOO_MANY_REQUESTS, headers, body };
            (answer.retry_after(Some(after)), "throttled".to_owned())
        }
        _ => {
            let word = match authenticated(&shared, &method, uri.path(), &headers, &body) {
                Err(code) => Word::Unsigned(body::only_result(code, "F")),
                Ok(()) => Word::Signed(answer(&shared, uri.path(), asked, fault.as_ref())),
            };
            (on_paper(&shared, uri.path(), &word, fault.as_ref()), said(&word))
        }
    };
    let response = bend(fault.as_ref(), answer).await;
    open.answered(&said, response)
}

/// Checks a call as the gateway does, in its own reading of the header, stricter than payhook reads: percent-encoded, in order.
///
/// # Errors
/// The result code of the unsigned answer.
fn authenticated(
    shared: &Shared,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), &'static str> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if method != Method::POST {
        return Err("METHOD_NOT_SUPPORTED");
    }
    if !header("content-type").is_some_and(|kind| kind.starts_with("application/json")) {
        return Err("MEDIA_TYPE_NOT_ACCEPTABLE");
    }
    let client_id = header("client-id").ok_or("INVALID_CLIENT")?;
    if client_id != shared.keys.client_id() {
        return Err("INVALID_CLIENT");
    }
    let time = header("request-time").ok_or("PARAM_ILLEGAL")?;
    let signature = header("signature").and_then(|header| header.strip_prefix("algorithm=RSA256,keyVersion="));
    let (version, encoded) = signature.and_then(|rest| rest.split_once(",signature=")).ok_or("INVALID_SIGNATURE")?;
    if version != KEY_VERSION.to_string() {
        return Err("KEY_NOT_FOUND");
    }
    if encoded.contains(['+', '/', '=']) {
        return Err("INVALID_SIGNATURE");
    }
    let base64 = percent_decode_str(encoded).decode_utf8().map_err(|_| "INVALID_SIGNATURE")?;
    let signature = BASE64_STANDARD.decode(base64.as_bytes()).map_err(|_| "INVALID_SIGNATURE")?;
    let message = signed_message(path, client_id, time, body);
    match shared.keys.merchant().public_key().holds(&message, &signature) {
        true => Ok(()),
        false => Err("INVALID_SIGNATURE"),
    }
}

/// What Antom answers somebody it knows.
fn answer(shared: &Shared, path: &str, asked: Option<Asked>, fault: Option<&Fault>) -> Vec<u8> {
    if path != api_path(true, INQUIRY_PAYMENT) {
        return body::only_result("NO_INTERFACE_DEF", "F");
    }
    let Some(asked) = asked.filter(|asked| asked.payment_id.is_some() || asked.payment_request_id.is_some()) else {
        return body::only_result("PARAM_ILLEGAL", "F");
    };
    if matches!(fault, Some(Fault::Throttle { .. })) {
        return body::only_result("REQUEST_TRAFFIC_EXCEED_LIMIT", "U");
    }
    let mut payments = shared.payments();
    let Some(payment) = payments.find(asked.payment_id.as_deref(), asked.payment_request_id.as_deref()) else {
        return body::only_result("ORDER_NOT_EXIST", "F");
    };
    match fault {
        Some(Fault::Flapping) => body::inquiry(&payment.flapping()),
        Some(Fault::OtherPayment) => {
            let mut other = payment.clone();
            other.request_id = other_id(&payment.request_id);
            body::inquiry(&other)
        }
        _ => body::inquiry(payment),
    }
}

/// An id of the same form that is another one.
pub(crate) fn other_id(id: &PaymentId) -> PaymentId {
    let mut text = id.to_string();
    let last = text.pop().expect("ids are not empty");
    text.push(if last == '0' { '1' } else { '0' });
    PaymentId::new(text).expect("of the same form")
}

/// Puts the word into an HTTP answer, with the signature it deserves.
fn on_paper(shared: &Shared, path: &str, word: &Word, fault: Option<&Fault>) -> Answer {
    let mut headers = vec![(CONTENT_TYPE.as_str(), "application/json; charset=UTF-8".to_owned())];
    let key = match fault {
        Some(Fault::Unsigned) => None,
        Some(Fault::BadSignature) => Some(shared.keys.merchant()),
        _ => Some(shared.keys.antom()),
    };
    let body = match (word, key) {
        (Word::Signed(body), Some(key)) => {
            let (client_id, time) = (shared.keys.client_id(), iso(shared.clock.now(), 8));
            headers.push(("signature", antom_signature(key, client_id, path, &time, body)));
            headers.push(("client-id", client_id.to_owned()));
            headers.push(("response-time", time));
            body
        }
        (Word::Signed(body) | Word::Unsigned(body), _) => body,
    };
    Answer { status: StatusCode::OK, headers, body: body.clone() }
}

/// The deciding words of the answer, for the journal.
fn said(word: &Word) -> String {
    let (Word::Signed(body) | Word::Unsigned(body)) = word;
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    let result = format!("{} {}", text(&value["result"]["resultStatus"]), text(&value["result"]["resultCode"]));
    match (&value["paymentStatus"], word) {
        (serde_json::Value::String(status), _) => format!("{result}, paymentStatus {status}"),
        (_, Word::Unsigned(_)) => format!("{result}, unsigned"),
        _ => result,
    }
}
