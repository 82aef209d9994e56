//! Nonces of the resource server (RFC 9449, sections 8 and 9): a time, some randomness, and a tag by which we know that it was
//! us. Nobody remembers them.
//!
//! The invariant: a nonce is current only if it bears a tag under a secret of ours, and is not older than a nonce lives. Every
//! worker of a process knows every other's.

use crate::time::Timestamp;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use std::fmt;
use std::time::Duration;

/// What nonces are made and known with.
#[derive(Clone)]
pub struct Nonces {
    /// Makes them.
    secret: [u8; 32],
    /// Made them before, or will: these know them, too.
    others: Vec<[u8; 32]>,
    lifetime: Duration,
}

/// How old a nonce of ours is. One that is not ours is like a stale one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NonceAge {
    /// It is young.
    Current,
    /// It is good, and another is to follow it soon.
    Ageing,
    /// It is too old, or not ours.
    Stale,
}

impl Nonces {
    /// With these secrets, each of any length, of which the first makes nonces; `None` without one.
    pub fn new<'s>(secrets: impl Iterator<Item = &'s [u8]>, lifetime: Duration) -> Option<Self> {
        let mut secrets = secrets.map(|secret| blake3::derive_key(CONTEXT, secret));
        Some(Self { secret: secrets.next()?, others: secrets.collect(), lifetime })
    }

    /// A nonce of now.
    pub fn make(&self, randomness: [u8; 32], now: Timestamp) -> String {
        let mut nonce = now.unix_nanos().to_be_bytes().to_vec();
        nonce.extend(randomness.iter().take(RANDOM_BYTES));
        let tag = blake3::keyed_hash(&self.secret, &nonce);
        nonce.extend_from_slice(tag.as_bytes());
        BASE64URL.encode(nonce)
    }

    /// How old a nonce is that was sent.
    pub fn age_of(&self, nonce: &str, now: Timestamp) -> NonceAge {
        let Some(made) = self.made(nonce).filter(|made| *made <= now.saturating_add(WORKERS_SKEW)) else {
            return NonceAge::Stale;
        };
        let age = now.saturating_since(made);
        match age {
            _ if age > self.lifetime => NonceAge::Stale,
            _ if age.saturating_mul(2) > self.lifetime => NonceAge::Ageing,
            _ => NonceAge::Current,
        }
    }

    /// When a nonce of ours was made.
    fn made(&self, nonce: &str) -> Option<Timestamp> {
        // Of the one length: nothing longer is decoded.
        if nonce.len() != NONCE_CHARACTERS {
            return None;
        }
        let nonce = BASE64URL.decode(nonce).ok()?;
        let (said, tag) = nonce.split_at_checked(nonce.len().checked_sub(blake3::OUT_LEN)?)?;
        let tag = blake3::Hash::from_bytes(tag.try_into().ok()?);
        let time: [u8; 8] = said.get(..8)?.try_into().ok()?;
        // Compared in constant time, as all of BLAKE3's hashes are.
        let is_ours =
            std::iter::once(&self.secret).chain(&self.others).any(|secret| blake3::keyed_hash(secret, said) == tag);
        is_ours.then(|| Timestamp::from_unix_nanos(u64::from_be_bytes(time)))
    }
}

/// Without the secrets.
impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// What tells a secret's use for this from every other (BLAKE3, `derive_key`).
const CONTEXT: &str = "oidc-filter 2026 DPoP nonces v1";

/// Two nonces of one nanosecond differ by this.
const RANDOM_BYTES: usize = 10;

/// Eight bytes of time, the randomness and the tag, in base64url.
const NONCE_CHARACTERS: usize = ((8 + RANDOM_BYTES + blake3::OUT_LEN) * 4).div_ceil(3);

/// All workers read one clock, but one may have read it a little earlier.
const WORKERS_SKEW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
    const LIFETIME: Duration = Duration::from_secs(300);

    fn nonces(secrets: &[&str]) -> Nonces {
        Nonces::new(secrets.iter().map(|secret| secret.as_bytes()), LIFETIME).unwrap()
    }

    fn later(seconds: u64) -> Timestamp {
        NOW.saturating_add(Duration::from_secs(seconds))
    }

    /// DPP-16.
    #[test]
    fn a_nonce_is_ours_and_young_or_nothing() {
        let ours = nonces(&["a"]);
        let nonce = ours.make([7; 32], NOW);
        assert_eq!(nonce.len(), NONCE_CHARACTERS);
        assert_eq!(ours.age_of(&nonce, NOW), NonceAge::Current);
        assert_eq!(ours.age_of(&nonce, later(150)), NonceAge::Current);
        assert_eq!(ours.age_of(&nonce, later(151)), NonceAge::Ageing);
        assert_eq!(ours.age_of(&nonce, later(300)), NonceAge::Ageing);
        assert_eq!(ours.age_of(&nonce, later(301)), NonceAge::Stale);
        // From a future that no clock of ours has seen.
        assert_eq!(ours.age_of(&ours.make([7; 32], later(5)), NOW), NonceAge::Stale);
        assert_eq!(nonces(&["b"]).age_of(&nonce, NOW), NonceAge::Stale);
        for at in 0..nonce.len() {
            let mut wrong = nonce.clone().into_bytes();
            wrong[at] = if wrong[at] == b'A' { b'B' } else { b'A' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert_eq!(ours.age_of(&wrong, NOW), NonceAge::Stale, "{at}");
        }
        let truncated = &nonce[..nonce.len() - 1];
        for wrong in ["", "a", truncated, &format!("{nonce}="), &format!("{nonce}A"), &"A".repeat(NONCE_CHARACTERS)] {
            assert_eq!(ours.age_of(wrong, NOW), NonceAge::Stale, "{wrong}");
        }
    }

    /// DPP-16.
    #[test]
    fn a_nonce_outlives_the_rotation_of_its_secret() {
        let old = nonces(&["old"]).make([1; 32], NOW);
        let rotated = nonces(&["new", "old"]);
        assert_eq!(rotated.age_of(&old, later(1)), NonceAge::Current);
        let new = rotated.make([1; 32], NOW);
        assert_eq!(nonces(&["new"]).age_of(&new, NOW), NonceAge::Current);
        assert_eq!(nonces(&["new"]).age_of(&old, NOW), NonceAge::Stale);
        // A worker that has the new configuration not yet, but is told what comes.
        assert_eq!(nonces(&["old", "new"]).age_of(&new, NOW), NonceAge::Current);
    }

    /// WSM-12.
    #[test]
    fn no_two_nonces_are_the_same() {
        let ours = nonces(&["a"]);
        let nonce = |randomness| ours.make(randomness, NOW);
        assert_ne!(nonce([1; 32]), nonce([2; 32]));
        assert_ne!(ours.make([1; 32], NOW), ours.make([1; 32], later(1)));
    }
}
