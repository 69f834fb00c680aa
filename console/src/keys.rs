//! The rotation of the keys that seal tokens: everything is sealed anew under the newest one.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use payhook_store::{Resealed, SealedThing};
use payhook_vault::VaultError;
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::api::RotationReport;
use crate::problem::ApiProblem;
use crate::query::NoParameters;
use crate::{Caller, Console};

/// Things sealed anew in one transaction.
const ROUND: usize = 200;
/// A request ends before its sender gives up. Its answer says what is left, and the next request goes on from there.
const WITHIN: Duration = Duration::from_secs(20);
/// Things that do not open are skipped. With so many of them a key is missing, and a person must configure it first.
const UNOPENED_MAX: usize = 10_000;
/// A round is fruitless if others changed everything it sealed; so many in a row are a fault.
const FRUITLESS_MAX: u32 = 3;

/// The progress of one request.
#[derive(Default)]
struct Rotation {
    resealed: usize,
    /// The sealed things that do not open, by their place.
    unopened: BTreeSet<String>,
    fruitless: u32,
}

/// `POST /v1/keys/rotate`: seals everything that is under another key anew under the newest one, as much as one request
/// can.
pub(crate) async fn rotate(
    State(console): State<Arc<Console>>,
    _: NoParameters,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, ApiProblem> {
    let Some(newest) = console.vault.newest() else {
        return Err(ApiProblem::conflict("There is no key to seal with: set one under `[tokens] keys`."));
    };
    let before = console.sealed_under_others(newest).await?;
    let subject = format!("everything not under key {newest}");
    console.audit(&caller, "keys.rotate", subject, before.values().sum(), None).await?;

    let mut rotation = Rotation::default();
    let deadline = Instant::now() + WITHIN;
    while Instant::now() < deadline && console.round(&mut rotation).await?.is_continue() {}

    let mut left: BTreeMap<u32, u64> = before.into_keys().map(|key| (key, 0)).collect();
    left.extend(console.sealed_under_others(newest).await?);
    let (resealed, unopened) = (rotation.resealed, rotation.unopened.len());
    info!(newest, resealed, unopened, caller.name = %caller.name, "sealed {resealed} things anew under key {newest}");
    Ok(Json(json!(RotationReport { newest, resealed, left, unopened })))
}

impl Console {
    async fn sealed_under_others(&self, newest: u32) -> Result<BTreeMap<u32, u64>, ApiProblem> {
        let counted = self.store.sealed_count().await?;
        Ok(counted.into_iter().filter(|(key, _)| *key != newest).collect())
    }

    /// Seals one round of things anew. Breaks when nothing is left that we can seal.
    async fn round(&self, rotation: &mut Rotation) -> Result<ControlFlow<()>, ApiProblem> {
        // Asked for anew: the keys may be replaced while we work.
        let Some(newest) = self.vault.newest() else { return Ok(ControlFlow::Break(())) };
        // Things that do not open stay on the list, so as many more are asked for to find the others behind them.
        let limit = ROUND + rotation.unopened.len();
        let listed = self.store.sealed_list(newest, limit as u32).await?;
        let new = listed.into_iter().filter(|thing| !rotation.unopened.contains(&thing.place.binding()));
        let new: Vec<SealedThing> = new.collect();
        if new.is_empty() {
            return Ok(ControlFlow::Break(()));
        }
        let mut replacements = Vec::with_capacity(new.len());
        for thing in new {
            match self.reseal(&thing) {
                Ok(resealed) => replacements.push(resealed),
                Err(error) => {
                    let place = thing.place.binding();
                    warn!(place = %place.replace('\n', " "), error = %error, "passed over something sealed that does not open");
                    rotation.unopened.insert(place);
                }
            }
        }
        if !replacements.is_empty() {
            let replaced = self.store.sealed_replace(&replacements).await?;
            rotation.resealed += replaced;
            rotation.fruitless = if replaced == 0 { rotation.fruitless + 1 } else { 0 };
        }
        let stuck = rotation.unopened.len() >= UNOPENED_MAX || rotation.fruitless >= FRUITLESS_MAX;
        Ok(if stuck { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn reseal(&self, thing: &SealedThing) -> Result<Resealed, VaultError> {
        let SealedThing { place, sealed } = thing;
        let now = self.vault.seal(place, &self.vault.open(place, sealed)?)?;
        Ok(Resealed { place: place.clone(), was: sealed.clone(), now })
    }
}
