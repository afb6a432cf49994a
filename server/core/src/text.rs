//! String types that are validated on construction: names, tags, digests.

/// Defines a string type with a validating function. Its error quotes an invalid value up to a maximum length.
macro_rules! validated_text {
    ($(#[$doc:meta])* $type:ident, $valid:ident, $error:ident::$variant:ident, $max_quoted:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(std::sync::Arc<str>);

        impl $type {
            /// Parses a value; the error describes the valid form.
            pub fn parse(value: &str) -> Result<Self, $error> {
                if $valid(value) {
                    Ok(Self(value.into()))
                } else {
                    Err($error::$variant { value: value.chars().take($max_quoted).collect() })
                }
            }

            /// Returns the text.
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

            fn try_from(value: String) -> Result<Self, $error> {
                Self::parse(&value)
            }
        }

        impl From<$type> for String {
            fn from(text: $type) -> Self {
                text.0.as_ref().to_owned()
            }
        }
    };
}

pub(crate) use validated_text;
