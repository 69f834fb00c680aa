//! The name in a notification that is not of its payment, as one column: a kind and a name, so that a refund and a
//! token that are spelled alike never mix.

use payhook_schema::{
    About, AuthState, AuthorizationName, Notification, PaymentId, PaymentKey, RefundId, SecretDigest,
};

use crate::db::row::wrong;

/// The longest reference that is stored as a name. Antom's are 64 characters; an index has no place for any length.
const REFERENCE_BYTES_MAX: usize = 256;

/// The name of `about`, if it has one that others may be looked up by.
pub(crate) fn name_of(about: &About) -> Option<String> {
    match about {
        About::Reference(reference) if reference.is_empty() || reference.len() > REFERENCE_BYTES_MAX => None,
        About::Reference(reference) => Some(format!("reference {reference}")),
        About::Refund { id, .. } => Some(refund(id)),
        About::Authorization(name) => Some(authorization(name)),
        About::Payment(_) | About::Other | About::Unreadable(_) => None,
    }
}

/// Reads what a notification is about, from the name and the payment it is stored under.
pub(crate) fn about(name: Option<&str>, payment: Option<PaymentId>) -> sqlx::Result<About> {
    let unreadable = |error| wrong("names", error);
    Ok(match (name.and_then(|name| name.split_once(' ')), payment) {
        (Some(("refund", id)), payment) => About::Refund { id: RefundId::new(id).map_err(unreadable)?, payment },
        (Some(("reference", reference)), _) => About::Reference(reference.to_owned()),
        (Some(("state", state)), _) => {
            About::Authorization(AuthorizationName::State(AuthState::new(state).map_err(unreadable)?))
        }
        (Some(("token", digest)), _) => {
            About::Authorization(AuthorizationName::Token(SecretDigest::new(digest).map_err(unreadable)?))
        }
        (_, Some(payment)) => About::Payment(payment),
        (_, None) => About::Other,
    })
}

pub(crate) fn refund(id: &RefundId) -> String {
    format!("refund {id}")
}

pub(crate) fn authorization(name: &AuthorizationName) -> String {
    match name {
        AuthorizationName::State(state) => format!("state {state}"),
        AuthorizationName::Token(digest) => format!("token {digest}"),
    }
}

/// The payment a notification is stored under: its own, or `about` where it names none but was found to be about that
/// one.
pub(crate) fn payment_of<'a>(notification: &'a Notification, about: Option<&'a PaymentKey>) -> Option<&'a PaymentId> {
    match &notification.about {
        About::Payment(id) | About::Refund { payment: Some(id), .. } => Some(id),
        About::Reference(_) | About::Refund { payment: None, .. } => linked(notification, about),
        About::Authorization(_) | About::Other | About::Unreadable(_) => None,
    }
}

/// The payment a notification has to be linked to, as it names none itself.
pub(crate) fn linked<'a>(notification: &Notification, about: Option<&'a PaymentKey>) -> Option<&'a PaymentId> {
    let unnamed = matches!(notification.about, About::Reference(_) | About::Refund { payment: None, .. });
    let same = |key: &&PaymentKey| key.provider == notification.provider && key.account == notification.account;
    about.filter(same).filter(|_| unnamed).map(|key| &key.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_different_kinds_are_never_the_same() {
        let spelled = "a".repeat(64);
        let names = [
            name_of(&About::Reference(spelled.clone())),
            name_of(&About::Refund { id: RefundId::new(&*spelled).unwrap(), payment: None }),
            name_of(&About::Authorization(AuthorizationName::State(AuthState::new(&*spelled).unwrap()))),
            name_of(&About::Authorization(AuthorizationName::Token(SecretDigest::new(&*spelled).unwrap()))),
        ];
        let different: std::collections::BTreeSet<_> = names.iter().flatten().collect();
        assert_eq!(different.len(), names.len());
    }

    #[test]
    fn what_was_named_is_read_back() {
        let payment = PaymentId::new("p1").unwrap();
        let refund = RefundId::new("RF-1").unwrap();
        for named in [
            About::Payment(payment.clone()),
            About::Reference("2026 11".to_owned()),
            About::Refund { id: refund.clone(), payment: None },
            About::Refund { id: refund, payment: Some(payment) },
            About::Authorization(AuthorizationName::State(AuthState::new("s").unwrap())),
            About::Authorization(AuthorizationName::Token(SecretDigest::of("t"))),
            About::Other,
        ] {
            let of = match &named {
                About::Payment(id) | About::Refund { payment: Some(id), .. } => Some(id.clone()),
                _ => None,
            };
            assert_eq!(about(name_of(&named).as_deref(), of).unwrap(), named);
        }
        assert!(about(Some("refund two words"), None).is_err());
    }

    #[test]
    fn a_reference_of_any_length_is_no_name() {
        assert_eq!(name_of(&About::Reference("r".repeat(10_000))), None);
        assert_eq!(name_of(&About::Reference(String::new())), None);
    }
}
