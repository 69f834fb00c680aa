//! The calls that were received, and the notifications that were sent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use axum::body::Body;
use axum::http::Response;
use jiff::Timestamp;
use payhook_schema::{PaymentId, Provider};
use serde::Serialize;

use crate::Fault;
use crate::faults::HangUp;
use crate::shared::SimulatorState;

/// The oldest entries go first; the counts go on.
const ENTRIES_MAX: usize = 100_000;

/// A call that a provider received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Call {
    /// From 1, per simulator.
    pub number: u64,
    pub provider: Provider,
    /// `inquiryPayment`, `inquiryRefund`, `applyToken`, `GET /charges/{id}`, `GET /events`.
    pub what: String,
    /// The payment or refund the call names, as it spells it; of a code or token, whose it is: its `authState`. Absent
    /// where it names nothing known or readable.
    pub about: Option<String>,
    pub at: Timestamp,
    /// The fault it met.
    pub fault: Option<String>,
    /// The answer: `200 S SUCCESS, paymentStatus SUCCESS`, `200 100 of 250 events, from offset 0`. Absent until it is
    /// answered.
    pub answered: Option<String>,
}

/// A notification that was sent, or that the simulator tried to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SentNotification {
    pub provider: Provider,
    /// The payment, refund, authorization or event it is about.
    pub about: String,
    pub url: String,
    pub at: Timestamp,
    /// The HTTP status it was answered with; absent when there was no answer.
    pub status: Option<u16>,
}

/// The calls this simulator received, and the notifications it sent.
#[derive(Clone)]
pub struct Journal(pub(crate) Arc<SimulatorState>);

impl Journal {
    /// Every call to `provider`, in order of arrival, whether or not it was answered.
    pub fn calls(&self, provider: Provider) -> Vec<Call> {
        self.0.journal().calls.iter().filter(|call| call.provider == provider).cloned().collect()
    }

    /// Every call, to either provider, that names this payment.
    pub fn calls_for(&self, payment: &PaymentId) -> Vec<Call> {
        let names = |call: &&Call| call.about.as_deref() == Some(payment.as_str());
        self.0.journal().calls.iter().filter(names).cloned().collect()
    }

    /// The most calls `provider` ever had open at one time.
    pub fn in_flight_max(&self, provider: Provider) -> u64 {
        self.0.journal().of(provider).in_flight_max
    }

    /// Every notification, in the order their answers came.
    pub fn notifications(&self) -> Vec<SentNotification> {
        self.0.journal().sent.iter().cloned().collect()
    }

    /// Forgets all of it, also the highest count; calls that are open stay counted as open.
    pub fn clear(&self) {
        let mut entries = self.0.journal();
        entries.calls.clear();
        entries.sent.clear();
        for provider in Provider::ALL {
            let counts = entries.of(*provider);
            counts.in_flight_max = counts.in_flight;
        }
    }
}

#[derive(Default)]
pub(crate) struct Entries {
    calls: VecDeque<Call>,
    sent: VecDeque<SentNotification>,
    last_number: u64,
    counts: BTreeMap<Provider, CallCounts>,
}

#[derive(Default)]
struct CallCounts {
    in_flight: u64,
    in_flight_max: u64,
}

impl Entries {
    fn of(&mut self, provider: Provider) -> &mut CallCounts {
        self.counts.entry(provider).or_default()
    }

    pub(crate) fn sent(&mut self, sent: SentNotification) {
        if self.sent.len() == ENTRIES_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(sent);
    }
}

/// A call that is being answered; in flight until it is dropped, also when the caller goes away.
pub(crate) struct OpenCall {
    shared: Arc<SimulatorState>,
    provider: Provider,
    number: u64,
}

impl OpenCall {
    pub(crate) fn begin(
        shared: &Arc<SimulatorState>,
        provider: Provider,
        what: &str,
        about: Option<String>,
        fault: Option<&Fault>,
    ) -> Self {
        let at = shared.clock.now();
        let mut entries = shared.journal();
        let counts = entries.of(provider);
        counts.in_flight += 1;
        counts.in_flight_max = counts.in_flight_max.max(counts.in_flight);
        entries.last_number += 1;
        let number = entries.last_number;
        if entries.calls.len() == ENTRIES_MAX {
            entries.calls.pop_front();
        }
        let fault = fault.map(|fault| format!("{fault:?}"));
        entries.calls.push_back(Call { number, provider, what: what.to_owned(), about, at, fault, answered: None });
        drop(entries);
        Self { shared: Arc::clone(shared), provider, number }
    }

    /// Notes how the call is answered, and passes the answer on.
    pub(crate) fn answered(self, words: &str, response: Response<Body>) -> Response<Body> {
        let text = match response.extensions().get::<HangUp>() {
            Some(_) => "connection closed".to_owned(),
            None => format!("{} {words}", response.status().as_u16()).trim_end().to_owned(),
        };
        let mut entries = self.shared.journal();
        // Calls stand in order of their numbers, so the entry is found without a search through all of them.
        if let Some(first) = entries.calls.front().map(|call| call.number)
            && let Some(index) = self.number.checked_sub(first)
            && let Some(call) = entries.calls.get_mut(index as usize)
        {
            call.answered = Some(text);
        }
        drop(entries);
        response
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.shared.journal().of(self.provider).in_flight -= 1;
    }
}
