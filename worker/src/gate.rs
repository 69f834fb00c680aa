use std::sync::Arc;
use std::time::Duration;

use payhook_provider::Account;
use payhook_schema::{AccountName, PaymentKey, Provider};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::breaker::{Admission, Pause, Wait};
use crate::budget::Turn;
use crate::class::Class;
use crate::inquire::Asking;
use crate::outcome::Failure;
use crate::worker::Context;

/// The shortest rest on the queue for a hint whose account has enough of them in hand, or no share on this worker.
const CROWDED: Duration = Duration::from_secs(1);

/// The kind of work that wants to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// A hint in hand. It goes round the queue rather than wait long, and keep others waiting.
    Hint,
    /// Work of our own that holds nothing: it waits, and has places of its own among the questions under way.
    Chore,
}

/// The reason why the account may not be asked now.
pub(crate) enum Shut {
    /// There is no such account.
    Failed(Failure),
    Wait(Wait),
}

impl From<Failure> for Shut {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Wait> for Shut {
    fn from(wait: Wait) -> Self {
        Self::Wait(wait)
    }
}

/// A turn at an account that was reached, and whose breaker is still to be passed.
pub(crate) struct Gate<'a> {
    context: &'a Context,
    account: Arc<Account>,
    turn: Turn<'a>,
}

impl Context {
    /// An account of ours, or why nobody can be asked.
    pub(crate) fn account(&self, provider: Provider, name: &AccountName) -> Result<Arc<Account>, Failure> {
        self.accounts.get(provider, name).ok_or_else(|| Failure {
            class: Class::Misconfigured,
            detail: format!("{provider} account `{name}` is not configured"),
        })
    }

    /// The one way to the providers: the account is known, is not left alone, and it is our turn within its budget. Then [`Gate::pass`].
    pub(crate) async fn gate(
        &self,
        provider: Provider,
        name: &AccountName,
        about: Option<&PaymentKey>,
        who: Who,
    ) -> Result<Gate<'_>, Shut> {
        let account = self.account(provider, name)?;
        // Whoever has to wait takes no part of the account's budget to learn that.
        if let Some(wait) = self.breakers.left_alone(provider, name, about, Instant::now()) {
            return Err(wait.into());
        }
        let turn = match who {
            Who::Chore => self.budgets.turn(&account, &self.asking.chores).await,
            Who::Hint => self.hints_turn(&account).await?,
        };
        Ok(Gate { context: self, account, turn })
    }

    async fn hints_turn(&self, account: &Account) -> Result<Turn<'_>, Wait> {
        let crowded =
            || Wait { after: CROWDED, rest: Duration::ZERO, why: Pause::Crowded, lasted: Duration::ZERO, first: false };
        let others = self.accounts.all().len() > 1;
        // Twice the concurrency is in hand at most; a quarter of it is kept for accounts that answer.
        let is_full = self.in_hand.len() > self.options.concurrency * 3 / 2;
        if others && is_full && self.budgets.is_slow(account) {
            return Err(crowded());
        }
        self.budgets.turn_if_any(account, &self.asking.hints).await.ok_or_else(crowded)
    }
}

impl<'a> Gate<'a> {
    /// Passes the breaker, unless it opened meanwhile. To be called immediately before asking: this may be the probe for all that wait.
    pub(crate) fn pass(self, about: Option<&PaymentKey>) -> Result<Asking<'a>, Wait> {
        let Self { context, account, turn } = self;
        match context.breakers.admit(account.provider(), account.name(), about, Instant::now()) {
            Admission::Wait(wait) => Err(wait),
            admission => Ok(Asking::new(context, account, turn, admission == Admission::Probe)),
        }
    }
}

/// Questions under way at once in this worker, to all accounts together.
pub(crate) struct AskingAtOnce {
    pub(crate) hints: Arc<Semaphore>,
    /// Besides those, so that follow, replay and refreshes never stand behind a full intake.
    pub(crate) chores: Arc<Semaphore>,
}

impl AskingAtOnce {
    pub(crate) fn new(concurrency: usize) -> Self {
        let places = |count: usize| Arc::new(Semaphore::new(count.max(1)));
        Self { hints: places(concurrency), chores: places(concurrency / 8) }
    }
}
