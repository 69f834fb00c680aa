//! Brings deliveries that could not be dealt with to their outcome.

use tracing::{debug, error, field, warn};

use crate::ask::failure::{Class, Unfinished};
use crate::hints::Hints;
use crate::hints::ack::go_round;
use crate::hints::outcome::{Group, HintOutcome};
use crate::hints::repeats::ASKED_BEFORE;
use crate::schedule::check_after_repeat;

impl Hints {
    pub(super) async fn not_finished(&self, group: Group<'_>, why: Unfinished) {
        let (outcomes, payment) = (self.outcomes(), group.key.as_ref().map(field::display));
        let outcome = match why {
            Unfinished::Unknown(what) => {
                debug!(payment, "a hint waits for what it is about: {what}");
                outcomes.parked(group, what)
            }
            Unfinished::Failed { failure, probe } => {
                match (failure.class, &group.key) {
                    (_, Some(key)) => warn!(payment, "no answer about {key}: {}", failure.detail),
                    (Class::Misconfigured, None) => error!("cannot deal with a notification: {}", failure.detail),
                    (_, None) => warn!("cannot find out what a notification is about: {}", failure.detail),
                }
                outcomes.unanswered(group, &failure, probe)
            }
            Unfinished::Waits(wait) => outcomes.left_alone(group, &wait),
            Unfinished::Repeated(until) => {
                let check = group.payment().and_then(|payment| check_after_repeat(payment, until));
                HintOutcome::unchanged(group, check, "repeated", ASKED_BEFORE)
            }
            Unfinished::SettledMeanwhile => {
                HintOutcome::unchanged(group, None, "settled_meanwhile", "settled meanwhile")
            }
            Unfinished::Poison(why) => outcomes.poison(group, why),
            Unfinished::StoreAway => return go_round(group.deliveries, self.context.clock.now()).await,
            // Dropped, they come back to another worker.
            Unfinished::Stopped => return,
        };
        self.write(outcome).await;
    }
}
