//! The cryptography of `jsonwebtoken`: signatures verified by ring. Nothing is signed, and symmetric keys verify nothing.

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind,
    crypto::{CryptoProvider, JwtVerifier, KeyUtils},
    errors::{ErrorKind, Result, new_error},
    signature,
};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(new_error(ErrorKind::UnsupportedAlgorithm)),
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes this the provider of the process. It is the only one, so a second call changes nothing.
pub(super) fn install() {
    let _ = PROVIDER.install_default();
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the library has this signature")]
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let scheme = match (algorithm, key.kind()) {
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            Scheme::Rsa(&RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents { n: n.clone(), e: e.clone() })
        }
        (Algorithm::PS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            Scheme::Rsa(&RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents { n: n.clone(), e: e.clone() })
        }
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => Scheme::of_curve(&ECDSA_P256_SHA256_FIXED, point),
        (Algorithm::ES384, DecodingKeyKind::SecretOrDer(point)) => Scheme::of_curve(&ECDSA_P384_SHA384_FIXED, point),
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => Scheme::of_curve(&ED25519, point),
        _ => return Err(new_error(ErrorKind::InvalidAlgorithm)),
    };
    Ok(Box::new(Verifier { algorithm: *algorithm, scheme }))
}

enum Scheme {
    Rsa(&'static RsaParameters, RsaPublicKeyComponents<Vec<u8>>),
    Curve(UnparsedPublicKey<Vec<u8>>),
}

impl Scheme {
    fn of_curve(algorithm: &'static dyn VerificationAlgorithm, point: &[u8]) -> Self {
        Self::Curve(UnparsedPublicKey::new(algorithm, point.to_vec()))
    }
}

struct Verifier {
    algorithm: Algorithm,
    scheme: Scheme,
}

impl signature::Verifier<Vec<u8>> for Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), signature::Error> {
        let verified = match &self.scheme {
            Scheme::Rsa(parameters, key) => key.verify(parameters, message, signature),
            Scheme::Curve(key) => key.verify(message, signature),
        };
        verified.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Verifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
