//! Random ids.

use rand::RngExt as _;

/// Ten letters and digits with 50 bits of randomness. The alphabet leaves out characters that look alike.
pub(crate) fn random_id() -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut random = rand::rng();
    let letter = |_| ALPHABET.get(random.random_range(0..ALPHABET.len())).map_or('0', |letter| char::from(*letter));
    (0..10).map(letter).collect()
}
