//! Holds the merchant's accounts with the providers, and the questions that every provider answers about an account.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use payhook_schema::{AccountName, PaymentFacts, PaymentId, PaymentKey, Provider, RefundId, Wallet};

use crate::client::AskError;
use crate::diagnose::Traces;
use crate::meaning::Meaning;
use crate::request::Signed;
#[cfg(debug_assertions)]
use crate::tamarind::TamarindAccount;
use crate::transport::Http;
use crate::{AntomAccount, EventsPage, Grant, IssuedToken, OmiseAccount, Received, RefundAnswer, Refusal};

/// The merchant's account with a provider: its keys, its mode, and the address of its API.
#[derive(Debug)]
pub enum Account {
    Antom(AntomAccount),
    Omise(OmiseAccount),
    #[cfg(debug_assertions)]
    Tamarind(TamarindAccount),
}

/// Evaluates an expression with the account of whichever provider it is.
macro_rules! each {
    ($account:expr, $of_provider:ident => $does:expr) => {
        match $account {
            $crate::Account::Antom($of_provider) => $does,
            $crate::Account::Omise($of_provider) => $does,
            #[cfg(debug_assertions)]
            $crate::Account::Tamarind($of_provider) => $does,
        }
    };
}
pub(crate) use each;

/// The questions that a provider answers about an account and with it. None has a default: a further provider answers
/// each.
pub(crate) trait ProviderAccount {
    const PROVIDER: Provider;

    /// Names every key a notification of this account may be signed with, as `Notification::verified_by` names it.
    fn key_names(&self) -> Vec<String>;

    /// Describes the account for `payhook check`, without a secret.
    fn summary(&self) -> String;

    /// Returns true if codes of this account's authorizations are ours to exchange.
    fn exchanges_codes(&self) -> bool;

    /// Checks the signature alone.
    fn signed(&self, received: &Received<'_>) -> Result<Signed, Refusal>;

    /// Reads what a genuine notification says. Content that cannot be interpreted is [`Refusal::Unreadable`].
    ///
    /// # Errors
    /// [`Refusal::NotGenuine`]: of the other mode than this account's.
    fn read(&self, body: &[u8]) -> Result<Meaning, Refusal>;

    /// Gathers what may explain why a signature does not hold.
    fn traces(&self, received: &Received<'_>) -> Traces;

    async fn ask(&self, http: &Http, payment: &PaymentId, now: Timestamp) -> Result<PaymentFacts, AskError>;

    /// Asks about a refund, where the provider has an inquiry for refunds.
    async fn ask_refund(&self, http: &Http, refund: &RefundId, now: Timestamp) -> Result<RefundAnswer, AskError>;

    /// Exchanges a code or refreshes a token, where the provider has authorizations.
    async fn apply_token(
        &self,
        http: &Http,
        wallet: &Wallet,
        grant: Grant<'_>,
        now: Timestamp,
    ) -> Result<IssuedToken, AskError>;

    /// Lists one page of events, both ends of `within` included, where the provider lists them.
    async fn events(
        &self,
        http: &Http,
        within: (Timestamp, Timestamp),
        offset: u32,
        now: Timestamp,
    ) -> Result<EventsPage, AskError>;
}

/// The greatest age of a signature. Off by default: a provider's resend may carry its first signature. Accepting a
/// stale notification costs one inquiry, while dropping a genuine one costs a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgeLimit {
    Off,
    /// At most this far from now, either way.
    Within(Duration),
}

/// A provider's limits for one account, shared by all our workers. Above them it answers that we ask too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Questions under way at once, from 1.
    pub parallel: u32,
    /// Questions begun in any one second, from 1; none if `parallel` is the only limit.
    pub requests_per_s: Option<u32>,
}

impl Account {
    pub fn provider(&self) -> Provider {
        each!(self, account => provider_of(account))
    }

    pub fn name(&self) -> &AccountName {
        each!(self, account => &account.name)
    }

    pub fn api(&self) -> &str {
        each!(self, account => &account.api)
    }

    pub fn limits(&self) -> Limits {
        each!(self, account => account.limits)
    }

    pub fn signature_age_max(&self) -> AgeLimit {
        each!(self, account => account.signature_age_max)
    }

    /// Names every key a notification of this account may be signed with, as `Notification::verified_by` names it.
    pub fn key_names(&self) -> Vec<String> {
        each!(self, account => account.key_names())
    }

    /// Describes the account for `payhook check`, without a secret.
    pub fn summary(&self) -> String {
        each!(self, account => account.summary())
    }

    /// Returns true if codes of this account's authorizations are ours to exchange.
    pub fn exchanges_codes(&self) -> bool {
        each!(self, account => account.exchanges_codes())
    }
}

fn provider_of<A: ProviderAccount>(_: &A) -> Provider {
    A::PROVIDER
}

type Named = BTreeMap<(Provider, AccountName), Arc<Account>>;

/// Every configured account, by provider and name. Clones see the same accounts, also after [`Accounts::replace`].
#[derive(Debug, Clone, Default)]
pub struct Accounts(Arc<RwLock<Arc<Named>>>);

impl Accounts {
    pub fn new(accounts: impl IntoIterator<Item = Account>) -> Self {
        let named =
            accounts.into_iter().map(|account| ((account.provider(), account.name().clone()), Arc::new(account)));
        Self(Arc::new(RwLock::new(Arc::new(named.collect()))))
    }

    pub fn get(&self, provider: Provider, name: &AccountName) -> Option<Arc<Account>> {
        self.now().get(&(provider, name.clone())).cloned()
    }

    /// The account a payment was registered under.
    pub fn of(&self, payment: &PaymentKey) -> Option<Arc<Account>> {
        self.get(payment.provider, &payment.account)
    }

    /// Every account as it is now, Antom's first, each provider's by name.
    pub fn all(&self) -> Vec<Arc<Account>> {
        self.now().values().cloned().collect()
    }

    /// Puts other accounts in the place of these, for every clone: new keys count from the next request on, while what
    /// is under way finishes with those it began with.
    #[expect(clippy::needless_pass_by_value, reason = "two holders of one set would be replaced together from then on")]
    pub fn replace(&self, other: Self) {
        let other = other.now();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = other;
    }

    fn now(&self) -> Arc<Named> {
        // A holder that panicked cannot have left half a map: only whole ones are put in.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str, secret_key: &str) -> Account {
        Account::Omise(OmiseAccount {
            name: AccountName::new(name).unwrap(),
            livemode: false,
            api: String::new(),
            secret_key: Some(secret_key.into()),
            webhook_secrets: Vec::new(),
            signature_age_max: AgeLimit::Off,
            limits: Limits::OMISE,
        })
    }

    fn key(account: &Account) -> &str {
        use secrecy::ExposeSecret;
        let Account::Omise(account) = account else { unreachable!("made above") };
        account.secret_key.as_ref().unwrap().expose_secret()
    }

    #[test]
    fn replaced_accounts_are_seen_by_every_clone_and_not_by_who_holds_an_old_one() {
        let accounts = Accounts::new([account("shop-a", "old"), account("shop-b", "old")]);
        let (clone, a) = (accounts.clone(), AccountName::new("shop-a").unwrap());
        let held = clone.get(Provider::Omise, &a).unwrap();

        accounts.replace(Accounts::new([account("shop-a", "new"), account("shop-c", "new")]));

        assert_eq!(key(&held), "old");
        assert_eq!(key(&clone.get(Provider::Omise, &a).unwrap()), "new");
        assert!(clone.get(Provider::Omise, &AccountName::new("shop-b").unwrap()).is_none());
        assert!(clone.get(Provider::Antom, &a).is_none());
        let names: Vec<String> = clone.all().iter().map(|account| account.name().to_string()).collect();
        assert_eq!(names, ["shop-a", "shop-c"]);
    }

    #[test]
    fn accounts_may_be_replaced_by_themselves() {
        let accounts = Accounts::new([account("shop-a", "same")]);
        accounts.replace(accounts.clone());
        assert_eq!(accounts.all().len(), 1);
    }
}
