//! A server's address, read from its URL.

use std::borrow::Cow;

use anyhow::{Context as _, Result, ensure};
use percent_encoding::percent_decode_str;

/// A server's URL in parts. `user` and `password` are still percent-encoded, `path` starts with `/`.
#[derive(Clone)]
pub(crate) struct ServerAddress {
    pub scheme: String,
    pub user: String,
    pub password: String,
    pub host: String,
    pub port: Option<u16>,
    pub path_and_query: String,
}

impl ServerAddress {
    /// Error texts name the variable and never the URL, which holds a password.
    pub(crate) fn parse(url: &str, variable: &str) -> Result<Self> {
        let expected = || format!("{variable} is not of the form scheme://user:password@host:port/path");
        let uri: hyper::Uri = url.parse().with_context(expected)?;
        let authority = uri.authority().with_context(expected)?;
        let credentials = authority.as_str().rsplit_once('@').map_or("", |(credentials, _)| credentials);
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        ensure!(!authority.host().is_empty(), expected());
        Ok(Self {
            scheme: uri.scheme_str().unwrap_or_default().to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
            host: authority.host().to_owned(),
            port: authority.port_u16(),
            path_and_query: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    pub(crate) fn url(&self) -> String {
        let credentials = match (self.user.as_str(), self.password.as_str()) {
            ("", _) => String::new(),
            (user, "") => format!("{user}@"),
            (user, password) => format!("{user}:{password}@"),
        };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{credentials}{}{port}{}", self.scheme, self.host, self.path_and_query)
    }

    /// The same server and query with another path; `path` is without its leading `/` and already percent-encoded.
    pub(crate) fn with_path(&self, path: &str) -> Self {
        let query = self.path_and_query.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
        Self { path_and_query: format!("/{path}{query}"), ..self.clone() }
    }

    pub(crate) fn plain_user(&self) -> Cow<'_, str> {
        percent_decode_str(&self.user).decode_utf8_lossy()
    }

    pub(crate) fn plain_password(&self) -> Cow<'_, str> {
        percent_decode_str(&self.password).decode_utf8_lossy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_comes_apart_and_together_again() {
        let url = "postgres://a%40b:p%2Fw@127.0.0.1:5432/main?sslmode=disable";
        let address = ServerAddress::parse(url, "X").expect("a good URL");
        assert_eq!(address.plain_user(), "a@b");
        assert_eq!(address.plain_password(), "p/w");
        assert_eq!(address.url(), url);
        assert_eq!(address.with_path("other").url(), "postgres://a%40b:p%2Fw@127.0.0.1:5432/other?sslmode=disable");
    }

    #[test]
    fn a_bad_url_is_refused_without_showing_its_password() {
        let error = ServerAddress::parse("postgres//u:secret", "PAYHOOK_TEST_DATABASE_URL").err().expect("refused");
        assert!(error.to_string().contains("PAYHOOK_TEST_DATABASE_URL"));
        assert!(!format!("{error:?}").contains("secret"));
    }
}
