//! What escapes stand for: those of RFC 3986, and others that some servers read.

/// The byte that `%XX` at the beginning stands for (RFC 3986, section 2.1).
pub fn escape(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let (high, low) = (char::from(*high).to_digit(16)?, char::from(*low).to_digit(16)?);
    u8::try_from(high.checked_mul(16)?.checked_add(low)?).ok()
}

/// `%uXXXX`, which no standard knows and IIS reads, as the character that it stands for.
pub fn without_unit_escapes(text: &[u8]) -> Option<Vec<u8>> {
    let mut read = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        match unit_escape(rest) {
            Some(character) => {
                read.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = rest.get(6..).unwrap_or_default();
            }
            None => {
                read.push(*byte);
                rest = after;
            }
        }
    }
    (read.len() < text.len()).then_some(read)
}

fn unit_escape(text: &[u8]) -> Option<char> {
    let [b'%', b'u' | b'U', digits @ ..] = text else { return None };
    let mut digits = digits.get(..4)?.iter().map(|byte| char::from(*byte).to_digit(16));
    char::from_u32(digits.try_fold(0, |unit: u32, digit| Some((unit << 4) | digit?))?)
}
