//! Bodies as the providers document them (`provider/fixtures`), and the two layouts they are printed in.

use serde_json::Value;

/// A documented body; each place in the code parses its own once.
macro_rules! fixture {
    ($file:literal) => {{
        static BODY: std::sync::LazyLock<serde_json::Value> = std::sync::LazyLock::new(|| {
            let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../provider/fixtures/", $file));
            serde_json::from_str(text).expect("a fixture is JSON")
        });
        &*BODY
    }};
}
pub(crate) use fixture;

/// Copies a documented body and sets these fields in it.
pub(crate) fn with(documented: &Value, fields: Value) -> Value {
    let (Value::Object(mut body), Value::Object(fields)) = (documented.clone(), fields) else {
        panic!("a body and its fields are objects");
    };
    body.extend(fields);
    Value::Object(body)
}

/// As Antom prints it: no blanks.
pub(crate) fn compact(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

/// As Omise prints it: two blanks of indent, a newline at the end, and what is empty over two or three lines.
pub(crate) fn pretty(value: &Value) -> Vec<u8> {
    let text = serde_json::to_string_pretty(value).expect("plain data always serialises");
    let mut lines = String::with_capacity(text.len());
    for line in text.lines() {
        let indent = &line[..line.len() - line.trim_start().len()];
        let (start, comma) = line.strip_suffix(',').map_or((line, ""), |start| (start, ","));
        // A line that ends with a string ends with its quotation mark, so these two are never inside one.
        let (start, end) = match (start.strip_suffix("[]"), start.strip_suffix("{}")) {
            (Some(start), _) => (start, format!("[\n\n{indent}]")),
            (_, Some(start)) => (start, format!("{{\n{indent}}}")),
            _ => (start, String::new()),
        };
        lines.extend([start, &end, comma, "\n"]);
    }
    lines.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines in an order of their own, because we print fields by name.
    fn lines(text: &str) -> Vec<&str> {
        let mut lines: Vec<&str> = text.lines().map(|line| line.trim_end_matches(',')).collect();
        lines.sort_unstable();
        lines
    }

    #[test]
    fn the_layout_is_that_of_omises_documented_bodies() {
        for documented in [
            include_str!("../../provider/fixtures/omise/charge_partly_refunded.json"),
            include_str!("../../provider/fixtures/omise/event_dispute_2019-05-29.json"),
            include_str!("../../provider/fixtures/omise/vector_pretty.json"),
        ] {
            let printed = String::from_utf8(pretty(&serde_json::from_str(documented).unwrap())).unwrap();
            assert!(printed.ends_with("}\n"));
            assert_eq!(lines(&printed), lines(documented));
        }
    }
}
