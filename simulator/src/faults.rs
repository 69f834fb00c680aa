//! Faults of a provider, and how each changes an answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Response, StatusCode};
use payhook_schema::Provider;

use crate::SimulatorError;
use crate::shared::SimulatorState;

/// A fault of a provider when it is asked. It changes the answer, never the state: a call whose answer is altered or
/// lost on its way has still taken effect, and its code is spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Answers with this HTTP status and a proxy's page.
    Down { status: u16 },
    /// Reads the call and closes the connection without a word. For a refused connection, stop the simulator.
    Close,
    /// Says nothing for so long, then closes.
    Hang { at_most: Duration },
    /// Too many calls: HTTP 429, with `Retry-After` in seconds where one is given. Antom's documented form, its signed
    /// `REQUEST_TRAFFIC_EXCEED_LIMIT`, is what it answers without one.
    Throttle { retry_after: Option<Duration> },
    /// Makes the answer when it is asked and sends it so much later: it may be stale by then.
    Slow { by: Duration },
    /// A right answer without its signature. Antom's alone: Omise signs no answers.
    Unsigned,
    /// A right answer signed with a key that is not Antom's. Antom's alone.
    BadSignature,
    /// The first half of the right answer's bytes, under the whole one's headers.
    HalfAnswer,
    /// Status 200 and a web page.
    HtmlPage,
    /// A right answer to a question about another payment or refund.
    OtherPayment,
    /// Every second answer about a payment or refund tells its state before the last change, as a replica that lags
    /// would.
    Flapping,
}

/// The faults of one simulator, switchable while it runs.
#[derive(Clone)]
pub struct Faults(pub(crate) Arc<SimulatorState>);

impl Faults {
    /// From now on, every call to `provider` meets this fault; it replaces the one before.
    pub fn set(&self, provider: Provider, fault: Fault) -> Result<(), SimulatorError> {
        self.put(provider, fault, None)
    }

    /// The next `times` calls to `provider` meet this fault, and those after them none.
    pub fn set_next(&self, provider: Provider, fault: Fault, times: u32) -> Result<(), SimulatorError> {
        self.put(provider, fault, Some(times))
    }

    pub fn clear(&self, provider: Provider) {
        *self.0.faults().of(provider) = None;
    }

    fn put(&self, provider: Provider, fault: Fault, times: Option<u32>) -> Result<(), SimulatorError> {
        if provider == Provider::Omise && matches!(fault, Fault::Unsigned | Fault::BadSignature) {
            return Err(SimulatorError::NotPossible("Omise signs no answers: this fault is Antom's alone".to_owned()));
        }
        if matches!(fault, Fault::Down { status } if !(400..=599).contains(&status)) {
            return Err(SimulatorError::NotPossible("`down` answers with a status from 400 to 599".to_owned()));
        }
        *self.0.faults().of(provider) = Some((fault, times)).filter(|(_, times)| *times != Some(0));
        Ok(())
    }
}

/// The fault of each provider, and how many more calls meet it.
#[derive(Default)]
pub(crate) struct FaultTable(BTreeMap<Provider, Option<(Fault, Option<u32>)>>);

impl FaultTable {
    fn of(&mut self, provider: Provider) -> &mut Option<(Fault, Option<u32>)> {
        self.0.entry(provider).or_default()
    }

    /// The fault the present call meets.
    pub(crate) fn take(&mut self, provider: Provider) -> Option<Fault> {
        let slot = self.of(provider);
        let (fault, times) = slot.as_mut()?;
        let fault = fault.clone();
        if let Some(left) = times {
            *left -= 1;
            if *left == 0 {
                *slot = None;
            }
        }
        Some(fault)
    }
}

/// Marks a response that is not sent: the connection is closed instead.
#[derive(Clone, Copy)]
pub(crate) struct HangUp;

/// Applies a fault that replaces the provider's answer; `None` for any other fault.
pub(crate) async fn instead(fault: Option<&Fault>) -> Option<Response<Body>> {
    match fault? {
        Fault::Down { status } => Some(page(StatusCode::from_u16(*status).expect("checked when it was set"))),
        Fault::Close => Some(hang_up()),
        Fault::Hang { at_most } => {
            tokio::time::sleep(*at_most).await;
            Some(hang_up())
        }
        Fault::HtmlPage => Some(page(StatusCode::OK)),
        _ => None,
    }
}

/// Bends a finished answer: late, or half of it.
pub(crate) async fn bend(fault: Option<&Fault>, answer: ProviderAnswer) -> Response<Body> {
    let ProviderAnswer { status, headers, mut body } = answer;
    match fault {
        Some(Fault::Slow { by }) => tokio::time::sleep(*by).await,
        Some(Fault::HalfAnswer) => body.truncate(body.len() / 2),
        _ => {}
    }
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_str(&value).expect("headers of ours are ASCII"));
    }
    response
}

/// A provider's answer, before it is on its way.
pub(crate) struct ProviderAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl ProviderAnswer {
    pub(crate) fn retry_after(mut self, after: Option<Duration>) -> Self {
        self.headers.extend(after.map(|after| (RETRY_AFTER.as_str(), after.as_secs().to_string())));
        self
    }
}

fn hang_up() -> Response<Body> {
    // A body that fails at once fails the connection, before hyper has sent the head.
    let lost = Err::<Vec<u8>, _>(std::io::Error::from(std::io::ErrorKind::ConnectionAborted));
    let mut response = Response::new(Body::from_stream(futures_util::stream::iter([lost])));
    response.extensions_mut().insert(HangUp);
    response
}

fn page(status: StatusCode) -> Response<Body> {
    let text = format!("<html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>\n");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}
