//! Header lists as proxy-wasm hands them over.
//!
//! The invariant: no buffer can make it panic, or reserve memory beyond its own size.

use crate::http::{Field, Headers};

/// Reads proxy-wasm's serialised pairs: `u32 n`, `n` times `u32 name length, u32 value length`, then `n` times
/// `name \0 value \0`, all little-endian. The buffer is kept, not copied. `None` if it isn't of that form.
pub fn headers(bytes: Vec<u8>) -> Option<Headers> {
    let count = usize::try_from(read_u32(&bytes, 0)?).ok()?;
    // Each pair takes eight bytes of lengths: a count that the buffer can't hold must not reserve memory.
    let lengths_end = count.checked_mul(8)?.checked_add(4)?;
    if lengths_end > bytes.len() {
        return None;
    }
    let (mut lengths, mut at) = (4_usize, lengths_end);
    let mut span = |bytes: &[u8]| {
        let end = at.checked_add(usize::try_from(read_u32(bytes, lengths)?).ok()?)?;
        let span = at..end;
        (lengths, at) = (lengths.checked_add(4)?, end.checked_add(1)?);
        (bytes.get(end) == Some(&0)).then_some(span)
    };
    Headers::from_spans(bytes, count, |bytes| Some((span(bytes)?, span(bytes)?)))
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}

/// Header fields as the ABI has them.
pub fn serialized(fields: &[Field]) -> Vec<u8> {
    let mut bytes = u32::try_from(fields.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    for (name, value) in fields {
        bytes.extend(length(name.as_bytes()));
        bytes.extend(length(value));
    }
    for part in fields.iter().flat_map(|(name, value)| [name.as_bytes(), value]) {
        bytes.extend_from_slice(part);
        bytes.push(0);
    }
    bytes
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    let end = at.checked_add(4)?;
    Some(u32::from_le_bytes(bytes.get(at..end)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = u32::try_from(pairs.len()).unwrap().to_le_bytes().to_vec();
        for (name, value) in pairs {
            bytes.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
            bytes.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
        }
        for (name, value) in pairs {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        }
        bytes
    }

    #[test]
    fn wire_form_keeps_order_and_repetition() {
        let read = headers(wire(&[("a", "1"), ("b", ""), ("a", "2")])).unwrap();
        assert_eq!(read.all("a").collect::<Vec<_>>(), [b"1", b"2"]);
        assert_eq!(read.first("b"), Some(&b""[..]));
        assert_eq!(read.first("c"), None);
    }

    #[test]
    fn a_broken_wire_form_is_no_header_list() {
        let whole = wire(&[("name", "value"), ("other", "thing")]);
        for length in 0..whole.len() {
            assert!(headers(whole[..length].to_vec()).is_none(), "{length}");
        }
        assert!(headers(vec![0xff; 64]).is_none());
    }
}
