//! Names the accidents that happen to Omise's requests on their way.

use jiff::Timestamp;
use serde::Deserialize;

use super::TIMESTAMP_CHARS_MAX;
use crate::diagnose::{AS_IT_CAME, Cause, Traces};
use crate::{OmiseAccount, Received};

const HEADERS: &[&str] = &["omise-signature", "omise-signature-timestamp"];

pub(super) fn traces(account: &OmiseAccount, received: &Received<'_>) -> Traces {
    let timestamp = received.header(HEADERS[1], TIMESTAMP_CHARS_MAX).ok();
    Traces {
        headers: HEADERS,
        signed_at: timestamp.and_then(|text| Timestamp::from_second(text.parse().ok()?).ok()),
        attempts: Vec::new(),
        guesses: guesses(account, received),
    }
}

fn guesses(account: &OmiseAccount, received: &Received<'_>) -> Vec<Cause> {
    #[derive(Deserialize)]
    struct Mode {
        livemode: bool,
    }
    let mut causes = Vec::new();
    if let Err(refusal) = super::headers(received) {
        let advice = "let the proxy hand on both headers unchanged; Omise sends 64 hexadecimal digits and Unix seconds";
        causes.push(Cause::proven("header_malformed", refusal.why(), advice));
    }
    let livemode = serde_json::from_slice(received.body).ok().map(|Mode { livemode }| livemode);
    if livemode.is_some_and(|livemode| livemode != account.livemode) {
        let (word, what) = match account.livemode {
            false => ("live_at_test", "the event is of live mode, and this account of test mode"),
            true => ("test_at_live", "the event is of test mode, and this account of live mode"),
        };
        let advice = "give test and live mode an account and a URL each: their secrets are their own";
        causes.push(Cause::proven(word, what, advice));
    }
    if account.webhook_secrets.is_empty() {
        let advice = "configure the secret as the dashboard shows it, in base64";
        causes.push(Cause::likely("no_secret_configured", "this account has no webhook secret configured", advice));
    }
    if livemode.is_some() && !received.body.trim_ascii().contains(&b'\n') {
        let what = "the body is on one line, and Omise prints its JSON over several: something printed it again";
        causes.push(Cause::likely("json_reprinted", what, AS_IT_CAME));
    }
    causes
}
