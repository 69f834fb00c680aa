use jiff::Timestamp;
use serde::Serialize;

use super::charge::{Charge, OmiseStatus, Refund};
use super::dispute::Dispute;

/// Omise's card fee in basis points, and the tax on it in percent; stated as text in `transaction_fees`.
const FEE_BASIS_POINTS: i128 = 365;
const FEE_RATE: &str = "3.65";
const VAT_PERCENT: i128 = 7;
const VAT_RATE: &str = "7.0";

/// UTC, to the second.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A charge in API version 2019-05-29, in the order its fields are documented.
#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the provider's flags, as it has them")]
pub(crate) struct ChargeBody {
    object: &'static str,
    id: String,
    location: String,
    amount: i64,
    authorized_amount: i64,
    captured_amount: i64,
    acquirer_reference_number: Option<String>,
    net: i64,
    fee: i64,
    fee_vat: i64,
    interest: i64,
    interest_vat: i64,
    funding_amount: i64,
    refunded_amount: i64,
    transaction_fees: TransactionFees,
    platform_fee: PlatformFee,
    currency: String,
    funding_currency: String,
    ip: Option<String>,
    refunds: RefundList,
    link: Option<String>,
    description: Option<String>,
    metadata: Empty,
    card: Option<Card>,
    source: Option<Source>,
    schedule: Option<String>,
    linked_account: Option<String>,
    customer: Option<String>,
    dispute: Option<DisputeBody>,
    transaction: Option<String>,
    failure_code: Option<String>,
    failure_message: Option<String>,
    merchant_advice: Option<String>,
    merchant_advice_code: Option<String>,
    status: &'static str,
    authorize_uri: String,
    return_uri: String,
    created_at: String,
    paid_at: Option<String>,
    authorized_at: Option<String>,
    expires_at: String,
    expired_at: Option<String>,
    reversed_at: Option<String>,
    zero_interest_installments: Option<bool>,
    branch: Option<String>,
    terminal: Option<String>,
    device: Option<String>,
    authorized: bool,
    capturable: bool,
    capture: bool,
    disputable: bool,
    livemode: bool,
    refundable: bool,
    partially_refundable: bool,
    reversed: bool,
    reversible: bool,
    voided: bool,
    paid: bool,
    expired: bool,
    can_perform_void: bool,
    approval_code: Option<String>,
    webhook_endpoints: [(); 0],
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct TransactionFees {
    fee_flat: &'static str,
    fee_rate: &'static str,
    vat_rate: &'static str,
}

#[derive(Serialize)]
struct PlatformFee {
    fixed: Option<i64>,
    amount: Option<i64>,
    percentage: Option<i64>,
}

#[derive(Serialize)]
struct RefundList {
    object: &'static str,
    data: Vec<RefundBody>,
    limit: u32,
    offset: u32,
    total: usize,
    location: String,
    order: &'static str,
    from: &'static str,
    to: String,
}

#[derive(Serialize)]
struct Card {
    object: &'static str,
    id: String,
    livemode: bool,
    deleted: bool,
    brand: &'static str,
    financing: &'static str,
    country: &'static str,
    last_digits: &'static str,
    expiration_month: u32,
    expiration_year: i16,
    security_code_check: bool,
}

#[derive(Serialize)]
struct Source {
    object: &'static str,
    id: String,
    livemode: bool,
    location: String,
    amount: i64,
    currency: String,
    flow: &'static str,
    #[serde(rename = "type")]
    kind: String,
    charge_status: &'static str,
}

#[derive(Serialize)]
pub(super) struct RefundBody {
    object: &'static str,
    id: String,
    location: String,
    amount: i64,
    currency: String,
    funding_amount: i64,
    funding_currency: String,
    charge: String,
    transaction: String,
    voided: bool,
    status: &'static str,
    metadata: Empty,
    livemode: bool,
    created_at: String,
}

#[derive(Serialize)]
pub(super) struct DisputeBody {
    object: &'static str,
    id: String,
    livemode: bool,
    location: String,
    amount: i64,
    currency: String,
    funding_amount: i64,
    funding_currency: String,
    charge: String,
    transactions: [String; 1],
    status: &'static str,
    reason_code: &'static str,
    reason_message: &'static str,
    metadata: Empty,
    closed_at: Option<String>,
    created_at: String,
}

/// The charge with the flags Omise was seen to combine with its state.
///
/// # Source
/// "Charge API", docs.omise.co/charges-api, and recorded charges, read 2026-11-21; `docs/providers/omise.md#charges`.
pub(super) fn charge(charge: &Charge) -> ChargeBody {
    let (paid, held) = (charge.status == OmiseStatus::Successful, charge.status == OmiseStatus::Authorized);
    let amount = charge.amount.amount_minor;
    let currency = charge.amount.currency.to_string();
    let basis = if paid { charge.captured_minor } else { amount };
    let fee = i128::from(basis) * FEE_BASIS_POINTS / 10_000;
    let fee_vat = fee * VAT_PERCENT / 100;
    let refunded = charge.refunded_minor();
    let voided = charge.refunds.iter().any(|refund| refund.voided);
    let refundable = paid && refunded < charge.captured_minor && charge.can_be_refunded();
    let decided = |is: bool| is.then(|| time(charge.decided_at));
    let expired = charge.status == OmiseStatus::Expired;
    let reversed = charge.status == OmiseStatus::Reversed;
    let suffix = suffix(charge);
    let location = format!("/charges/{}", charge.id);
    let failure_code = match &charge.status {
        OmiseStatus::Failed(code) => Some(code.clone()),
        _ => None,
    };
    ChargeBody {
        object: "charge",
        id: charge.id.to_string(),
        amount,
        authorized_amount: if charge.authorized_at.is_some() { amount } else { 0 },
        captured_amount: charge.captured_minor,
        acquirer_reference_number: None,
        net: i64::try_from(i128::from(basis) - fee - fee_vat).unwrap_or(i64::MAX),
        fee: i64::try_from(fee).unwrap_or(i64::MAX),
        fee_vat: i64::try_from(fee_vat).unwrap_or(i64::MAX),
        interest: 0,
        interest_vat: 0,
        funding_amount: basis,
        refunded_amount: refunded,
        transaction_fees: TransactionFees { fee_flat: "0.0", fee_rate: FEE_RATE, vat_rate: VAT_RATE },
        platform_fee: PlatformFee { fixed: None, amount: None, percentage: None },
        funding_currency: currency.clone(),
        currency,
        ip: None,
        refunds: RefundList {
            object: "list",
            data: charge.refunds.iter().map(|it| self::refund(charge, it)).collect(),
            limit: 20,
            offset: 0,
            total: charge.refunds.len(),
            location: format!("{location}/refunds"),
            order: "chronological",
            from: "1970-01-01T00:00:00Z",
            to: time(charge.decided_at),
        },
        location,
        link: None,
        description: charge.description.clone(),
        metadata: Empty {},
        card: charge.is_card().then(|| card(charge)),
        source: charge.source.as_ref().map(|kind| source(charge, kind)),
        schedule: None,
        linked_account: None,
        customer: None,
        dispute: charge.dispute.as_ref().map(|it| self::dispute(charge, it)),
        transaction: charge.transaction.clone(),
        failure_message: failure_code.as_ref().map(|code| code.replace('_', " ")),
        failure_code,
        merchant_advice: None,
        merchant_advice_code: None,
        status: status(charge),
        authorize_uri: format!("https://pay.example/payments/pay2_test_{suffix}/authorize"),
        return_uri: "https://shop.example/complete".to_owned(),
        created_at: time(charge.created_at),
        paid_at: charge.paid_at.map(time),
        authorized_at: charge.authorized_at.map(time),
        expires_at: time(charge.expires_at),
        expired_at: decided(expired),
        reversed_at: decided(reversed),
        zero_interest_installments: None,
        branch: None,
        terminal: None,
        device: None,
        authorized: charge.authorized_at.is_some(),
        capturable: held,
        capture: charge.capture,
        disputable: paid && charge.is_card() && charge.dispute.is_none(),
        livemode: false,
        refundable,
        partially_refundable: refundable,
        reversed,
        reversible: held,
        voided,
        paid,
        expired,
        can_perform_void: refundable && refunded == 0,
        approval_code: None,
        webhook_endpoints: [],
    }
}

fn status(charge: &Charge) -> &'static str {
    match charge.status {
        OmiseStatus::Pending | OmiseStatus::Authorized => "pending",
        OmiseStatus::Successful => "successful",
        OmiseStatus::Failed(_) => "failed",
        OmiseStatus::Expired => "expired",
        OmiseStatus::Reversed => "reversed",
    }
}

fn suffix(charge: &Charge) -> &str {
    charge.id.as_str().trim_start_matches("chrg_test_")
}

fn card(charge: &Charge) -> Card {
    Card {
        object: "card",
        id: format!("card_test_{}", suffix(charge)),
        livemode: false,
        deleted: false,
        brand: "Visa",
        financing: "credit",
        country: "th",
        last_digits: "4242",
        expiration_month: 12,
        expiration_year: charge.created_at.to_zoned(jiff::tz::TimeZone::UTC).year() + 3,
        security_code_check: true,
    }
}

fn source(charge: &Charge, kind: &str) -> Source {
    let id = format!("src_test_{}", suffix(charge));
    Source {
        object: "source",
        livemode: false,
        location: format!("/sources/{id}"),
        id,
        amount: charge.amount.amount_minor,
        currency: charge.amount.currency.to_string(),
        flow: match kind {
            "promptpay" => "offline",
            kind if kind.starts_with("mobile_banking_") => "app_redirect",
            _ => "redirect",
        },
        kind: kind.to_owned(),
        charge_status: status(charge),
    }
}

/// Only `closed` was ever shown: `docs/providers/omise.md#refunds`.
pub(super) fn refund(charge: &Charge, refund: &Refund) -> RefundBody {
    let currency = charge.amount.currency.to_string();
    RefundBody {
        object: "refund",
        id: refund.id.clone(),
        location: format!("/charges/{}/refunds/{}", charge.id, refund.id),
        amount: refund.minor,
        funding_amount: refund.minor,
        funding_currency: currency.clone(),
        currency,
        charge: charge.id.to_string(),
        transaction: refund.transaction.clone(),
        voided: refund.voided,
        status: if refund.pending { "pending" } else { "closed" },
        metadata: Empty {},
        livemode: false,
        created_at: time(refund.at),
    }
}

/// Source: `docs/providers/omise.md#disputes`.
pub(super) fn dispute(charge: &Charge, dispute: &Dispute) -> DisputeBody {
    let currency = charge.amount.currency.to_string();
    DisputeBody {
        object: "dispute",
        id: dispute.id.clone(),
        livemode: false,
        location: format!("/disputes/{}", dispute.id),
        amount: dispute.minor,
        funding_amount: dispute.minor,
        funding_currency: currency.clone(),
        currency,
        charge: charge.id.to_string(),
        transactions: [dispute.transaction.clone()],
        status: dispute.status.word(),
        reason_code: "goods_or_services_not_provided",
        reason_message: "Services not provided or Merchandise not received",
        metadata: Empty {},
        closed_at: dispute.closed_at.map(time),
        created_at: time(dispute.at),
    }
}
