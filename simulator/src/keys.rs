//! The keys of both providers and of the merchant.

use std::path::Path;
use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use payhook_provider::PrivateKey;
use payhook_provider::omise::WebhookSecret;
use rand::RngExt;

use crate::SimulatorError;

/// Omise's dashboard shows secrets of this many bytes, in base64.
const WEBHOOK_SECRET_BYTES: usize = 32;

/// Every key of both neighbours and of the merchant between them. They protect nothing. Cloning shares them.
#[derive(Clone)]
pub struct Keys(Arc<KeySet>);

struct KeySet {
    antom: PrivateKey,
    merchant: PrivateKey,
    client_id: String,
    webhook_secret: String,
    webhook: WebhookSecret,
    secret_key: String,
}

impl Keys {
    /// Fresh keys: two RSA-2048 pairs, a webhook secret, a secret key, a client id.
    pub fn generate() -> Self {
        let webhook_secret = new_webhook_secret();
        Self(Arc::new(KeySet {
            antom: PrivateKey::generate(),
            merchant: PrivateKey::generate(),
            client_id: new_client_id(),
            webhook: WebhookSecret::parse(&webhook_secret).expect("made as base64"),
            webhook_secret,
            secret_key: new_secret_key(),
        }))
    }

    /// The keys in a folder, one file each; what is missing is made and kept there, readable by its owner alone.
    pub fn load_or_create(folder: &Path) -> Result<Self, SimulatorError> {
        let keep = |name: &str, make: &dyn Fn() -> String| kept(&folder.join(name), make);
        std::fs::create_dir_all(folder)
            .map_err(|source| SimulatorError::KeyFile { path: folder.to_owned(), source })?;
        let rsa = |name: &str| {
            let text = keep(name, &|| PrivateKey::generate().to_base64())?;
            PrivateKey::parse(&text).map_err(|error| wrong(&folder.join(name), &error))
        };
        let webhook_secret = keep("omise_webhook_secret", &new_webhook_secret)?;
        let webhook = WebhookSecret::parse(&webhook_secret)
            .map_err(|error| wrong(&folder.join("omise_webhook_secret"), &error))?;
        Ok(Self(Arc::new(KeySet {
            antom: rsa("antom_private_key")?,
            merchant: rsa("merchant_private_key")?,
            client_id: keep("antom_client_id", &new_client_id)?,
            webhook,
            webhook_secret,
            secret_key: keep("omise_secret_key", &new_secret_key)?,
        })))
    }

    /// Antom's own: signs its notifications and answers.
    pub fn antom(&self) -> &PrivateKey {
        &self.0.antom
    }

    /// The merchant's: payhook signs what it asks Antom with it.
    pub fn merchant(&self) -> &PrivateKey {
        &self.0.merchant
    }

    /// `SANDBOX_5Y…`.
    pub fn client_id(&self) -> &str {
        &self.0.client_id
    }

    /// Signs Omise's events.
    pub fn webhook(&self) -> &WebhookSecret {
        &self.0.webhook
    }

    /// The same, as the dashboard shows it.
    pub fn webhook_secret(&self) -> &str {
        &self.0.webhook_secret
    }

    /// `skey_test_demo_…`: payhook asks Omise with it.
    pub fn secret_key(&self) -> &str {
        &self.0.secret_key
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys([redacted])")
    }
}

fn new_webhook_secret() -> String {
    BASE64_STANDARD.encode(rand::random::<[u8; WEBHOOK_SECRET_BYTES]>())
}

fn new_client_id() -> String {
    format!("SANDBOX_5Y{}", letters(14, b"0123456789"))
}

fn new_secret_key() -> String {
    format!("skey_test_demo_{}", letters(19, b"0123456789abcdefghijklmnopqrstuvwxyz"))
}

fn letters(count: usize, alphabet: &[u8]) -> String {
    let mut random = rand::rng();
    (0..count).map(|_| char::from(alphabet[random.random_range(0..alphabet.len())])).collect()
}

fn kept(path: &Path, make: &dyn Fn() -> String) -> Result<String, SimulatorError> {
    let failed = |source| SimulatorError::KeyFile { path: path.to_owned(), source };
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => {
            Err(SimulatorError::KeyText { path: path.to_owned(), what: "it is empty".to_owned() })
        }
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = make();
            write_new(path, &text).map_err(failed)?;
            Ok(text)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Never over a file that is there: two simulators started at once on one folder must not end with different keys.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(format!("{text}\n").as_bytes())
}

fn wrong(path: &Path, what: &impl ToString) -> SimulatorError {
    SimulatorError::KeyText { path: path.to_owned(), what: what.to_string() }
}
