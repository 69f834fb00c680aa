//! Sorts lapin's errors by what a caller can do about them.

use std::fmt;
use std::time::Duration;

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::{Error, ErrorKind};

use crate::QueueError;

/// A failed operation on the broker. Cheap to clone, which [`QueueError`] is not: many callers meet the same one.
#[derive(Debug, Clone)]
pub(super) struct RabbitFailure {
    kind: Kind,
    what: String,
    cause: Option<Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Unavailable,
    Full,
    Misconfigured,
}

impl RabbitFailure {
    pub(super) fn unavailable(what: impl Into<String>) -> Self {
        Self { kind: Kind::Unavailable, what: what.into(), cause: None }
    }

    pub(super) fn misconfigured(what: impl Into<String>) -> Self {
        Self { kind: Kind::Misconfigured, what: what.into(), cause: None }
    }

    pub(super) fn full() -> Self {
        Self { kind: Kind::Full, what: "it is full".to_owned(), cause: None }
    }

    pub(super) fn late(doing: &str, deadline: Duration) -> Self {
        Self::unavailable(format!("no answer within {deadline:?} to: {doing}"))
    }

    pub(super) fn blocked() -> Self {
        Self::unavailable("it is short of memory or disk and takes no publishes")
    }

    /// Sorts lapin's error while `doing` something by what a caller can do about it.
    pub(super) fn of(doing: &str, cause: Error) -> Self {
        let kind = if is_for_a_person(&cause) { Kind::Misconfigured } else { Kind::Unavailable };
        Self { kind, what: format!("it did not {doing}"), cause: Some(cause) }
    }

    /// The same while connecting, where a refusal means user, password or vhost.
    pub(super) fn of_connecting(cause: Error) -> Self {
        let mut failure = Self::of("take the connection", cause);
        if failure.cause.as_ref().is_some_and(Error::is_amqp_error) && failure.kind == Kind::Misconfigured {
            failure.what.push_str("; user, password or vhost are wrong");
        }
        let text = failure.cause.as_ref().map(ToString::to_string).unwrap_or_default();
        // The TLS library's words for a certificate of an unknown authority, for another host, or out of date.
        if let Some((_, why)) = text.split_once("invalid peer certificate: ") {
            failure.what = format!("its certificate is not trusted ({why}); [queue] ca_file names its authority");
        }
        failure
    }

    pub(super) fn needs_a_person(&self) -> bool {
        self.kind == Kind::Misconfigured
    }

    /// Returns true if the broker refused it for our user's rights.
    pub(super) fn is_forbidden(&self) -> bool {
        self.is_refusal(&AMQPSoftError::ACCESSREFUSED)
    }

    /// Returns true if the thing exists with other arguments than were asked for.
    pub(super) fn differs(&self) -> bool {
        self.is_refusal(&AMQPSoftError::PRECONDITIONFAILED)
    }

    fn is_refusal(&self, code: &AMQPSoftError) -> bool {
        let kind = self.cause.as_ref().map(Error::kind);
        matches!(kind, Some(ErrorKind::ProtocolError(error)) if matches!(error.kind(), AMQPErrorKind::Soft(soft) if soft == code))
    }

    pub(super) fn at(self, address: &str) -> QueueError {
        let Self { kind, what, cause } = self;
        let address = address.to_owned();
        let source = cause.map(|cause| Box::new(cause) as Box<dyn std::error::Error + Send + Sync>);
        match kind {
            Kind::Unavailable => QueueError::Unavailable { address, what, source },
            Kind::Full => QueueError::Full { address },
            Kind::Misconfigured => QueueError::Misconfigured { address, what, source },
        }
    }
}

impl fmt::Display for RabbitFailure {
    /// For the log, which has no chain of sources.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        self.cause.as_ref().map_or(Ok(()), |cause| write!(f, ": {cause}"))
    }
}

/// Returns true if the broker refused for a reason that waiting does not mend.
fn is_for_a_person(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) => match refusal.kind() {
            AMQPErrorKind::Soft(soft) => matches!(
                soft,
                AMQPSoftError::NOTFOUND
                    | AMQPSoftError::ACCESSREFUSED
                    | AMQPSoftError::PRECONDITIONFAILED
                    | AMQPSoftError::RESOURCELOCKED
                    | AMQPSoftError::CONTENTTOOLARGE
            ),
            AMQPErrorKind::Hard(hard) => matches!(hard, AMQPHardError::NOTALLOWED | AMQPHardError::INVALIDPATH),
        },
        ErrorKind::AuthProviderError(_) | ErrorKind::InvalidProtocolVersion(_) | ErrorKind::NoDefaultRuntime => true,
        _ => false,
    }
}
