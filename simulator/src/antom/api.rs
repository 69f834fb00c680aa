//! Antom over HTTP: checks who asks, answers, and signs the answer.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{OriginalUri, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use axum::routing::any;
use base64::{Engine, prelude::BASE64_STANDARD};
use payhook_provider::antom::{self, api_path, signed_message};
use payhook_schema::{PaymentId, Provider};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

use super::inquiry;
use super::wire::{AntomKey, KEY_VERSION, iso};
use crate::Fault;
use crate::faults::{ProviderAnswer, bend, instead};
use crate::journal::OpenCall;
use crate::json::compact;
use crate::shared::SimulatorState;

/// Antom's gateway: everything below `/ams/` is its, known or not.
pub(crate) fn routes() -> Router<Arc<SimulatorState>> {
    Router::new().route("/ams/{*call}", any(call))
}

/// The calls this gateway knows.
const INQUIRY_PAYMENT: &str = "v1/payments/inquiryPayment";
const INQUIRY_REFUND: &str = "v1/payments/inquiryRefund";
const APPLY_TOKEN: &str = "v1/authorizations/applyToken";

/// "Not found" of a refund: the name of a neighbouring product, Antom's own is not documented.
const NO_SUCH_REFUND: &str = "REFUND_NOT_EXIST";

/// The fields that any call may carry.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct GatewayCall {
    payment_id: Option<String>,
    payment_request_id: Option<String>,
    refund_id: Option<String>,
    refund_request_id: Option<String>,
    grant_type: Option<String>,
    customer_belongs_to: Option<String>,
    auth_code: Option<String>,
    refresh_token: Option<String>,
}

impl GatewayCall {
    /// Names the object of the call, for the journal. Codes and tokens stay out of it: the authorization they belong to
    /// is named.
    fn about(&self, shared: &SimulatorState) -> Option<String> {
        let (code, token) = (self.auth_code.as_deref(), self.refresh_token.as_deref());
        let named = self.payment_id.as_ref().or(self.payment_request_id.as_ref());
        let named = named.or(self.refund_id.as_ref()).or(self.refund_request_id.as_ref()).cloned();
        named.or_else(|| shared.authorizations().whose(code, token).map(ToString::to_string))
    }
}

/// An answer. Antom signs it only if it knows the caller.
struct AntomAnswer {
    body: Value,
    signed: bool,
}

async fn call(
    State(shared): State<Arc<SimulatorState>>,
    method: Method,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let asked: Option<GatewayCall> = serde_json::from_slice(&body).ok();
    let about = asked.as_ref().and_then(|asked| asked.about(&shared));
    let what = uri.path().rsplit('/').next().unwrap_or_default();
    let fault = shared.faults().take(Provider::Antom);
    let open = OpenCall::begin(&shared, Provider::Antom, what, about, fault.as_ref());
    if let Some(response) = instead(fault.as_ref()).await {
        return open.answered("", response);
    }
    // The answer is made before a slow provider's wait: it tells what was true when it was asked.
    let (answer, words) = match fault {
        Some(Fault::Throttle { retry_after: Some(after) }) => {
            let body = compact(&inquiry::only_result("REQUEST_TRAFFIC_EXCEED_LIMIT", "U"));
            let headers = vec![(CONTENT_TYPE.as_str(), "application/json".to_owned())];
            let answer = ProviderAnswer { status: StatusCode::TOO_MANY_REQUESTS, headers, body };
            (answer.retry_after(Some(after)), "throttled".to_owned())
        }
        _ => {
            let answer = match authenticated(&shared, &method, uri.path(), &headers, &body) {
                Err(code) => AntomAnswer { body: inquiry::only_result(code, "F"), signed: false },
                Ok(()) => AntomAnswer { body: answer(&shared, uri.path(), asked, fault.as_ref()), signed: true },
            };
            (sign(&shared, uri.path(), &answer, fault.as_ref()), words(&answer))
        }
    };
    let response = bend(fault.as_ref(), answer).await;
    open.answered(&words, response)
}

/// Checks a call as the gateway does, in its own reading of the header, stricter than payhook reads: percent-encoded,
/// in order.
///
/// # Errors
/// The result code of the unsigned answer.
fn authenticated(
    shared: &SimulatorState,
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

/// Answers a caller that Antom knows.
fn answer(shared: &SimulatorState, path: &str, asked: Option<GatewayCall>, fault: Option<&Fault>) -> Value {
    let answer =
        match [INQUIRY_PAYMENT, INQUIRY_REFUND, APPLY_TOKEN].into_iter().find(|call| api_path(true, call) == path) {
            None => Err(("NO_INTERFACE_DEF", "F")),
            _ if matches!(fault, Some(Fault::Throttle { .. })) => Err(("REQUEST_TRAFFIC_EXCEED_LIMIT", "U")),
            Some(INQUIRY_PAYMENT) => inquiry_payment(shared, &asked.unwrap_or_default(), fault).map_err(failed),
            Some(INQUIRY_REFUND) => inquiry_refund(shared, &asked.unwrap_or_default(), fault).map_err(failed),
            Some(_) => apply_token(shared, asked.unwrap_or_default()).map_err(failed),
        };
    answer.unwrap_or_else(|(code, status)| inquiry::only_result(code, status))
}

fn failed(code: &'static str) -> (&'static str, &'static str) {
    (code, "F")
}

fn inquiry_payment(shared: &SimulatorState, asked: &GatewayCall, fault: Option<&Fault>) -> Result<Value, &'static str> {
    let (id, request_id) = (asked.payment_id.as_deref(), asked.payment_request_id.as_deref());
    if id.or(request_id).is_none() {
        return Err("PARAM_ILLEGAL");
    }
    let listed = shared.habits().refunds_listed;
    let mut payments = shared.payments();
    let payment = payments.find(id, request_id).ok_or("ORDER_NOT_EXIST")?;
    Ok(match fault {
        Some(Fault::Flapping) => inquiry::payment(&payment.flapping(), listed),
        Some(Fault::OtherPayment) => {
            let mut other = payment.clone();
            other.request_id = other_id(&payment.request_id);
            inquiry::payment(&other, listed)
        }
        _ => inquiry::payment(payment, listed),
    })
}

fn inquiry_refund(shared: &SimulatorState, asked: &GatewayCall, fault: Option<&Fault>) -> Result<Value, &'static str> {
    let (id, request_id) = (asked.refund_id.as_deref(), asked.refund_request_id.as_deref());
    if id.or(request_id).is_none() {
        return Err("PARAM_ILLEGAL");
    }
    let mut payments = shared.payments();
    let request_id = payments.refund_request_id(id, request_id).ok_or(NO_SUCH_REFUND)?;
    let payment = payments.payment_of_refund(&request_id).ok_or(NO_SUCH_REFUND)?;
    let shown = match fault {
        Some(Fault::Flapping) => payment.flapping(),
        _ => payment.clone(),
    };
    let mut refund = shown.refund(&request_id).cloned().ok_or(NO_SUCH_REFUND)?;
    if matches!(fault, Some(Fault::OtherPayment)) {
        (refund.request_id, refund.antom_id) = (other(&refund.request_id), other(&refund.antom_id));
    }
    let named = shared.habits().refund_names_payment.then_some(payment.request_id.as_str());
    Ok(inquiry::refund(&refund, named))
}

fn apply_token(shared: &SimulatorState, asked: GatewayCall) -> Result<Value, &'static str> {
    let (now, habits) = (shared.clock.now(), *shared.habits());
    let wallet = asked.customer_belongs_to.ok_or("PARAM_ILLEGAL")?;
    let mut authorizations = shared.authorizations();
    let token = match (asked.grant_type.as_deref(), asked.auth_code, asked.refresh_token) {
        (Some("AUTHORIZATION_CODE"), Some(code), _) => {
            authorizations.exchange(&code, &wallet, habits, &shared.ids, now)?
        }
        (Some("REFRESH_TOKEN"), _, Some(token)) => authorizations.refresh(&token, &wallet, habits, &shared.ids, now)?,
        _ => return Err("PARAM_ILLEGAL"),
    };
    Ok(inquiry::token(token))
}

/// An id of the same form that is another one.
pub(crate) fn other_id(id: &PaymentId) -> PaymentId {
    PaymentId::new(other(id.as_str())).expect("of the same form")
}

fn other(id: &str) -> String {
    let mut text = id.to_owned();
    let last = text.pop().expect("ids are not empty");
    text.push(if last == '0' { '1' } else { '0' });
    text
}

/// Makes an HTTP answer, with the signature it deserves.
fn sign(shared: &SimulatorState, path: &str, answer: &AntomAnswer, fault: Option<&Fault>) -> ProviderAnswer {
    let mut headers = vec![(CONTENT_TYPE.as_str(), "application/json; charset=UTF-8".to_owned())];
    let AntomKey { version, keys } = shared.antom_key().clone();
    let key = match fault {
        Some(Fault::Unsigned) => None,
        Some(Fault::BadSignature) => Some(shared.keys.merchant()),
        _ => Some(keys.antom()),
    };
    let body = compact(&answer.body);
    if let Some(key) = key.filter(|_| answer.signed) {
        let (client_id, time) = (shared.keys.client_id(), iso(shared.clock.now(), 8));
        let signature = antom::sign(key, version, &antom::signed_message(path, client_id, &time, &body));
        headers.push(("signature", signature));
        headers.push(("client-id", client_id.to_owned()));
        headers.push(("response-time", time));
    }
    ProviderAnswer { status: StatusCode::OK, headers, body }
}

/// The deciding words of the answer, for the journal.
fn words(AntomAnswer { body, signed }: &AntomAnswer) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let result = format!("{} {}", text(&body["result"]["resultStatus"]), text(&body["result"]["resultCode"]));
    match (&body["paymentStatus"], &body["refundStatus"]) {
        (Value::String(status), _) => format!("{result}, paymentStatus {status}"),
        (_, Value::String(status)) => format!("{result}, refundStatus {status}"),
        _ if !signed => format!("{result}, unsigned"),
        _ => result,
    }
}
