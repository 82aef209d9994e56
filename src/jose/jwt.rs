//! JSON Web Tokens: what a token claims, and whether that suits this filter at this time.
//!
//! RFC 7519 (section 4: claims), RFC 9068 (section 4: access tokens), RFC 8725 (sections 3.8 to 3.12). The answers
//! of introspection (RFC 7662) and userinfo use the same claims and pass through the same checks.
//!
//! The invariant: an [`AccessToken`] exists only if [`Claims::check`] found nothing wrong and its sender has shown what it is
//! bound to, and `Claims` exist only if a signature or the provider itself vouched for them. A claim that is present but
//! ill-typed is an error, never taken for absent.

mod kind;
mod types;
mod unverified;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::jose::claims::{ClaimMapping, VERDICTS, look_up};
use crate::jose::confirmation::{Confirmation, ProvenCertificate, ProvenKey, Unreadable};
use crate::jose::jws::VerifiedPayload;
use crate::json::{self, Object, Value};
use crate::time::Timestamp;
pub(crate) use kind::{is_called_another_kind, is_word};
use kind::{is_id_token, is_never_access_token, is_of_another_kind, is_one_of};
use types::{MAX_NUMERIC_DATE, SCOPES, audience, check_scopes, check_strings, elements, is_boolean, seconds_in_digits};
pub use types::{check_types, numeric_date};
pub use unverified::{Hint, Unverified};

/// The claims of one token, their registered members type-checked once.
///
/// Whether they suit a request changes with time and from rule to rule: [`Claims::check`] says it, each time anew.
#[derive(Clone)]
pub struct Claims {
    object: Object,
    source: Source,
    audience: Vec<String>,
    expires_at: Option<Timestamp>,
    not_before: Option<Timestamp>,
    issued_at: Option<Timestamp>,
    is_id_token: bool,
    scope_separator: char,
    /// As the token has it, whatever its claims are called afterwards.
    subject: Option<Rc<str>>,
    /// The same of what it is bound to.
    confirmation: Result<Option<Confirmation>, Unreadable>,
}

impl Claims {
    /// The claims of a JWT whose signature was proved.
    pub fn from_jwt(payload: VerifiedPayload<'_>) -> Result<Self, Error> {
        let object = payload.claims().map_err(|_| Error::Malformed)?;
        if is_of_another_kind(&object) {
            return Err(Error::WrongType);
        }
        let token_type = payload.token_type().map(str::to_owned);
        Self::new(object, Source::Jwt { token_type })
    }

    /// The claims that a provider answered with when it was asked about a token.
    ///
    /// Some servers (Janssen, Gluu, Doorkeeper) write `null` for what they have nothing to say about, and some (Google's
    /// tokeninfo, WSO2) write times as text.
    pub fn from_answer(mut object: Object) -> Result<Self, Error> {
        object.retain(|name, value| !value.is_null() || !NULLABLE.contains(&name.as_str()));
        for name in DATES {
            let Some(value) = object.get_mut(name) else { continue };
            if let Some(seconds) = value.as_str().and_then(seconds_in_digits) {
                *value = seconds.into();
            }
            // Who says that a token is active, and that it ended in 1970, means neither (some mean: never). Whoever
            // believed one of the two could be wrong.
            if name == "exp" && value.as_f64() == Some(0.0) {
                return Err(Error::InvalidClaims("exp"));
            }
        }
        Self::new(object, Source::Answer)
    }

    fn new(object: Object, source: Source) -> Result<Self, Error> {
        if !object.get("email_verified").is_none_or(|value| value.is_null() || is_boolean(value)) {
            return Err(Error::InvalidClaims("email_verified"));
        }
        check_strings(&object)?;
        check_scopes(&object)?;
        Ok(Self {
            is_id_token: is_id_token(&object),
            scope_separator: ' ',
            subject: json::text_of(&object, "sub").map(Rc::from),
            confirmation: Confirmation::of(&object),
            audience: audience(&object)?,
            expires_at: numeric_date(&object, "exp")?,
            not_before: numeric_date(&object, "nbf")?,
            issued_at: numeric_date(&object, "iat")?,
            object,
            source,
        })
    }

    /// The same where an answer of this time says in how many seconds the token ends (RFC 6749, section 5.1; LINE, Twitch, Kakao), or
    /// when it does under another name (LinkedIn), if the answer is about the token and not about a user, who ends otherwise. What is
    /// no whole number of seconds says nothing. Beside `exp`, the seconds hold where they end sooner, and the other name does not.
    pub fn ending(mut self, now: Timestamp, is_about_token: bool) -> Self {
        let seconds = |name| {
            let value = self.object.get(name)?;
            value.as_u64().or_else(|| seconds_in_digits(value.as_str()?)).map(Duration::from_secs)
        };
        let rest = seconds("expires_in").map(|rest| now.saturating_add(rest));
        let is_told_elsewhere = is_about_token && self.expires_at.is_none();
        let end = seconds("expires_at").filter(|_| is_told_elsewhere);
        let end = end.map(|end| Timestamp::default().saturating_add(end));
        let latest = Timestamp::default().saturating_add(MAX_NUMERIC_DATE);
        self.expires_at = [self.expires_at, rest, end].into_iter().flatten().filter(|end| *end <= latest).min();
        self
    }

    /// The same where a provider writes lists as one string in a way of its own: `aud` is split at the one character, and
    /// `scope` and `scp` at the other in place of the space. A list in JSON stays as it is.
    pub fn separated(mut self, audience: Option<char>, scope: Option<char>) -> Self {
        if let (Some(separator), Some(Value::String(text))) = (audience, self.object.get("aud")) {
            self.audience = elements(text, separator).map(str::to_owned).collect();
        }
        self.scope_separator = scope.unwrap_or(self.scope_separator);
        self
    }

    /// The same under the names that a mapping gives them. A name that is mapped is never the token's own claim of that
    /// name, even if the claims that it stands for are not there. The checks of the token itself don't see the difference.
    pub fn mapped(mut self, mapping: &ClaimMapping) -> Result<Self, Error> {
        if mapping.0.is_empty() {
            return Ok(self);
        }
        let original = self.object.clone();
        // The two spellings of one claim: what says where scopes are says that they aren't elsewhere.
        if mapping.0.iter().any(|(name, _)| SCOPES.contains(&name.as_str())) {
            SCOPES.iter().for_each(|name| drop(self.object.remove(*name)));
        }
        for (name, lookups) in &mapping.0 {
            match lookups.iter().find_map(|lookup| look_up(&original, lookup)) {
                Some(value) => self.object.insert(name.clone(), value.clone()),
                None => self.object.remove(name),
            };
        }
        for (about, verdict) in VERDICTS {
            let is_mapped = mapping.0.iter().any(|(name, _)| name == verdict);
            if !is_mapped && self.object.get(about) != original.get(about) {
                self.object.remove(verdict);
            }
        }
        check_scopes(&self.object)?;
        Ok(self)
    }

    /// How much memory the claims take, in bytes, rounded up.
    pub fn memory_size(&self) -> usize {
        json::memory_size(&self.object).saturating_add(self.subject.as_ref().map_or(0, |subject| subject.len()))
    }

    /// All the claims, as they were made.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// Who issued the token (`iss`).
    pub fn issuer(&self) -> Option<&str> {
        self.object.get("iss").and_then(Value::as_str)
    }

    /// Whom its provider takes the token to be about (`sub`), whatever a mapping puts under that name.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Whether the token says whom it is for, and be it nobody.
    pub fn has_audience(&self) -> bool {
        self.object.contains_key("aud")
    }

    /// Whom the token is for (`aud`); empty if it does not say.
    pub fn audience(&self) -> &[String] {
        &self.audience
    }

    /// When the token ends (`exp`).
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// When the user was authenticated (`auth_time`; RFC 9470, section 6); `None` if the token doesn't tell, or not as it should.
    pub fn authenticated_at(&self) -> Option<Timestamp> {
        numeric_date(&self.object, "auth_time").ok().flatten()
    }

    /// To whose key the token is bound (`cnf`, RFC 7800); an error if it says what can't be checked.
    pub fn confirmation(&self) -> Result<Option<Confirmation>, Unreadable> {
        self.confirmation
    }

    /// The scopes of the token: those of `scope` (RFC 8693, section 4.2) and of `scp`, its older spelling.
    ///
    /// RFC 6749 (section 3.3) separates them by one space; a run of these is taken for one, as some providers join lists with
    /// empty elements. No other white space separates. Some providers (Duende, WSO2) write a list of strings.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        let values = SCOPES.iter().filter_map(|name| self.object.get(*name));
        values.flat_map(|value| {
            let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
            let text = elements(value.as_str().unwrap_or_default(), self.scope_separator);
            list.iter().filter_map(Value::as_str).chain(text)
        })
    }

    /// All the checks that depend on the time, and on what this filter expects, but for whose the token is.
    pub fn check(self: &Rc<Self>, expected: &Expected<'_>, now: Timestamp) -> Result<CheckedClaims, Error> {
        self.check_type(expected.token_types)?;
        if expected.refuse_id_tokens && self.is_id_token {
            return Err(Error::WrongType);
        }
        self.check_issuer(expected.issuer)?;
        let confirmation = self.confirmation.map_err(|Unreadable| Error::NotBound)?;
        self.check_audience(expected.audiences)?;
        self.check_time(expected, now)?;
        Ok(CheckedClaims { claims: Rc::clone(self), confirmation })
    }

    /// Only a JWT has a type. It must be one of a list, as tomorrow's kinds of JWT cannot be listed (RFC 8725,
    /// sections 3.11 and 3.12).
    fn check_type(&self, expected: &[String]) -> Result<(), Error> {
        let Source::Jwt { token_type } = &self.source else {
            return Ok(());
        };
        let is_right = match token_type {
            None => expected.is_empty(),
            Some(token_type) if expected.is_empty() => is_one_of(token_type, ACCESS_TOKENS),
            Some(token_type) => is_one_of(token_type, expected) && !is_never_access_token(token_type),
        };
        if is_right { Ok(()) } else { Err(Error::WrongType) }
    }

    fn check_issuer(&self, expected: Issuer<'_>) -> Result<(), Error> {
        // Byte for byte: no normalisation, no trailing slash forgiven (RFC 9068, section 4).
        let is_right = match (expected, self.issuer()) {
            (Issuer::Exactly(expected) | Issuer::IfPresent(expected), Some(issuer)) => issuer == expected,
            (Issuer::Exactly(_), None) => false,
            (Issuer::IfPresent(_), None) => true,
        };
        if is_right { Ok(()) } else { Err(Error::WrongIssuer) }
    }

    fn check_audience(&self, expected: &Audiences) -> Result<(), Error> {
        let is_right = match expected {
            Audiences::Any => true,
            Audiences::AnyOf(expected) => self.audience.iter().any(|one| expected.contains(one)),
        };
        if is_right { Ok(()) } else { Err(Error::WrongAudience) }
    }

    fn check_time(&self, expected: &Expected<'_>, now: Timestamp) -> Result<(), Error> {
        let skew = expected.clock_skew;
        match self.expires_at {
            Some(expires_at) if now >= expires_at.saturating_add(skew) => {
                return Err(Error::Expired);
            }
            None if expected.require_expiration => return Err(Error::InvalidClaims("exp")),
            _ => {}
        }
        let latest_start = now.saturating_add(skew);
        if self.not_before.is_some_and(|not_before| not_before > latest_start)
            || self.issued_at.is_some_and(|issued_at| issued_at > latest_start)
        {
            return Err(Error::NotYetValid);
        }
        if let Some(max_lifetime) = expected.max_lifetime {
            let expires_at = self.expires_at.ok_or(Error::InvalidClaims("exp"))?;
            let issued_at = self.issued_at.ok_or(Error::InvalidClaims("iat"))?;
            if expires_at.saturating_since(issued_at) > max_lifetime {
                return Err(Error::InvalidClaims("exp"));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Claims {
    /// Claims are personal data: they are not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").finish_non_exhaustive()
    }
}

/// Claims that passed every check at one point in time, but for one: whether whoever sent the token is the one that it is
/// bound to. Only [`Claims::check`] makes one.
#[derive(Clone, Debug)]
pub struct CheckedClaims {
    claims: Rc<Claims>,
    confirmation: Option<Confirmation>,
}

impl CheckedClaims {
    /// What the token says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// To whose key the token is bound.
    pub fn confirmation(&self) -> Option<Confirmation> {
        self.confirmation
    }

    /// The same where the token itself says this of its binding, and its provider has answered what it says of it. One of the two
    /// may be silent; if they differ, one of them is not about this token.
    pub fn and_bound_to(self, claimed: Option<Confirmation>) -> Result<Self, Error> {
        match (claimed, self.confirmation) {
            (Some(claimed), Some(told)) if claimed != told => Err(Error::NotBound),
            (claimed, told) => Ok(Self { confirmation: told.or(claimed), ..self }),
        }
    }

    /// The token of a sender who has shown this key and this certificate. There is no other way to an [`AccessToken`]: a bound
    /// token without its proof is a stolen one (RFC 9449, section 7.2; RFC 8705, section 3).
    pub fn shown_with(
        self,
        key: Option<&dyn ProvenKey>,
        certificate: Option<&dyn ProvenCertificate>,
    ) -> Result<AccessToken, Error> {
        let (wanted_key, wanted_certificate) =
            self.confirmation.map_or((None, None), |bound| (bound.key(), bound.certificate()));
        let has_key = wanted_key.is_none_or(|wanted| key.is_some_and(|key| key.thumbprint() == wanted));
        let has_certificate = wanted_certificate
            .is_none_or(|wanted| certificate.is_some_and(|certificate| certificate.thumbprint() == wanted));
        if has_key && has_certificate { Ok(AccessToken { claims: self.claims }) } else { Err(Error::NotBound) }
    }
}

/// Claims that passed every check at one point in time. Only [`CheckedClaims::shown_with`] makes one.
#[derive(Clone, Debug)]
pub struct AccessToken {
    claims: Rc<Claims>,
}

impl AccessToken {
    /// What the token says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The same token with these claims in the place of its own. What it was judged by stays as it was.
    pub fn enriched(self, object: Object) -> Self {
        Self { claims: Rc::new(Claims { object, ..(*self.claims).clone() }) }
    }
}

/// What a token must be like to be accepted.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Who must have issued it.
    pub issuer: Issuer<'a>,
    /// Whom it must be for.
    pub audiences: &'a Audiences,
    /// The types that a JWT may have, each a media type with or without `application/`. Empty: `at+jwt` or `JWT`,
    /// or no type at all.
    pub token_types: &'a [String],
    /// Whether a token is refused that has what only ID tokens have, or says that it is one.
    pub refuse_id_tokens: bool,
    /// How much the issuer's clock may differ from ours, either way.
    pub clock_skew: Duration,
    /// Whether a token without `exp` is refused.
    pub require_expiration: bool,
    /// The longest time from `iat` to `exp`, both of which are then required.
    pub max_lifetime: Option<Duration>,
}

/// Who must have issued a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Issuer<'a> {
    /// For a JWT: `iss` must be there, and be this.
    Exactly(&'a str),
    /// For an answer that came from this issuer itself: `iss` may be left out.
    IfPresent(&'a str),
}

/// Whom a token must be for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Audiences {
    /// For anyone: `aud` is not looked at.
    Any,
    /// One of these must be in `aud`, byte for byte. An empty list accepts nothing.
    AnyOf(Vec<String>),
}

/// Why a token was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Error {
    /// `exp` is over.
    Expired,
    /// A registered claim, named here, is missing, ill-typed or out of its bounds.
    InvalidClaims(&'static str),
    /// The payload is not a strict JSON object.
    Malformed,
    /// The token is bound to its sender's key, and nothing proved that key.
    NotBound,
    /// `nbf` or `iat` lies in the future.
    NotYetValid,
    /// No expected audience is in `aud`.
    WrongAudience,
    /// `iss` is not the expected issuer.
    WrongIssuer,
    /// `typ` is not that of an access token.
    WrongType,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("the token is expired"),
            Self::InvalidClaims(name) => write!(f, "the claim {name} is missing or invalid"),
            Self::Malformed => f.write_str("the token does not hold a JSON object"),
            Self::NotBound => f.write_str("the token is bound to a key that was not proved"),
            Self::NotYetValid => f.write_str("the token is not valid yet"),
            Self::WrongAudience => f.write_str("the token is for another audience"),
            Self::WrongIssuer => f.write_str("the token is from another issuer"),
            Self::WrongType => f.write_str("the token is not an access token"),
        }
    }
}

impl std::error::Error for Error {}

/// Who vouched for the claims.
#[derive(Clone)]
enum Source {
    /// The provider, when it was asked. There is no header, and so no type.
    Answer,
    /// A signature.
    Jwt { token_type: Option<String> },
}

/// The types of access tokens where none is configured: RFC 9068's, the one that most providers use, and Okta's.
const ACCESS_TOKENS: &[&str] = &["at+jwt", "JWT", "okta-internal-at+jwt"];

/// What an answer may say nothing about by `null`.
const NULLABLE: &[&str] = &["aud", "azp", "client_id", "cnf", "exp", "iat", "iss", "jti", "nbf", "scope", "scp", "sub"];

/// Claims that are times (RFC 7519, section 4.1; RFC 9470, section 6.2).
const DATES: [&str; 4] = ["auth_time", "exp", "iat", "nbf"];
