//! The reasons why a hint is not finished, and what each means: does it count as a try, how long does the hint wait,
//! how does it end.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use payhook_provider::{Account, Accounts, AskError};
use payhook_schema::{AccountName, DeadCause, Provider, jittered, jittered_fully};
use payhook_vault::VaultError;

use crate::store_retry::GaveUp;
use crate::wait::HintWait;

/// The kind of failure that keeps a hint from being finished: each has its own waits and its own end.
///
/// The table in ARCHITECTURE.md is drawn from this and tested to be equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The provider is not reachable, in trouble, or unintelligible.
    Transient,
    /// The provider asks us to slow down.
    Throttled { after: Option<Duration> },
    /// The provider does not accept us or what we ask, or there is no such account: a person must mend the
    /// configuration.
    Misconfigured,
    /// The provider does not know of it, or not yet.
    NotThere,
    /// We do not know what it is about, or not yet: its order is not registered.
    Waiting,
    /// An answer that is final, or outside the documented tables.
    Permanent,
    /// Bytes that are no envelope, values no store keeps.
    Poison,
}

impl Class {
    pub(crate) fn of(error: &AskError) -> Self {
        match error {
            AskError::Unavailable { .. } => Self::Transient,
            AskError::Throttled { after } => Self::Throttled { after: *after },
            AskError::Misconfigured { .. } => Self::Misconfigured,
            AskError::NotThere { .. } => Self::NotThere,
            AskError::Refused { .. } | AskError::OutsideTables { .. } => Self::Permanent,
        }
    }

    /// Returns true if a try of this class counts against the schedule. A request to slow down is no try at all; and
    /// whatever the class, nothing counts while the account is paused.
    pub(crate) fn is_counted(self) -> bool {
        match self {
            Self::Throttled { .. } => false,
            Self::Transient | Self::Misconfigured | Self::NotThere | Self::Waiting | Self::Permanent | Self::Poison => {
                true
            }
        }
    }

    /// Returns true if trying again cannot help.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Permanent | Self::Poison)
    }

    /// Returns true if it says something about the payment, and not about its provider or account.
    pub(crate) fn is_the_payments(self) -> bool {
        match self {
            Self::NotThere | Self::Waiting | Self::Permanent | Self::Poison => true,
            Self::Transient | Self::Throttled { .. } | Self::Misconfigured => false,
        }
    }

    /// Returns the time to wait where the schedule says `delay`.
    pub(crate) fn wait(self, delay: Duration) -> Duration {
        match self {
            Self::Transient | Self::NotThere => jittered_fully(delay),
            Self::Throttled { .. } => jittered_fully(delay).max(self.at_least()),
            // Whoever registers an order late does so on their own schedule: the wait keeps most of its length.
            Self::Misconfigured | Self::Waiting => jittered(delay),
            Self::Permanent | Self::Poison => Duration::ZERO,
        }
    }

    /// The least to wait, whatever the schedule says.
    pub(crate) fn at_least(self) -> Duration {
        match self {
            Self::Throttled { after } => after.unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }

    /// Returns the cause of a dead letter of this class.
    pub(crate) fn cause(self) -> DeadCause {
        match self {
            Self::Transient | Self::Throttled { .. } => DeadCause::ProviderUnreachable,
            Self::Misconfigured => DeadCause::Misconfigured,
            Self::NotThere | Self::Permanent => DeadCause::ProviderRefused,
            Self::Waiting => DeadCause::UnknownPayment,
            Self::Poison => DeadCause::Poison,
        }
    }
}

/// The reason why a hint could not be finished, for this time or for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HintFailure {
    pub(crate) class: Class,
    /// The last answer, without bodies or secrets.
    pub(crate) detail: String,
}

impl HintFailure {
    pub(crate) fn misconfigured(detail: String) -> Self {
        Self { class: Class::Misconfigured, detail }
    }
}

impl From<AskError> for HintFailure {
    fn from(error: AskError) -> Self {
        Self { class: Class::of(&error), detail: error.to_string() }
    }
}

/// Returns an account of ours, or why nobody can be asked.
pub(crate) fn account_of(
    accounts: &Accounts,
    provider: Provider,
    name: &AccountName,
) -> Result<Arc<Account>, HintFailure> {
    let missing = || HintFailure::misconfigured(format!("{provider} account `{name}` is not configured"));
    accounts.get(provider, name).ok_or_else(missing)
}

/// The reason why an account may not be asked now.
#[derive(Debug)]
pub(crate) enum NotAsked {
    /// There is no such account.
    Failed(HintFailure),
    Wait(HintWait),
}

impl From<HintFailure> for NotAsked {
    fn from(failure: HintFailure) -> Self {
        Self::Failed(failure)
    }
}

impl From<HintWait> for NotAsked {
    fn from(wait: HintWait) -> Self {
        Self::Wait(wait)
    }
}

/// The reason why a delivery was not dealt with to its end.
#[derive(Debug)]
pub(crate) enum Unfinished {
    /// The hint's subject is not known, or not yet.
    Unknown(String),
    /// `probe`: asked on behalf of all that wait for the account, so that failing counts for none of them.
    Failed { failure: HintFailure, probe: bool },
    /// Its account is left alone for a while.
    Waits(HintWait),
    /// The hints repeat what was asked about immediately before, and rest until then.
    Repeated(Timestamp),
    /// Settled by another hint since this one was tried first.
    SettledMeanwhile,
    /// The store can never keep it, or never look it up.
    Poison(String),
    /// The store was away for too long.
    StoreAway,
    /// The worker stops: the delivery comes back to another one.
    Stopped,
}

impl From<HintFailure> for Unfinished {
    fn from(failure: HintFailure) -> Self {
        Self::Failed { failure, probe: false }
    }
}

impl From<VaultError> for Unfinished {
    fn from(error: VaultError) -> Self {
        HintFailure::misconfigured(error.to_string()).into()
    }
}

impl From<HintWait> for Unfinished {
    fn from(wait: HintWait) -> Self {
        Self::Waits(wait)
    }
}

impl From<NotAsked> for Unfinished {
    fn from(not_asked: NotAsked) -> Self {
        match not_asked {
            NotAsked::Failed(failure) => failure.into(),
            NotAsked::Wait(wait) => wait.into(),
        }
    }
}

impl From<GaveUp> for Unfinished {
    fn from(gave_up: GaveUp) -> Self {
        match gave_up {
            GaveUp::Refused(why) => Self::Poison(why),
            GaveUp::TooLong => Self::StoreAway,
            GaveUp::Stopped => Self::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(&str, Class); 7] = [
        ("transient: not reachable, in trouble, unintelligible", Class::Transient),
        ("throttled: 429, `REQUEST_TRAFFIC_EXCEED_LIMIT`", Class::Throttled { after: Some(Duration::from_hours(1)) }),
        (
            "misconfigured: our keys, ids or questions are refused; it signs with a key we lack; no such account",
            Class::Misconfigured,
        ),
        ("not there: the provider does not know it", Class::NotThere),
        ("waiting: its order is not registered", Class::Waiting),
        ("permanent: a final no, an answer outside the tables", Class::Permanent),
        ("poison: no envelope, a value no store keeps", Class::Poison),
    ];

    fn drawn() -> String {
        let mut table = "| failure | counts as a try | wait | ends as |\n|---|---|---|---|\n".to_owned();
        for (what, class) in ALL {
            let counted = if class.is_counted() { "yes" } else { "no: its account is paused" };
            let delay = Duration::from_secs(100);
            let waits: Vec<Duration> = (0..64).map(|_| class.wait(delay)).collect();
            let wait = match class {
                _ if class.is_final() => "none",
                _ if waits.iter().all(|wait| *wait > delay) => "at least `Retry-After`, full jitter",
                _ if waits.iter().any(|wait| *wait < delay / 2) => "`retry_delays`, full jitter",
                _ => "`retry_delays`, between half and whole",
            };
            let end = match class.is_counted() {
                true if class.is_final() => format!("`{}`, at once", class.cause()),
                true => format!("`{}`, when the schedule is used up", class.cause()),
                false => "nothing: it waits".to_owned(),
            };
            table += &format!("| {what} | {counted} | {wait} | {end} |\n");
        }
        table
    }

    #[test]
    fn the_architectures_table_is_the_codes() {
        let table = drawn();
        let document = include_str!("../../../ARCHITECTURE.md");
        assert!(document.contains(&table), "write this into ARCHITECTURE.md:\n{table}");
    }
}
