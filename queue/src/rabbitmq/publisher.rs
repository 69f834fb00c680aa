//! Confirmed publishes: a pool of channels, one publish in flight on each. With more than one, lapin pairs a returned
//! message with some confirm and not with its own, and an unroutable message is reported as safe.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use metrics::{counter, histogram};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::evidence::Evidence;
use super::failure::Failure;
use super::supervisor::{Live, Supervisor};
use crate::Routed;

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
enum Confirmed {
    Taken,
    /// No queue takes it; why, in the broker's words.
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
    ) -> Result<(), Failure> {
        let published = match self.confirmed(exchange, key, properties, bytes).await {
            Ok(Confirmed::Taken) => Ok(()),
            Ok(Confirmed::Returned(why)) => {
                counter!("payhook_queue_returned_total").increment(1);
                let what = format!("nothing takes what is published to `{exchange}`: {why}");
                Err(Failure::misconfigured(what))
            }
            Err(failure) => Err(failure),
        };
        match &published {
            Ok(()) => self.evidence.confirmed(exchange),
            Err(failure) => self.evidence.failed(exchange, failure),
        }
        published
    }

    /// The same where it may be that no queue wants it.
    pub(super) async fn offer(
        &self,
        exchange: &str,
        key: &str,
        properties: BasicProperties,
        bytes: &[u8],
    ) -> Result<Routed, Failure> {
        match self.confirmed(exchange, key, properties, bytes).await {
            Ok(confirmed) => {
                self.evidence.confirmed(exchange);
                Ok(match confirmed {
                    Confirmed::Taken => Routed::Taken,
                    Confirmed::Returned(_) => Routed::Unwanted,
                })
            }
            Err(failure) => {
                self.evidence.failed(exchange, &failure);
                Err(failure)
            }
        }
    }

    async fn confirmed(
        &self,
        exchange: &str,
        key: &str,
        properties: BasicProperties,
        bytes: &[u8],
    ) -> Result<Confirmed, Failure> {
        let until = Instant::now() + self.deadline;
        // Others that are ready come this far first: what is then published in one go leaves in few writes to the socket.
        tokio::task::yield_now().await;
        let live = self.supervisor.live(until).await?;
        if live.is_blocked() {
            return Err(Failure::blocked());
        }
        let permit = match timeout_at(until, self.permits.acquire()).await {
            Ok(permit) => permit.map_err(|_| Failure::unavailable("it was closed"))?,
            Err(_) => return Err(Failure::unavailable(format!("no free channel within {:?}", self.deadline))),
        };
        // The connection may have been lost and made again while we waited for our turn.
        let live = if live.gone().is_cancelled() { self.supervisor.live(until).await? } else { live };
        let began = Instant::now();
        let sent = tokio::select! {
            biased;
            sent = timeout(self.deadline, self.publish_on(&live, exchange, key, properties, bytes)) => sent,
            // What lapin holds while blocked it sends later, even if we gave up: better not to give it more.
            () = live.blocked() => return Err(Failure::blocked()),
            // The error that ended the connection is in the log; this publish may or may not have been stored.
            () = live.gone().cancelled() => return Err(Failure::unavailable("the connection was lost")),
        };
        let Ok(outcome) = sent else {
            live.give_up_unless_blocked();
            return Err(Failure::late(&format!("confirm a publish to `{exchange}`"), self.deadline));
        };
        // A confirm, with or without a return before it, leaves a channel with nothing in flight; with any other outcome it is dropped.
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
    ) -> Result<(Channel, Confirmed), Failure> {
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
            Ok(Confirmation::Nack(_)) => Err(Failure::full()),
            Ok(Confirmation::NotRequested) => Err(Failure::misconfigured("the channel confirms nothing")),
            Err(error) => {
                live.check();
                Err(Failure::of(&doing(), error))
            }
        }
    }

    /// A free channel of this connection. Those of a lost one are dropped on the way.
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

async fn open(live: &Live) -> Result<Channel, Failure> {
    let channel = live.channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(|error| {
        live.check();
        Failure::of("switch confirms on", error)
    })?;
    Ok(channel)
}
