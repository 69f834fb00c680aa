//! The one gate to the providers. It passes a question if the account is known, its breaker lets the question
//! through, and it is our turn within the account's budget.
//!
//! [`ProviderGate::enter`] is for callers that ask at once. A caller with work between its turn and its question takes
//! a [`GateTurn`] first, and passes the breaker with it immediately before asking.

use std::sync::Arc;

use payhook_provider::Account;
use payhook_schema::{AccountName, PaymentKey, Provider};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::ask::asking::Asking;
use crate::ask::breaker::{Admission, Breakers};
use crate::ask::budget::{BudgetTurn, Budgets};
use crate::ask::failure::{NotAsked, account_of};
use crate::context::Context;
use crate::wait::HintWait;

/// The kind of work that wants to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// A hint in hand. It goes round the queue rather than wait long, and keep others waiting.
    Hint,
    /// Work of our own that holds nothing: it waits, and has places of its own among the questions under way.
    Chore,
}

pub(crate) struct ProviderGate {
    context: Arc<Context>,
    pub(crate) breakers: Breakers,
    pub(crate) budgets: Budgets,
    /// Questions of hints under way at once in this worker, to all accounts together.
    hints: Arc<Semaphore>,
    /// Besides those, so that follow, replay and refreshes never stand behind a full intake.
    chores: Arc<Semaphore>,
}

impl ProviderGate {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        let places = |count: usize| Arc::new(Semaphore::new(count.max(1)));
        let concurrency = context.options.concurrency;
        let (hints, chores) = (places(concurrency), places(concurrency / 8));
        Self { breakers: Breakers::default(), budgets: Budgets::new(context.options.alone), context, hints, chores }
    }

    /// Waits for a turn, and passes the breaker with it.
    pub(crate) async fn enter(&self, provider: Provider, name: &AccountName, who: Who) -> Result<Asking<'_>, NotAsked> {
        Ok(self.turn(provider, name, None, who).await?.pass(None)?)
    }

    /// Waits for a turn at an account. `about`: the payment whose timeline is to say once that it waits.
    pub(crate) async fn turn(
        &self,
        provider: Provider,
        name: &AccountName,
        about: Option<&PaymentKey>,
        who: Who,
    ) -> Result<GateTurn<'_>, NotAsked> {
        let account = account_of(&self.context.accounts, provider, name)?;
        // A caller that has to wait learns it without using the account's budget.
        if let Some(wait) = self.breakers.left_alone(provider, name, about, Instant::now()) {
            return Err(wait.into());
        }
        let turn = match who {
            Who::Chore => self.budgets.turn(&account, &self.chores).await,
            Who::Hint => self.turn_of_a_hint(&account).await.ok_or_else(HintWait::crowded)?,
        };
        Ok(GateTurn { gate: self, account, turn })
    }

    /// Returns `None` if the hint had better wait on the queue.
    async fn turn_of_a_hint(&self, account: &Account) -> Option<BudgetTurn<'_>> {
        let others = self.context.accounts.all().len() > 1;
        // Twice the concurrency is in hand at most; a quarter of it is left to accounts that answer.
        let is_full = self.context.in_hand.len() > self.context.options.concurrency * 3 / 2;
        if others && is_full && self.budgets.is_slow(account) {
            return None;
        }
        self.budgets.turn_if_any(account, &self.hints).await
    }
}

/// A turn at an account that was reached, and whose breaker is still to be passed.
pub(crate) struct GateTurn<'a> {
    gate: &'a ProviderGate,
    account: Arc<Account>,
    turn: BudgetTurn<'a>,
}

impl<'a> GateTurn<'a> {
    /// Passes the breaker, unless it opened while we waited for our turn. To be called immediately before asking: this
    /// may be the probe for all that wait, and a probe that asks nothing holds all of them up.
    pub(crate) fn pass(self, about: Option<&PaymentKey>) -> Result<Asking<'a>, HintWait> {
        let Self { gate, account, turn } = self;
        match gate.breakers.admit(account.provider(), account.name(), about, Instant::now()) {
            Admission::Wait(wait) => Err(wait),
            admission => {
                let is_probe = admission == Admission::Probe;
                Ok(Asking::new(&gate.context.client, &gate.breakers, account, turn, is_probe))
            }
        }
    }
}
