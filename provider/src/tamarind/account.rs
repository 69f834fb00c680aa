//! Answers for an account with Tamarind what payhook asks of every provider's.

use http::StatusCode;
use jiff::Timestamp;
use payhook_schema::{AccountName, PaymentFacts, PaymentId, Provider, RefundId, Wallet, keepable_time};
use secrecy::{ExposeSecret, SecretString};

use super::{mac, read_notification, read_payment};
use crate::account::ProviderAccount;
use crate::client::AskError;
use crate::diagnose::Traces;
use crate::meaning::Meaning;
use crate::request::Signed;
use crate::transport::{ANSWER_BYTES_MAX, Http, HttpAnswer, path_segment, send, throttled};
use crate::{Account, AgeLimit, EventsPage, Grant, IssuedToken, Limits, Received, RefundAnswer, Refusal, Section};

const SIGNATURE: &str = "tamarind-signature";
const TIME: &str = "tamarind-time";

/// An account with Tamarind.
#[derive(Debug)]
pub struct TamarindAccount {
    pub name: AccountName,
    pub api: String,
    /// Signs notifications.
    pub secret: SecretString,
    /// Ours, for asking. Absent where nobody asks.
    pub token: Option<SecretString>,
    pub signature_age_max: AgeLimit,
    pub limits: Limits,
}

impl TamarindAccount {
    /// Signs with this account's secret: for samples.
    pub fn sign(&self, time: &str, body: &[u8]) -> String {
        super::sign(self.secret.expose_secret(), time, body)
    }
}

impl ProviderAccount for TamarindAccount {
    const PROVIDER: Provider = Provider::Tamarind;

    fn key_names(&self) -> Vec<String> {
        vec!["secret".to_owned()]
    }

    fn summary(&self) -> String {
        "invented; no release knows it".to_owned()
    }

    fn exchanges_codes(&self) -> bool {
        false
    }

    fn signed(&self, received: &Received<'_>) -> Result<Signed, Refusal> {
        let (signature, time) = (received.header(SIGNATURE, 64)?, received.header(TIME, 16)?);
        let digest =
            digest(signature).ok_or_else(|| Refusal::malformed("the signature is not 64 hexadecimal digits"))?;
        let holds = hmac::Mac::verify_slice(mac(self.secret.expose_secret(), time, received.body), &digest);
        holds.map_err(|_| Refusal::not_genuine("the signature does not hold"))?;
        let seconds = time.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        Ok(Signed {
            by: "secret".to_owned(),
            at: seconds.and_then(keepable_time),
            path: String::new(),
            headers: [(SIGNATURE, signature), (TIME, time)].map(|(name, value)| (name.into(), value.into())).to_vec(),
            before_body: format!("{time}.").into_bytes(),
        })
    }

    fn read(&self, body: &[u8]) -> Result<Meaning, Refusal> {
        read_notification(body)
    }

    fn traces(&self, _: &Received<'_>) -> Traces {
        Traces { headers: &[SIGNATURE, TIME], signed_at: None, attempts: Vec::new(), guesses: Vec::new() }
    }

    async fn ask(&self, http: &Http, payment: &PaymentId, now: Timestamp) -> Result<PaymentFacts, AskError> {
        let Some(token) = &self.token else {
            return Err(AskError::Misconfigured { what: "token is missing".to_owned() });
        };
        let url = format!("{}/tamarind/payments/{}", self.api, path_segment(payment.as_str()));
        let request = http.client.get(url).bearer_auth(token.expose_secret());
        let HttpAnswer { status, headers, body } = send(http, request, ANSWER_BYTES_MAX).await?;
        match status {
            StatusCode::OK => read_payment(&body, payment, now),
            StatusCode::UNAUTHORIZED => Err(AskError::Misconfigured { what: "the token is wrong".to_owned() }),
            StatusCode::NOT_FOUND => Err(AskError::NotThere { code: "not_found".to_owned() }),
            StatusCode::TOO_MANY_REQUESTS => Err(throttled(&headers, now)),
            status => Err(AskError::unavailable(format!("Tamarind send {status}"))),
        }
    }

    async fn ask_refund(&self, _: &Http, _: &RefundId, _: Timestamp) -> Result<RefundAnswer, AskError> {
        Err(AskError::not_offered("Tamarind has no inquiry for refunds"))
    }

    async fn apply_token(&self, _: &Http, _: &Wallet, _: Grant<'_>, _: Timestamp) -> Result<IssuedToken, AskError> {
        Err(AskError::not_offered("Tamarind has no tokens to apply for"))
    }

    async fn events(&self, _: &Http, _: (Timestamp, Timestamp), _: u32, _: Timestamp) -> Result<EventsPage, AskError> {
        Err(AskError::not_offered("Tamarind has no list of events"))
    }
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let pairs = hex.as_bytes().chunks(2);
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// Reads `[tamarind.<account>]`.
pub(super) fn take(name: AccountName, section: &mut dyn Section) -> Option<Account> {
    let api = section.api("https://api.tamarind.example");
    let secret = section.text("secret");
    let secret = section.required("secret", secret, "the secret that signs notifications");
    let mut token = None;
    section.own_secret("token", "the token of the API, or token_file", &mut |text| {
        token = Some(text);
        Ok(())
    });
    let signature_age_max = section.age_limit();
    let limits = section.limits(Limits { parallel: 4, requests_per_s: None });
    Some(Account::Tamarind(TamarindAccount {
        name,
        api: api?,
        secret: secret?.into(),
        token,
        signature_age_max: signature_age_max?,
        limits,
    }))
}
