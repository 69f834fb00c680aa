use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use payhook_schema::{AccountName, AuthState, Money, PaymentId, Provider, Wallet};
use reqwest::Method;
use serde_json::{Value, json};

use crate::api::{Api, query};
use crate::cli::{ConsoleAddress, JsonOutput};

/// The longest time the story waits for each step it tells of.
const WITHIN: Duration = Duration::from_secs(15);

/// The merchant's program: registers orders and reads what became of them.
pub(crate) struct Merchant {
    api: Api,
    account: AccountName,
}

impl Merchant {
    pub(super) fn new(console: SocketAddr, account: AccountName) -> anyhow::Result<Self> {
        let address =
            ConsoleAddress { url: Some(format!("http://{console}")), token: None, output: JsonOutput { json: false } };
        Ok(Self { api: Api::open(None, &address)?, account })
    }

    pub(super) async fn registers(
        &self,
        order: &str,
        amount: Money,
        provider: Provider,
        payment: &PaymentId,
    ) -> anyhow::Result<()> {
        let body = json!({
            "amount_minor": amount.amount_minor,
            "currency": amount.currency,
            "payments": [{ "provider": provider, "account": self.account, "id": payment }],
        });
        self.api.call(Method::PUT, &format!("/v1/orders/{order}"), Some(body)).await?;
        Ok(())
    }

    /// Registers a customer's consent, before the customer is asked for it.
    pub(super) async fn registers_authorization(
        &self,
        id: &str,
        auth_state: &AuthState,
        wallet: &Wallet,
    ) -> anyhow::Result<()> {
        let body = json!({ "account": self.account, "auth_state": auth_state, "customer_belongs_to": wallet });
        self.api.call(Method::PUT, &format!("/v1/authorizations/{id}"), Some(body)).await?;
        Ok(())
    }

    /// The token to charge the customer with.
    pub(super) async fn reads_token(&self, id: &str) -> anyhow::Result<Option<String>> {
        let found = self.api.call(Method::POST, &format!("/v1/authorizations/{id}/token"), None).await?;
        Ok(found.and_then(|found| found["access_token"].as_str().map(str::to_owned)))
    }

    /// Waits until the authorization is in `state` and the merchant was told exactly `events`.
    pub(super) async fn sees_authorization(&self, id: &str, state: &str, events: &[&str]) -> anyhow::Result<()> {
        self.watches(async || {
            let found = self.api.call(Method::GET, &format!("/v1/authorizations/{id}"), None).await?;
            let (found, told) = (found.unwrap_or_default(), self.events(id).await?);
            if found["state"] == state && told == events {
                return Ok(());
            }
            bail!("{id} is {} with events {told:?}, not {state} with {events:?}", found["state"])
        })
        .await
    }

    pub(super) async fn order(&self, order: &str) -> anyhow::Result<Value> {
        let found = self.api.call(Method::GET, &format!("/v1/orders/{order}"), None).await?;
        found.with_context(|| format!("order {order} is not there"))
    }

    /// Replays the open dead letters of one cause, or asks what that would change.
    pub(super) async fn replays(&self, cause: &str, plan: bool) -> anyhow::Result<Value> {
        let body = json!({ "filter": { "cause": cause }, "plan": plan, "reason": "Omise is back" });
        let answer = self.api.call(Method::POST, "/v1/dead-letters/replay", Some(body)).await?;
        answer.context("there is no such route")
    }

    pub(super) async fn timeline(&self, order: &str) -> anyhow::Result<Vec<Value>> {
        let found = self.api.call(Method::GET, &format!("/v1/orders/{order}/timeline"), None).await?;
        Ok(found.and_then(|mut found| found["timeline"].as_array_mut().map(std::mem::take)).unwrap_or_default())
    }

    pub(super) async fn orders(&self) -> anyhow::Result<Vec<Value>> {
        let found = self.api.call(Method::GET, "/v1/orders", None).await?;
        Ok(found.and_then(|mut found| found["orders"].as_array_mut().map(std::mem::take)).unwrap_or_default())
    }

    /// The events of one order or authorization, in feed order, by the last words of their types.
    pub(super) async fn events(&self, order: &str) -> anyhow::Result<Vec<String>> {
        let path = format!("/v1/events{}", query(&[("limit", Some("500".to_owned()))]));
        let found = self.api.call(Method::GET, &path, None).await?.unwrap_or_default();
        let events = found["events"].as_array().cloned().unwrap_or_default();
        let of_order = events.iter().filter(|event| event["subject"] == order);
        let types = of_order.filter_map(|event| event["type"].as_str());
        Ok(types.map(|it| it.trim_start_matches("payhook.").trim_end_matches(".v1").to_owned()).collect())
    }

    pub(super) async fn dead_letters(&self) -> anyhow::Result<Vec<Value>> {
        let found = self.api.call(Method::GET, "/v1/dead-letters", None).await?;
        Ok(found.and_then(|mut found| found["dead_letters"].as_array_mut().map(std::mem::take)).unwrap_or_default())
    }

    /// Waits until the order is in `state` and fulfilment was told exactly `events`; fails with what it saw instead.
    pub(super) async fn sees(&self, order: &str, state: &str, events: &[&str]) -> anyhow::Result<Value> {
        self.watches(async || {
            let (found, told) = (self.order(order).await?, self.events(order).await?);
            if found["state"] == state && told == events {
                return Ok(found);
            }
            bail!("{order} is {} with events {told:?}, not {state} with {events:?}", found["state"])
        })
        .await
    }

    /// Tries until it holds; fails with the last reason why not.
    pub(super) async fn watches<T>(&self, look: impl AsyncFn() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let deadline = tokio::time::Instant::now() + WITHIN;
        loop {
            match look().await {
                Ok(seen) => return Ok(seen),
                Err(not_yet) if tokio::time::Instant::now() >= deadline => return Err(not_yet),
                Err(_) => tokio::time::sleep(Duration::from_millis(25)).await,
            }
        }
    }
}
