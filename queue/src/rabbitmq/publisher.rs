//! Publishes and waits for the broker's confirm: a pool of channels, one publish in flight on each. With more than one,
//! lapin pairs a returned message with some confirm and not with its own, and an unroutable message is reported as
//! safe.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use metrics::{counter, histogram};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::evidence::Evidence;
use super::failure::RabbitFailure;
use super::supervisor::{Live, Supervisor};

/// Most channels a publisher may have: RabbitMQ's own limit is 2047 a connection, and questions take some.
const CHANNELS_MAX: u16 = 2000;

pub(super) struct Publisher {
    supervisor: Arc<Supervisor>,
    /// A permit for each channel we may have; holding one is the right to take a free channel or to open another.
    permits: Semaphore,
    channels_max: u32,
    /// Channels in confirm mode with nothing in flight, and the connection they are on.
    free: Mutex<Vec<(Arc<Live>, Channel)>>,
    deadline: Duration,
    evidence: Evidence,
}

/// The broker's answer to a publish that it confirmed.
pub(super) enum Confirmed {
    Taken,
    /// No queue takes it; the reason in the broker's words.
    Returned(String),
}

impl Publisher {
    pub(super) fn new(supervisor: Arc<Supervisor>, channels: u16, deadline: Duration) -> Self {
        let channels = channels.clamp(1, CHANNELS_MAX);
        let permits = Semaphore::new(channels.into());
        Self {
            supervisor,
            permits,
            channels_max: channels.into(),
            free: Mutex::default(),
            deadline,
            evidence: Evidence::default(),
        }
    }

    pub(super) fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Returns once the broker said that the message is replicated and synced. Anything else is an error, and unknown.
    pub(super) async fn publish(
        &self,
        exchange: &str,
        key: &str,
        properties: BasicProperties,
        bytes: &[u8],
    ) -> Result<(), RabbitFailure> {
        match self.offer(exchange, key, properties, bytes).await? {
            Confirmed::Taken => Ok(()),
            Confirmed::Returned(why) => {
                counter!("payhook_queue_returned_total").increment(1);
                let what = format!("no queue takes what is published to `{exchange}`: {why}");
                let failure = RabbitFailure::misconfigured(what);
                self.evidence.failed(exchange, &failure);
                Err(failure)
            }
        }
    }

    /// The same where the broker may say that no queue wants it, which is no failure.
    pub(super) async fn offer(
        &self,
        exchange: &str,
        key: &str,
        properties: BasicProperties,
        bytes: &[u8],
    ) -> Result<Confirmed, RabbitFailure> {
        let confirmed = self.confirmed(exchange, key, properties, bytes).await;
        match &confirmed {
            Ok(_) => self.evidence.confirmed(exchange),
            Err(failure) => self.evidence.failed(exchange, failure),
        }
        confirmed
    }

    async fn confirmed(
        &self,
        exchange: &str,
        key: &str,
        properties: BasicProperties,
        bytes: &[u8],
    ) -> Result<Confirmed, RabbitFailure> {
        let until = Instant::now() + self.deadline;
        // Others that are ready come this far first: they are then published in one go, with few writes to the socket.
        tokio::task::yield_now().await;
        let live = self.supervisor.live(until).await?;
        if live.is_blocked() {
            return Err(RabbitFailure::blocked());
        }
        let permit = match timeout_at(until, self.permits.acquire()).await {
            Ok(permit) => permit.map_err(|_| RabbitFailure::unavailable("it was closed"))?,
            Err(_) => return Err(RabbitFailure::unavailable(format!("no free channel within {:?}", self.deadline))),
        };
        // The connection may have been lost and made again while we waited for our turn.
        let live = if live.gone().is_cancelled() { self.supervisor.live(until).await? } else { live };
        let began = Instant::now();
        let sent = tokio::select! {
            biased;
            sent = timeout(self.deadline, self.publish_on(&live, exchange, key, properties, bytes)) => sent,
            // While blocked, lapin holds what it is given and sends it later, even if we gave up: give it no more.
            () = live.blocked() => return Err(RabbitFailure::blocked()),
            // The error that ended the connection is in the log; this publish may or may not have been stored.
            () = live.gone().cancelled() => return Err(RabbitFailure::unavailable("the connection was lost")),
        };
        let Ok(outcome) = sent else {
            live.give_up_unless_blocked();
            return Err(RabbitFailure::late(&format!("confirm a publish to `{exchange}`"), self.deadline));
        };
        // A confirm, with or without a return before it, leaves a channel with nothing in flight; with any other
        // outcome it is dropped.
        let (channel, confirmed) = outcome?;
        histogram!("payhook_queue_publish_seconds").record(began.elapsed());
        self.lock_free().push((live, channel));
        drop(permit);
        Ok(confirmed)
    }

    async fn publish_on(
        &self,
        live: &Arc<Live>,
        exchange: &str,
        key: &str,
        properties: BasicProperties,
        bytes: &[u8],
    ) -> Result<(Channel, Confirmed), RabbitFailure> {
        let channel = match self.free_channel(live) {
            Some(channel) => channel,
            None => open(live).await?,
        };
        let mandatory = BasicPublishOptions { mandatory: true, immediate: false };
        let doing = || format!("take a publish to `{exchange}`");
        let sent = channel.basic_publish(exchange.into(), key.into(), mandatory, bytes, properties).await;
        let confirmed = match sent {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
        match confirmed {
            Ok(Confirmation::Ack(None)) => Ok((channel, Confirmed::Taken)),
            Ok(Confirmation::Ack(Some(returned))) => {
                Ok((channel, Confirmed::Returned(returned.reply_text.as_str().to_owned())))
            }
            Ok(Confirmation::Nack(_)) => Err(RabbitFailure::full()),
            Ok(Confirmation::NotRequested) => Err(RabbitFailure::misconfigured("the channel confirms nothing")),
            Err(error) => {
                live.check();
                Err(RabbitFailure::of(&doing(), error))
            }
        }
    }

    /// Returns a free channel of this connection, and drops those of a lost one.
    fn free_channel(&self, live: &Arc<Live>) -> Option<Channel> {
        let mut free = self.lock_free();
        while let Some((of, channel)) = free.pop() {
            if Arc::ptr_eq(&of, live) && channel.status().connected() {
                return Some(channel);
            }
        }
        None
    }

    fn lock_free(&self) -> std::sync::MutexGuard<'_, Vec<(Arc<Live>, Channel)>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for what is in flight, up to the deadline, and takes nothing new.
    pub(super) async fn close(&self) {
        let _ = timeout(self.deadline, self.permits.acquire_many(self.channels_max)).await;
        self.permits.close();
        self.lock_free().clear();
    }
}

async fn open(live: &Live) -> Result<Channel, RabbitFailure> {
    let channel = live.channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(|error| {
        live.check();
        RabbitFailure::of("switch confirms on", error)
    })?;
    Ok(channel)
}
