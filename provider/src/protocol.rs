use std::time::Duration;

use payhook_schema::{AccountName, Provider};

use crate::{antom, omise};

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
}

impl Protocol {
    pub const fn of(provider: Provider) -> &'static Self {
        match provider {
            Provider::Antom => &antom::PROTOCOL,
            Provider::Omise => &omise::PROTOCOL,
        }
    }

    /// The usual path of an account's notifications, as ingress serves it.
    pub fn notify_path(provider: Provider, account: &AccountName) -> String {
        let end = Self::of(provider).notify.first().copied().unwrap_or_default();
        format!("/{provider}/{account}{end}")
    }
}

#[cfg(test)]
mod tests {
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
}
