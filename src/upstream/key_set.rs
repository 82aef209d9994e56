//! What a service checks assertions by: the key set of all keys that sign them (RFC 7517, section 5), and metadata that say where it
//! is (OpenID Connect Discovery, section 3).

use crate::config::Config;
use crate::http::Document;
use crate::json::{self, Object, Value};
use crate::ordered;
use std::time::Duration;

/// The documents of a configuration.
pub fn documents(config: &Config) -> Vec<(Box<[u8]>, Document)> {
    let Some(publishing) = &config.publishing else { return Vec::new() };
    let mut keys: ordered::Map<&str, &Object> = ordered::Map::new_vec();
    for assertion in config.judged_policies().flat_map(|policy| policy.assertions.iter()) {
        for key in assertion.keys.published() {
            keys.insert(key.kid.as_str(), &key.jwk);
        }
    }
    let algorithms = ordered::set(keys.values().filter_map(|jwk| jwk.get("alg")?.as_str()));
    let set = keys.values().map(|jwk| Value::Object((*jwk).clone())).collect();
    let set = json::object([("keys", Value::Array(set))]);
    let key_set = Document::new("application/jwk-set+json", Value::Object(set).to_string().into_bytes(), MAX_AGE);
    let metadata = publishing.metadata.iter().map(|place| {
        let algorithms = algorithms.iter().map(|name| Value::from(*name)).collect();
        let document = json::object([
            ("issuer", place.issuer.as_str().into()),
            ("jwks_uri", place.jwks_uri.as_str().into()),
            ("id_token_signing_alg_values_supported", Value::Array(algorithms)),
            ("response_types_supported", Value::Array(Vec::new())),
            ("subject_types_supported", Value::from(vec!["public"])),
        ]);
        let body = Value::Object(document).to_string().into_bytes();
        (place.path.clone(), Document::new("application/json", body, MAX_AGE))
    });
    std::iter::once((publishing.path.clone(), key_set)).chain(metadata).collect()
}

/// A service that keeps the set for so long misses no key that was published so long before it signed.
const MAX_AGE: Duration = Duration::from_secs(300);
