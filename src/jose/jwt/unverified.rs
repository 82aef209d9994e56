//! What a token says of itself before any proof: good for choosing whom to ask, and for refusing.

use super::Error;
use super::kind::{is_id_token, is_never_access_token, is_of_another_kind};
use super::types::numeric_date;
use crate::jose::confirmation::{Confirmation, Unreadable};
use crate::jose::jws::{CompactJws, begins_like_an_object, forgivingly_decoded};
use crate::json::{self, Value};
use crate::time::Timestamp;

/// What a JWT says of itself before any proof: good for choosing whom to ask, and for refusing.
#[derive(Clone, Eq, PartialEq)]
pub struct Unverified {
    /// Who is said to have issued it (`iss`).
    pub issuer: String,
    /// To whose key it says that it is bound (`cnf`).
    pub confirmation: Result<Option<Confirmation>, Unreadable>,
}

impl Unverified {
    /// Reads the payload. A token that doesn't name its issuer is nobody's.
    pub fn read(jws: &CompactJws<'_>) -> Result<Self, Error> {
        jws.with_unverified_claims(|claims| match claims.get("iss") {
            Some(Value::String(issuer)) => Ok(Self { issuer: issuer.clone(), confirmation: Confirmation::of(claims) }),
            _ => Err(Error::InvalidClaims("iss")),
        })
        .map_err(|_| Error::Malformed)?
    }

    /// Whether a JWT says that it is one of another kind, which no configuration makes an access token.
    pub fn is_of_another_kind(jws: &CompactJws<'_>) -> bool {
        jws.token_type().is_some_and(is_never_access_token)
            || jws.with_unverified_claims(is_of_another_kind).unwrap_or(true)
    }

    /// Whether a JWT has what only ID tokens have, or says that it is one.
    pub fn is_id_token(jws: &CompactJws<'_>) -> bool {
        jws.with_unverified_claims(is_id_token).unwrap_or(true)
    }

    /// When a JWT says that it ends (`exp`).
    pub fn expires_at(jws: &CompactJws<'_>) -> Option<Timestamp> {
        jws.with_unverified_claims(|claims| numeric_date(claims, "exp")).ok()?.ok()?
    }
}

/// What a forgiving reader would find in something that looks like a JWT but is none. Good for refusing only.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hint {
    /// Who is said to have issued it.
    pub issuer: Option<String>,
    /// Whether it says that it is bound to a key of its sender, or may say so to somebody.
    pub is_bound: bool,
    /// Whether it says that it is of a kind which no configuration makes an access token, or may say so to somebody.
    pub is_of_another_kind: bool,
    /// Whether it has what only ID tokens have, or says that it is one.
    pub is_id_token: bool,
}

impl Hint {
    /// Reads the first two parts, with whatever form they have.
    pub fn read(token: &str) -> Self {
        let mut parts = token.split('.').map(|part| forgivingly_decoded(part).unwrap_or_default());
        let header = json::parse_object(&parts.next().unwrap_or_default());
        let payload = parts.next().unwrap_or_default();
        let mut hint = match json::parse_object(&payload) {
            Ok(claims) => Self {
                issuer: claims.get("iss").and_then(Value::as_str).map(str::to_owned),
                is_bound: Confirmation::of(&claims) != Ok(None),
                is_of_another_kind: is_of_another_kind(&claims),
                is_id_token: is_id_token(&claims),
            },
            // What it says depends on the reader.
            Err(_) => Self { is_bound: begins_like_an_object(&payload), ..Self::default() },
        };
        hint.is_of_another_kind |= match header {
            Ok(header) => header.get("typ").and_then(Value::as_str).is_some_and(is_never_access_token),
            Err(_) => true,
        };
        hint
    }
}
