use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use payhook_schema::{AccountName, PaymentKey, Provider};
use secrecy::SecretString;

use crate::antom;
use crate::crypto::{PrivateKey, PublicKey};
use crate::omise::WebhookSecret;

/// The merchant's account with a provider: its keys, its mode, and the address of its API.
#[derive(Debug)]
pub enum Account {
    Antom(AntomAccount),
    Omise(OmiseAccount),
}

#[derive(Debug)]
pub struct AntomAccount {
    pub name: AccountName,
    pub client_id: String,
    /// `https://open-sea-global.alipay.com`: scheme and host, no path.
    pub api: String,
    /// Chooses the API's path prefix, which is part of what is signed.
    pub sandbox: bool,
    /// Ours, for asking. Absent where nobody asks: ingress needs no key of ours.
    pub private_key: Option<PrivateKey>,
    /// The version Antom gave our key: sent along, so that it knows which one to check with.
    pub private_key_version: u32,
    /// Antom's, by `keyVersion`; several while rotating.
    pub public_keys: BTreeMap<u32, PublicKey>,
    /// True if payhook exchanges the code of `AUTHCODE_CREATED`. False if the merchant's own program does it: a code
    /// can be exchanged only once.
    pub apply_token: bool,
    pub signature_age_max: AgeLimit,
    pub limits: Limits,
}

#[derive(Debug)]
pub struct OmiseAccount {
    pub name: AccountName,
    pub livemode: bool,
    pub api: String,
    /// Ours, for asking. Absent where nobody asks.
    pub secret_key: Option<SecretString>,
    /// Current and previous.
    pub webhook_secrets: Vec<WebhookSecret>,
    pub signature_age_max: AgeLimit,
    pub limits: Limits,
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
        match self {
            Self::Antom(_) => Provider::Antom,
            Self::Omise(_) => Provider::Omise,
        }
    }

    pub fn name(&self) -> &AccountName {
        match self {
            Self::Antom(account) => &account.name,
            Self::Omise(account) => &account.name,
        }
    }

    pub fn api(&self) -> &str {
        match self {
            Self::Antom(account) => &account.api,
            Self::Omise(account) => &account.api,
        }
    }

    pub fn limits(&self) -> Limits {
        match self {
            Self::Antom(account) => account.limits,
            Self::Omise(account) => account.limits,
        }
    }

    /// Names every key a notification of this account may be signed with, as `Notification::verified_by` names it.
    pub fn key_names(&self) -> Vec<String> {
        match self {
            Self::Antom(account) => account.public_keys.keys().map(|version| antom::key_name(*version)).collect(),
            Self::Omise(account) => account.webhook_secrets.iter().map(WebhookSecret::name).collect(),
        }
    }

    /// Describes the account for `payhook check`, without a secret.
    pub fn summary(&self) -> String {
        match self {
            Self::Antom(account) => format!(
                "client {}, {}, Antom's keys {:?}",
                account.client_id,
                if account.sandbox { "sandbox" } else { "live" },
                account.public_keys.keys().collect::<Vec<_>>()
            ),
            Self::Omise(account) => format!(
                "{} mode, {} webhook secret(s)",
                if account.livemode { "live" } else { "test" },
                account.webhook_secrets.len()
            ),
        }
    }

    /// Returns true if codes of this account's authorizations are ours to exchange.
    pub fn exchanges_codes(&self) -> bool {
        match self {
            Self::Antom(account) => account.apply_token,
            Self::Omise(_) => false,
        }
    }
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

    /// Puts other accounts in the place of these, for every clone: new keys count from the next request on, while what is
    /// under way finishes with those it began with.
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
        match account {
            Account::Omise(account) => account.secret_key.as_ref().unwrap().expose_secret(),
            Account::Antom(_) => panic!("not one of these"),
        }
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
