use jiff::Timestamp;
use payhook_schema::{AccountName, Money, NewRefund, PaymentKey, Provider, RefundState};
use sqlx::{Connection, PgConnection};

use crate::columns::{pg_time, some};
use crate::rows::payment_key;
use crate::{PaymentName, names, refunds};

/// `refunds` and `disputes` of the payment `p`: null for most payments, and then nothing was looked for.
macro_rules! of_payment {
    () => {
        "case when p.has_refunds_or_disputes then (select json_agg(json_build_object('id', r.id, \
            'provider_reference', r.provider_reference, 'state', r.state, 'amount_minor', r.amount_minor, 'currency', r.currency, 'voided', r.voided, 'reason', r.reason, \
            'occurred_at', (extract(epoch from r.occurred_at) * 1000000)::bigint) order by r.n) \
          from refunds r where r.provider = p.provider and r.payment_id = p.id and r.account = p.account) end as refunds, \
         case when p.has_refunds_or_disputes then (select json_agg(json_build_object('id', d.id, 'state', d.state, \
            'amount_minor', d.amount_minor, 'currency', d.currency, 'reason', d.reason, \
            'answer_by', (extract(epoch from d.answer_by) * 1000000)::bigint, \
            'occurred_at', (extract(epoch from d.occurred_at) * 1000000)::bigint) order by d.n) \
          from disputes d where d.provider = p.provider and d.payment_id = p.id and d.account = p.account) end as disputes"
    };
}
pub(super) use of_payment;

/// Those of `refunds` that are known, whosever they are. A refund that moved is there twice, last with the payment it
/// is of now.
pub(super) async fn known(on: &mut PgConnection, refunds: &[NewRefund]) -> sqlx::Result<Vec<NewRefund>> {
    let rows = sqlx::query(
        "select r.provider, r.account, r.payment_id, r.id, r.announced_for from refunds r \
         join unnest($1::text[], $2::text[], $3::text[]) as k (provider, account, id) using (provider, account, id)",
    )
    .bind(refunds.iter().map(|refund| refund.payment.provider.as_str()).collect::<Vec<_>>())
    .bind(refunds.iter().map(|refund| refund.payment.account.as_str()).collect::<Vec<_>>())
    .bind(refunds.iter().map(|refund| refund.id.as_str()).collect::<Vec<_>>())
    .fetch_all(on)
    .await?;
    let known: Vec<_> = rows.iter().map(refunds::known).collect::<sqlx::Result<_>>()?;
    Ok(known.into_iter().flatten().collect())
}

/// Keeps a refund nobody told of yet: its payment is due, and the notifications that name it are the payment's. False
/// where another registration was faster.
pub(super) async fn announce(on: &mut PgConnection, refund: &NewRefund, now: Timestamp) -> sqlx::Result<bool> {
    let NewRefund { payment, id } = refund;
    let kept = sqlx::query(
        "insert into refunds (provider, account, payment_id, id, state, voided) values ($1, $2, $3, $4, $5, false) \
         on conflict (provider, id, account) do nothing",
    )
    .bind(payment.provider.as_str())
    .bind(payment.account.as_str())
    .bind(payment.id.as_str())
    .bind(id.as_str())
    .bind(RefundState::Pending.as_str())
    .execute(&mut *on)
    .await?;
    if kept.rows_affected() == 0 {
        return Ok(false);
    }
    due(&mut *on, payment, now).await?;
    sqlx::query(refunds::LINK)
        .bind(payment.provider.as_str())
        .bind(payment.account.as_str())
        .bind(payment.id.as_str())
        .bind(names::refund(id))
        .execute(on)
        .await?;
    Ok(true)
}

/// See [`crate::Store::refund_assign`].
pub(super) async fn assign(on: &mut PgConnection, refund: &NewRefund, now: Timestamp) -> sqlx::Result<bool> {
    let NewRefund { payment: to, id } = refund;
    let mut transaction = on.begin().await?;
    let from = named(&mut transaction, &refunds::name(refund)).await?;
    if from.as_ref() == Some(to) {
        return Ok(true);
    }
    let ids: Vec<&str> = [Some(to), from.as_ref()].into_iter().flatten().map(|key| key.id.as_str()).collect();
    // Sorted, so that two that move refunds between the same orders wait for each other and do not deadlock. A settlement that was
    // decided before this waits here, too, and is a conflict then.
    sqlx::query(
        "select 1 from orders where id in (select order_id from payments where provider = $1 and account = $2 and id = any($3)) \
         order by id for update",
    )
    .bind(to.provider.as_str())
    .bind(to.account.as_str())
    .bind(&ids)
    .execute(&mut *transaction)
    .await?;
    let registered = sqlx::query(refunds::IS_REGISTERED)
        .bind(to.provider.as_str())
        .bind(to.account.as_str())
        .bind(to.id.as_str())
        .fetch_optional(&mut *transaction)
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
                .execute(&mut *transaction)
                .await?;
            moved.rows_affected() == 1
        }
        None => announce(&mut transaction, refund, now).await?,
    };
    if !is_assigned {
        return Ok(false);
    }
    due(&mut transaction, to, now).await?;
    sqlx::query(
        "update orders set revision = revision + 1, updated_at = $4 \
         where id in (select order_id from payments where provider = $1 and account = $2 and id = any($3))",
    )
    .bind(to.provider.as_str())
    .bind(to.account.as_str())
    .bind(&ids)
    .bind(pg_time(now))
    .execute(&mut *transaction)
    .await?;
    for (of, entry) in refunds::assigned(refund, from.as_ref(), now) {
        sqlx::query(refunds::NOTE)
            .bind(of.provider.as_str())
            .bind(of.account.as_str())
            .bind(of.id.as_str())
            .bind(pg_time(entry.at))
            .bind(entry.kind.as_str())
            .bind(entry.text)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    Ok(true)
}

/// Has a payment that a refund of is expected be asked about at once.
async fn due(on: &mut PgConnection, payment: &PaymentKey, now: Timestamp) -> sqlx::Result<()> {
    sqlx::query(refunds::DUE)
        .bind(payment.provider.as_str())
        .bind(payment.account.as_str())
        .bind(payment.id.as_str())
        .bind(pg_time(now))
        .execute(on)
        .await?;
    Ok(())
}

pub(super) async fn named(on: &mut PgConnection, name: &PaymentName) -> sqlx::Result<Option<PaymentKey>> {
    let query = match name {
        PaymentName::Refund { provider, account, id } => sqlx::query(
            "select provider, account, payment_id from refunds where provider = $1 and id = $3 and account = $2",
        )
        .bind(provider.as_str())
        .bind(account.as_str())
        .bind(id.as_str()),
        PaymentName::Reference { provider, .. } if !provider.profile().names_payments_by_reference => return Ok(None),
        // Two, to see that there is more than one.
        PaymentName::Reference { provider, account, reference } => sqlx::query(
            "select provider, account, id as payment_id from payments \
             where provider = $1 and account = $2 and provider_reference = $3 limit 2",
        )
        .bind(provider.as_str())
        .bind(account.as_str())
        .bind(reference)
        // The index is one provider's, and is used only by a plan that knows which one is asked for.
        .persistent(false),
    };
    match &query.fetch_all(on).await?[..] {
        [only] => payment_key(only),
        _ => Ok(None),
    }
}

pub(super) async fn refundable(
    on: &mut PgConnection,
    provider: Provider,
    account: &AccountName,
    amount: Money,
    since: Timestamp,
    skip: u32,
    limit: u32,
) -> sqlx::Result<Vec<PaymentKey>> {
    // Not prepared: the index is one provider's, and is used only by a plan that knows which one is asked for.
    // A payment is registered no earlier than its order: the index tells both when it is registered and that it is recent.
    let rows = sqlx::query(
        "select p.provider, p.account, p.id as payment_id from payments p join orders o on o.id = p.order_id \
         where p.provider = $1 and p.state in ('paid', 'partly_refunded') and p.account = $2 and p.currency = $3 \
            and p.captured_minor - p.refunded_minor >= $4 and p.created_at >= $5 and o.created_at >= $5 \
         order by p.created_at desc, p.id desc limit $7 offset $6",
    )
    .bind(provider.as_str())
    .bind(account.as_str())
    .bind(amount.currency.as_str())
    .bind(amount.amount_minor)
    .bind(pg_time(since))
    .bind(i64::from(skip))
    .bind(i64::from(limit))
    .persistent(false)
    .fetch_all(on)
    .await?;
    rows.iter().map(|row| some("payment_id", payment_key(row))).collect()
}
