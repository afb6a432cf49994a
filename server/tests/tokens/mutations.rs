//! Properties: no change of a right token is accepted, and no text makes the verification panic.

use proptest::{prelude::*, sample::Index};
use serde_json::json;
use tokio::runtime::Builder;

use crate::{
    issuer::{TestIssuer, verify},
    signing::{SigningKey, claims, encode},
};

/// A change of a text.
#[derive(Debug, Clone)]
enum Mutation {
    Replace(Index, char),
    Insert(Index, char),
    Remove(Index),
    Swap(Index, Index),
    Truncate(Index),
}

impl Mutation {
    fn apply(&self, token: &str) -> String {
        let mut chars: Vec<char> = token.chars().collect();
        let count = chars.len();
        match self {
            Self::Replace(at, new) => chars[at.index(count)] = *new,
            Self::Insert(at, new) => chars.insert(at.index(count + 1), *new),
            Self::Remove(at) => drop(chars.remove(at.index(count))),
            Self::Swap(one, other) => chars.swap(one.index(count), other.index(count)),
            Self::Truncate(at) => chars.truncate(at.index(count)),
        }
        chars.into_iter().collect()
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let character = prop_oneof![9 => proptest::char::ranges(vec!['A'..='Z', 'a'..='z', '0'..='9', '-'..='.'].into()), 1 => any::<char>()];
    prop_oneof![
        (any::<Index>(), character.clone()).prop_map(|(at, new)| Mutation::Replace(at, new)),
        (any::<Index>(), character).prop_map(|(at, new)| Mutation::Insert(at, new)),
        any::<Index>().prop_map(Mutation::Remove),
        (any::<Index>(), any::<Index>()).prop_map(|(one, other)| Mutation::Swap(one, other)),
        any::<Index>().prop_map(Mutation::Truncate),
    ]
}

#[test]
fn mutation_of_a_right_token_is_refused() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let keys = ["RS256", "ES256", "EdDSA"].map(|algorithm| SigningKey::new(algorithm, algorithm));
    let issuer = runtime.block_on(TestIssuer::start(&keys.each_ref()));
    let tokens = runtime.block_on(issuer.tokens());
    let right = keys.each_ref().map(|key| key.token(&claims(&issuer.url)));
    for token in &right {
        assert!(runtime.block_on(verify(&tokens, token)).is_ok());
    }

    proptest!(|(token in proptest::sample::select(right.to_vec()), mutations in prop::collection::vec(mutation(), 1..4))| {
        let mutated = mutations.iter().fold(token.clone(), |text, mutation| mutation.apply(&text));
        prop_assume!(mutated != token && !mutated.is_empty());
        prop_assert!(tokens.remembered(&mutated, jiff::Timestamp::now()).is_none());
        prop_assert!(runtime.block_on(verify(&tokens, &mutated)).is_err());
    });
}

#[test]
fn text_that_is_no_token_is_refused() {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let key = SigningKey::new("1", "ES256");
    let issuer = runtime.block_on(TestIssuer::start(&[&key]));
    let tokens = runtime.block_on(issuer.tokens());
    let json = prop_oneof![
        any::<String>(),
        (any::<String>(), any::<String>(), any::<i64>()).prop_map(|(alg, kid, exp)| {
            json!({"alg": alg, "kid": kid, "exp": exp, "iss": "https://issuer", "sub": "a", "aud": "b"}).to_string()
        }),
        Just(json!({"alg": "ES256", "kid": "1"}).to_string()),
        Just(claims(&issuer.url).to_string()),
    ];
    let part = prop_oneof![4 => json.prop_map(encode), 1 => any::<String>()];

    proptest!(|(parts in prop::collection::vec(part, 0..5))| {
        prop_assert!(runtime.block_on(verify(&tokens, &parts.join("."))).is_err());
    });
}
