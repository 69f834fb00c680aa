//! Answers for an account with Omise what payhook asks of every provider's.

use jiff::Timestamp;
use payhook_schema::{AccountName, PaymentFacts, PaymentId, Provider, RefundId, Wallet, keepable_time};
use secrecy::{ExposeSecret, SecretString};

use super::call::get;
use super::list::{PAGE_BYTES_MAX, events_path, read_events};
use super::{WebhookSecret, event};
use crate::account::ProviderAccount;
use crate::client::AskError;
use crate::diagnose::Traces;
use crate::meaning::Meaning;
use crate::request::Signed;
use crate::transport::{ANSWER_BYTES_MAX, Http, path_segment};
use crate::{Account, AgeLimit, EventsPage, Grant, IssuedToken, Limits, Received, RefundAnswer, Refusal, Section};

/// An account with Omise.
#[derive(Debug)]
pub struct OmiseAccount {
    pub name: AccountName,
    pub livemode: bool,
    pub api: String,
    /// Ours, for asking. Absent where nobody asks.
    pub secret_key: Option<SecretString>,
    /// Current and previous.
    pub webhook_secrets: Vec<WebhookSecret>,
    pub signature_age_max: AgeLimit,
    pub limits: Limits,
}

impl ProviderAccount for OmiseAccount {
    const PROVIDER: Provider = Provider::Omise;

    fn key_names(&self) -> Vec<String> {
        self.webhook_secrets.iter().map(WebhookSecret::name).collect()
    }

    fn summary(&self) -> String {
        let mode = if self.livemode { "live" } else { "test" };
        format!("{mode} mode, {} webhook secret(s)", self.webhook_secrets.len())
    }

    fn exchanges_codes(&self) -> bool {
        false
    }

    /// No path is signed.
    ///
    /// # Source
    /// "Webhooks", docs.omise.co/api-webhooks, and twelve integrations that agree, read 2026-11-21;
    /// `docs/providers/omise.md#signing`.
    fn signed(&self, received: &Received<'_>) -> Result<Signed, Refusal> {
        let (header, timestamp, candidates) = super::headers(received)?;
        let mut held = None;
        for secret in &self.webhook_secrets {
            // No early exit: how long this takes says nothing about which secret or candidate held.
            if secret.holds_any(timestamp, received.body, &candidates) {
                held = Some(secret);
            }
        }
        let secret = held.ok_or_else(|| Refusal::not_genuine("the signature does not hold"))?;
        let headers = [("omise-signature", header), ("omise-signature-timestamp", timestamp)];
        Ok(Signed {
            by: secret.name(),
            at: timestamp.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).and_then(keepable_time),
            path: String::new(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            before_body: format!("{timestamp}.").into_bytes(),
        })
    }

    fn read(&self, body: &[u8]) -> Result<Meaning, Refusal> {
        let event = event::read(body, self.livemode)?;
        Ok(Meaning { kind: event.kind, about: event.about, idempotency_key: event.event_id })
    }

    fn traces(&self, received: &Received<'_>) -> Traces {
        super::diagnose::traces(self, received)
    }

    /// `GET /charges/{id}` at a pinned version.
    async fn ask(&self, http: &Http, payment: &PaymentId, now: Timestamp) -> Result<PaymentFacts, AskError> {
        let path = format!("/charges/{}", path_segment(payment.as_str()));
        let charge = get(http, self, &path, ANSWER_BYTES_MAX, now).await?;
        super::read_charge(&charge, payment, self.livemode, now)
    }

    async fn ask_refund(&self, _: &Http, _: &RefundId, _: Timestamp) -> Result<RefundAnswer, AskError> {
        Err(AskError::not_offered("Omise has no inquiry for refunds"))
    }

    async fn apply_token(&self, _: &Http, _: &Wallet, _: Grant<'_>, _: Timestamp) -> Result<IssuedToken, AskError> {
        Err(AskError::not_offered("Omise has no tokens to apply for"))
    }

    async fn events(
        &self,
        http: &Http,
        (from, to): (Timestamp, Timestamp),
        offset: u32,
        now: Timestamp,
    ) -> Result<EventsPage, AskError> {
        let page = get(http, self, &events_path(from, to, offset), PAGE_BYTES_MAX, now).await?;
        read_events(&page, offset, self.livemode)
    }
}

/// Reads `[omise.<account>]`.
pub(super) fn take(name: AccountName, section: &mut dyn Section) -> Option<Account> {
    let livemode = section.parsed("livemode");
    let livemode = section.required("livemode", livemode, "true or false");
    let mut secret_key = None;
    section.own_secret("secret_key", "skey_…, or secret_key_file", &mut |text| match text.expose_secret() {
        key if !key.starts_with("skey_") => Err("a secret key begins with skey_".to_owned()),
        key if livemode.is_some_and(|livemode| key.starts_with("skey_test_") == livemode) => {
            Err("secret_key and livemode disagree: test keys begin with skey_test_".to_owned())
        }
        _ => {
            secret_key = Some(text);
            Ok(())
        }
    });
    let api = section.api("https://api.omise.co");
    let webhook_secrets = webhook_secrets(section);
    let signature_age_max = section.age_limit();
    let limits = section.limits(Limits::OMISE);
    Some(Account::Omise(OmiseAccount {
        name,
        livemode: livemode?,
        api: api?,
        secret_key,
        webhook_secrets: webhook_secrets?,
        signature_age_max: signature_age_max?,
        limits,
    }))
}

/// Reads the webhook secrets: at least one, or nothing could ever be verified.
fn webhook_secrets(section: &mut dyn Section) -> Option<Vec<WebhookSecret>> {
    let mut texts = section.texts("webhook_secrets");
    if let Some(file) = section.text("webhook_secrets_file") {
        let lines = section.file("webhook_secrets_file", &file)?;
        texts.extend(lines.lines().map(str::to_owned));
    }
    let texts = (!texts.is_empty()).then_some(texts);
    let texts = section.required("webhook_secrets", texts, "the secrets of Omise's webhook settings")?;
    let mut secrets = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match WebhookSecret::parse(text) {
            Ok(secret) => secrets.push(secret),
            Err(error) => section.mistake(format!("{}.webhook_secrets[{index}]: {error}", section.name())),
        }
    }
    (!secrets.is_empty()).then_some(secrets)
}
