//! Tells the hint that crashes its consumer from those that were with the consumer at the same time.
//!
//! The broker's delivery count does not: a crash counts for everything its process held. Therefore a hint that
//! came back unsettled again and again is published anew, with its count in a header of ours and the broker's count at
//! zero. It rests, and is then handed out alone: its consumer stops the flow, publishes other suspects anew, and waits
//! until everything else is settled. From then on a crash counts for the hint that caused it.
//!
//! A broker that breaks connections counts like a crash. A hint that is tried in between starts from zero, and a hint
//! that goes round the queue untried keeps its count.

use std::time::Duration;

use lapin::BasicProperties;

use super::message;

/// A hint that came back so often is suspect.
const SUSPECT_FROM: i64 = 5;
/// A hint that came back so often is poison. The work queue's own limit is higher: it counts for the neighbours, too.
const RETURNS_MAX: i64 = 10;

/// The time a suspect rests after it came back, so that a worker it crashed gets other work done.
pub(super) const REST: Duration = Duration::from_secs(1);

/// The treatment of a hint from the work queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Handed out with others.
    Ordinary,
    /// Handed out alone. It came back this often.
    Alone(i64),
    /// Has just come back, for this many times in all: it rests first.
    Rests(i64),
    Poison,
}

/// Returns how often a hint came back unsettled, over all copies of it.
pub(super) fn returns(properties: &BasicProperties) -> i64 {
    message::returns_before(properties).saturating_add(message::deliveries(properties))
}

impl Standing {
    pub(super) fn of(properties: &BasicProperties) -> Self {
        match returns(properties) {
            ..SUSPECT_FROM => Self::Ordinary,
            RETURNS_MAX.. => Self::Poison,
            returns if message::deliveries(properties) == 0 => Self::Alone(returns),
            returns => Self::Rests(returns),
        }
    }
}

#[cfg(test)]
mod tests {
    use lapin::types::{AMQPValue, FieldTable};

    use super::*;

    #[test]
    fn a_hint_rests_after_each_return_and_becomes_poison() {
        let standing = |before: i64, here: i64| {
            let mut headers = FieldTable::default();
            for (name, count) in [("x-returns", before), ("x-delivery-count", here)] {
                headers.insert(name.into(), AMQPValue::LongLongInt(count));
            }
            Standing::of(&BasicProperties::default().with_headers(headers))
        };
        assert_eq!(Standing::of(&BasicProperties::default()), Standing::Ordinary);
        assert_eq!(
            [standing(0, 4), standing(0, 5), standing(5, 0)],
            [Standing::Ordinary, Standing::Rests(5), Standing::Alone(5)]
        );
        assert_eq!(
            [standing(5, 1), standing(9, 0), standing(9, 1)],
            [Standing::Rests(6), Standing::Alone(9), Standing::Poison]
        );
        assert_eq!(standing(-7, 0), Standing::Ordinary, "a header may say anything");
        assert_eq!(standing(i64::MAX, 1), Standing::Poison);
    }
}
