//! Asks Antom about a payment, and reads the answer.

use jiff::Timestamp;
use payhook_schema::{Money, PaymentFacts, PaymentId, PaymentState, Refund, RefundId, RefundState};
use serde::Deserialize;

use super::wire::{Amount, Outcome, Text, given, not_there, time, word};
use crate::client::AskError;
use crate::strict_json;

/// The API call that answers with the state of a payment.
pub const INQUIRY_PAYMENT: &str = "v1/payments/inquiryPayment";

pub fn inquiry_body(payment: &PaymentId) -> String {
    serde_json::json!({ "paymentRequestId": payment }).to_string()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    result: Outcome,
    payment_status: Option<Text>,
    payment_result_code: Option<Text>,
    payment_request_id: Option<Text>,
    payment_id: Option<Text>,
    payment_amount: Option<Amount>,
    payment_time: Option<Text>,
    transactions: Option<Vec<Option<Transaction>>>,
}

/// A refund or capture of the payment.
#[expect(clippy::struct_field_names, reason = "as Antom spells them")]
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transaction {
    transaction_type: Option<Text>,
    /// Antom's name for it.
    transaction_id: Option<Text>,
    /// The merchant's name for it.
    transaction_request_id: Option<Text>,
    transaction_amount: Option<Amount>,
    transaction_status: Option<Text>,
    transaction_result: Option<Outcome>,
    transaction_time: Option<Text>,
}

/// Reads Antom's `inquiryPayment` answer into the facts it states about the payment.
///
/// # Shape
/// `paymentAmount.value` is in the currency's smallest unit (`"50000"` HKD is HK$500.00; KRW and JPY have none).
/// `paymentTime` is ISO 8601 with an offset.
///
/// The answer's own `result` says whether the *inquiry* worked, never whether the payment did:
///
/// | `resultStatus` | `paymentStatus`           | facts                                        |
/// |----------------|---------------------------|----------------------------------------------|
/// | `S`            | `SUCCESS`                 | `Paid`, all of it captured; see below        |
/// | `S`            | `FAIL`, `CANCELLED`       | `Failed`, `Cancelled`                        |
/// | `S`            | `PROCESSING`, `PENDING`   | `Awaiting`: ask again later                  |
/// | `U`            | -                         | none: [`AskError::Unavailable`], or throttled |
/// | `F`            | -                         | none: not there yet, or [`AskError::Misconfigured`] |
///
/// `paymentStatus` stays `SUCCESS` whatever comes after it. `transactions` lists what came, or is `null`:
///
/// | `transactionType` | `transactionStatus` | facts                                                                  |
/// |-------------------|---------------------|------------------------------------------------------------------------|
/// | `REFUND`          | `SUCCESS`           | a refund that `Succeeded`: `PartlyRefunded`, or `Refunded` in the end  |
/// | `REFUND`          | `FAIL`, any other   | a refund that `Failed`, for `transactionResult`'s code; one `Pending`  |
/// | `CAPTURE`         | `SUCCESS`           | its amount is captured: where there are captures, only they count      |
/// | `CAPTURE`         | any other           | nothing is captured by it: alone, the payment is `Authorized`          |
/// | any other         | -                   | ignored: new types appear                                              |
///
/// # Errors
/// [`AskError::OutsideTables`] for anything else, for a refund or capture in another currency, for more refunded than
/// captured and more captured than paid: we never guess with money.
///
/// # Source
/// <https://docs.antom.com/ac/ams/paymentri_online>, read 2026-11-21; `docs/providers/antom.md#inquirypayment`.
pub fn read_inquiry(body: &[u8], asked: &PaymentId, asked_at: Timestamp) -> Result<PaymentFacts, AskError> {
    let answer: Answer = strict_json::read(body).map_err(AskError::garbled)?;
    answer.result.worked(not_there)?;
    if given(answer.payment_request_id.as_ref()) != Some(asked.as_str()) {
        return Err(AskError::garbled("the answer is about another payment"));
    }
    let status = word(given(answer.payment_status.as_ref()).unwrap_or("absent"));
    let state = match status.as_str() {
        "SUCCESS" => PaymentState::Paid,
        "FAIL" => PaymentState::Failed,
        "CANCELLED" => PaymentState::Cancelled,
        "PROCESSING" | "PENDING" => PaymentState::Awaiting,
        other => return Err(outside(format!("paymentStatus {other}"))),
    };
    let amount = answer.payment_amount.as_ref().map(|amount| amount.money("paymentAmount")).transpose()?;
    let (state, captured_minor) = match (state, amount) {
        (PaymentState::Paid, Some(amount)) => captured(&answer, amount)?,
        (PaymentState::Paid, None) => return Err(outside("paymentStatus SUCCESS without paymentAmount".to_owned())),
        (state, _) => (state, 0),
    };
    let reason = given(answer.payment_result_code.as_ref()).map(word).filter(|_| state == PaymentState::Failed);
    let facts = PaymentFacts {
        state,
        amount,
        captured_minor,
        refunded_minor: 0,
        refunds: answer.of_type("REFUND").map(Transaction::refund).collect::<Result<_, _>>()?,
        disputes: Vec::new(),
        provider_reference: given(answer.payment_id.as_ref()).map(word),
        occurred_at: time(answer.payment_time.as_ref()),
        expires_at: None,
        asked_at,
        answer: String::new(),
        reason,
    };
    let facts = facts.with_refunds(&[]);
    let refunded_minor = refunded(&facts)?;
    Ok(PaymentFacts { answer: in_their_words(&status, &facts, refunded_minor), ..facts })
}

impl Answer {
    fn of_type<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a Transaction> {
        let transactions = self.transactions.iter().flatten().flatten();
        transactions.filter(move |transaction| given(transaction.transaction_type.as_ref()) == Some(wanted))
    }
}

impl Transaction {
    fn succeeded(&self) -> bool {
        given(self.transaction_status.as_ref()) == Some("SUCCESS")
    }

    /// The amount it moved. A successful transaction without an amount is an error: the moved money is unknown.
    fn amount(&self) -> Result<Option<Money>, AskError> {
        match &self.transaction_amount {
            Some(amount) => amount.money("transactionAmount").map(Some),
            None if self.succeeded() => Err(outside("a transaction SUCCESS without transactionAmount".to_owned())),
            None => Ok(None),
        }
    }

    fn refund(&self) -> Result<Refund, AskError> {
        let names = [&self.transaction_request_id, &self.transaction_id].map(|name| given(name.as_ref()));
        let id = names.into_iter().flatten().find_map(|name| RefundId::new(name).ok());
        let state = match given(self.transaction_status.as_ref()) {
            Some("SUCCESS") => RefundState::Succeeded,
            Some("FAIL") => RefundState::Failed,
            _ => RefundState::Pending,
        };
        let reason = self.transaction_result.as_ref().filter(|_| state == RefundState::Failed);
        Ok(Refund {
            id: id.ok_or_else(|| outside("a REFUND without transactionRequestId and transactionId".to_owned()))?,
            provider_reference: names[1].map(word),
            state,
            amount: self.amount()?,
            voided: false,
            reason: reason.and_then(Outcome::reason),
            occurred_at: time(self.transaction_time.as_ref()),
        })
    }
}

/// Returns the state and the captured amount of a payment that succeeded. A payment without capture transactions was
/// captured in full.
fn captured(answer: &Answer, amount: Money) -> Result<(PaymentState, i64), AskError> {
    let mut captures = answer.of_type("CAPTURE").peekable();
    if captures.peek().is_none() {
        return Ok((PaymentState::Paid, amount.amount_minor));
    }
    let done =
        captures.filter(|capture| capture.succeeded()).map(Transaction::amount).collect::<Result<Vec<_>, _>>()?;
    let captured_minor = sum(done.into_iter().flatten(), amount)?;
    match captured_minor {
        0 => Ok((PaymentState::Authorized, 0)),
        more if more > amount.amount_minor => {
            Err(outside(format!("{} captured of {amount}", Money::new(more, amount.currency))))
        }
        captured_minor => Ok((PaymentState::Paid, captured_minor)),
    }
}

/// Sums the succeeded refunds, each once, in any state of the payment.
fn refunded(facts: &PaymentFacts) -> Result<i64, AskError> {
    let done = facts.refunds.iter().filter(|refund| refund.state == RefundState::Succeeded);
    let Some(amount) = facts.amount else {
        return match done.count() {
            0 => Ok(0),
            _ => Err(outside("a refund SUCCESS without paymentAmount".to_owned())),
        };
    };
    if facts.refunds.iter().filter_map(|refund| refund.amount).any(|refund| refund.currency != amount.currency) {
        return Err(outside("a refund in another currency than paymentAmount".to_owned()));
    }
    let refunded_minor = sum(done.filter_map(|refund| refund.amount), amount)?;
    match refunded_minor > facts.captured_minor {
        true => Err(outside(format!(
            "{} refunded of {}",
            Money::new(refunded_minor, amount.currency),
            Money::new(facts.captured_minor, amount.currency)
        ))),
        false => Ok(refunded_minor),
    }
}

/// The sum of amounts in `of`'s currency.
fn sum(amounts: impl Iterator<Item = Money>, of: Money) -> Result<i64, AskError> {
    amounts.into_iter().try_fold(0_i64, |sum, amount| {
        if amount.currency != of.currency {
            return Err(outside("a transaction in another currency than paymentAmount".to_owned()));
        }
        sum.checked_add(amount.amount_minor).ok_or_else(|| outside("transactions beyond all measure".to_owned()))
    })
}

/// The deciding fields, for the timeline.
fn in_their_words(status: &str, facts: &PaymentFacts, refunded_minor: i64) -> String {
    let mut text = format!("paymentStatus {status}");
    if let Some(code) = &facts.reason {
        text += &format!(" ({code})");
    }
    let Some(amount) = facts.amount else { return text };
    text += &format!(" {amount}");
    if status == "SUCCESS" && facts.captured_minor != amount.amount_minor {
        text += &format!(", captured {}", Money::new(facts.captured_minor, amount.currency));
    }
    if refunded_minor > 0 {
        text += &format!(", refunded {}", Money::new(refunded_minor, amount.currency));
    }
    text
}

fn outside(what: String) -> AskError {
    AskError::OutsideTables { what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inquiry(body: &str) -> Result<PaymentFacts, AskError> {
        read_inquiry(body.as_bytes(), &PaymentId::new("PR-1").unwrap(), Timestamp::UNIX_EPOCH)
    }

    fn payment(status: &str) -> String {
        format!(
            r#"{{"result":{{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success."}},"paymentStatus":"{status}",
            "paymentRequestId":"PR-1","paymentId":"2024","paymentResultCode":"USER_BALANCE_NOT_ENOUGH",
            "paymentAmount":{{"currency":"THB","value":"150000"}},"paymentTime":"2024-06-01T03:01:01-07:00","transactions":null}}"#
        )
    }

    #[test]
    fn the_inquirys_table_is_read_row_by_row() {
        let facts = inquiry(&payment("SUCCESS")).unwrap();
        assert_eq!((facts.state, facts.captured_minor), (PaymentState::Paid, 150_000));
        assert_eq!(facts.amount.unwrap().to_string(), "1500.00 THB");
        assert_eq!(facts.occurred_at, Some("2024-06-01T10:01:01Z".parse().unwrap()));
        for (status, state) in [
            ("FAIL", PaymentState::Failed),
            ("CANCELLED", PaymentState::Cancelled),
            ("PROCESSING", PaymentState::Awaiting),
            ("PENDING", PaymentState::Awaiting),
        ] {
            let facts = inquiry(&payment(status)).unwrap();
            assert_eq!((facts.state, facts.captured_minor), (state, 0));
            assert_eq!(facts.reason.is_some(), state == PaymentState::Failed);
        }
    }

    #[test]
    fn an_inquiry_that_did_not_work_never_says_that_the_payment_failed() {
        let result = |status: &str, code: &str| {
            inquiry(&format!(r#"{{"result":{{"resultCode":"{code}","resultStatus":"{status}"}}}}"#)).unwrap_err()
        };
        assert!(matches!(result("U", "UNKNOWN_EXCEPTION"), AskError::Unavailable { .. }));
        assert!(matches!(result("U", "REQUEST_TRAFFIC_EXCEED_LIMIT"), AskError::Throttled { after: None }));
        assert!(matches!(result("F", "ORDER_NOT_EXIST"), AskError::NotThere { .. }));
        assert!(matches!(result("F", "ACCESS_DENIED"), AskError::Misconfigured { .. }));
        assert!(matches!(result("X", "SUCCESS"), AskError::OutsideTables { .. }));
    }

    #[test]
    fn an_answer_that_is_not_to_our_question_is_not_believed() {
        let other = payment("SUCCESS").replace("PR-1", "PR-2");
        assert!(matches!(inquiry(&other), Err(AskError::Unavailable { .. })));
        assert!(matches!(inquiry("<html>"), Err(AskError::Unavailable { .. })));
        assert!(matches!(inquiry(&payment("DONE")), Err(AskError::OutsideTables { .. })));
        for value in [r#""1500.00""#, r#""-1""#, "1500.5", r#""""#, r#""1e3""#] {
            let odd = payment("SUCCESS").replace(r#""150000""#, value);
            assert!(inquiry(&odd).is_err(), "{value}");
        }
        let amountless = payment("SUCCESS").replace("paymentAmount", "paymentamount");
        assert!(matches!(inquiry(&amountless), Err(AskError::OutsideTables { .. })));
    }

    fn with_transactions(status: &str, transactions: &str) -> Result<PaymentFacts, AskError> {
        inquiry(&payment(status).replace(r#""transactions":null"#, &format!(r#""transactions":[{transactions}]"#)))
    }

    fn transaction(kind: &str, status: &str, name: &str, value: &str) -> String {
        format!(
            r#"{{"transactionType":"{kind}","transactionStatus":"{status}","transactionRequestId":"{name}",
            "transactionAmount":{{"currency":"THB","value":{value}}},"transactionResult":{{"resultCode":"SOME_CODE"}}}}"#
        )
    }

    #[test]
    fn a_refund_listed_twice_counts_once_and_as_what_it_became() {
        let both =
            [transaction("REFUND", "PROCESSING", "RF-1", "500"), transaction("REFUND", "SUCCESS", "RF-1", "500")];
        let facts = with_transactions("SUCCESS", &both.join(",")).unwrap();
        assert_eq!((facts.refunds.len(), facts.refunded_minor), (1, 500));
        assert_eq!(facts.refunds[0].reason, None, "only a failure has a reason");
        assert_eq!(facts.answer, "paymentStatus SUCCESS 1500.00 THB, refunded 5.00 THB");
    }

    #[test]
    fn a_capture_that_failed_took_nothing() {
        let failed = transaction("CAPTURE", "FAIL", "CA-1", "150000");
        assert_eq!(with_transactions("SUCCESS", &failed).unwrap().state, PaymentState::Authorized);
        let more = format!("{failed},{}", transaction("CAPTURE", "SUCCESS", "CA-2", "100"));
        let facts = with_transactions("SUCCESS", &more).unwrap();
        assert_eq!((facts.state, facts.captured_minor), (PaymentState::Paid, 100));
        assert_eq!(facts.answer, "paymentStatus SUCCESS 1500.00 THB, captured 1.00 THB");
    }

    #[test]
    fn money_that_does_not_add_up_is_never_guessed() {
        let refund = |value| transaction("REFUND", "SUCCESS", "RF-1", value);
        let capture = |name, value| transaction("CAPTURE", "SUCCESS", name, value);
        let huge = "9223372036854775807";
        for (status, transactions) in [
            ("SUCCESS", refund("150001")),
            ("FAIL", refund("1")),
            ("CANCELLED", refund("1")),
            ("PENDING", refund("1")),
            ("SUCCESS", [transaction("CAPTURE", "PROCESSING", "CA-1", "100"), refund("1")].join(",")),
            ("SUCCESS", [capture("CA-1", "100"), refund("101")].join(",")),
            ("SUCCESS", capture("CA-1", "150001")),
            ("SUCCESS", [capture("CA-1", huge), capture("CA-2", huge)].join(",")),
            ("SUCCESS", refund("1").replace("THB", "USD")),
            ("SUCCESS", capture("CA-1", "1").replace("THB", "USD")),
            ("SUCCESS", refund("0.5")),
            ("SUCCESS", refund("1").replace("transactionAmount", "another")),
            ("SUCCESS", capture("CA-1", "1").replace("transactionAmount", "another")),
            ("SUCCESS", refund("1").replace("transactionRequestId", "another")),
        ] {
            let read = with_transactions(status, &transactions);
            assert!(matches!(read, Err(AskError::OutsideTables { .. })), "{status} {transactions}: {read:?}");
        }
    }

    #[test]
    fn a_refund_that_moved_nothing_needs_no_amount() {
        let pending = transaction("REFUND", "PROCESSING", "RF-1", "1").replace("transactionAmount", "another");
        let facts = with_transactions("SUCCESS", &pending).unwrap();
        assert_eq!((facts.state, facts.refunds[0].state), (PaymentState::Paid, RefundState::Pending));
        assert_eq!(facts.refunds[0].amount, None);
    }
}
