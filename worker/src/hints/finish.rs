//! Brings a delivery that could not be dealt with to its outcome.

use tracing::{debug, error, warn};

use crate::ask::failure::{Class, Unfinished};
use crate::hints::Hints;
use crate::hints::ack::go_round;
use crate::hints::delivery::InHand;
use crate::hints::outcome::Group;

impl Hints {
    pub(super) async fn not_finished(&self, in_hand: InHand, why: Unfinished) {
        let (outcomes, group) = (self.outcomes(), Group::one);
        let outcome = match why {
            Unfinished::Unknown(what) => {
                debug!("a notification waits for what it is about: {what}");
                outcomes.parked(group(in_hand), what)
            }
            Unfinished::Failed { failure, probe } => {
                match failure.class {
                    Class::Misconfigured => error!("a notification cannot be dealt with: {}", failure.detail),
                    _ => warn!("cannot find out which payment a notification is about: {}", failure.detail),
                }
                outcomes.unanswered(group(in_hand), &failure, probe)
            }
            Unfinished::Waits(wait) => outcomes.paused(group(in_hand), &wait),
            Unfinished::Poison(why) => outcomes.poison(in_hand, why),
            Unfinished::StoreAway => return go_round(vec![in_hand], self.context.clock.now()).await,
            // Dropped, it comes back to another worker.
            Unfinished::Stopped => return,
        };
        self.write(outcome).await;
    }
}
