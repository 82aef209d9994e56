//! What the claims of one provider are called here.

use super::Error;
use super::fields::Fields;
use crate::jose::claims::{ClaimMapping, Lookup};

impl ClaimMapping {
    /// The member `claim_mapping`.
    pub(super) fn from_fields(fields: &mut Fields) -> Result<Self, Error> {
        let mapping = fields.each_member("claim_mapping", |name, value, mut inner| {
            if FIXED_CLAIMS.contains(&name) {
                return Err(inner.error("", "is a claim by which the token itself is judged; it can't be mapped"));
            }
            inner.allow_only(&["claim", "path", "claims"])?;
            let lookups = match value {
                Some(claim) => vec![Lookup::Claim(claim)],
                None => Lookup::list(&mut inner)?,
            };
            if lookups.is_empty() || lookups.contains(&Lookup::Claim(String::new())) {
                return Err(inner.error("", "must name a claim, by its name, or by `claim`, `path` or `claims`"));
            }
            inner.finish()?;
            Ok((name.to_owned(), lookups))
        })?;
        Ok(Self(mapping))
    }
}

/// What decides about the token itself: a mapping would make one claim pass for another there.
const FIXED_CLAIMS: [&str; 9] = ["iss", "aud", "exp", "nbf", "iat", "jti", "cnf", "x5t#S256", "active"];
