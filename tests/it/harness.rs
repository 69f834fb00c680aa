//! A running payhook for one test, and the verbs that tell its story.

mod config;
mod ending;
mod fulfilment;
mod neighbour;
mod odd;
mod port;
mod process;
mod story;
mod watch;
mod world;

pub(crate) use self::config::Plan;
pub(crate) use self::neighbour::{Neighbour, installed, is_installed, left_out, python_with, runs};
pub(crate) use self::odd::OddOmise;
pub(crate) use self::port::free_port;
pub(crate) use self::process::{LogTo, Process, Ran};
pub(crate) use self::story::types_of;
pub(crate) use self::watch::eventually;
pub(crate) use self::world::{KEYS, STRANGER, TestPayhook, id, money, other, shop};

/// Runs journeys on both shapes: `journeys! { plan; a_journey, another }`, each an `async fn(&TestPayhook)`.
macro_rules! journeys {
    ($plan:expr; $($(#[$attribute:meta])* $journey:ident),+ $(,)?) => {
        mod one_file {
            use crate::harness::Plan;
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $journey() {
                    let payhook = $plan.one_file().await;
                    super::$journey(&payhook).await;
                    payhook.ends_well().await;
                }
            )+
        }
        mod cluster {
            use crate::harness::Plan;
            $(
                $(#[$attribute])*
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $journey() {
                    let Some(payhook) = $plan.cluster().await else { return };
                    super::$journey(&payhook).await;
                    payhook.ends_well().await;
                }
            )+
        }
    };
}
pub(crate) use journeys;
