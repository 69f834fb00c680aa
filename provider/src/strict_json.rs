//! Reads JSON once loosely for what it is, before anything is decided from it.
//!
//! `serde_json` keeps the last of two equal keys in maps and in fields nobody declared; another reader of the same
//! bytes may keep the first. NUL characters pass its parser and no database. Both are refused here, at any depth.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Reads `bytes` as one JSON object into `T`.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the body is not UTF-8".to_owned())?;
    if !text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Err("the body is not a JSON object".to_owned());
    }
    serde_json::from_str::<Sound>(text).map_err(|error| explain(&error))?;
    serde_json::from_str(text).map_err(|error| explain(&error))
}

/// Says what is wrong and where, without quoting the body: serde_json's own text can show values.
fn explain(error: &serde_json::Error) -> String {
    use serde_json::error::Category;
    let what = match error.classify() {
        Category::Eof => "the JSON ends early",
        Category::Io | Category::Syntax => "the body is not JSON",
        Category::Data if error.to_string().starts_with(TWICE) => TWICE,
        Category::Data if error.to_string().starts_with(NUL) => NUL,
        Category::Data => "a field is missing or of the wrong type",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

const TWICE: &str = "a key stands twice in one object";
const NUL: &str = "a text has a NUL character";

/// Room for the keys of one object, to begin with.
const KEYS: usize = 16;

/// Any JSON value, checked and dropped.
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(StrictVisitor)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Sound;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_unit<E>(self) -> Result<Sound, E> {
        Ok(Sound)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Sound, E> {
        if text.contains('\0') { Err(E::custom(NUL)) } else { Ok(Sound) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Sound, A::Error> {
        while items.next_element::<Sound>()?.is_some() {}
        Ok(Sound)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Sound, A::Error> {
        let mut keys = Vec::with_capacity(KEYS);
        while let Some(key) = entries.next_key_seed(StrictKey)? {
            if key.contains('\0') {
                return Err(A::Error::custom(NUL));
            }
            keys.push(key);
            entries.next_value::<Sound>()?;
        }
        // Sorting a charge's fifty keys costs half of what hashing them did.
        keys.sort_unstable();
        match keys.windows(2).any(|two| two[0] == two[1]) {
            true => Err(A::Error::custom(TWICE)),
            false => Ok(Sound),
        }
    }
}

/// A key as it reads once its escapes are undone: `\u0061mount` is `amount`.
struct StrictKey;

impl<'de> DeserializeSeed<'de> for StrictKey {
    type Value = std::borrow::Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = std::borrow::Cow<'de, str>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(text.into())
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(text.to_owned().into())
            }
        }
        from.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        read::<serde_json::Value>(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn equal_keys_are_refused_at_any_depth_however_they_are_written() {
        assert!(refused(r#"{"a":1,"a":2}"#).starts_with(TWICE));
        assert!(refused(r#"{"x":[{"amount":1,"\u0061mount":2}]}"#).starts_with(TWICE));
        assert!(read::<serde_json::Value>(br#"{"x":{"a":1},"y":{"a":1}}"#).is_ok());
    }

    #[test]
    fn what_no_store_could_keep_is_refused_at_the_edge() {
        assert!(refused(r#"{"a":"x\u0000y"}"#).starts_with(NUL));
        assert!(refused(r#"{"a\u0000":1}"#).starts_with(NUL));
        assert!(read::<serde_json::Value>(b"{\"a\":\"\xff\"}").is_err());
        assert!(read::<serde_json::Value>(b"\xef\xbb\xbf{}").is_err());
    }

    #[test]
    fn anything_but_one_whole_object_is_refused() {
        for text in ["", "null", "[]", "{", r#"{"a":1"#, "{} {}", "\"{}\"", r#"{"a":"\ud800"}"#] {
            read::<serde_json::Value>(text.as_bytes()).expect_err(text);
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        assert!(read::<serde_json::Value>(deep.as_bytes()).is_err());
    }

    #[test]
    fn a_refusal_quotes_nothing_of_the_body() {
        #[derive(Debug, serde::Deserialize)]
        struct Typed {
            #[expect(dead_code, reason = "only its type matters")]
            id: String,
        }
        let error = read::<Typed>(br#"{"id":987654321}"#).unwrap_err();
        assert!(!error.contains("987654321"), "{error}");
    }
}
