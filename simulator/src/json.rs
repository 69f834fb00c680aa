use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

/// As Antom writes it: no blanks.
pub(crate) fn compact(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data always serialises")
}

/// As Omise writes it: two blanks of indent, an empty array over three lines, a newline at the end.
pub(crate) fn pretty(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut to = serde_json::Serializer::with_formatter(&mut bytes, OmiseLayout::default());
    value.serialize(&mut to).expect("plain data always serialises");
    bytes.push(b'\n');
    bytes
}

#[derive(Default)]
struct OmiseLayout {
    depth: usize,
    has_value: bool,
}

impl OmiseLayout {
    fn open(&mut self, to: &mut (impl io::Write + ?Sized), bracket: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.has_value = false;
        to.write_all(bracket)
    }

    fn close(&mut self, to: &mut (impl io::Write + ?Sized), bracket: &[u8], when_empty: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        match (self.has_value, when_empty) {
            (true, _) => self.line(to)?,
            (false, b"") => {}
            (false, blank) => {
                to.write_all(blank)?;
                self.line(to)?;
            }
        }
        self.has_value = true;
        to.write_all(bracket)
    }

    fn line(&self, to: &mut (impl io::Write + ?Sized)) -> io::Result<()> {
        to.write_all(b"\n")?;
        (0..self.depth).try_for_each(|_| to.write_all(b"  "))
    }

    fn item(&self, to: &mut (impl io::Write + ?Sized), first: bool) -> io::Result<()> {
        if !first {
            to.write_all(b",")?;
        }
        self.line(to)
    }
}

impl Formatter for OmiseLayout {
    fn begin_array<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.open(to, b"[")
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.close(to, b"]", b"\n")
    }

    fn begin_array_value<W: io::Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        self.item(to, first)
    }

    fn end_array_value<W: io::Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.open(to, b"{")
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        self.close(to, b"}", b"")
    }

    fn begin_object_key<W: io::Write + ?Sized>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        self.item(to, first)
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }

    fn end_object_value<W: io::Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_value = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn omises_layout_has_empty_arrays_over_three_lines_and_a_last_newline() {
        let value = serde_json::json!({ "a": [], "b": { "c": [1, 2], "d": {} } });
        let text = String::from_utf8(pretty(&value)).unwrap();
        let layout =
            "{\n  \"a\": [\n\n  ],\n  \"b\": {\n    \"c\": [\n      1,\n      2\n    ],\n    \"d\": {}\n  }\n}\n";
        assert_eq!(text, layout);
    }
}
