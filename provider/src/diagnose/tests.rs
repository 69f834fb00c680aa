//! Requests that were bent on their way, and what is said of them; each time it agrees with `verify`.

mod antom;
mod omise;

use http::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Cause, Diagnosis, diagnose};
use crate::{Account, Received, verify};

/// A request to be bent by each test.
#[derive(Clone)]
struct Request {
    path: String,
    query: Option<String>,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    at: Timestamp,
}

impl Request {
    fn header(mut self, name: &'static str, change: impl FnOnce(&str) -> String) -> Self {
        let header = self.headers.iter_mut().find(|(known, _)| *known == name).unwrap();
        header.1 = change(&header.1);
        self
    }

    fn without(mut self, name: &'static str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    fn path(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    fn query(self, query: &str) -> Self {
        Self { query: Some(query.to_owned()), ..self }
    }

    fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    fn at(self, at: &str) -> Self {
        Self { at: at.parse().unwrap(), ..self }
    }

    fn diagnosed(&self, account: &Account) -> Diagnosis {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let received = Received {
            path: &self.path,
            query: self.query.as_deref(),
            headers: &headers,
            body: &self.body,
            at: self.at,
            id: Uuid::nil(),
        };
        let diagnosis = diagnose(account, &received);
        match verify(account, &received) {
            Ok(notification) => {
                let is_unreadable = matches!(notification.about, payhook_schema::About::Unreadable(_));
                assert!(diagnosis.holds && diagnosis.causes.is_empty() != is_unreadable, "{diagnosis:?}");
                assert_eq!(diagnosis.by.as_ref(), Some(&notification.verified_by));
            }
            Err(refusal) => assert!(!diagnosis.holds || !diagnosis.causes.is_empty(), "{refusal}: {diagnosis:?}"),
        }
        self.shows_nothing(&diagnosis);
        diagnosis
    }

    /// Neither the body's words nor the signature nor the query are in it.
    fn shows_nothing(&self, diagnosis: &Diagnosis) {
        let told = format!("{diagnosis:?}");
        let body = String::from_utf8_lossy(&self.body);
        let words = body
            .split(['"', ' ', '\n'])
            .filter(|word| word.len() > 12 && word.chars().any(|char| char.is_ascii_digit()));
        let words = words.filter(|word| word.parse::<Timestamp>().is_err());
        let headers = self.headers.iter().filter(|(name, _)| name.contains("signature") && !name.contains("time"));
        let values = headers.flat_map(|(_, value)| value.split(['=', ',', ' ', '%'])).filter(|value| value.len() > 12);
        for secret in words.chain(values).chain(self.query.as_deref()) {
            assert!(!told.contains(secret), "{secret} is in {told}");
        }
    }
}

fn words(causes: &[Cause]) -> Vec<&'static str> {
    causes.iter().map(|cause| cause.word).collect()
}

/// What would make it hold, proven each.
#[track_caller]
fn causes(request: &Request, account: &Account) -> Vec<&'static str> {
    let diagnosis = request.diagnosed(account);
    assert!(!diagnosis.holds && diagnosis.by.is_some(), "{diagnosis:?}");
    assert!(diagnosis.causes.iter().all(|cause| cause.proven), "{diagnosis:?}");
    words(&diagnosis.causes)
}

/// What it may be, where nothing makes it hold.
#[track_caller]
fn guesses(request: &Request, account: &Account) -> Vec<&'static str> {
    let diagnosis = request.diagnosed(account);
    assert!(!diagnosis.holds && diagnosis.by.is_none(), "{diagnosis:?}");
    assert!(diagnosis.causes.iter().all(|cause| !cause.proven), "{diagnosis:?}");
    words(&diagnosis.causes)
}
