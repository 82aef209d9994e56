//! The part of the configuration that says who knows more about the subject of a token than the token: `enrich`.

use super::clusters::own_endpoint;
use super::fields::Fields;
use super::{DEFAULT_TIMEOUT, Error, timeout};
use crate::http::Endpoint;
use crate::jose::claims::Lookup;
use std::rc::Rc;
use std::time::Duration;

/// Somebody who is asked about the subject of a valid token, and what of the answer stands beside the token's claims.
#[derive(Debug)]
pub struct Enrichment {
    /// Who is asked.
    pub source: EnrichmentSource,
    /// The claims that come from there and from nowhere else, and where each is in the answer; `None` for all that the answer has.
    pub claims: Option<Vec<(String, Vec<Lookup>)>>,
    /// How long an answer is believed.
    pub cache: Duration,
    /// Without an answer, the request goes on without these claims.
    pub optional: bool,
}

/// Who is asked.
#[derive(Debug)]
pub enum EnrichmentSource {
    /// A service of the operator's, about issuer and subject.
    Service(Rc<EnrichmentService>),
    /// The userinfo endpoint of the token's own provider.
    Userinfo,
}

/// A service of the operator's that knows subjects.
#[derive(Debug)]
pub struct EnrichmentService {
    /// Where it is.
    pub endpoint: Endpoint,
    /// When the call is given up.
    pub timeout: Duration,
}

impl Enrichment {
    /// Whether a claim of this name may come from there.
    pub(super) fn brings(&self, name: &str) -> bool {
        match &self.claims {
            Some(claims) => claims.iter().any(|(claim, _)| claim == name),
            None => Self::may_bring(name),
        }
    }

    /// `enrich`: one or several; `None` if it isn't there.
    pub(super) fn list(fields: &mut Fields) -> Result<Option<Rc<[Rc<Self>]>>, Error> {
        let Some(list) = fields.entries("enrich", Self::named, Self::from_fields)? else { return Ok(None) };
        if list.len() > MAX_SOURCES {
            return Err(fields.error("enrich", format!("at most {MAX_SOURCES}")));
        }
        let mut names: Vec<&str> = Vec::new();
        for (index, enrichment) in list.iter().enumerate() {
            for (name, _) in enrichment.claims.iter().flatten() {
                if names.contains(&name.as_str()) {
                    let problem = "is a claim that two sources are asked for; each comes from one";
                    return Err(fields.error(&format!("enrich[{index}].claims"), problem));
                }
                names.push(name);
            }
        }
        Ok(Some(list.into_iter().map(Rc::new).collect()))
    }

    /// `userinfo`: all that the token's provider says of its subject.
    fn named(name: String, path: &str) -> Result<Self, Error> {
        match name.as_str() {
            "userinfo" => {
                Ok(Self { source: EnrichmentSource::Userinfo, claims: None, cache: DEFAULT_CACHE, optional: false })
            }
            _ => Err(Error::at(path, "expected userinfo, or an object with the `uri` of a service")),
        }
    }

    fn from_fields(mut fields: Fields) -> Result<Self, Error> {
        fields.allow_only(&["source", "uri", "cluster", "timeout", "cache", "claims", "optional"])?;
        let source = match (fields.string("source")?.as_deref(), fields.string("uri")?) {
            (Some("userinfo"), None) => {
                if let Some(idle) = ["cluster", "timeout"].iter().find(|field| fields.has(field)) {
                    return Err(fields.error(idle, "is the provider's own where userinfo is asked"));
                }
                EnrichmentSource::Userinfo
            }
            (None, Some(uri)) => {
                let endpoint = own_endpoint(&mut fields, "uri", &uri)?;
                let timeout = timeout(&mut fields)?.unwrap_or(DEFAULT_TIMEOUT);
                EnrichmentSource::Service(Rc::new(EnrichmentService { endpoint, timeout }))
            }
            (Some(_), Some(_)) => return Err(fields.error("source", "not beside `uri`")),
            (Some(_), None) => return Err(fields.error("source", "expected userinfo")),
            (None, None) => {
                return Err(fields.error("uri", "required: the service that is asked, or `source: userinfo`"));
            }
        };
        let cache = fields.duration("cache")?.unwrap_or(DEFAULT_CACHE);
        let claims = fields.entries("claims", claim_of_name, claim_of_fields)?;
        match (&claims, &source) {
            (None, EnrichmentSource::Service(_)) => {
                return Err(fields.error("claims", "required: which claims are taken of the answer"));
            }
            (Some(claims), _) if claims.is_empty() || claims.len() > MAX_CLAIMS => {
                return Err(fields.error("claims", "must be 1 to 64 claims"));
            }
            _ => {}
        }
        let optional = fields.boolean("optional")?.unwrap_or(false);
        fields.finish()?;
        Ok(Self { source, claims, cache, optional })
    }

    /// Whether a claim of this name may come from an answer: what the token itself is judged by, may not.
    pub fn may_bring(name: &str) -> bool {
        !name.is_empty() && !FIXED_CLAIMS.contains(&name)
    }
}

fn claim_of_name(name: String, path: &str) -> Result<(String, Vec<Lookup>), Error> {
    if Enrichment::may_bring(&name) {
        Ok((name.clone(), vec![Lookup::Claim(name)]))
    } else {
        Err(Error::at(path, FIXED))
    }
}

fn claim_of_fields(mut fields: Fields) -> Result<(String, Vec<Lookup>), Error> {
    fields.allow_only(&["name", "claim", "path", "claims"])?;
    let name = fields.required_string("name")?;
    if !Enrichment::may_bring(&name) {
        return Err(fields.error("name", FIXED));
    }
    let lookups = Lookup::list(&mut fields)?;
    if lookups.is_empty() {
        return Err(fields.error("claim", "required: where it is in the answer, by `claim`, `path` or `claims`"));
    }
    fields.finish()?;
    Ok((name, lookups))
}

const FIXED: &str = "is a claim by which the token itself is judged; no answer can bring it";

/// What says whose a token is, for whom, how long, what for, and how its subject logged in.
const FIXED_CLAIMS: [&str; 23] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "cnf",
    "x5t#S256",
    "act",
    "active",
    "scope",
    "scp",
    "client_id",
    "azp",
    "typ",
    "token_type",
    "token_use",
    "acr",
    "amr",
    "auth_time",
    "may_act",
    "authorization_details",
];

/// Each is a call that a request waits for, one after the other.
const MAX_SOURCES: usize = 4;
const MAX_CLAIMS: usize = 64;
const DEFAULT_CACHE: Duration = Duration::from_secs(60);
