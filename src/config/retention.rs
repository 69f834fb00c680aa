//! The time that history is kept.

use std::time::Duration;

use payhook_store::History;

use super::reader::Reader;

/// Ages below this get a notice: a refund or a dispute may come later.
const SHORT: Duration = Duration::from_hours(30 * 24);

/// The age each kind of history ends at; a kind that is `off` has none.
pub(super) fn take(reader: &mut Reader) -> Vec<(History, Duration)> {
    let keys: [(&str, &[History]); 6] = [
        ("notifications", &[History::Notifications]),
        ("timeline", &[History::Timeline, History::AuthorizationTimeline]),
        ("events", &[History::Events]),
        ("dead_letters", &[History::DeadLetters]),
        ("audit", &[History::Audit]),
        ("replays", &[History::Replays]),
    ];
    let mut ages = Vec::new();
    for (key, kinds) in keys {
        let Some(age) = reader.duration_or_off("retention", key) else { continue };
        if age.is_zero() {
            reader.mistake(format!("retention.{key} must be longer than 0s, or `off`"));
        } else if age < SHORT {
            reader.notice(format!("retention.{key} is less than 30 days: refunds and disputes come later than that"));
        }
        ages.extend(kinds.iter().map(|&kind| (kind, age)));
    }
    ages
}
