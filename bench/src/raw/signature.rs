//! Signs and checks signatures on one core, without the rest of payhook.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use payhook_provider::PrivateKey;

use super::RawOutcome;

const TIMES: usize = 4000;

/// Does the signature work of a question to Antom on one core: makes our signature and checks theirs, with payhook's
/// own library.
pub(super) fn run(key: &str) -> Result<RawOutcome> {
    let key = PrivateKey::parse(key).context("the key cannot be read")?;
    let (public, message) = (key.public_key(), [b'x'; 500]);
    let began = Instant::now();
    for _ in 0..TIMES {
        let signature = key.sign(&message);
        ensure!(public.holds(&message, &signature), "a signature does not hold");
    }
    Ok(RawOutcome { done: TIMES, took_s: began.elapsed().as_secs_f64(), ..RawOutcome::default() })
}
