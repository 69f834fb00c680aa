//! Declares enums whose variants are words of the public contract.

use thiserror::Error;

/// A word that is none of those a list allows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{word}` is not a {of}; known are {known}")]
pub struct UnknownWord {
    pub word: String,
    pub of: &'static str,
    pub known: String,
}

/// Declares an enum whose variants are words of the public contract, spelled once: in types, columns, JSON and logs
/// alike.
macro_rules! words {
    ($(#[$doc:meta])* $vis:vis enum $name:ident ($of:literal) {
        $($(#[doc = $vdoc:literal])* $(#[cfg($only:meta)])? $variant:ident = $word:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        $vis enum $name { $($(#[doc = $vdoc])* $(#[cfg($only)])? #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every word, in the order they are declared.
            pub const ALL: &'static [Self] = &[$($(#[cfg($only)])? Self::$variant,)+];

            /// The word as the contract, the columns and the logs spell it.
            pub const fn as_str(self) -> &'static str {
                match self { $($(#[cfg($only)])? Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.pad(self.as_str()) }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownWord;

            fn from_str(word: &str) -> Result<Self, Self::Err> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word).ok_or_else(|| $crate::UnknownWord {
                    word: word.chars().take(64).collect(),
                    of: $of,
                    known: Self::ALL.iter().map(|known| known.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}
pub(crate) use words;
