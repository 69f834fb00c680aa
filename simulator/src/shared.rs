//! The state behind every handle.

use std::sync::{Mutex, MutexGuard};

use payhook_schema::Clock;

use crate::Keys;
use crate::antom::{AntomHabits, AntomKey, AntomPayments, Consents, KEY_VERSION};
use crate::faults::FaultTable;
use crate::ids::Ids;
use crate::journal::Entries;
use crate::omise::OmiseCharges;

/// The state that all handles of one simulator share.
pub(crate) struct SimulatorState {
    pub(crate) clock: Clock,
    pub(crate) keys: Keys,
    pub(crate) ids: Ids,
    pub(crate) http: reqwest::Client,
    payments: Mutex<AntomPayments>,
    authorizations: Mutex<Consents>,
    habits: Mutex<AntomHabits>,
    antom_key: Mutex<AntomKey>,
    charges: Mutex<OmiseCharges>,
    #[cfg(debug_assertions)]
    tamarinds: Mutex<crate::tamarind::TamarindPayments>,
    faults: Mutex<FaultTable>,
    journal: Mutex<Entries>,
}

impl SimulatorState {
    pub(crate) fn new(clock: Clock, keys: Keys, http: reqwest::Client) -> Self {
        Self {
            clock,
            antom_key: Mutex::new(AntomKey { version: KEY_VERSION, keys: keys.clone() }),
            keys,
            http,
            ids: Ids::default(),
            payments: Mutex::default(),
            authorizations: Mutex::default(),
            habits: Mutex::default(),
            charges: Mutex::default(),
            #[cfg(debug_assertions)]
            tamarinds: Mutex::default(),
            faults: Mutex::default(),
            journal: Mutex::default(),
        }
    }
}

/// Gives each part of the state a method that locks it.
macro_rules! locks {
    ($($(#[$attribute:meta])* $part:ident: $of:ty),+ $(,)?) => {
        impl SimulatorState {
            $($(#[$attribute])* pub(crate) fn $part(&self) -> MutexGuard<'_, $of> { lock(&self.$part) })+
        }
    };
}

locks! {
    payments: AntomPayments,
    authorizations: Consents,
    habits: AntomHabits,
    /// The key that Antom signs with now.
    antom_key: AntomKey,
    charges: OmiseCharges,
    #[cfg(debug_assertions)]
    tamarinds: crate::tamarind::TamarindPayments,
    faults: FaultTable,
    journal: Entries,
}

/// A test that panicked while it held a lock must not hide its own message behind ours.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
