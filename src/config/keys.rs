//! The part of the configuration that says where a provider's keys come from.

use super::Error;
use super::clusters::{Clusters, Endpoints};
use super::fields::{Fields, placed};
use crate::jose::jwk::{JwkSet, KeySetOrigin, SetError};
use std::rc::Rc;
use std::time::Duration;

/// One place that keys come from, and for how long they serve.
#[derive(Clone, Debug)]
pub struct KeySource {
    /// The key set document.
    pub uri: Endpoints,
    /// Keys from the configuration.
    pub inline: Option<Rc<JwkSet>>,
    /// Whether keys are fetched at all.
    pub remote: bool,
    /// How long fetched keys are fresh, unless the answer's Cache-Control says otherwise.
    pub cache: Duration,
    /// How long they serve beyond that while they cannot be fetched.
    pub max_stale: Duration,
    /// The shortest time between two fetches for the sake of unknown keys.
    pub cooldown: Duration,
}

impl KeySource {
    /// The issuer's own key set.
    pub(super) fn discovered() -> Self {
        Self {
            uri: Endpoints::Discovered,
            inline: None,
            remote: true,
            cache: Duration::from_secs(600),
            max_stale: Duration::from_secs(24 * 3600),
            cooldown: Duration::from_secs(30),
        }
    }

    /// Whether it is where the issuer's metadata say.
    pub fn is_discovered(&self) -> bool {
        self.remote && self.uri == Endpoints::Discovered
    }

    /// `jwks`: one source, or a list.
    pub(super) fn list(clusters: &Clusters, fields: &mut Fields) -> Result<Option<Vec<Self>>, Error> {
        let Some(sources) = fields.objects("jwks", |source| Self::from_fields(clusters, source))? else {
            return Ok(None);
        };
        let sources: Vec<Self> = sources.into_iter().flatten().collect();
        if !(1..=MAX_SOURCES).contains(&sources.len()) {
            let problem = "must hold 1 to 16 sources; leave it out for the issuer's own keys";
            return Err(fields.error("jwks", problem));
        }
        if sources.iter().filter(|source| source.is_discovered()).count() > 1 {
            return Err(fields.error("jwks", "two sources without `uri` and `inline`: both are the issuer's own keys"));
        }
        Ok(Some(sources))
    }

    /// One source; two, where secrets stand beside a place to fetch from. Those are in no document: they serve for ever.
    fn from_fields(clusters: &Clusters, mut jwks: Fields) -> Result<Vec<Self>, Error> {
        jwks.allow_only(&["inline", "uri", "cache", "max_stale", "cooldown"])?;
        let mut source = Self::discovered();
        let mut inline = match jwks.json_text("inline")? {
            None => None,
            Some(document) => {
                let set = JwkSet::parse(document.as_bytes(), KeySetOrigin::Inline).map_err(|error| {
                    jwks.error("inline", format!("is no usable JWK Set: {}", placed(useless(&error), &document)))
                });
                Some(set?)
            }
        };
        if let Some(urls) = jwks.strings("uri")? {
            source.uri = Endpoints::configured(clusters, &jwks, "uri", &urls)?;
        }
        source.remote = inline.is_none() || source.uri != Endpoints::Discovered;
        for (field, setting, least) in [
            ("cache", &mut source.cache, Duration::from_secs(1)),
            ("max_stale", &mut source.max_stale, Duration::ZERO),
            ("cooldown", &mut source.cooldown, Duration::from_secs(1)),
        ] {
            if let Some(duration) = jwks.duration(field)? {
                if duration < least {
                    return Err(jwks.error(field, "must be at least 1s"));
                }
                *setting = duration;
            }
        }
        jwks.finish()?;
        let secrets = inline.as_mut().filter(|_| source.remote).and_then(JwkSet::take_secrets);
        source.inline = inline.filter(|keys| !keys.is_empty()).map(Rc::new);
        let secrets = secrets.map(|keys| Self {
            uri: Endpoints::Discovered,
            inline: Some(Rc::new(keys)),
            remote: false,
            ..source.clone()
        });
        Ok([Some(source), secrets].into_iter().flatten().collect())
    }
}

/// Why a key set of the operator's can't be used, with what is wrong with its first keys.
fn useless(error: &SetError) -> String {
    let mut problem = error.to_string();
    if let SetError::NoUsableKey(refused) = error {
        refused.iter().take(MAX_TOLD_KEYS).for_each(|refused| problem.push_str(&format!("; {refused}")));
    }
    problem
}

/// As many as an error has room for.
const MAX_TOLD_KEYS: usize = 4;

/// Each is fetched by itself. An issuer of Azure AD B2C has one for each of its policies.
const MAX_SOURCES: usize = 16;
