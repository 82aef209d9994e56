//! How the userinfo endpoint is called: OpenID Connect Core, section 5.3.

use super::Error;
use super::clusters::{Clusters, Endpoints};
use super::fields::Fields;
use crate::jose::claims::Lookup;
use std::time::Duration;

/// How the userinfo endpoint is called.
#[derive(Debug)]
pub struct Userinfo {
    /// Where.
    pub endpoints: Endpoints,
    /// The claim that stands for `sub` where there is none.
    pub subject: Option<Lookup>,
    /// How long its answer is believed.
    pub cache: Duration,
}

impl Userinfo {
    /// What is asked where nothing is said.
    pub(super) fn standard() -> Self {
        Self { endpoints: Endpoints::Discovered, subject: None, cache: Duration::from_secs(60) }
    }

    /// The fields of `userinfo`.
    pub(super) fn read(&mut self, mut fields: Fields, clusters: &Clusters) -> Result<(), Error> {
        fields.allow_only(&["endpoint", "subject", "cache"])?;
        if let Some(urls) = fields.strings("endpoint")? {
            self.endpoints = Endpoints::configured(clusters, &fields, "endpoint", &urls)?;
        }
        self.subject = subject(&mut fields)?;
        if let Some(cache) = fields.duration("cache")? {
            self.cache = cache;
        }
        fields.finish()
    }
}

/// The claim that stands for `sub`: its name, or an object with `claim` or `path`.
fn subject(fields: &mut Fields) -> Result<Option<Lookup>, Error> {
    if !fields.is_object("subject") {
        return match fields.string("subject")? {
            Some(name) if name.is_empty() => Err(fields.error("subject", "must name a claim")),
            name => Ok(name.map(Lookup::Claim)),
        };
    }
    let Some(mut inner) = fields.object("subject")? else { return Ok(None) };
    let lookup = Lookup::from_fields(&mut inner)?;
    let lookup = lookup.ok_or_else(|| fields.error("subject", "must name a claim, by `claim` or `path`"))?;
    inner.finish()?;
    Ok(Some(lookup))
}
