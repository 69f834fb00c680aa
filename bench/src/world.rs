//! The payments of a run: their notifications, signed beforehand, and what the provider will answer about them.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use payhook_provider::{Accounts, Received, antom, verify};
use payhook_schema::{AccountName, Clock, Envelope, Money, PaymentId, Provider, new_id};
use payhook_simulator::{AntomKind, AntomStatus, Keys, Options, SignedRequest, Simulator, sample};

use crate::http;

/// The amount of every order.
pub(crate) const AMOUNT: &str = "120.00 THB";

/// Both providers and the merchant between them: made once, before anything is measured.
pub(crate) struct BenchWorld {
    simulator: Simulator,
    pub(crate) account: AccountName,
    accounts: Accounts,
    amount: Money,
}

/// Payments of one provider, everything about them lying ready.
pub(crate) struct SignedPayments {
    pub(crate) provider: Provider,
    pub(crate) ids: Vec<PaymentId>,
    /// As they go over the wire to ingress.
    pub(crate) requests: Arc<Vec<Vec<u8>>>,
    /// As they go over the queue.
    pub(crate) envelopes: Vec<Envelope>,
    /// The provider's answers about them, as they go over the wire.
    pub(crate) answers: Arc<HashMap<Vec<u8>, Vec<u8>>>,
}

struct One {
    id: PaymentId,
    request: Vec<u8>,
    envelope: Envelope,
    answer: Vec<u8>,
}

impl BenchWorld {
    pub(crate) async fn new() -> Result<Self> {
        let simulator = Simulator::start(Options::default()).await?;
        let account = AccountName::new("shop")?;
        let accounts = simulator.accounts(&account);
        Ok(Self { simulator, account, accounts, amount: AMOUNT.parse()? })
    }

    pub(crate) fn keys(&self) -> &Keys {
        self.simulator.keys()
    }

    /// The accounts' tables of a configuration whose providers answer at `api`.
    pub(crate) fn accounts_toml(&self, api: &str) -> String {
        self.simulator.config_toml(&self.account).replace(&self.simulator.url(), api)
    }

    /// Makes `count` paid payments, on all cores.
    pub(crate) fn payments(&self, provider: Provider, count: usize) -> Result<SignedPayments> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let numbers: Vec<usize> = (0..count).collect();
        let all = std::thread::scope(|scope| {
            let parts = numbers.chunks(count.div_ceil(threads).max(1));
            let running: Vec<_> = parts
                .map(|part| scope.spawn(|| part.iter().map(|&number| self.one(provider, number)).collect()))
                .collect();
            let parts: Result<Vec<Vec<One>>> =
                running.into_iter().map(|part| part.join().expect("signing does not panic")).collect();
            parts
        })?;
        let all: Vec<One> = all.into_iter().flatten().collect();
        let ids = all.iter().map(|one| one.id.clone()).collect();
        let answers = all.iter().map(|one| (one.id.as_str().as_bytes().to_vec(), one.answer.clone())).collect();
        let (requests, envelopes) = all.into_iter().map(|one| (one.request, one.envelope)).unzip();
        Ok(SignedPayments { provider, ids, requests: Arc::new(requests), envelopes, answers: Arc::new(answers) })
    }

    fn one(&self, provider: Provider, number: usize) -> Result<One> {
        let (id, request, answer) = if provider == Provider::Antom { self.by_antom(number)? } else { self.by_omise()? };
        let envelope = self.envelope(provider, &request)?;
        let request = http::post(&request.path, &request.headers, &request.body);
        Ok(One { id, request, envelope, answer })
    }

    fn by_antom(&self, number: usize) -> Result<(PaymentId, SignedRequest, Vec<u8>)> {
        let id = PaymentId::new(format!("BENCH-2026-{number:08}"))?;
        let antom = self.simulator.antom();
        antom.create(&id, self.amount);
        antom.decide(&id, AntomStatus::Success)?;
        let request = antom.signed("http://127.0.0.1", &self.account, &id, AntomKind::State)?;
        let body = serde_json::to_vec(&antom.payment(&id)?)?;
        antom.forget(&id);
        // Antom signs its answers as it signs its requests, with the time under another name.
        let path = antom::api_path(true, antom::INQUIRY_PAYMENT);
        let keys = self.keys();
        let signed = sample::sign_antom(keys.antom(), 1, keys.client_id(), &path, Clock::system().now(), &body);
        let headers = signed.into_iter().map(|(name, value)| match name.as_str() {
            "request-time" => ("response-time".to_owned(), value),
            _ => (name, value),
        });
        Ok((id, request, answer(headers, &body)))
    }

    fn by_omise(&self) -> Result<(PaymentId, SignedRequest, Vec<u8>)> {
        let omise = self.simulator.omise();
        let id = omise.new_charge_id();
        omise.create(&id, self.amount);
        omise.pay(&id)?;
        let request = omise.signed("http://127.0.0.1", &self.account, &id, "charge.complete")?;
        let body = serde_json::to_vec(&omise.charge(&id)?)?;
        omise.forget(&id);
        let headers = [("content-type".to_owned(), "application/json; charset=utf-8".to_owned())];
        Ok((id, request, answer(headers.into_iter(), &body)))
    }

    /// The envelope that ingress would publish to the queue.
    fn envelope(&self, provider: Provider, request: &SignedRequest) -> Result<Envelope> {
        let mut headers = http_headers(&request.headers)?;
        headers.insert("host", "127.0.0.1".parse()?);
        let now: Timestamp = Clock::system().now();
        let received = Received {
            path: &request.path,
            query: None,
            headers: &headers,
            body: &request.body,
            at: now,
            id: new_id(now),
        };
        let account = self.accounts.get(provider, &self.account).context("both providers have the account")?;
        match verify(&account, &received) {
            Ok(notification) => Ok(Envelope::notification(notification)),
            Err(refusal) => bail!("our own notification was refused: {refusal}"),
        }
    }
}

fn http_headers(headers: &[(String, String)]) -> Result<::http::HeaderMap> {
    let mut map = ::http::HeaderMap::new();
    for (name, value) in headers {
        map.append(::http::HeaderName::from_bytes(name.as_bytes())?, value.parse()?);
    }
    Ok(map)
}

fn answer(headers: impl Iterator<Item = (String, String)>, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        answer.push_str(&format!("{name}: {value}\r\n"));
    }
    answer.push_str("\r\n");
    let mut answer = answer.into_bytes();
    answer.extend_from_slice(body);
    answer
}
