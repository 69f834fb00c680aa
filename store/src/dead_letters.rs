//! What of a dead letter is kept, alike for both databases: a letter can always be kept, whatever is in it.

use std::borrow::Cow;

use payhook_schema::PaymentKey;
use uuid::Uuid;

use crate::DeadLetter;
use crate::batch::{Micros, NotificationRow, keepable};

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
}

impl<'a> Kept<'a> {
    pub(crate) fn of(letter: &'a DeadLetter) -> Self {
        let payment = letter.payment.as_ref();
        let provider = payment.map(|key| key.provider).or(letter.provider);
        let account = payment.map(|key: &PaymentKey| &key.account).or(letter.account.as_ref());
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
            notification_id: letter.notification.as_ref().filter(|inside| keepable(inside)).map(|inside| inside.id),
        }
    }
}

/// The notifications inside; one that cannot be archived is in the letter's bytes all the same.
pub(crate) fn archived(letters: &[DeadLetter]) -> Vec<NotificationRow<'_>> {
    let inside = letters.iter().filter_map(|letter| letter.notification.as_ref());
    inside.filter(|inside| keepable(inside)).map(|inside| NotificationRow::of(None, inside, None)).collect()
}

pub(crate) fn without_nul(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}
