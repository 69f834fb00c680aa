//! Finds the caller of a request by its token, and checks that its role may call the route.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use payhook_schema::NowAndThen;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tracing::warn;

use crate::Console;
use crate::problem::ApiProblem;
use crate::role::{Role, either};

/// From the browser: `same-origin`, `same-site`, `cross-site`, or `none`.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Between two lines about refused requests.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// The sender of a request, as the audit log names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// As the configuration has it.
    pub name: String,
    pub role: Role,
}

/// The digest of a bearer token: the time that comparing digests takes reveals nothing about the token.
struct TokenDigest([u8; 32]);

impl TokenDigest {
    fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

/// The callers of the API, distinguished by their tokens.
pub struct Callers(Option<Vec<(TokenDigest, Caller)>>);

impl Callers {
    /// Asks no caller for a token. Only for a listener that no other machine can connect to.
    pub fn local() -> Self {
        Self(None)
    }

    /// `token` belongs to nobody by name and may do everything; the named ones do what their roles allow.
    pub fn known<'a>(
        token: Option<&'a SecretString>,
        named: impl IntoIterator<Item = (&'a SecretString, Caller)>,
    ) -> Self {
        let nameless = token.map(|token| (token, Caller { name: "console".to_owned(), role: Role::All }));
        let all = nameless.into_iter().chain(named);
        Self(Some(all.map(|(token, caller)| (TokenDigest::of(token.expose_secret()), caller)).collect()))
    }

    /// Returns true if another page than ours may have sent the request. Without tokens, everyone who reaches this
    /// address may do everything; so could a page in a browser of this machine, even one whose host name was made to
    /// resolve to it.
    fn distrust(&self, headers: &HeaderMap) -> bool {
        let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let host = text(&HOST);
        let is_other_origin = text(&ORIGIN).is_some_and(|origin| origin.strip_prefix("http://") != host);
        // Browsers leave out Origin where a page only reads. `none`: the person typed the address.
        let is_other_site = text(&SEC_FETCH_SITE).is_some_and(|site| !matches!(site, "same-origin" | "none"));
        // No browser leaves out the host.
        self.0.is_none() && (is_other_origin || is_other_site || !host.is_none_or(is_this_machine))
    }

    /// Finds the caller whose token the request carries.
    fn find(&self, headers: &HeaderMap) -> Option<Caller> {
        let Some(known) = &self.0 else {
            return Some(Caller { name: "local".to_owned(), role: Role::All });
        };
        let mut offered = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (offered.next(), offered.next()) else { return None };
        let offered = TokenDigest::of(value.to_str().ok()?.strip_prefix("Bearer ")?.trim());
        known.iter().find(|(token, _)| token.0 == offered.0).map(|(_, caller)| caller.clone())
    }
}

/// Returns true for a host as URLs and requests name this machine: `localhost:8081`, `127.0.0.1`, `[::1]:8081`.
pub fn is_this_machine(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Passes a request on with its [`Caller`], or refuses it.
pub(crate) async fn require_caller(State(console): State<Arc<Console>>, mut request: Request, next: Next) -> Response {
    if console.callers.distrust(request.headers()) {
        refused("elsewhere", "it comes from another page or names another host, and no token is configured");
        return ApiProblem::elsewhere().into_response();
    }
    let Some(caller) = console.callers.find(request.headers()) else {
        refused("unknown_token", "its token is missing or unknown");
        return ApiProblem::unauthorized().into_response();
    };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

/// Passes a request on if its caller has one of the roles in `may`.
pub(crate) async fn require_role(State(may): State<&'static [Role]>, request: Request, next: Next) -> Response {
    match request.extensions().get::<Caller>() {
        Some(caller) if caller.role.is_of(may) => next.run(request).await,
        Some(Caller { name, role }) => {
            let wanted = either(may);
            refused("other_role", &format!("it needs {wanted}, and `{name}` has `{role}`"));
            ApiProblem::forbidden(format!(
                "This request needs the role {wanted}, and `{name}` has `{role}`: send another token."
            ))
            .into_response()
        }
        None => ApiProblem::unauthorized().into_response(),
    }
}

/// Counts a refusal and logs one a second: somebody who guesses tokens must be seen, and must not fill the disk.
fn refused(reason: &'static str, why: &str) {
    static LOG: Mutex<NowAndThen> = Mutex::new(NowAndThen::new(LOG_EVERY));
    metrics::counter!("payhook_console_refused_total", "reason" => reason).increment(1);
    if let Some(missed) = LOG.lock().unwrap_or_else(PoisonError::into_inner).due() {
        warn!(reason, missed, "the console refused a request: {why}");
    }
}
