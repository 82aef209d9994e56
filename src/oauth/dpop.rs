//! DPoP: proofs that whoever sends a token has the key that it is bound to. RFC 9449, the resource server's side.
//!
//! The invariant: a [`Proof`] exists only if everything in section 4.3 holds for the request and the token at hand, but for
//! what needs a memory or a secret: whether it was seen before ([`replay`]), and whose nonce it has ([`nonce`]).

pub mod nonce;
pub mod replay;

use crate::config::Dpop;
use crate::http::uri::Uri;
use crate::http::{Headers, Request};
use crate::jose::confirmation::ProvenKey;
use crate::jose::jwk::{PublicJwk, Thumbprint};
use crate::jose::jws::CompactJws;
use crate::jose::jwt::{check_types, numeric_date};
use crate::jose::verifier::Verifier;
use crate::json::{Object, Value, text_of};
use crate::time::Timestamp;
use replay::ProofId;
use std::fmt;
use std::time::Duration;

/// A proof that fits its request and its token.
#[derive(Clone, Debug)]
pub struct Proof {
    key: Thumbprint,
    id: ProofId,
    issued_at: Timestamp,
    ends: Timestamp,
    nonce: Option<String>,
}

impl ProvenKey for Proof {
    fn thumbprint(&self) -> Thumbprint {
        self.key
    }
}

/// What a proof is held against.
#[derive(Clone, Copy)]
pub struct Expected<'e> {
    /// The request that it came with.
    pub request: &'e Request,
    /// The token that it came with, as it was sent.
    pub token: &'e str,
    /// The key that the token is bound to.
    pub key: Thumbprint,
    /// What the operator wants.
    pub settings: &'e Dpop,
}

impl Proof {
    /// Checks the one proof of a request: section 4.3, in the order of what it costs. The signature is looked at last, and only
    /// where it would be that of the token's own key.
    pub fn check(expected: &Expected<'_>, verifier: &Verifier, now: Timestamp) -> Result<Self, Error> {
        let Expected { request, key, settings, .. } = *expected;
        let text = sent(&request.headers)?;
        let jws = CompactJws::parse(text).map_err(|_| Error::Malformed)?;
        // The only spelling that section 4.2 has.
        if jws.token_type() != Some(TYPE) {
            return Err(Error::Type);
        }
        if jws.algorithm().is_symmetric() || !settings.algorithms.contains(&jws.algorithm()) {
            return Err(Error::Algorithm);
        }
        let own = jws.own_key().and_then(|jwk| PublicJwk::parse(jwk).ok()).ok_or(Error::Key)?;
        if own.thumbprint() != key {
            return Err(Error::OtherKey);
        }
        let proof = jws
            .with_unverified_claims(|claims| Self::check_claims(claims, expected, own.thumbprint(), now))
            .map_err(|_| Error::Malformed)??;
        jws.verify(std::iter::once(own.key()), verifier).map_err(|_| Error::Signature)?;
        Ok(proof)
    }

    fn check_claims(claims: &Object, expected: &Expected<'_>, key: Thumbprint, now: Timestamp) -> Result<Self, Error> {
        let Expected { request, token, settings, .. } = *expected;
        check_types(claims).map_err(|_| Error::Claims)?;
        let jti = text_of(claims, "jti").filter(|jti| (1..=MAX_ID_BYTES).contains(&jti.len())).ok_or(Error::Id)?;
        // Methods are case-sensitive (RFC 9110, section 9.1).
        if text_of(claims, "htm").is_none_or(|method| request.method() != Some(method.as_bytes())) {
            return Err(Error::Method);
        }
        let named = text_of(claims, "htu").and_then(Uri::parse).ok_or(Error::Uri)?;
        if !is_target(&named, request, settings) {
            return Err(Error::Uri);
        }
        let (issued_at, ends) = lifetime(claims, settings, now).ok_or(Error::Time)?;
        if text_of(claims, "ath") != Some(&*Thumbprint::of(token.as_bytes()).to_string()) {
            return Err(Error::Token);
        }
        let nonce = match claims.get("nonce") {
            None => None,
            Some(Value::String(nonce)) => Some(nonce.clone()),
            Some(_) => return Err(Error::Nonce),
        };
        Ok(Self { key, id: ProofId::of(key, jti), issued_at, ends, nonce })
    }

    /// What it is known by, for a memory of those that were seen.
    pub fn id(&self) -> ProofId {
        self.id
    }

    /// The same at a later time: it may have grown too old while its request waited.
    pub fn still_good(self, now: Timestamp) -> Result<Self, Error> {
        if now <= self.ends { Ok(self) } else { Err(Error::Time) }
    }

    /// When its client says that it was made.
    pub fn issued_at(&self) -> Timestamp {
        self.issued_at
    }

    /// The nonce that it has, if it has one.
    pub fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }
}

/// Whether this is the resource that the client has asked for: the path that was sent, under an origin by which the operator says
/// that clients know it. No header that a client can write chooses it, but for `Host` among several origins that are listed.
fn is_target(named: &Uri, request: &Request, settings: &Dpop) -> bool {
    // A CONNECT request has no path, and what it names is a host behind us (RFC 9110, section 9.3.6).
    if request.method() == Some(b"CONNECT") {
        return false;
    }
    let Some(path) = request.path().and_then(|path| path.split(|byte| matches!(byte, b'?' | b'#')).next()) else {
        return false;
    };
    let mut candidates = settings.origins.iter().filter(|origin| *origin == named.origin());
    candidates.any(|origin| {
        // Of several origins, the request says which is meant. One host may be known under two schemes.
        let is_here =
            settings.origins.len() == 1 || request.authority().is_some_and(|authority| origin.is_named_by(authority));
        is_here && origin.with_path(path).as_ref() == Some(named)
    })
}

/// When a proof began and when it ends: section 11.1, by `iat`, and by `exp` and `nbf` where somebody has written these, too.
fn lifetime(claims: &Object, settings: &Dpop, now: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let date = |name| numeric_date(claims, name).ok();
    let issued_at = date("iat")??;
    let latest = now.saturating_add(settings.clock_skew);
    // At `exp` itself, it is over (RFC 7519, section 4.1.4).
    let expires =
        date("exp")?.map(|end| end.saturating_add(settings.clock_skew).saturating_sub(Duration::from_nanos(1)));
    let ends = issued_at.saturating_add(settings.window());
    let ends = expires.map_or(ends, |expires| expires.min(ends));
    let is_in_time = issued_at <= latest && now <= ends && date("nbf")?.is_none_or(|not_before| not_before <= latest);
    is_in_time.then_some((issued_at, ends))
}

/// The one proof of a request (section 4.3, item 1). Of two, a service behind might believe the other.
fn sent(headers: &Headers) -> Result<&str, Error> {
    let mut proofs = headers.all(HEADER);
    let proof = proofs.next().ok_or(Error::Missing)?;
    if proofs.next().is_some() {
        return Err(Error::Several);
    }
    if proof.len() > MAX_PROOF_BYTES {
        return Err(Error::Malformed);
    }
    // Two that some proxy has joined have a comma, which no JWS has.
    std::str::from_utf8(proof).map_err(|_| Error::Malformed)
}

/// What is wrong with a proof: which item of section 4.3.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Error {
    /// There is none.
    Missing,
    /// There are two.
    Several,
    /// What is there is no JWS that can be read, or is too long.
    Malformed,
    /// `typ`.
    Type,
    /// `alg`.
    Algorithm,
    /// `jwk`.
    Key,
    /// `jwk` is not the key that the token is bound to.
    OtherKey,
    /// The signature.
    Signature,
    /// `htm`.
    Method,
    /// `htu`.
    Uri,
    /// `iat`, `exp` or `nbf`.
    Time,
    /// `ath`.
    Token,
    /// `jti`.
    Id,
    /// `nonce` is no text.
    Nonce,
    /// A claim that is not asked for here, and has not the type that RFC 7519 gives it.
    Claims,
}

impl Error {
    /// What the log says of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "there is no header DPoP",
            Self::Several => "there are two headers DPoP",
            Self::Malformed => "it is no JWS in compact form, or too long",
            Self::Type => "typ is not dpop+jwt",
            Self::Algorithm => "alg is not one of `dpop.algorithms`",
            Self::Key => "jwk is no public key in the spelling of RFC 7518, or not the only one",
            Self::OtherKey => "jwk is not the key of the token (cnf.jkt)",
            Self::Signature => "the signature is not that of jwk",
            Self::Method => "htm is not the method of the request",
            Self::Uri => "htu is not an origin of `dpop.origins` with the path of the request",
            Self::Time => "iat is not within `dpop.proof_lifetime` and `dpop.clock_skew`",
            Self::Token => "ath is not the hash of the token",
            Self::Id => "jti is missing, no text, or too long",
            Self::Nonce => "nonce is no text",
            Self::Claims => "a claim of RFC 7519 (iss, sub, aud, jti) has another type than it has there",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Error {}

/// Where proofs are (section 4.1).
pub const HEADER: &str = "dpop";

/// Where nonces are offered (section 8.1).
pub const NONCE_HEADER: &str = "dpop-nonce";

const TYPE: &str = "dpop+jwt";

/// With a key of RSA 8192, its signature and a long target, a proof has 5 KiB.
const MAX_PROOF_BYTES: usize = 8 * 1024;

/// A UUID has 36. Section 11.1 says to refuse what is needlessly long.
const MAX_ID_BYTES: usize = 256;
