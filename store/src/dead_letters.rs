//! The stored parts of a dead letter, and the grouping of several, alike for both databases: a letter can always be
//! kept, whatever is in it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use payhook_schema::{Currency, DeadCause, Money, OrderState, PaymentKey};
use uuid::Uuid;

use crate::batch::{Micros, NotificationRow, each_once, keepable};
use crate::columns::{Columns, some};
use crate::rows::{order_now, read};
use crate::{Act, DeadLetter, DeadLetterGroup};

/// The row of one letter.
pub(crate) struct Kept<'a> {
    pub(crate) id: Uuid,
    pub(crate) cause: &'static str,
    pub(crate) detail: Cow<'a, str>,
    pub(crate) provider: Option<&'static str>,
    pub(crate) account: Option<&'a str>,
    pub(crate) payment_id: Option<&'a str>,
    pub(crate) attempts: i64,
    pub(crate) first_failed_at: Micros,
    pub(crate) last_failed_at: Micros,
    pub(crate) bytes: &'a [u8],
    pub(crate) notification_id: Option<Uuid>,
    /// Of that notification.
    pub(crate) signed_id: Option<Uuid>,
}

impl<'a> Kept<'a> {
    fn of(letter: &'a DeadLetter) -> Self {
        let payment = letter.payment.as_ref();
        let provider = payment.map(|key| key.provider).or(letter.provider);
        let account = payment.map(|key: &PaymentKey| &key.account).or(letter.account.as_ref());
        let inside = letter.notification.as_ref().filter(|inside| keepable(inside));
        Self {
            id: letter.id,
            cause: letter.cause.as_str(),
            detail: without_nul(&letter.detail),
            provider: provider.map(payhook_schema::Provider::as_str),
            account: account.map(payhook_schema::AccountName::as_str),
            payment_id: payment.map(|key| key.id.as_str()),
            attempts: i64::from(letter.attempts),
            first_failed_at: Micros(letter.first_failed_at),
            last_failed_at: Micros(letter.last_failed_at),
            bytes: &letter.bytes,
            notification_id: inside.map(|inside| inside.id),
            signed_id: inside.and_then(|inside| inside.signed_id),
        }
    }
}

/// The rows of `letters`, each letter once: with its first bytes and its last failure, as if they had been kept one by one. No statement
/// writes a row twice.
pub(crate) fn kept(letters: &[DeadLetter]) -> Vec<Kept<'_>> {
    let mut rows: Vec<Kept<'_>> = Vec::with_capacity(letters.len());
    let mut places: HashMap<Uuid, usize> = HashMap::new();
    for row in letters.iter().map(Kept::of) {
        let place = *places.entry(row.id).or_insert(rows.len());
        match rows.get_mut(place) {
            None => rows.push(row),
            Some(known) if known.last_failed_at.0 < row.last_failed_at.0 => {
                let Kept { cause, detail, attempts, last_failed_at, .. } = row;
                (known.cause, known.detail, known.last_failed_at) = (cause, detail, last_failed_at);
                known.attempts = (known.attempts + attempts).min(i64::from(u32::MAX));
            }
            Some(_) => {}
        }
    }
    rows
}

/// The notifications inside; one that cannot be archived is in the letter's bytes all the same.
pub(crate) fn archived(letters: &[DeadLetter]) -> Vec<NotificationRow<'_>> {
    let inside = letters.iter().filter_map(|letter| letter.notification.as_ref());
    each_once(inside.filter(|inside| keepable(inside)).map(|it| NotificationRow::of(None, it, None)).collect())
}

pub(crate) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Returns the timeline's text for a letter that was discarded.
pub(crate) fn discarded_by(Act { who, reason, .. }: &Act) -> String {
    without_nul(&format!("discarded by {who}: {reason}")).into_owned()
}

/// Folds rows of letters counted by group and order.
pub(crate) fn groups(rows: &[impl Columns]) -> sqlx::Result<Vec<DeadLetterGroup>> {
    let mut groups: BTreeMap<_, (DeadLetterGroup, BTreeMap<Currency, i64>)> = BTreeMap::new();
    for row in rows {
        let cause: DeadCause = some("cause", read(row, "cause"))?;
        let (provider, account) = (read(row, "provider")?, read(row, "account")?);
        let count = some("letters", row.int("letters"))? as u64;
        let first_failed_at = some("first_failed_at", row.time("first_failed_at"))?;
        let last_failed_at = some("last_failed_at", row.time("last_failed_at"))?;
        let (group, at_stake) = groups.entry((cause.as_str(), provider, account)).or_insert_with_key(|key| {
            let (_, provider, account) = key.clone();
            let (at_stake, paid_meanwhile) = (Vec::new(), 0);
            let group = DeadLetterGroup {
                cause,
                provider,
                account,
                count: 0,
                first_failed_at,
                last_failed_at,
                at_stake,
                paid_meanwhile,
            };
            (group, BTreeMap::new())
        });
        group.count += count;
        group.first_failed_at = group.first_failed_at.min(first_failed_at);
        group.last_failed_at = group.last_failed_at.max(last_failed_at);
        match order_now(row)? {
            Some((OrderState::Paid | OrderState::PartlyRefunded | OrderState::Refunded, _)) => {
                group.paid_meanwhile += count;
            }
            Some((OrderState::Pending | OrderState::Authorized | OrderState::Held, amount)) => {
                // Each order is in one row of its group. A sum nobody has is no reason to show nothing.
                let sum = at_stake.entry(amount.currency).or_default();
                *sum = sum.saturating_add(amount.amount_minor);
            }
            None => {}
        }
    }
    let with_stakes = groups.into_values().map(|(group, at_stake)| {
        let at_stake = at_stake.into_iter().map(|(currency, sum)| Money::new(sum, currency)).collect();
        DeadLetterGroup { at_stake, ..group }
    });
    let mut groups: Vec<_> = with_stakes.collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    Ok(groups)
}
