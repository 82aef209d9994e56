//! What caches know tokens by.
//!
//! It is SipHash-2-4 with 128 bits, under a key that this VM draws when it begins and that never leaves it. Clients choose tokens, so
//! the question is what a client must do to be taken for another: find a text whose digest is that of a token in the cache. SipHash
//! is a pseudorandom function: to whoever lacks its key, each of 2^128 digests of a text that was not hashed yet is as likely. And
//! no client sees one: digests are in no answer, log or metric, so that the only way to try a guess is to send it here. Against
//! 56,000 tokens in the cache, one try in 2^112 meets one. Two texts of a client's own that collide, if it could know of them, are
//! of no use to it: neither is a token that was proved. An unkeyed digest needs 256 bits because anybody can look for collisions
//! with computers of his own; here that takes the filter.
//!
//! For a token of 709 characters, it takes a quarter of the time that BLAKE3 takes in V8, with SIMD (five processes on two cores,
//! November 2026). The token itself, beside a fast hash, would need no such argument. But to compare 709 bytes takes as long there
//! as to hash them so, and the cache would be full of credentials.
//!
//! The invariant: neither the key nor a digest can be had from outside, and two VMs have different keys.

use siphasher::sip128::SipHasher24;
use std::hash::{BuildHasher as _, RandomState};

/// The digest of a token. Not printable: a token that is short may be guessed by it.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct TokenDigest(u128);

impl TokenDigest {
    pub(super) fn of(token: &[u8]) -> Self {
        Self(KEYED.with(|keyed| keyed.hash(token).as_u128()))
    }
}

thread_local! {
    /// A VM has one thread. What Rust's own tables are keyed with comes from the host's `random_get`, without which none of
    /// them would be; it is not to be had itself, but what a hash under it makes of two different words is as good.
    static KEYED: SipHasher24 = {
        let random = RandomState::new();
        SipHasher24::new_with_keys(random.hash_one("token digests, 1"), random.hash_one("token digests, 2"))
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CCH-04.
    #[test]
    fn each_byte_of_a_token_counts() {
        let token = vec![b'a'; 1_000];
        let digest = TokenDigest::of(&token);
        assert!(digest == TokenDigest::of(&token));
        for index in 0..token.len() {
            let mut other = token.clone();
            other[index] ^= 1;
            assert!(digest != TokenDigest::of(&other), "{index}");
        }
        assert!(digest != TokenDigest::of(&token[1..]));
    }

    /// CCH-04: whoever knows what collides in one worker knows nothing about another, nor about the next start of this one.
    #[test]
    fn each_vm_has_a_key_of_its_own() {
        let digests: std::collections::HashSet<_> =
            (0..8).map(|_| std::thread::spawn(|| TokenDigest::of(b"token")).join().unwrap()).collect();
        assert_eq!(digests.len(), 8);
    }
}
