//! The server of both providers, and the handle to it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http;
use axum::serve::ListenerExt;
use payhook_provider::{Account, Accounts, AgeLimit, AntomAccount, Limits, OmiseAccount, PrivateKey};
use payhook_schema::{AccountName, Clock};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::ServiceExt;

use crate::antom::KEY_VERSION;
use crate::shared::SimulatorState;
use crate::{Antom, Faults, Journal, Keys, Omise, SimulatorError, antom, control, omise};

/// Open calls may finish for so long once the simulator stops.
const STOP_GRACE: Duration = Duration::from_millis(500);
/// The time payhook has to answer a notification; neither provider publishes its own limit.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(30);

/// The options of a simulator.
#[derive(Debug, Clone)]
pub struct Options {
    /// The loopback, and nothing else. Port 0 lets the system choose.
    pub listen: SocketAddr,
    pub clock: Clock,
    pub keys: Keys,
}

impl Default for Options {
    /// A port the system chooses, the machine's clock, fresh keys.
    fn default() -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, 0).into(), clock: Clock::system(), keys: Keys::generate() }
    }
}

/// Both providers, running. Dropping it stops them.
pub struct Simulator {
    shared: Arc<SimulatorState>,
    router: Router,
    address: SocketAddr,
    server: JoinHandle<()>,
    stopping: DropGuard,
}

impl Simulator {
    pub async fn start(options: Options) -> Result<Self, SimulatorError> {
        let Options { listen, clock, keys } = options;
        if !listen.ip().is_loopback() {
            return Err(SimulatorError::NotLoopback(listen));
        }
        let failed = |source| SimulatorError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let http = reqwest::Client::builder()
            .timeout(NOTIFY_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .build()
            .map_err(SimulatorError::Undelivered)?;
        let shared = Arc::new(SimulatorState::new(clock, keys, http));
        let router = Router::new().merge(antom::routes()).merge(omise::routes()).merge(control::routes());
        #[cfg(debug_assertions)]
        let router = router.merge(crate::tamarind::routes());
        let router = router.fallback(control::no_such_route).with_state(Arc::clone(&shared));
        let stopping = CancellationToken::new();
        let server = tokio::spawn(serve(listener, router.clone(), stopping.clone()));
        Ok(Self { shared, router, address, server, stopping: stopping.drop_guard() })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`: the `api` of both providers, and where the control API is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn antom(&self) -> Antom {
        Antom(Arc::clone(&self.shared))
    }

    pub fn omise(&self) -> Omise {
        Omise(Arc::clone(&self.shared))
    }

    #[cfg(debug_assertions)]
    pub fn tamarind(&self) -> crate::Tamarind {
        crate::Tamarind(Arc::clone(&self.shared))
    }

    pub fn faults(&self) -> Faults {
        Faults(Arc::clone(&self.shared))
    }

    pub fn journal(&self) -> Journal {
        Journal(Arc::clone(&self.shared))
    }

    pub fn keys(&self) -> &Keys {
        &self.shared.keys
    }

    /// The tables `[antom.<account>]` and `[omise.<account>]` of `payhook.toml`, keys and all, with this simulator as
    /// the API.
    pub fn config_toml(&self, account: &AccountName) -> String {
        let (keys, api) = (self.keys(), self.url());
        format!(
            r#"[antom.{account}]
client_id = "{client_id}"
api = "{api}"
sandbox = true
private_key = "{private_key}"
public_keys = {{ {KEY_VERSION} = "{public_key}" }}

[omise.{account}]
livemode = false
secret_key = "{secret_key}"
webhook_secrets = ["{webhook_secret}"]
api = "{api}"
"#,
            client_id = keys.client_id(),
            private_key = keys.merchant().to_base64(),
            public_key = keys.antom().public_key_base64(),
            secret_key = keys.secret_key(),
            webhook_secret = keys.webhook_secret(),
        )
    }

    /// The same two accounts, for a program that has no configuration file.
    pub fn accounts(&self, account: &AccountName) -> Accounts {
        Accounts::new(self.accounts_named(account))
    }

    /// The accounts of [`Self::accounts`], to be put together with those of other names.
    pub fn accounts_named(&self, account: &AccountName) -> [Account; 2] {
        let (keys, api) = (self.keys(), self.url());
        let merchant = PrivateKey::parse(&keys.merchant().to_base64()).expect("a key reads what it wrote");
        [
            Account::Antom(AntomAccount {
                name: account.clone(),
                client_id: keys.client_id().to_owned(),
                api: api.clone(),
                sandbox: true,
                private_key: Some(merchant),
                private_key_version: KEY_VERSION,
                apply_token: false,
                public_keys: [(KEY_VERSION, keys.antom().public_key())].into(),
                signature_age_max: AgeLimit::Off,
                limits: Limits::ANTOM,
            }),
            Account::Omise(OmiseAccount {
                name: account.clone(),
                livemode: false,
                api,
                secret_key: Some(keys.secret_key().into()),
                webhook_secrets: vec![keys.webhook().clone()],
                signature_age_max: AgeLimit::Off,
                limits: Limits::OMISE,
            }),
        ]
    }

    /// Answers a call without a socket, as it answers one from the network; `None` where a fault closes the connection
    /// instead.
    pub async fn answer(&self, request: http::Request<Vec<u8>>) -> Option<http::Response<Vec<u8>>> {
        let response =
            self.router.clone().oneshot(request.map(Body::from)).await.unwrap_or_else(|never| match never {});
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.ok()?;
        Some(http::Response::from_parts(parts, body.to_vec()))
    }

    /// Stops listening, lets open calls finish for a moment, and returns once the port is free.
    pub async fn stop(self) {
        drop(self.stopping);
        // It ends on its own; were it to panic, there would be nothing left to stop.
        let _ = self.server.await;
    }
}

async fn serve(listener: TcpListener, router: Router, stopping: CancellationToken) {
    let listener = listener.tap_io(|socket| {
        // Without it a small answer may wait for the peer's acknowledgement; a socket that refuses it is only slower.
        let _ = socket.set_nodelay(true);
    });
    let stopped = stopping.clone().cancelled_owned();
    let served = axum::serve(listener, router).with_graceful_shutdown(stopped).into_future();
    let too_long = async {
        stopping.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        _ = served => {}
        () = too_long => {}
    }
}
