//! Which keys to try for a token. What its header says of its key is a hint (RFC 7515, section 4.1): it can narrow the choice
//! down, and never widen it.

use super::{Algorithm, Jwk, JwkSet, MAX_CANDIDATES};

/// What a token's header says of the key that signed it: of any length and content.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KeyHint<'t> {
    /// The key's name (RFC 7515, section 4.1.4).
    pub kid: Option<&'t str>,
    /// The SHA-1 of its certificate (section 4.1.7), as ADFS writes it.
    pub x5t: Option<&'t str>,
    /// The SHA-256 of its certificate (section 4.1.8).
    pub x5t_s256: Option<&'t str>,
}

impl KeyHint<'_> {
    fn is_of_certificate(&self, key: &Jwk) -> bool {
        let by_sha256 = self.x5t_s256.is_some_and(|hint| key.x5t_s256.iter().any(|name| name == hint));
        by_sha256 || self.x5t.is_some_and(|hint| key.x5t.iter().any(|name| name == hint))
    }
}

/// All keys of one provider, from one set or several.
#[derive(Debug)]
pub struct Keys<'s>(Vec<&'s JwkSet>);

/// Which of them are meant.
#[derive(Clone, Copy)]
enum Choice {
    Any,
    Certificate,
    Named,
    Nameless,
}

impl<'s> Keys<'s> {
    /// The keys of these sets together.
    pub fn of(sets: impl IntoIterator<Item = &'s JwkSet>) -> Self {
        Self(sets.into_iter().collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Whether a key has the `kid`, or where there is no `kid` the certificate, that the hint names.
    pub fn names(&self, hint: &KeyHint) -> bool {
        matches!(self.choice(hint), Choice::Named | Choice::Certificate)
    }

    /// The keys that may verify a token with this hint and algorithm, at most [`MAX_CANDIDATES`].
    pub fn candidates(&self, hint: &KeyHint, algorithm: Algorithm) -> impl Iterator<Item = &'s Jwk> {
        self.fitting(hint, algorithm).take(MAX_CANDIDATES)
    }

    /// The same without a bound.
    ///
    /// With a `kid`: the keys of that `kid` or, if there are none, those that have no `kid` at all. With a certificate's thumbprint
    /// only: the keys with that certificate. Without either, or where no key is known by its certificate: all that fit.
    pub fn fitting(&self, hint: &KeyHint, algorithm: Algorithm) -> impl Iterator<Item = &'s Jwk> {
        let choice = self.choice(hint);
        self.iter()
            .filter(move |key| match choice {
                Choice::Any => true,
                Choice::Certificate => hint.is_of_certificate(key),
                Choice::Named => key.kid() == hint.kid,
                Choice::Nameless => key.kid().is_none(),
            })
            .filter(move |key| key.permits(algorithm))
    }

    fn choice(&self, hint: &KeyHint) -> Choice {
        match hint.kid {
            Some(_) if self.iter().any(|key| key.kid() == hint.kid) => Choice::Named,
            Some(_) => Choice::Nameless,
            None if self.iter().any(|key| hint.is_of_certificate(key)) => Choice::Certificate,
            None => Choice::Any,
        }
    }

    fn iter(&self) -> impl Iterator<Item = &'s Jwk> {
        self.0.iter().flat_map(|set| set.iter())
    }
}
