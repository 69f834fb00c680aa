//! JSON printed again in other ways: tokens keep their order and numbers their digits, because nothing becomes a value on the way.

use std::fmt::Write as _;

use serde::de::IgnoredAny;

/// Where the blanks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// As they are.
    Kept,
    /// None at all.
    Compact,
    /// One after each `,` and `:`.
    Spaced,
    /// Two for each level.
    Pretty,
    /// The same, and an empty array over three lines, as Omise prints: `reference/omise.md` section 1.
    Omise,
}

/// How the characters that may be escaped are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Escapes {
    /// `\/` for `/`.
    pub(super) slash: bool,
    pub(super) unicode: Unicode,
}

/// What is beyond ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unicode {
    Raw,
    /// `\u0e3f`
    Lower,
    /// `\u0E3F`
    Upper,
}

/// `text` with its blanks as `layout` and its texts as `escapes` have it; nothing where it is not JSON.
pub(super) fn reprint(text: &str, layout: Layout, escapes: Escapes) -> Option<String> {
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    let mut printer = Printer { layout, escapes, out: String::with_capacity(text.len()), depth: 0 };
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => text_length(rest)?,
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            ' ' | '\t' | '\r' | '\n' => rest.len() - rest.trim_start_matches(BLANKS).len(),
            _ => rest.find(|char| "{}[],:\"".contains(char) || BLANKS.contains(&char)).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        printer.print(first, token, after)?;
        rest = after;
    }
    Some(printer.out)
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// How long the text that begins here is, with both its quotation marks, in bytes.
fn text_length(rest: &str) -> Option<usize> {
    let mut escaped = false;
    let end = rest.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map(|end| end + 2)
}

struct Printer {
    layout: Layout,
    escapes: Escapes,
    out: String,
    depth: usize,
}

impl Printer {
    fn print(&mut self, first: char, token: &str, after: &str) -> Option<()> {
        let empties = || after.trim_start_matches(BLANKS).starts_with(['}', ']']);
        match first {
            ' ' | '\t' | '\r' | '\n' if self.layout != Layout::Kept => {}
            '"' => self.print_text(token)?,
            '{' | '[' if self.is_pretty() => {
                self.out.push(first);
                self.depth += 1;
                if !empties() {
                    self.new_line();
                } else if first == '[' && self.layout == Layout::Omise {
                    self.out.push('\n');
                }
            }
            '}' | ']' if self.is_pretty() => {
                self.depth = self.depth.saturating_sub(1);
                if !self.out.ends_with(['{', '[']) {
                    self.new_line();
                }
                self.out.push(first);
            }
            ',' if self.is_pretty() => {
                self.out.push(',');
                self.new_line();
            }
            ',' if self.layout == Layout::Spaced => self.out.push_str(", "),
            ':' if self.is_pretty() || self.layout == Layout::Spaced => self.out.push_str(": "),
            _ => self.out.push_str(token),
        }
        Some(())
    }

    fn is_pretty(&self) -> bool {
        matches!(self.layout, Layout::Pretty | Layout::Omise)
    }

    fn new_line(&mut self) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n("  ", self.depth));
    }

    fn print_text(&mut self, token: &str) -> Option<()> {
        let text: String = serde_json::from_str(token).ok()?;
        self.out.push('"');
        for char in text.chars() {
            match char {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                '/' if self.escapes.slash => self.out.push_str("\\/"),
                control if control < ' ' => self.print_unit(control as u16),
                wide if !wide.is_ascii() && self.escapes.unicode != Unicode::Raw => {
                    for unit in wide.encode_utf16(&mut [0; 2]) {
                        self.print_unit(*unit);
                    }
                }
                plain => self.out.push(plain),
            }
        }
        self.out.push('"');
        Some(())
    }

    fn print_unit(&mut self, unit: u16) {
        let written = match self.escapes.unicode {
            Unicode::Upper => write!(self.out, "\\u{unit:04X}"),
            Unicode::Raw | Unicode::Lower => write!(self.out, "\\u{unit:04x}"),
        };
        written.expect("a String takes all that is written to it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Escapes = Escapes { slash: false, unicode: Unicode::Raw };

    #[test]
    fn every_layout_of_every_other_is_the_same_text() {
        let compact = r#"{"a":[],"b":{},"c":[1.50,-2e3,"x",{"d":null}],"e":"{\"[,: ]\""}"#;
        let spaced = r#"{"a": [], "b": {}, "c": [1.50, -2e3, "x", {"d": null}], "e": "{\"[,: ]\""}"#;
        let pretty = "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1.50,\n    -2e3,\n    \"x\",\n    {\n      \"d\": null\n    }\n  ],\n  \"e\": \"{\\\"[,: ]\\\"\"\n}";
        let omise = pretty.replace("[],", "[\n\n  ],");
        let all =
            [(Layout::Compact, compact), (Layout::Spaced, spaced), (Layout::Pretty, pretty), (Layout::Omise, &omise)];
        for (_, from) in &all {
            for (layout, to) in &all {
                assert_eq!(reprint(from, *layout, PLAIN).as_deref(), Some(*to), "{layout:?}");
            }
            assert_eq!(reprint(from, Layout::Kept, PLAIN).as_deref(), Some(*from));
        }
    }

    #[test]
    fn omises_own_layout_is_printed_byte_for_byte() {
        let text = include_str!("../../fixtures/omise/vector_pretty.json");
        let compact = reprint(text, Layout::Compact, PLAIN).unwrap();
        assert_eq!(reprint(&compact, Layout::Omise, PLAIN).unwrap() + "\n", text);
    }

    #[test]
    fn texts_are_escaped_as_other_printers_do() {
        let text = "[\"\\u0E3f\\/\\ud83d\\ude00\\u000b\\n\"]";
        let with = |slash, unicode| reprint(text, Layout::Compact, Escapes { slash, unicode }).unwrap();
        assert_eq!(with(false, Unicode::Raw), "[\"฿/😀\\u000b\\n\"]");
        assert_eq!(with(true, Unicode::Lower), "[\"\\u0e3f\\/\\ud83d\\ude00\\u000b\\n\"]");
        assert_eq!(with(false, Unicode::Upper), "[\"\\u0E3F/\\uD83D\\uDE00\\u000B\\n\"]");
    }

    #[test]
    fn what_is_not_json_is_not_printed() {
        for text in ["", "{", "{\"a\":1", "<html>", "{} {}", "{\"a\":\"x}"] {
            assert_eq!(reprint(text, Layout::Compact, PLAIN), None, "{text}");
        }
    }
}
