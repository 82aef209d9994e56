//! The keys of one source: a document with a log of its own.

use super::call::{FetchError, document, unusable};
use super::document::KeptDocument;
use crate::config::KeySource;
use crate::http::Response;
use crate::jose::jwk::{JwkSet, KeyError, KeySetOrigin, SetError, Unusable};
use crate::time::Timestamp;
use std::rc::Rc;
use std::time::Duration;

/// What is known of one of a provider's sources of keys.
#[derive(Debug)]
pub(super) struct SourceKeys {
    pub(super) keys: KeptDocument<Rc<JwkSet>>,
    /// The keys that were told of last as not used.
    refused: Vec<Unusable>,
    /// The key that was told of last as in a certificate that has ended.
    ended_certificate: Option<(String, Option<Timestamp>)>,
}

impl SourceKeys {
    pub(super) fn new(config: &KeySource) -> Self {
        let keys = KeptDocument::starting_with(config.inline.clone());
        Self { keys, refused: Vec::new(), ended_certificate: None }
    }

    /// Takes in a key set. One that holds no usable key is an error: the keys at hand stay.
    pub(super) fn take(
        &mut self,
        name: &str,
        config: &KeySource,
        max_stale: Duration,
        response: Option<&Response>,
        now: Timestamp,
    ) -> Result<(), FetchError> {
        let body = document(response)?;
        let keys = JwkSet::parse(body, KeySetOrigin::Remote).map_err(|error| {
            if let SetError::NoUsableKey(refused) = &error {
                self.tell_refused(name, refused, log::Level::Warn);
            }
            FetchError::Unusable(match error {
                SetError::Json(_) => unusable("the key set can't be read", response),
                error => error.to_string(),
            })
        })?;
        self.tell_refused(name, keys.refused(), log::Level::Debug);
        self.tell_certificates(name, &keys, now);
        let lifetime = lifetime(config, response.and_then(Response::max_age));
        self.keys.renew(Rc::new(keys), lifetime, max_stale, now);
        Ok(())
    }

    /// Says which keys of a set are not used, and why: once, until that changes. Among good ones, those for encryption or of
    /// another kind are nothing to mend, and are told at `level` only.
    fn tell_refused(&mut self, name: &str, refused: &[Unusable], level: log::Level) {
        if self.refused == refused {
            return;
        }
        for refused in refused.iter().take(MAX_LOGGED_KEYS) {
            let is_ordinary = matches!(
                refused.error,
                KeyError::NotForVerifying | KeyError::UnsupportedAlgorithm | KeyError::UnsupportedType
            );
            log::log!(if is_ordinary { level } else { log::Level::Warn }, "{name}: {refused}");
        }
        let left = refused.len().saturating_sub(MAX_LOGGED_KEYS);
        if left > 0 {
            log::log!(level, "{name}: and {left} more keys of the set are not used");
        }
        self.refused = refused.to_vec();
    }

    /// Says that a key comes in a certificate that has ended, which is no reason not to use it: once, until that changes.
    fn tell_certificates(&mut self, name: &str, keys: &JwkSet, now: Timestamp) {
        let ended = keys.iter().find(|key| key.certificate_end().is_some_and(|end| end < now));
        let ended = ended.map(|key| {
            let shown = key.kid().unwrap_or_default().chars().take(MAX_SHOWN_CHARACTERS);
            (shown.collect::<String>(), key.certificate_end())
        });
        if let Some((kid, Some(end))) = &ended
            && self.ended_certificate != ended
        {
            let end = end.to_rfc3339();
            log::warn!("{name}: the certificate of the key {kid:?} ended at {end}; the key is used all the same");
        }
        self.ended_certificate = ended;
    }
}

/// Cache-Control may shorten the configured time down to the cooldown, or lengthen it to an hour.
fn lifetime(config: &KeySource, max_age: Option<Duration>) -> Duration {
    let least = config.cooldown.min(config.cache);
    let most = config.cache.max(MAX_KEYS_LIFETIME);
    max_age.unwrap_or(config.cache).max(least).min(most)
}

/// A key that was withdrawn must not be believed for longer because a CDN says so.
const MAX_KEYS_LIFETIME: Duration = Duration::from_secs(3600);

/// A provider with hundreds of foreign keys should not fill the log.
const MAX_LOGGED_KEYS: usize = 16;

/// As much of a `kid` as a line of the log has room for.
const MAX_SHOWN_CHARACTERS: usize = 64;
