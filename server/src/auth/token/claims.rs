//! The claims of a token, and the identity that they make.

use std::{collections::BTreeMap, fmt};

use jiff::{SignedDuration, Timestamp};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::Value;

use super::{TokenError, rejected};
use crate::auth::{Identity, MAX_NAME_BYTES, Source, is_valid_name};

/// The clocks of issuers and of this server may differ by so much.
pub(super) const LEEWAY: SignedDuration = SignedDuration::from_secs(30);
/// The most claims of a token.
const MAX_CLAIMS: usize = 100;

/// The claims of a token. Two claims of one name are an error, since parsers differ in which one they take.
#[derive(Debug)]
pub(super) struct Claims(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ClaimsVisitor)
    }
}

struct ClaimsVisitor;

impl<'de> Visitor<'de> for ClaimsVisitor {
    type Value = Claims;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of distinct claims")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Claims, A::Error> {
        let mut claims = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if claims.len() >= MAX_CLAIMS || claims.insert(name, value).is_some() {
                return Err(A::Error::custom("too many claims, or two of one name"));
            }
        }
        Ok(Claims(claims))
    }
}

impl Claims {
    /// Returns the issuer that the token names.
    pub(super) fn issuer(&self) -> Result<&str, TokenError> {
        self.text("iss")
    }

    /// Returns the identity of the subject, whose name begins with the name of the issuer.
    pub(super) fn identity(&self, issuer_name: &str) -> Result<Identity, TokenError> {
        let name = format!("{issuer_name}:{}", self.text("sub")?);
        if !is_valid_name(&name) {
            let rule = format!("the claim sub must make a name of at most {MAX_NAME_BYTES} printable ASCII characters");
            return Err(rejected("claims", rule));
        }
        Ok(Identity {
            name,
            source: Source::Token,
            claims: self.0.iter().filter_map(|(name, value)| Some((name.clone(), render(value)?))).collect(),
            expire_time: Some(self.expire_time()?),
        })
    }

    /// Returns the instant from which the token no longer counts: its expiry, and the leeway that its verification allows.
    fn expire_time(&self) -> Result<Timestamp, TokenError> {
        let seconds = match self.0.get("exp") {
            // The fraction is cut off: in doubt, the token ends earlier.
            #[expect(clippy::cast_possible_truncation, reason = "a float saturates, and the timestamp is checked")]
            Some(Value::Number(number)) => number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds as i64)),
            Some(_) | None => None,
        };
        seconds
            .and_then(|seconds| Timestamp::from_second(seconds).ok())
            .and_then(|expiry| expiry.checked_add(LEEWAY).ok())
            .ok_or_else(|| rejected("claims", "the claim exp must be a time in seconds".to_owned()))
    }

    fn text(&self, claim: &'static str) -> Result<&str, TokenError> {
        let text = self.0.get(claim).and_then(Value::as_str).filter(|text| !text.is_empty());
        text.ok_or_else(|| rejected("claims", format!("the claim {claim} must be a non-empty string")))
    }
}

/// Renders a claim for the comparison with a grant. Objects, arrays and fractions have no exact text, so they match no grant.
fn render(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        Value::Number(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> serde_json::Result<Claims> {
        serde_json::from_str(json)
    }

    #[test]
    fn claim_in_two_places_is_refused() {
        assert!(parse(r#"{"sub": "a", "sub": "b"}"#).is_err());
        assert!(parse(r#"{"sub": "a", "s\u0075b": "b"}"#).is_err());
    }

    #[test]
    fn claims_beyond_the_bound_are_refused() {
        let claims = |count: usize| (0..count).map(|claim| format!("\"c{claim}\": 1")).collect::<Vec<_>>().join(",");

        assert!(parse(&format!("{{{}}}", claims(MAX_CLAIMS))).is_ok());
        assert!(parse(&format!("{{{}}}", claims(MAX_CLAIMS + 1))).is_err());
    }

    #[test]
    fn exact_values_are_claims_as_text() {
        let claims = r#"{"sub": "a", "exp": 10, "id": 9919, "is": true, "f": 1.5, "big": 18446744073709551617, "l": [1], "o": {}}"#;
        let identity = parse(claims).unwrap().identity("ci").unwrap();

        let text: Vec<_> = identity.claims.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(text, ["exp=10", "id=9919", "is=true", "sub=a"]);
    }

    #[test]
    fn subject_without_printable_name_is_refused() {
        let kind = |sub: &str| {
            let claims = serde_json::json!({"sub": sub, "exp": 10}).to_string();
            parse(&claims).unwrap().identity("ci").map(|identity| identity.name)
        };

        assert_eq!(kind("a"), Ok("ci:a".to_owned()));
        for sub in ["", "a\nb", "a\u{85}", "a\u{202e}b", "a ", &"a".repeat(MAX_NAME_BYTES)] {
            assert!(matches!(kind(sub), Err(TokenError::Rejected { kind: "claims", .. })), "{sub:?}");
        }
    }
}
