//! Reads a captured request's head from a file: `Name: value` lines, raw HTTP, or the output of `curl -v`.

use std::fmt;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

/// Lines of one file: a request has fewer headers.
const LINES_MAX: usize = 10_000;

/// A request's head, as somebody captured it.
#[derive(Debug, Default)]
pub(super) struct Captured {
    pub(super) method: Option<String>,
    /// Path and query.
    pub(super) target: Option<String>,
    pub(super) headers: HeaderMap,
}

/// The reason why a file has no headers that can be read. Quotes nothing: signatures are among them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// From 1.
    Line(usize),
    NoHeaders,
    TooLong,
}

impl std::error::Error for Unreadable {}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number} is neither `Name: value` nor a request line"),
            Self::NoHeaders => write!(f, "it has no headers"),
            Self::TooLong => write!(f, "it has more than {LINES_MAX} lines, so it is no request"),
        }
    }
}

impl Captured {
    /// Reads `Name: value` lines, a raw request up to its body, or the request in what `curl -v` prints.
    pub(super) fn read(text: &str) -> Result<Self, Unreadable> {
        if text.lines().count() > LINES_MAX {
            return Err(Unreadable::TooLong);
        }
        // curl marks the lines it sends with `>`; the others are no part of the request.
        let is_curl = text.lines().any(|line| line.starts_with("> "));
        let mut captured = Self::default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = match (is_curl, line.strip_prefix('>')) {
                (true, None) => continue,
                (true, Some(sent)) => sent.strip_prefix(' ').unwrap_or(sent),
                (false, _) => line,
            };
            let line = line.trim_end();
            if line.is_empty() {
                // A blank line ends the head; blank lines before the head do not.
                if captured.headers.is_empty() {
                    continue;
                }
                break;
            }
            captured.take(line).ok_or(Unreadable::Line(number))?;
        }
        if captured.headers.is_empty() {
            return Err(Unreadable::NoHeaders);
        }
        Ok(captured)
    }

    fn take(&mut self, line: &str) -> Option<()> {
        if let Some(pseudo) = line.strip_prefix(':') {
            return self.take_pseudo(pseudo);
        }
        if self.headers.is_empty() && self.take_request_line(line) {
            return Some(());
        }
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        // Ingress refuses a header given twice, so it is appended here and not replaced.
        self.headers.append(name, HeaderValue::from_bytes(value.trim().as_bytes()).ok()?);
        Some(())
    }

    /// HTTP/2 and HTTP/3 have no request line: `:method: POST`, `:path: /omise/shop`.
    fn take_pseudo(&mut self, line: &str) -> Option<()> {
        let (name, value) = line.split_once(':')?;
        match name {
            "method" => self.method = Some(value.trim().to_owned()),
            "path" => self.target = Some(value.trim().to_owned()),
            _ => {}
        }
        Some(())
    }

    /// `POST /omise/shop HTTP/1.1`; through a proxy with scheme and host before the path.
    fn take_request_line(&mut self, line: &str) -> bool {
        let mut words = line.split(' ').filter(|word| !word.is_empty());
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return false;
        };
        if !version.starts_with("HTTP/") || !method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return false;
        }
        let path = match target.split_once("://") {
            Some((_, after)) => after.find('/').map_or("/", |from| &after[from..]),
            None => target,
        };
        self.method = Some(method.to_owned());
        self.target = Some(path.to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<String>, Option<String>, Vec<(String, String)>) {
        let Captured { method, target, headers } = Captured::read(text).unwrap();
        let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        (method, target, headers.collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const SIGNED: [(&str, &str); 2] = [("client-id", "5YX"), ("signature", "algorithm=RSA256, signature=a%2Bb")];

    #[test]
    fn bare_lines_are_headers() {
        let (method, target, headers) = read("Client-Id: 5YX\r\nSignature:   algorithm=RSA256, signature=a%2Bb  \r\n");
        assert_eq!((method, target, headers), (None, None, pairs(&SIGNED)));
    }

    #[test]
    fn a_raw_request_is_read_up_to_its_body() {
        let raw = "POST /pay/antom/shop/notifyPayment?x=1 HTTP/1.1\r\nclient-id: 5YX\r\nsignature: algorithm=RSA256, \
                   signature=a%2Bb\r\n\r\n{\"not\": \"a header\"}\r\n";
        let (method, target, headers) = read(raw);
        assert_eq!(method.as_deref(), Some("POST"));
        assert_eq!(target.as_deref(), Some("/pay/antom/shop/notifyPayment?x=1"));
        assert_eq!(headers, pairs(&SIGNED));
        assert_eq!(read("POST http://shop.example HTTP/1.1\na: b").1.as_deref(), Some("/"));
        assert_eq!(read("POST http://shop.example/omise/shop HTTP/1.1\na: b").1.as_deref(), Some("/omise/shop"));
    }

    #[test]
    fn only_the_request_in_curls_output_counts() {
        let printed = "*   Trying 127.0.0.1:8080...\n* Connected to localhost\n> POST /antom/shop/notifyPayment HTTP/1.1\n\
                       > client-id: 5YX\n> signature: algorithm=RSA256, signature=a%2Bb\n>\n} [20 bytes data]\n\
                       < HTTP/1.1 401 Unauthorized\n< client-id: other\n<\n{\"status\":401}\n";
        let (method, target, headers) = read(printed);
        assert_eq!((method.as_deref(), target.as_deref()), (Some("POST"), Some("/antom/shop/notifyPayment")));
        assert_eq!(headers, pairs(&SIGNED));
    }

    #[test]
    fn later_versions_of_http_tell_the_path_as_a_header() {
        let (method, target, headers) =
            read(":method: POST\n:path: /omise/shop\n:scheme: https\nomise-signature: ab\n");
        assert_eq!((method.as_deref(), target.as_deref()), (Some("POST"), Some("/omise/shop")));
        assert_eq!(headers, pairs(&[("omise-signature", "ab")]));
    }

    #[test]
    fn a_header_that_is_there_twice_is_there_twice() {
        assert_eq!(read("a: 1\nb: 2\na: 3").2.iter().filter(|(name, _)| name == "a").count(), 2);
    }

    #[test]
    fn a_line_that_is_no_header_is_named_by_its_number_and_never_quoted() {
        let error_of = |text: &str| Captured::read(text).unwrap_err();
        assert_eq!(error_of("a: b\nsecret without a colon"), Unreadable::Line(2));
        assert!(!error_of("a: b\nsecret without a colon").to_string().contains("secret"));
        assert_eq!(error_of("a b: c"), Unreadable::Line(1));
        assert_eq!(error_of("\n\n"), Unreadable::NoHeaders);
        assert_eq!(error_of(&"a: b\n".repeat(LINES_MAX + 1)), Unreadable::TooLong);
    }
}
