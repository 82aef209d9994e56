//! The part of the configuration that says which signed identities the service gets: `assertion`, at the top level and in rules.

use super::fields::Fields;
use super::output::{Transformer, header_with_scheme, is_visible_or_space};
use super::signing_keys::AssertionKeys;
use super::{Error, is_token_byte, lookups};
use crate::jose::claims::Lookup;
use crate::jose::signing::MAX_USES;
use crate::json::{Object, Value};
use std::rc::Rc;
use std::time::Duration;

/// A short JWT that the filter signs for the service, one for each token.
#[derive(Debug)]
pub struct Assertion {
    /// The header that it is written to, in lower case.
    pub header: Rc<str>,
    /// Written before it, with a space.
    pub scheme: Option<String>,
    /// `iss`.
    pub issuer: String,
    /// `aud`; never empty.
    pub audience: Vec<String>,
    /// What signs, and what is published.
    pub keys: Rc<AssertionKeys>,
    /// From `iat` to `exp`, at most.
    pub lifetime: Duration,
    /// What else is in it.
    pub claims: Vec<AssertionClaim>,
    /// Where `sub` comes from; the first that the token has counts.
    pub subject: Vec<Lookup>,
    /// Whether it says whose token it was, and where that was.
    pub origin: bool,
    /// `typ`.
    pub token_type: String,
    /// Whether who passes without a token gets one that says so.
    pub anonymous: bool,
    /// Whether it has `nbf`.
    pub not_before: bool,
}

/// One member of the payload.
#[derive(Debug)]
pub struct AssertionClaim {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub source: AssertionSource,
    /// What is done to it.
    pub shape: ClaimShape,
    /// A token without it is not enough.
    pub required: bool,
    /// What is written if the token lacks it.
    pub default: Option<Value>,
}

/// Where the value of a member comes from.
#[derive(Debug)]
pub enum AssertionSource {
    /// From the token; the first that it has counts.
    Claims(Vec<Lookup>),
    /// From the configuration.
    Value(Value),
}

/// What is done to a value before it is written.
#[derive(Debug, Default)]
pub struct ClaimShape {
    /// Of a list, only these elements.
    pub any_of: Option<Vec<String>>,
    /// Of a string, and of the strings of a list, the first that matches rewrites it.
    pub transformers: Vec<Transformer>,
    /// Written before each string.
    pub prefix: String,
}

impl Assertion {
    /// `assertion`: one or several; `None` if it isn't there. `inherited` are those of the top level, for a rule.
    pub(super) fn list(fields: &mut Fields, inherited: &[Rc<Self>]) -> Result<Option<Rc<[Rc<Self>]>>, Error> {
        if !fields.has("assertion") {
            return Ok(None);
        }
        let mut all = fields.objects("assertion", Ok)?.unwrap_or_default();
        if all.len() > MAX_USES {
            return Err(fields.error("assertion", format!("at most {MAX_USES}")));
        }
        all.iter().try_for_each(|fields| fields.allow_only(&ASSERTION_FIELDS))?;
        let keys = all.iter_mut().map(|fields| Ok(AssertionKeys::from_fields(fields)?.map(Rc::new)));
        let keys: Vec<Option<Rc<AssertionKeys>>> = keys.collect::<Result<_, Error>>()?;
        let of_another = keys.iter().flatten().next().or(inherited.first().map(|assertion| &assertion.keys));
        let whole = all.into_iter().zip(&keys).map(|(fields, own)| {
            let problem =
                "required: the private keys, of which the first signs; or those of another assertion are taken";
            let keys = own.as_ref().or(of_another).ok_or_else(|| fields.error("keys", problem))?;
            Self::from_fields(fields, Rc::clone(keys)).map(Rc::new)
        });
        whole.collect::<Result<Vec<_>, _>>().map(|all| Some(Rc::from(all)))
    }

    fn from_fields(mut fields: Fields, keys: Rc<AssertionKeys>) -> Result<Self, Error> {
        let (header, scheme) = header_with_scheme(&mut fields, DEFAULT_HEADER)?;
        let issuer = fields.required_string("issuer")?;
        if issuer.len() > MAX_ISSUER_BYTES || !issuer.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(fields.error("issuer", "must be 1 to 255 characters of printable ASCII without spaces"));
        }
        let audience = fields.strings("audience")?;
        let audience = audience.ok_or_else(|| fields.error("audience", "required: whom it is meant for"))?;
        if !(1..=MAX_AUDIENCES).contains(&audience.len()) || audience.iter().any(String::is_empty) {
            return Err(fields.error("audience", "must be 1 to 4 values, none of them empty"));
        }
        let lifetime = fields.duration("lifetime")?.unwrap_or(DEFAULT_LIFETIME);
        if !(MIN_LIFETIME..=MAX_LIFETIME).contains(&lifetime) || lifetime.subsec_nanos() != 0 {
            return Err(fields.error("lifetime", "must be from 5s to 1h, in whole seconds"));
        }
        let claims = fields.entries("claims", AssertionClaim::named, AssertionClaim::from_fields)?.unwrap_or_default();
        check_claims(&fields, &claims)?;
        let subject = lookups(&mut fields, "subject")?.unwrap_or_else(|| vec![Lookup::Claim("sub".to_owned())]);
        let token_type = fields.string("token_type")?.unwrap_or_else(|| "JWT".to_owned());
        if !is_type(&token_type) {
            let problem = "must be a media type without `application/`, such as JWT or identity+jwt, and none that says that \
                           a JWT is something else (at+jwt, logout+jwt, dpop+jwt, …)";
            return Err(fields.error("token_type", problem));
        }
        let assertion = Self {
            header,
            scheme,
            issuer,
            audience,
            keys,
            lifetime,
            claims,
            subject,
            origin: fields.boolean("origin")?.unwrap_or(true),
            token_type,
            anonymous: fields.boolean("anonymous")?.unwrap_or(false),
            not_before: fields.boolean("not_before")?.unwrap_or(false),
        };
        fields.finish()?;
        Ok(assertion)
    }
}

impl AssertionClaim {
    /// A string: the claim of this name, as it is.
    fn named(name: String, path: &str) -> Result<Self, Error> {
        let source = AssertionSource::Claims(vec![Lookup::Claim(name.clone())]);
        match is_free(&name) {
            Ok(()) => Ok(Self { name, source, shape: ClaimShape::default(), required: false, default: None }),
            Err(problem) => Err(Error::at(path, problem)),
        }
    }

    fn from_fields(mut fields: Fields) -> Result<Self, Error> {
        fields.allow_only(&CLAIM_FIELDS)?;
        let name = fields.string("name")?;
        let lookups = Lookup::list(&mut fields)?;
        let value = fields.json("value")?;
        if value.as_ref().is_some_and(|value| value.to_string().len() > MAX_FIXED_BYTES) {
            return Err(fields.error("value", "at most 1 KB"));
        }
        let of_claim = match lookups.first() {
            Some(Lookup::Claim(claim)) => Some(claim.clone()),
            Some(Lookup::Path(_)) | None => None,
        };
        let name = name.or(of_claim).ok_or_else(|| fields.error("name", "required, but with `claim`"))?;
        is_free(&name).map_err(|problem| fields.error("name", problem))?;
        let source = match (value, lookups.is_empty()) {
            (None, false) => AssertionSource::Claims(lookups),
            (Some(value), true) => AssertionSource::Value(value),
            (Some(_), false) => return Err(fields.error("value", "not beside a claim")),
            (None, true) => {
                return Err(fields.error("claim", "required: a claim's name, `path` for a nested one, or `value`"));
            }
        };
        let shape = ClaimShape {
            any_of: fields.strings("any_of")?,
            transformers: fields.objects("transformers", Transformer::from_fields)?.unwrap_or_default(),
            prefix: fields.string("prefix")?.unwrap_or_default(),
        };
        if !shape.prefix.bytes().all(is_visible_or_space) {
            return Err(fields.error("prefix", "must be printable ASCII"));
        }
        let required = fields.boolean("required")?.unwrap_or(false);
        let default = fields.json("default")?;
        if required && default.is_some() {
            return Err(fields.error("default", "not beside `required`"));
        }
        if let (AssertionSource::Value(_), Some(idle)) = (&source, idle_beside_value(&shape, required, &default)) {
            return Err(fields.error(idle, "not beside `value`, which is always the same"));
        }
        fields.finish()?;
        Ok(Self { name, source, shape, required, default })
    }
}

fn idle_beside_value(shape: &ClaimShape, required: bool, default: &Option<Value>) -> Option<&'static str> {
    [
        ("any_of", shape.any_of.is_some()),
        ("transformers", !shape.transformers.is_empty()),
        ("prefix", !shape.prefix.is_empty()),
        ("required", required),
        ("default", default.is_some()),
    ]
    .into_iter()
    .find_map(|(field, is_there)| is_there.then_some(field))
}

fn check_claims(fields: &Fields, claims: &[AssertionClaim]) -> Result<(), Error> {
    if claims.len() > MAX_CLAIMS {
        return Err(fields.error("claims", format!("at most {MAX_CLAIMS}")));
    }
    let mut names = Object::new();
    for (index, claim) in claims.iter().enumerate() {
        if names.insert(claim.name.clone(), Value::Null).is_some() {
            return Err(fields.error(&format!("claims[{index}]"), "has the name of another one"));
        }
    }
    Ok(())
}

/// Whether a member may have this name: what the filter itself says there, nobody else does.
fn is_free(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("must not be empty"),
        _ if FIXED_MEMBERS.contains(&name) => Err("is a member that the filter itself writes, or leaves out"),
        _ => Ok(()),
    }
}

/// Whether `typ` may say this. What other JWTs are told by would make one of them of an assertion (RFC 8725, section 3.11).
fn is_type(token_type: &str) -> bool {
    let lower = token_type.to_ascii_lowercase();
    let bare = lower.strip_prefix("application/").unwrap_or(&lower);
    !token_type.is_empty()
        && token_type.bytes().all(is_token_byte)
        && bare.len() == lower.len()
        && !TAKEN_TYPES.contains(&bare)
}

const ASSERTION_FIELDS: [&str; 12] = [
    "header",
    "scheme",
    "issuer",
    "audience",
    "keys",
    "lifetime",
    "claims",
    "subject",
    "origin",
    "token_type",
    "anonymous",
    "not_before",
];

const CLAIM_FIELDS: [&str; 10] =
    ["name", "claim", "path", "claims", "value", "required", "default", "any_of", "transformers", "prefix"];

/// What the filter says itself, and what would bind an assertion, or say who else is behind it, without a proof.
const FIXED_MEMBERS: [&str; 12] =
    ["iss", "aud", "sub", "iat", "exp", "nbf", "jti", "idp", "auth", "anonymous", "cnf", "act"];

/// RFC 9068, RFC 9449, RFC 8417, OpenID Connect Back-Channel Logout, RFC 9701, RFC 9101, RFC 9278 and drafts of OAuth: JWTs that
/// are told from others by their `typ`.
const TAKEN_TYPES: [&str; 12] = [
    "at+jwt",
    "client-authentication+jwt",
    "dpop+jwt",
    "entity-statement+jwt",
    "logout+jwt",
    "oauth-authz-req+jwt",
    "openid4vci-proof+jwt",
    "secevent+jwt",
    "token-introspection+jwt",
    "txntoken+jwt",
    "vc+jwt",
    "okta-internal-at+jwt",
];

const DEFAULT_HEADER: &str = "x-oidc-assertion";

/// Long enough for clocks and queues; too short to be worth stealing.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);
const MIN_LIFETIME: Duration = Duration::from_secs(5);
const MAX_LIFETIME: Duration = Duration::from_secs(3600);

const MAX_AUDIENCES: usize = 4;
const MAX_CLAIMS: usize = 64;
const MAX_ISSUER_BYTES: usize = 255;
const MAX_FIXED_BYTES: usize = 1024;
