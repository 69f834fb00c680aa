//! Slows down who sends a stored request again and again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Mutex;

use jiff::Timestamp;
use payhook_schema::{AccountName, Provider};
use uuid::Uuid;

/// Requests remembered of each account, the newest: some 200 kB. Antom's last resend comes after a day and is then new
/// to us, which costs no more than a repeat did.
const REMEMBERED: usize = 4096;

/// Remembers what this process made durable lately, and slows down who sends the same signed bytes again and again. A
/// request that was not made durable is never counted, so a provider that sends again because we failed is served at
/// once.
pub(crate) struct Repeats {
    per_second_max: u32,
    accounts: Mutex<HashMap<(Provider, AccountName), Lately>>,
}

#[derive(Default)]
struct Lately {
    signed: HashSet<Uuid>,
    /// The same, oldest first.
    order: VecDeque<Uuid>,
    second: i64,
    repeats: u32,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RepeatCheck {
    /// Not lately.
    First,
    Repeat,
    /// A repeat beyond the limit. `tell`: the first of this second.
    TooMany {
        log: bool,
    },
}

impl Repeats {
    pub(crate) fn new(per_second_max: u32) -> Self {
        Self { per_second_max, accounts: Mutex::default() }
    }

    pub(crate) fn check(&self, provider: Provider, account: &AccountName, signed: Uuid, now: Timestamp) -> RepeatCheck {
        self.of(provider, account, |lately| {
            if !lately.signed.contains(&signed) {
                return RepeatCheck::First;
            }
            if lately.second != now.as_second() {
                (lately.second, lately.repeats) = (now.as_second(), 0);
            }
            lately.repeats = lately.repeats.saturating_add(1);
            match lately.repeats.saturating_sub(self.per_second_max) {
                0 => RepeatCheck::Repeat,
                over => RepeatCheck::TooMany { log: over == 1 },
            }
        })
    }

    /// Remembers a request that is durable.
    pub(crate) fn durable(&self, provider: Provider, account: &AccountName, signed: Uuid) {
        self.of(provider, account, |lately| {
            if lately.signed.insert(signed) {
                lately.order.push_back(signed);
            }
            if lately.order.len() > REMEMBERED
                && let Some(oldest) = lately.order.pop_front()
            {
                lately.signed.remove(&oldest);
            }
        });
    }

    fn of<T>(&self, provider: Provider, account: &AccountName, look: impl FnOnce(&mut Lately) -> T) -> T {
        let mut accounts = self.accounts.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        look(accounts.entry((provider, account.clone())).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_durable_is_limited_and_each_account_by_itself() {
        let (first, second) = (Timestamp::from_second(10).unwrap(), Timestamp::from_second(11).unwrap());
        let [shop, other] = ["shop", "other"].map(|name| AccountName::new(name).unwrap());
        let repeats = Repeats::new(2);
        let check = |account, signed, now| repeats.check(Provider::Omise, account, Uuid::from_u128(signed), now);
        for _ in 0..9 {
            assert_eq!(check(&shop, 1, first), RepeatCheck::First, "it could not be made durable");
        }
        for account in [&shop, &other] {
            repeats.durable(Provider::Omise, account, Uuid::from_u128(1));
        }
        assert_eq!([check(&shop, 1, first), check(&shop, 1, first)], [RepeatCheck::Repeat, RepeatCheck::Repeat]);
        assert_eq!(check(&shop, 1, first), RepeatCheck::TooMany { log: true });
        assert_eq!(check(&shop, 1, first), RepeatCheck::TooMany { log: false });
        assert_eq!(check(&shop, 2, first), RepeatCheck::First, "what is new is never limited");
        assert_eq!((check(&other, 1, first), check(&shop, 1, second)), (RepeatCheck::Repeat, RepeatCheck::Repeat));
        assert_eq!(repeats.check(Provider::Antom, &shop, Uuid::from_u128(1), first), RepeatCheck::First);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (shop, now) = (AccountName::new("shop").unwrap(), Timestamp::from_second(10).unwrap());
        let repeats = Repeats::new(1);
        for signed in 0..=REMEMBERED as u128 {
            repeats.durable(Provider::Omise, &shop, Uuid::from_u128(signed));
            repeats.durable(Provider::Omise, &shop, Uuid::from_u128(signed));
        }
        let check = |signed| repeats.check(Provider::Omise, &shop, Uuid::from_u128(signed), now);
        assert_eq!((check(0), check(1)), (RepeatCheck::First, RepeatCheck::Repeat));
        assert_eq!(
            repeats.accounts.lock().unwrap().values().map(|lately| lately.order.len()).sum::<usize>(),
            REMEMBERED
        );
    }
}
