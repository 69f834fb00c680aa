//! The merchant's program of the demo: registers orders and authorizations, and reads their state through the API.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use payhook_console::api::{
    AuthorizationRegistration, AuthorizationView, DeadLetterPage, DeadLetterView, FilterRequest, OrderPage,
    OrderTimeline, OrderView, ReplayAnswer, ReplayRequest, TimelineView,
};
use payhook_schema::{
    AccountName, AuthState, AuthorizationState, DeadCause, Money, OrderState, PaymentId, PaymentKey, Provider, Wallet,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::Api;
use crate::cli::{ConsoleAddress, JsonOutput};
use crate::order::registration;

/// The longest time the story waits for each step.
const WITHIN: Duration = Duration::from_secs(15);

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

    async fn read<T: DeserializeOwned>(&self, path: &[&str]) -> anyhow::Result<T> {
        let found = self.api.get::<T>(path, &()).await?;
        Ok(found.with_context(|| format!("{} is not there", path.join("/")))?.view)
    }

    pub(super) async fn registers(
        &self,
        order: &str,
        amount: Money,
        provider: Provider,
        payment: &PaymentId,
    ) -> anyhow::Result<()> {
        let payment = PaymentKey { provider, account: self.account.clone(), id: payment.clone() };
        let body = registration(amount, vec![payment], Vec::new());
        self.api.put::<OrderView>(&["orders", order], &body).await?;
        Ok(())
    }

    /// Registers a customer's consent, before the customer is asked for it.
    pub(super) async fn registers_authorization(
        &self,
        id: &str,
        auth_state: AuthState,
        customer_belongs_to: Wallet,
    ) -> anyhow::Result<()> {
        let body = AuthorizationRegistration { account: self.account.clone(), auth_state, customer_belongs_to };
        self.api.put::<AuthorizationView>(&["authorizations", id], &body).await?;
        Ok(())
    }

    /// The token to charge the customer with.
    pub(super) async fn reads_token(&self, id: &str) -> anyhow::Result<Option<String>> {
        let found = self.api.post::<Value>(&["authorizations", id, "token"], &()).await?;
        Ok(found.and_then(|found| found.json["access_token"].as_str().map(str::to_owned)))
    }

    /// Waits until the authorization is in `state` and exactly `events` were published.
    pub(super) async fn sees_authorization(
        &self,
        id: &str,
        state: AuthorizationState,
        events: &[&str],
    ) -> anyhow::Result<()> {
        self.watches(async || {
            let now = self.read::<AuthorizationView>(&["authorizations", id]).await?.state;
            let published = self.events(id).await?;
            match now == state && published == events {
                true => Ok(()),
                false => bail!("{id} is {now} with events {published:?}, not {state} with {events:?}"),
            }
        })
        .await
    }

    pub(super) async fn order(&self, order: &str) -> anyhow::Result<OrderView> {
        self.read(&["orders", order]).await
    }

    /// Replays the open dead letters of one cause, or plans that.
    pub(super) async fn replays(&self, cause: DeadCause, plan: bool) -> anyhow::Result<ReplayAnswer> {
        let filter = FilterRequest { cause: Some(cause), ..FilterRequest::default() };
        let reason = "Omise is back".to_owned();
        let body = ReplayRequest { filter, plan, reason, rate_per_s: None, canary: None, limit: None };
        let answer = self.api.post(&["dead-letters", "replay"], &body).await?;
        Ok(answer.context("there is no such route")?.view)
    }

    pub(super) async fn timeline(&self, order: &str) -> anyhow::Result<Vec<TimelineView>> {
        Ok(self.read::<OrderTimeline>(&["orders", order, "timeline"]).await?.timeline)
    }

    pub(super) async fn orders(&self) -> anyhow::Result<Vec<OrderView>> {
        Ok(self.read::<OrderPage>(&["orders"]).await?.orders)
    }

    /// The events of one order or authorization, in feed order, by the last words of their types.
    pub(super) async fn events(&self, subject: &str) -> anyhow::Result<Vec<String>> {
        let found = self.api.get::<Value>(&["events"], &[("limit", 500)]).await?.context("there is no feed")?;
        let events = found.json["events"].as_array().into_iter().flatten().filter(|event| event["subject"] == subject);
        let types = events.filter_map(|event| event["type"].as_str());
        Ok(types.map(|it| it.trim_start_matches("payhook.").trim_end_matches(".v1").to_owned()).collect())
    }

    pub(super) async fn dead_letters(&self) -> anyhow::Result<Vec<DeadLetterView>> {
        Ok(self.read::<DeadLetterPage>(&["dead-letters"]).await?.dead_letters)
    }

    /// Waits until the order is in `state` and exactly `events` were published; fails with the last state it saw.
    pub(super) async fn sees(&self, id: &str, state: OrderState, events: &[&str]) -> anyhow::Result<OrderView> {
        self.watches(async || {
            let (order, published) = (self.order(id).await?, self.events(id).await?);
            match order.state == state && published == events {
                true => Ok(order),
                false => bail!("{id} is {} with events {published:?}, not {state} with {events:?}", order.state),
            }
        })
        .await
    }

    /// Looks until it succeeds; fails with the last error.
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
