//! The way from a batch of settlements to its answers, alike for both databases.

use async_trait::async_trait;

use crate::fault::Fault;
use crate::{Settled, Settlement, batch};

/// Writes a wave: settlements of which no two touch the same thing.
#[async_trait]
pub(crate) trait Writes: Sync {
    /// Writes those at `wave`, all or none but for conflicts, and returns the indexes of the changes that were written.
    async fn write(&self, settlements: &[Settlement], wave: &[usize]) -> Result<Vec<i64>, Fault>;
}

/// Writes settlements wave after wave. If a wave fails for a value in it, or keeps losing against other writers, its
/// settlements are written one by one, so that none fails for another one's fault.
pub(crate) async fn settle(to: &dyn Writes, settlements: &[Settlement]) -> Result<Vec<Settled>, Fault> {
    let mut settled: Vec<Settled> = Vec::with_capacity(settlements.len());
    let mut wanted = Vec::with_capacity(settlements.len());
    for (index, settlement) in settlements.iter().enumerate() {
        match batch::unkeepable(settlement) {
            Some(why) => settled.push(Settled::Refused(why)),
            None => {
                settled.push(Settled::Conflict);
                wanted.push(index);
            }
        }
    }
    for wave in batch::waves(settlements, &wanted) {
        match to.write(settlements, &wave).await {
            Ok(written) => note(&mut settled, settlements, &wave, &written),
            Err(Fault::Value(_) | Fault::Contended(_) | Fault::Locked(_)) => {
                for &index in &wave {
                    match to.write(settlements, &[index]).await {
                        Ok(written) => note(&mut settled, settlements, &[index], &written),
                        Err(Fault::Value(why)) => settled[index] = Settled::Refused(why.to_string()),
                        // Somebody holds the order: like one that moved on, it is read and decided again.
                        Err(Fault::Contended(_) | Fault::Locked(_)) if settlements[index].change.is_some() => {}
                        Err(fault) => return Err(fault),
                    }
                }
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(settled)
}

/// Notes what became of a wave: without a change there was nothing to conflict with.
fn note(settled: &mut [Settled], settlements: &[Settlement], wave: &[usize], written: &[i64]) {
    for &index in wave {
        if settlements[index].change.is_none() || written.contains(&(index as i64)) {
            settled[index] = Settled::Written;
        }
    }
}

/// Returns the result of a settlement on its own. If another writer holds what it would change, it is a conflict, as if
/// that had moved on.
pub(crate) fn alone(outcome: Result<Settled, Fault>, changes: bool) -> Result<Settled, Fault> {
    match outcome {
        Err(Fault::Value(why)) => Ok(Settled::Refused(why.to_string())),
        Err(Fault::Contended(_) | Fault::Locked(_)) if changes => Ok(Settled::Conflict),
        outcome => outcome,
    }
}
