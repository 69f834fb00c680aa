//! Takes hints off the queue, and brings each to an outcome that is written once and then acked.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::ask::gate::ProviderGate;
use crate::authorization::AuthorizationTasks;
use crate::context::Context;
use asked_lately::AskedLately;
use delivery::Crashes;
use outcome::{HintOutcome, Outcomes};
use single_flight::SingleFlight;

mod ack;
mod asked_lately;
pub(crate) mod delivery;
mod find_payment;
mod finish;
mod genuine;
pub(crate) mod intake;
pub(crate) mod outcome;
pub(crate) mod refunds;
mod release;
pub(crate) mod repeats;
mod route;
pub(crate) mod settle_payment;
pub(crate) mod single_flight;
pub(crate) mod writer;

/// Everything that the tasks share which bring hints to an outcome.
pub(crate) struct Hints {
    pub(crate) context: Arc<Context>,
    pub(crate) gate: Arc<ProviderGate>,
    authorizations: AuthorizationTasks,
    single_flight: SingleFlight,
    asked_lately: AskedLately,
    crashes: Arc<Crashes>,
    to_writers: mpsc::Sender<HintOutcome>,
}

impl Hints {
    pub(crate) fn new(
        context: Arc<Context>,
        gate: Arc<ProviderGate>,
        single_flight: SingleFlight,
        to_writers: mpsc::Sender<HintOutcome>,
    ) -> Self {
        Self {
            authorizations: AuthorizationTasks::new(context.clone(), gate.clone()),
            single_flight,
            asked_lately: AskedLately::default(),
            crashes: Arc::default(),
            to_writers,
            context,
            gate,
        }
    }

    /// The constructors of outcomes, at this time.
    fn outcomes(&self) -> Outcomes<'_> {
        Outcomes { schedule: &self.context.schedule, now: self.context.clock.now() }
    }
}
