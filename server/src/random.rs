//! Names that nobody else has taken.

use rand::RngExt as _;

/// Ten letters and digits, none of which is mistaken for another: fifty bits of chance.
pub(crate) fn letters() -> String {
    const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let mut random = rand::rng();
    let letter = |_| LETTERS.get(random.random_range(0..LETTERS.len())).map_or('0', |letter| char::from(*letter));
    (0..10).map(letter).collect()
}
