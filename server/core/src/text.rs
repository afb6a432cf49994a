//! Texts of a form that is checked when they are made: names, tags, digests.

/// Makes a type of texts that a function takes for valid; its error quotes others, up to so many characters.
macro_rules! text {
    ($(#[$doc:meta])* $type:ident, $valid:ident, $error:ident::$variant:ident, $most:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(std::sync::Arc<str>);

        impl $type {
            /// Parses it, or says what its form is.
            pub fn parse(given: &str) -> Result<Self, $error> {
                if $valid(given) {
                    Ok(Self(given.into()))
                } else {
                    Err($error::$variant { given: given.chars().take($most).collect() })
                }
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = $error;

            fn try_from(given: String) -> Result<Self, $error> {
                Self::parse(&given)
            }
        }

        impl From<$type> for String {
            fn from(text: $type) -> Self {
                text.0.as_ref().to_owned()
            }
        }
    };
}

pub(crate) use text;
