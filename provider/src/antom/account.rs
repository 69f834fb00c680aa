//! Answers for an account with Antom what payhook asks of every provider's.

use std::collections::BTreeMap;

use jiff::Timestamp;
use payhook_schema::{AccountName, PaymentFacts, PaymentId, Provider, RefundId, Wallet};
use secrecy::ExposeSecret;

use super::call::call;
use super::token::token_body;
use super::{APPLY_TOKEN, INQUIRY_PAYMENT, INQUIRY_REFUND, notification};
use crate::account::ProviderAccount;
use crate::client::AskError;
use crate::diagnose::Traces;
use crate::meaning::Meaning;
use crate::request::Signed;
use crate::transport::Http;
use crate::{
    Account, AgeLimit, EventsPage, Grant, IssuedToken, Limits, PrivateKey, PublicKey, Received, RefundAnswer, Refusal,
    Section,
};

/// An account with Antom.
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

impl ProviderAccount for AntomAccount {
    const PROVIDER: Provider = Provider::Antom;

    fn key_names(&self) -> Vec<String> {
        self.public_keys.keys().map(|version| super::key_name(*version)).collect()
    }

    fn summary(&self) -> String {
        format!(
            "client {}, {}, Antom's keys {:?}",
            self.client_id,
            if self.sandbox { "sandbox" } else { "live" },
            self.public_keys.keys().collect::<Vec<_>>()
        )
    }

    fn exchanges_codes(&self) -> bool {
        self.apply_token
    }

    fn signed(&self, received: &Received<'_>) -> Result<Signed, Refusal> {
        super::signed_by(&self.public_keys, &self.client_id, received)
    }

    fn read(&self, body: &[u8]) -> Result<Meaning, Refusal> {
        notification::read(body)
    }

    fn traces(&self, received: &Received<'_>) -> Traces {
        super::diagnose::traces(self, received)
    }

    async fn ask(&self, http: &Http, payment: &PaymentId, now: Timestamp) -> Result<PaymentFacts, AskError> {
        let answer = call(http, self, INQUIRY_PAYMENT, super::inquiry_body(payment), now).await?;
        super::read_inquiry(&answer, payment, now)
    }

    async fn ask_refund(&self, http: &Http, refund: &RefundId, now: Timestamp) -> Result<RefundAnswer, AskError> {
        let answer = call(http, self, INQUIRY_REFUND, super::refund_inquiry_body(refund), now).await?;
        super::read_refund(&answer, refund)
    }

    async fn apply_token(
        &self,
        http: &Http,
        wallet: &Wallet,
        grant: Grant<'_>,
        now: Timestamp,
    ) -> Result<IssuedToken, AskError> {
        let answer = call(http, self, APPLY_TOKEN, token_body(wallet, grant), now).await?;
        super::read_token(&answer)
    }

    async fn events(&self, _: &Http, _: (Timestamp, Timestamp), _: u32, _: Timestamp) -> Result<EventsPage, AskError> {
        Err(AskError::not_offered("Antom has no list of notifications"))
    }
}

/// Reads `[antom.<account>]`.
pub(super) fn take(name: AccountName, section: &mut dyn Section) -> Option<Account> {
    let client_id = section.text("client_id");
    let client_id = section.required("client_id", client_id, "the client ID of Antom's dashboard");
    let api = section.api("https://open-sea-global.alipay.com");
    let sandbox = section.parsed("sandbox");
    let sandbox = section.required("sandbox", sandbox, "true or false");
    let mut private_key = None;
    section.own_secret("private_key", "our key as PEM or base64, or private_key_file", &mut |text| {
        private_key = Some(PrivateKey::parse(text.expose_secret()).map_err(|error| error.to_string())?);
        Ok(())
    });
    let private_key_version = section.parsed("private_key_version").unwrap_or(1);
    let public_keys = public_keys(section);
    let signature_age_max = section.age_limit();
    let limits = section.limits(Limits::ANTOM);
    let apply_token = section.parsed("apply_token").unwrap_or(false);
    let in_section = section.name().to_owned();
    match (section.seals_tokens(), apply_token) {
        (false, true) => section.mistake(format!(
            "{in_section}.apply_token is true, and `[tokens] keys` has no key to seal the tokens with: `openssl rand -base64 \
             32` prints one"
        )),
        (false, false) => section.notice(format!(
            "{in_section}: without `[tokens] keys`, notifications with tokens are stored unencrypted, and TOKEN_CREATED becomes \
             a dead letter (misconfigured)"
        )),
        (true, _) => {}
    }
    let (client_id, sandbox) = (client_id?, sandbox?);
    if client_id.starts_with("SANDBOX_") != sandbox {
        section.mistake(format!(
            "{in_section}: client_id and sandbox disagree: client ids of the sandbox begin with SANDBOX_"
        ));
    }
    Some(Account::Antom(AntomAccount {
        name,
        client_id,
        api: api?,
        sandbox,
        private_key,
        private_key_version,
        public_keys: public_keys?,
        apply_token,
        signature_age_max: signature_age_max?,
        limits,
    }))
}

/// Reads `{ 1 = "MIIBI…", 2 = "@keys/antom-2.pem" }`: at least one, or nothing could ever be verified.
fn public_keys(section: &mut dyn Section) -> Option<BTreeMap<u32, PublicKey>> {
    let hint = "Antom's public keys by keyVersion: { 1 = \"MIIBI…\" }";
    let table = section.table("public_keys").filter(|table| !table.is_empty());
    let mut keys = BTreeMap::new();
    for (version, text) in section.required("public_keys", table, hint)? {
        let key = format!("public_keys.{version}");
        let full = format!("{}.{key}", section.name());
        let (Ok(number), Some(text)) = (version.parse::<u32>(), text) else {
            section.mistake(format!("{full}: the keyVersion must be a number, and the key a text"));
            continue;
        };
        let text = match text.strip_prefix('@') {
            Some(path) => section.file(&key, path)?,
            None => text,
        };
        match PublicKey::parse(&text).map(|parsed| keys.insert(number, parsed)) {
            Ok(None) => {}
            // `1` and `01` are two keys of TOML's and one of Antom's.
            Ok(Some(_)) => section.mistake(format!("{full}: keyVersion {number} is there twice")),
            Err(error) => section.mistake(format!("{full}: {error}")),
        }
    }
    (!keys.is_empty()).then_some(keys)
}
