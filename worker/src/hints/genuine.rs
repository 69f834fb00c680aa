//! Checks notifications again after the queue. Access to the broker proves nothing: what a notification says is read
//! from bytes whose signature holds here, too.

use payhook_provider::{read_again, verify_again};
use payhook_schema::Notification;
use payhook_vault::VaultError;
use tracing::error;

use crate::ask::failure::{Class, HintFailure, account_of};
use crate::context::Context;
use crate::error_chain::chain;

/// The reason why a notification is not believed for now. It waits on its schedule and ends as a dead letter with its
/// bytes: a key may be missing here only, or for a while.
pub(crate) enum Doubt {
    /// Its body is sealed under a key that this process lacks.
    Sealed(VaultError),
    Unproven(HintFailure),
}

impl Doubt {
    pub(crate) fn failure(self) -> HintFailure {
        match self {
            Self::Sealed(why) => HintFailure::misconfigured(why.to_string()),
            Self::Unproven(failure) => failure,
        }
    }
}

impl Context {
    /// Returns a notification with its body opened, and with what its bytes say.
    ///
    /// If no key of today holds, the archive counts: its notifications were verified when they came.
    pub(crate) async fn genuine(&self, notification: &Notification) -> Result<Notification, Doubt> {
        let opened = self.opened(notification.clone())?;
        let account = account_of(&self.accounts, opened.provider, &opened.account).map_err(Doubt::Unproven)?;
        let refusal = match verify_again(&account, &opened) {
            Ok(verified) => return Ok(verified.into_inner()),
            Err(refusal) => refusal,
        };
        let unproven = |class, detail| Doubt::Unproven(HintFailure { class, detail });
        let archived = self.store.notification_get(opened.id).await;
        let archived = archived.map_err(|error| unproven(Class::Transient, chain(&error)))?;
        let read = archived
            .map(|archived| self.opened(archived.notification))
            .transpose()?
            .map(|opened| read_again(&account, opened));
        match read {
            Some(Ok(verified)) => Ok(verified.into_inner()),
            Some(Err(_)) | None => {
                metrics::counter!("payhook_worker_unproven_total").increment(1);
                let (id, provider, name) = (opened.id, opened.provider, account.name());
                error!(notification.id = %id, account = %name, "a notification on the queue is not proven: {refusal}");
                let detail = format!(
                    "{refusal}; a key of {provider} account `{name}` is missing here, or somebody else wrote to the queue"
                );
                Err(unproven(Class::Misconfigured, detail))
            }
        }
    }

    pub(crate) fn opened(&self, notification: Notification) -> Result<Notification, Doubt> {
        let body = self.vault.open_body(&notification).map_err(Doubt::Sealed)?;
        Ok(Notification { body, sealed_with: None, ..notification })
    }
}
