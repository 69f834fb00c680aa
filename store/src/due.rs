//! Shares one sweep between accounts, alike for both databases.

use jiff::Timestamp;
use payhook_schema::{AccountName, Provider};

use crate::AccountLimit;
use crate::columns::{Columns, some};
use crate::rows::read;

/// Reads each account that has an unfinished payment with a next check, and when its first one is due. It jumps from account to account in
/// the index `payments_due`, so that the number of payments does not matter. `$providers` reads the list of [`providers`] that is bound.
macro_rules! accounts {
    ($unfinished:literal, $providers:literal) => {
        concat!(
            "with recursive providers (provider) as (",
            $providers,
            "), \
             accounts (provider, account) as ( \
                 select provider, (select min(account) from payments p \
                     where p.provider = providers.provider and next_check_at is not null and ",
            $unfinished,
            ") from providers \
                 union all \
                 select provider, (select min(account) from payments p where p.provider = accounts.provider \
                     and p.account > accounts.account and next_check_at is not null and ",
            $unfinished,
            ") from accounts where account is not null) \
             select provider, account, (select min(next_check_at) from payments p where p.provider = accounts.provider \
                 and p.account = accounts.account and next_check_at is not null and ",
            $unfinished,
            ") as due_at from accounts where account is not null"
        )
    };
}
pub(crate) use accounts;

/// Every provider a payment may be with.
pub(crate) fn providers() -> Vec<&'static str> {
    Provider::ALL.iter().map(|provider| provider.as_str()).collect()
}

/// The part of one account in a sweep: take up to `quota` of its due payments, and note how many there were.
pub(crate) struct Part {
    pub(crate) provider: Provider,
    pub(crate) account: AccountName,
    pub(crate) quota: u32,
    left: u32,
}

impl Part {
    /// The parts of the accounts that have something due by `now`; `rows` are those of `accounts!`.
    pub(crate) fn all(rows: &[impl Columns], now: Timestamp, at_most: &[AccountLimit]) -> sqlx::Result<Vec<Self>> {
        let mut parts = Vec::new();
        for row in rows {
            if some("due_at", row.time("due_at"))? > now {
                continue;
            }
            let (provider, account) =
                (some("provider", read(row, "provider"))?, some("account", read(row, "account"))?);
            let limit = at_most.iter().find(|limit| limit.provider == provider && limit.account == account);
            let left = limit.map_or(u32::MAX, |limit| limit.limit);
            parts.push(Self { provider, account, quota: 0, left });
        }
        parts.retain(|part| part.left > 0);
        Ok(parts)
    }

    /// Divides up to `limit` evenly. If there are more parts than that, each asks for one until the limit is reached:
    /// some may have none.
    pub(crate) fn divide(mut parts: Vec<Self>, limit: u32) -> Vec<Self> {
        let even = (limit / u32::try_from(parts.len()).unwrap_or(u32::MAX).max(1)).max(1);
        for part in &mut parts {
            part.quota = even.min(part.left);
        }
        parts
    }

    /// The part that is left where there may be more to take.
    pub(crate) fn after(mut self, taken: usize) -> Option<Self> {
        let taken = u32::try_from(taken).unwrap_or(u32::MAX);
        self.left = self.left.saturating_sub(taken);
        (taken == self.quota && self.left > 0).then_some(self)
    }
}
