use jiff::Timestamp;
use payhook_schema::{AccountName, Money, NewRefund, PaymentKey, Provider, RefundState};
use sqlx::SqliteConnection;

use crate::batch::json;
use crate::columns::{micros, some};
use crate::rows::payment_key;
use crate::{PaymentName, names, refunds};

/// `refunds` and `disputes` of the payment `p`: null for most payments, and then nothing was looked for.
macro_rules! of_payment {
    () => {
        "case when p.has_refunds_or_disputes then (select json_group_array(json_object('id', r.id, \
            'provider_reference', r.provider_reference, 'state', r.state, 'amount_minor', r.amount_minor, 'currency', r.currency, \
            'voided', json(case when r.voided then 'true' else 'false' end), 'reason', r.reason, \
            'occurred_at', r.occurred_at) order by r.n) \
          from refunds r where r.provider = p.provider and r.payment_id = p.id and r.account = p.account) end as refunds, \
         case when p.has_refunds_or_disputes then (select json_group_array(json_object('id', d.id, 'state', d.state, \
            'amount_minor', d.amount_minor, 'currency', d.currency, 'reason', d.reason, 'answer_by', d.answer_by, 'occurred_at', d.occurred_at) \
            order by d.n) \
          from disputes d where d.provider = p.provider and d.payment_id = p.id and d.account = p.account) end as disputes"
    };
}
pub(super) use of_payment;

/// Those of `refunds` that are known, whosever they are. A refund that moved is there twice, last with the payment it
/// is of now.
pub(super) async fn known(on: &mut SqliteConnection, refunds: &[NewRefund]) -> sqlx::Result<Vec<NewRefund>> {
    let named: Vec<_> = refunds
        .iter()
        .map(|NewRefund { payment, id }| (payment.provider.as_str(), payment.account.as_str(), id.as_str()))
        .collect();
    let rows = sqlx::query(
        "select r.provider, r.account, r.payment_id, r.id, r.announced_for from json_each(?1) k \
         cross join refunds r on r.provider = k.value ->> 0 and r.account = k.value ->> 1 and r.id = k.value ->> 2",
    )
    .bind(json(&named))
    .fetch_all(on)
    .await?;
    let known: Vec<_> = rows.iter().map(refunds::known).collect::<sqlx::Result<_>>()?;
    Ok(known.into_iter().flatten().collect())
}

/// Keeps a refund nobody told of yet: its payment is due, and the notifications that name it are the payment's.
pub(super) async fn announce(on: &mut SqliteConnection, refund: &NewRefund, now: Timestamp) -> sqlx::Result<()> {
    let NewRefund { payment, id } = refund;
    sqlx::query(
        "insert into refunds (provider, account, payment_id, id, state, voided) values (?1, ?2, ?3, ?4, ?5, 0)",
    )
    .bind(payment.provider.as_str())
    .bind(payment.account.as_str())
    .bind(payment.id.as_str())
    .bind(id.as_str())
    .bind(RefundState::Pending.as_str())
    .execute(&mut *on)
    .await?;
    due(&mut *on, payment, now).await?;
    sqlx::query(refunds::LINK)
        .bind(payment.provider.as_str())
        .bind(payment.account.as_str())
        .bind(payment.id.as_str())
        .bind(names::refund(id))
        .execute(on)
        .await?;
    Ok(())
}

/// See [`crate::Store::refund_assign`].
pub(super) async fn assign(on: &mut SqliteConnection, refund: &NewRefund, now: Timestamp) -> sqlx::Result<bool> {
    let NewRefund { payment: to, id } = refund;
    let from = named(on, &refunds::name(refund)).await?;
    if from.as_ref() == Some(to) {
        return Ok(true);
    }
    let ids: Vec<&str> = [Some(to), from.as_ref()].into_iter().flatten().map(|key| key.id.as_str()).collect();
    let registered = sqlx::query(refunds::IS_REGISTERED)
        .bind(to.provider.as_str())
        .bind(to.account.as_str())
        .bind(to.id.as_str())
        .fetch_optional(&mut *on)
        .await?;
    if registered.is_none() {
        return Ok(false);
    }
    let is_assigned = match &from {
        Some(from) => {
            let moved = sqlx::query(refunds::MOVE)
                .bind(to.provider.as_str())
                .bind(to.account.as_str())
                .bind(id.as_str())
                .bind(to.id.as_str())
                .bind(from.id.as_str())
                .bind(RefundState::Pending.as_str())
                .execute(&mut *on)
                .await?;
            moved.rows_affected() == 1
        }
        None => {
            announce(on, refund, now).await?;
            true
        }
    };
    if !is_assigned {
        return Ok(false);
    }
    due(on, to, now).await?;
    sqlx::query(
        "update orders set revision = revision + 1, updated_at = ?4 \
         where id in (select order_id from payments where provider = ?1 and account = ?2 and id in (select value from json_each(?3)))",
    )
    .bind(to.provider.as_str())
    .bind(to.account.as_str())
    .bind(json(&ids))
    .bind(micros(now))
    .execute(&mut *on)
    .await?;
    for (of, entry) in refunds::assigned(refund, from.as_ref(), now) {
        sqlx::query(refunds::NOTE)
            .bind(of.provider.as_str())
            .bind(of.account.as_str())
            .bind(of.id.as_str())
            .bind(micros(entry.at))
            .bind(entry.kind.as_str())
            .bind(entry.text)
            .execute(&mut *on)
            .await?;
    }
    Ok(true)
}

/// Has a payment that a refund of is expected be asked about at once.
async fn due(on: &mut SqliteConnection, payment: &PaymentKey, now: Timestamp) -> sqlx::Result<()> {
    sqlx::query(refunds::DUE)
        .bind(payment.provider.as_str())
        .bind(payment.account.as_str())
        .bind(payment.id.as_str())
        .bind(micros(now))
        .execute(on)
        .await?;
    Ok(())
}

pub(super) async fn named(on: &mut SqliteConnection, name: &PaymentName) -> sqlx::Result<Option<PaymentKey>> {
    let query = match name {
        PaymentName::Refund { provider, account, id } => sqlx::query(
            "select provider, account, payment_id from refunds where provider = ?1 and id = ?3 and account = ?2",
        )
        .bind(provider.as_str())
        .bind(account.as_str())
        .bind(id.as_str()),
        PaymentName::Reference { provider, .. } if !provider.profile().names_payments_by_reference => return Ok(None),
        // Two, to see that there is more than one.
        PaymentName::Reference { provider, account, reference } => sqlx::query(
            "select provider, account, id as payment_id from payments \
             where provider = ?1 and account = ?2 and provider_reference = ?3 limit 2",
        )
        .bind(provider.as_str())
        .bind(account.as_str())
        .bind(reference),
    };
    match &query.fetch_all(on).await?[..] {
        [only] => payment_key(only),
        _ => Ok(None),
    }
}

pub(super) async fn refundable(
    on: &mut SqliteConnection,
    provider: Provider,
    account: &AccountName,
    amount: Money,
    since: Timestamp,
    skip: u32,
    limit: u32,
) -> sqlx::Result<Vec<PaymentKey>> {
    // A payment is registered no earlier than its order: the index tells both when it is registered and that it is recent.
    let rows = sqlx::query(
        "select p.provider, p.account, p.id as payment_id from payments p cross join orders o on o.id = p.order_id \
         where p.provider = ?1 and p.state in ('paid', 'partly_refunded') and p.account = ?2 and p.currency = ?3 \
            and p.captured_minor - p.refunded_minor >= ?4 and p.created_at >= ?5 and o.created_at >= ?5 \
         order by p.created_at desc, p.id desc limit ?7 offset ?6",
    )
    .bind(provider.as_str())
    .bind(account.as_str())
    .bind(amount.currency.as_str())
    .bind(amount.amount_minor)
    .bind(micros(since))
    .bind(i64::from(skip))
    .bind(i64::from(limit))
    .fetch_all(on)
    .await?;
    rows.iter().map(|row| some("payment_id", payment_key(row))).collect()
}
