//! Describes the rest of a provider's protocol: paths, answers, schedules, methods, and what has no account.

use std::time::Duration;

use payhook_schema::{AccountName, Dispute, Method, Provider};

#[cfg(debug_assertions)]
use crate::tamarind;
use crate::{Account, AuthorizationNotice, Section, antom, omise};

/// A provider's notification paths, the answer it wants, and the schedule on which payhook asks it. The differences
/// where payhook stores, settles, or shows are in the schema's `Profile`.
#[derive(Debug)]
pub struct Protocol {
    /// The ends of the paths notifications come to, after `/{provider}/{account}`. The first is the usual one.
    pub notify: &'static [&'static str],
    /// The JSON body of the 200 that makes it forget a notification; absent where an empty body does.
    pub success: Option<&'static str>,
    /// The delay between the n-th check of an unfinished payment and the next one, in rising order. The last is an
    /// hour.
    pub checks: &'static [Duration],
    /// The payment methods whose limits and refund terms the provider documents.
    pub methods: &'static [Method],
    /// Reads an account's section of the configuration; `None` where it has mistakes.
    pub(crate) account: fn(AccountName, &mut dyn Section) -> Option<Account>,
    /// Reads the dispute in a notification's body, where answers about payments carry none.
    pub(crate) dispute: fn(&[u8]) -> Option<Dispute>,
    /// Reads the event of an authorization in a notification's body.
    pub(crate) authorization: fn(&[u8]) -> Option<AuthorizationNotice>,
}

impl Protocol {
    pub const fn of(provider: Provider) -> &'static Self {
        match provider {
            Provider::Antom => &antom::PROTOCOL,
            Provider::Omise => &omise::PROTOCOL,
            #[cfg(debug_assertions)]
            Provider::Tamarind => &tamarind::PROTOCOL,
        }
    }

    /// Reads the section `[<provider>.<account>]` of the configuration; `None` where it has mistakes.
    pub fn take_account(provider: Provider, name: AccountName, section: &mut dyn Section) -> Option<Account> {
        (Self::of(provider).account)(name, section)
    }

    /// The payment methods of a provider whose limits and refund terms it documents.
    pub fn methods(provider: Provider) -> &'static [Method] {
        Self::of(provider).methods
    }

    /// The usual path of an account's notifications, as ingress serves it.
    pub fn notify_path(provider: Provider, account: &AccountName) -> String {
        let end = Self::of(provider).notify.first().copied().unwrap_or_default();
        format!("/{provider}/{account}{end}")
    }
}

#[cfg(test)]
mod tests {
    use payhook_schema::Currency;

    use super::*;

    #[test]
    fn every_provider_has_a_path_and_a_rising_schedule_that_ends_hourly() {
        for &provider in Provider::ALL {
            let Protocol { notify, checks, .. } = Protocol::of(provider);
            assert!(!notify.is_empty(), "{provider}");
            assert!(notify.iter().all(|end| end.is_empty() || end.starts_with('/')), "{provider}");
            assert!(checks.is_sorted(), "{provider}");
            assert_eq!(checks.last(), Some(&Duration::from_hours(1)), "{provider}");
        }
    }

    #[test]
    fn every_method_has_one_row_in_a_real_currency_with_rising_limits() {
        for &provider in Provider::ALL {
            let methods = Protocol::methods(provider);
            for method in methods {
                Currency::new(method.currency).unwrap();
                assert_eq!(methods.iter().filter(|other| other.code == method.code).count(), 1, "{}", method.code);
                if let (Some(min), Some(max)) = (method.min_minor, method.max_minor) {
                    assert!(0 < min && min < max, "{}", method.code);
                }
            }
        }
    }
}
