use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use payhook_schema::{AccountName, PaymentKey, Provider};
use secrecy::SecretString;

use crate::crypto::{PrivateKey, PublicKey};
use crate::omise::WebhookSecret;

/// One account of ours with a provider: its keys, its mode, where its API is.
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
    pub signature_age_max: AgeLimit,
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
}

/// How old a signature may be. Off by default: a provider's resend may carry its first signature, and what is stale costs
/// one inquiry, while what is dropped costs a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgeLimit {
    Off,
    /// At most this far from now, either way.
    Within(Duration),
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
}

/// Every configured account, by provider and name.
#[derive(Debug, Clone, Default)]
pub struct Accounts(Arc<BTreeMap<(Provider, AccountName), Arc<Account>>>);

impl Accounts {
    pub fn new(accounts: impl IntoIterator<Item = Account>) -> Self {
        let named =
            accounts.into_iter().map(|account| ((account.provider(), account.name().clone()), Arc::new(account)));
        Self(Arc::new(named.collect()))
    }

    pub fn get(&self, provider: Provider, name: &AccountName) -> Option<&Arc<Account>> {
        self.0.get(&(provider, name.clone()))
    }

    /// The account a payment was registered under.
    pub fn of(&self, payment: &PaymentKey) -> Option<&Arc<Account>> {
        self.get(payment.provider, &payment.account)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.0.values()
    }
}
