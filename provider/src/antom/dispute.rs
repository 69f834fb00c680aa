//! Reads notifyDispute.

use payhook_schema::{Dispute, DisputeId, DisputeState};
use serde::Deserialize;

use super::wire::{Amount, Text, given, time, word};
use crate::strict_json;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields {
    dispute_notification_type: Option<Text>,
    dispute_id: Option<Text>,
    dispute_amount: Option<Amount>,
    dispute_time: Option<Text>,
    dispute_reason_code: Option<Text>,
    dispute_judged_result: Option<Text>,
    dispute_judged_time: Option<Text>,
    defense_due_time: Option<Text>,
}

/// Reads a notifyDispute: believed on the signature alone, since Antom has no inquiry for disputes.
///
/// # Shape
/// | `disputeNotificationType`                | `disputeJudgedResult` | state                                    |
/// |------------------------------------------|-----------------------|------------------------------------------|
/// | `DISPUTE_CREATED`, `DEFENSE_DUE_ALERT`   | -                     | `Open`, until `defenseDueTime`           |
/// | `DEFENSE_SUPPLIED`                       | -                     | `Pending`                                |
/// | `DISPUTE_JUDGED`                         | `ACCEPT_BY_CUSTOMER`  | `Won`: the customer bears it             |
/// | `DISPUTE_JUDGED`                         | `ACCEPT_BY_MERCHANT`  | `Lost`                                   |
/// | `DISPUTE_JUDGED`                         | any other             | `Closed`: Antom does not name the winner |
/// | `DISPUTE_CANCELLED`                      | -                     | `Won`: the customer took it back         |
/// | `DISPUTE_ACCEPTED`, `RDR_RESOLVED`       | -                     | `Lost`: the merchant's money goes back   |
///
/// Another page spells the alert and the defence `DISPUTE_DUE_ALERT` and `DISPUTE_SUPPLIED`; both spellings are read.
/// `reason` is `disputeReasonCode` until the dispute is over, then the judgement's word. `None` for any other type or
/// body.
///
/// # Source
/// <https://docs.antom.com/ac/ams_zh-cn/notify_dispute> and <https://docs.antom.com/ac/cashierpay/dispute>, read
/// 2026-11-21.
pub fn read_dispute(body: &[u8]) -> Option<Dispute> {
    let fields: Fields = strict_json::read(body).ok()?;
    let kind = given(fields.dispute_notification_type.as_ref())?;
    let judgement = given(fields.dispute_judged_result.as_ref());
    let state = match kind {
        "DISPUTE_CREATED" | "DEFENSE_DUE_ALERT" | "DISPUTE_DUE_ALERT" => DisputeState::Open,
        "DEFENSE_SUPPLIED" | "DISPUTE_SUPPLIED" => DisputeState::Pending,
        "DISPUTE_JUDGED" => match judgement {
            Some("ACCEPT_BY_CUSTOMER") => DisputeState::Won,
            Some("ACCEPT_BY_MERCHANT") => DisputeState::Lost,
            _ => DisputeState::Closed,
        },
        "DISPUTE_CANCELLED" => DisputeState::Won,
        "DISPUTE_ACCEPTED" | "RDR_RESOLVED" => DisputeState::Lost,
        _ => return None,
    };
    let reason = match state.is_over() {
        true => Some(judgement.unwrap_or(kind)),
        false => given(fields.dispute_reason_code.as_ref()),
    };
    Some(Dispute {
        id: DisputeId::new(given(fields.dispute_id.as_ref())?).ok()?,
        state,
        amount: fields.dispute_amount.as_ref().and_then(|amount| amount.read().ok()),
        reason: reason.map(word),
        answer_by: time(fields.defense_due_time.as_ref()),
        occurred_at: time(fields.dispute_judged_time.as_ref()).or_else(|| time(fields.dispute_time.as_ref())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, fields: &str) -> Option<Dispute> {
        read_dispute(format!(r#"{{"disputeId":"D-1","disputeNotificationType":"{kind}"{fields}}}"#).as_bytes())
    }

    #[test]
    fn an_open_dispute_says_how_much_why_and_until_when() {
        let dispute = read_dispute(include_bytes!("../../fixtures/antom/notify_dispute_created.json")).unwrap();
        assert_eq!(dispute.id.as_str(), "2026112110329013101740904829052");
        assert_eq!(dispute.amount, "14204 KRW".parse().ok());
        assert_eq!(dispute.answer_by, Some("2026-12-03T03:09:16Z".parse().unwrap()));
        assert_eq!(dispute.occurred_at, Some("2026-11-22T03:09:18Z".parse().unwrap()));
    }

    #[test]
    fn a_judged_dispute_happened_when_it_was_judged() {
        let dispute = read_dispute(include_bytes!("../../fixtures/antom/notify_dispute_judged_for_us.json")).unwrap();
        assert_eq!(dispute.occurred_at, Some("2026-12-20T18:00:00Z".parse().unwrap()));
    }

    #[test]
    fn both_spellings_of_alert_and_defence_are_read() {
        for (kind, state) in [
            ("DEFENSE_DUE_ALERT", DisputeState::Open),
            ("DISPUTE_DUE_ALERT", DisputeState::Open),
            ("DEFENSE_SUPPLIED", DisputeState::Pending),
            ("DISPUTE_SUPPLIED", DisputeState::Pending),
        ] {
            assert_eq!(read(kind, "").unwrap().state, state, "{kind}");
        }
    }

    #[test]
    fn a_judgement_nobody_documented_closes_the_dispute_for_nobody() {
        for judgement in ["null", r#""VALIDATE_FAIL""#, r#""SHARED""#] {
            let dispute = read("DISPUTE_JUDGED", &format!(r#","disputeJudgedResult":{judgement}"#)).unwrap();
            assert_eq!(dispute.state, DisputeState::Closed, "{judgement}");
        }
    }

    #[test]
    fn an_amount_or_time_that_cannot_be_read_is_left_out() {
        let odd =
            r#","disputeAmount":{"currency":"XXZ","value":"1.5"},"disputeTime":"yesterday","defenseDueTime":null"#;
        let dispute = read("DISPUTE_CREATED", odd).unwrap();
        assert_eq!((dispute.amount, dispute.answer_by, dispute.occurred_at), (None, None, None));
    }

    #[test]
    fn what_names_no_dispute_tells_of_none() {
        assert_eq!(read_dispute(br#"{"disputeNotificationType":"DISPUTE_CREATED","disputeId":"D 1"}"#), None);
        assert_eq!(read_dispute(br#"{"disputeId":"D-1","notifyTime":"2026-11-21T00:00:00Z"}"#), None);
        assert_eq!(read("DISPUTE_SLEEPS", ""), None);
    }
}
