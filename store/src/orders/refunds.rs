//! Refunds that were announced, and the payments that notifications name by them.

use jiff::Timestamp;
use payhook_schema::{
    AccountName, Money, NewRefund, PaymentId, PaymentKey, Provider, RefundId, RefundState, TimelineKind,
};
use serde::Serialize;

use super::PaymentName;
use crate::TimelineEntry;
use crate::db::Conn;
use crate::db::value::json;
use crate::notifications::names;

/// True if the payment $3 of an account is registered.
const IS_REGISTERED: &str = "select 1 from payments where provider = $1 and account = $2 and id = $3";

/// Moves the refund $3 from the payment $5 to $4, if it is in state $6.
const MOVE: &str = "update refunds set payment_id = $4, announced_for = coalesce(announced_for, payment_id) \
    where provider = $1 and id = $3 and account = $2 and payment_id = $5 and state = $6";

/// Has the payment $3, of which a refund is expected, be asked about at $4.
const DUE: &str = "update payments \
    set next_check_at = $4, checks = 0, has_refunds_or_disputes = true, finished = false \
    where provider = $1 and id = $3 and account = $2";

/// Links the notifications that name $4 to the payment $3.
const LINK: &str = "update notifications set payment_id = $3 \
    where provider = $1 and account = $2 and names = $4 and payment_id is null";

/// Notes the text $6 in the timeline of the payment $3.
const NOTE: &str = "insert into timeline (order_id, at, kind, provider, account, payment_id, text) \
    select order_id, $4, $5, provider, account, id, $6 from payments where provider = $1 and account = $2 and id = $3";

/// Returns the known ones of `refunds`, of any payment. A refund that moved is in the answer twice, last with its
/// present payment.
pub(super) async fn known(on: &mut Conn<'_>, refunds: &[NewRefund]) -> sqlx::Result<Vec<NewRefund>> {
    #[derive(Serialize)]
    struct NamedRefund<'a> {
        provider: Provider,
        account: &'a AccountName,
        id: &'a RefundId,
    }
    if refunds.is_empty() {
        return Ok(Vec::new());
    }
    let named = refunds.iter().map(|NewRefund { payment, id }| NamedRefund {
        provider: payment.provider,
        account: &payment.account,
        id,
    });
    let rows = on.query(
        "select r.provider, r.account, r.payment_id, r.id, r.announced_for \
         from jsonb_to_recordset($1::jsonb) as k (provider text, account text, id text) \
         inner join refunds r on r.provider = k.provider and r.account = k.account and r.id = k.id",
    );
    let rows = rows.bind(json(&named.collect::<Vec<_>>())).all().await?;
    let mut known = Vec::with_capacity(rows.len());
    for row in &rows {
        let (payment, id): (_, RefundId) = (row.some_payment_key()?, row.get("id")?);
        if let Some(announced_for) = row.opt::<PaymentId>("announced_for")? {
            known.push(NewRefund { payment: PaymentKey { id: announced_for, ..payment.clone() }, id: id.clone() });
        }
        known.push(NewRefund { payment, id });
    }
    Ok(known)
}

/// Writes a refund that was not known: its payment is due, and the notifications that name it are the payment's. False
/// where another registration was faster.
pub(super) async fn announce(on: &mut Conn<'_>, refund: &NewRefund, now: Timestamp) -> sqlx::Result<bool> {
    let NewRefund { payment, id } = refund;
    let written = on.query(
        "insert into refunds (provider, account, payment_id, id, state, voided) values ($1, $2, $3, $4, $5, false) \
         on conflict (provider, id, account) do nothing",
    );
    if written.bind_key(payment).bind(id).bind(RefundState::Pending.as_str()).execute().await? == 0 {
        return Ok(false);
    }
    on.query(DUE).bind_key(payment).bind(now).execute().await?;
    on.query(LINK).bind_key(payment).bind(names::refund(id)).execute().await?;
    Ok(true)
}

/// See [`crate::Settling::refund_assign`].
pub(crate) async fn assign(on: &mut Conn<'_>, refund: &NewRefund, now: Timestamp) -> sqlx::Result<bool> {
    let NewRefund { payment: to, id } = refund;
    let mut unit = on.begin().await?;
    let on = &mut unit.connection();
    let name = PaymentName::Refund { provider: to.provider, account: to.account.clone(), id: id.clone() };
    let from = named(on, &name).await?;
    if from.as_ref() == Some(to) {
        return Ok(true);
    }
    let payments: Vec<&str> = [Some(to), from.as_ref()].into_iter().flatten().map(|key| key.id.as_str()).collect();
    // Sorted, so that two that move refunds between the same orders wait for each other and do not deadlock. A
    // settlement that was decided before this waits here, too, and is a conflict then.
    if on.has_other_writers() {
        let held = on.query(
            "select 1 from orders where id in \
                (select order_id from payments where provider = $1 and account = $2 and id = any($3)) \
             order by id for update",
        );
        held.bind(to.provider).bind(&to.account).bind(payments.clone()).execute().await?;
    }
    if on.query(IS_REGISTERED).bind_key(to).optional().await?.is_none() {
        return Ok(false);
    }
    let is_assigned = match &from {
        Some(from) => {
            let moved = on.query(MOVE).bind(to.provider).bind(&to.account).bind(id).bind(&to.id).bind(&from.id);
            moved.bind(RefundState::Pending.as_str()).execute().await? == 1
        }
        None => announce(on, refund, now).await?,
    };
    if !is_assigned {
        return Ok(false);
    }
    on.query(DUE).bind_key(to).bind(now).execute().await?;
    let moved_on = on.query(
        "update orders set revision = revision + 1, updated_at = $4 where id in \
            (select order_id from payments where provider = $1 and account = $2 and id = any($3))",
    );
    moved_on.bind(to.provider).bind(&to.account).bind(payments).bind(now).execute().await?;
    for (of, entry) in assigned(refund, from.as_ref(), now) {
        let noted = on.query(NOTE).bind_key(&of).bind(entry.at).bind(entry.kind.as_str()).bind(&entry.text);
        noted.execute().await?;
    }
    unit.commit().await?;
    Ok(true)
}

pub(super) async fn named(on: &mut Conn<'_>, name: &PaymentName) -> sqlx::Result<Option<PaymentKey>> {
    let query = match name {
        PaymentName::Refund { provider, account, id } => on
            .query("select provider, account, payment_id from refunds where provider = $1 and id = $3 and account = $2")
            .bind(*provider)
            .bind(account)
            .bind(id),
        PaymentName::Reference { provider, .. } if !provider.profile().names_payments_by_reference => return Ok(None),
        // Two, to see that there is more than one. The index is one provider's.
        PaymentName::Reference { provider, account, reference } => on
            .query(
                "select provider, account, id as payment_id from payments \
                 where provider = $1 and account = $2 and provider_reference = $3 limit 2",
            )
            .bind(*provider)
            .bind(account)
            .bind(reference)
            .planned_anew(),
    };
    match &query.all().await?[..] {
        [only] => only.payment_key(),
        _ => Ok(None),
    }
}

pub(super) async fn refundable(
    on: &mut Conn<'_>,
    provider: Provider,
    account: &AccountName,
    amount: Money,
    since: Timestamp,
    (skip, limit): (u32, u32),
) -> sqlx::Result<Vec<PaymentKey>> {
    // A payment is registered no earlier than its order: the index, which is one provider's, tells both when it is
    // registered and that it is recent.
    let rows = on.query(
        "select p.provider, p.account, p.id as payment_id from payments p inner join orders o on o.id = p.order_id \
         where p.provider = $1 and p.state in ('paid', 'partly_refunded') and p.account = $2 and p.currency = $3 \
            and p.captured_minor - p.refunded_minor >= $4 and p.created_at >= $5 and o.created_at >= $5 \
         order by p.created_at desc, p.id desc limit $7 offset $6",
    );
    let rows = rows.bind(provider).bind(account).bind(amount.currency.as_str()).bind(amount.amount_minor);
    let rows = rows.bind(since).bind(skip).bind(limit).planned_anew().all().await?;
    rows.iter().map(crate::db::row::Row::some_payment_key).collect()
}

/// Returns the timeline entries for a refund that is another payment's than was announced: one for each payment it
/// concerns.
fn assigned(refund: &NewRefund, from: Option<&PaymentKey>, now: Timestamp) -> Vec<(PaymentKey, TimelineEntry)> {
    let NewRefund { payment: to, id } = refund;
    let announced = from.map_or(String::new(), |from| format!(", and not of {from}, for which it was announced"));
    let text = format!("{} says that refund {id} is of {to}{announced}", to.provider);
    let entry = |of: &PaymentKey| {
        (of.clone(), TimelineEntry::new(now, TimelineKind::Transition, Some(of.clone()), text.clone()))
    };
    [Some(to), from].into_iter().flatten().map(entry).collect()
}
