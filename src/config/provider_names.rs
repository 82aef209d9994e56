//! What providers are called in rules, logs and metrics: no two entries share a name or an issuer.

use super::{Error, ProviderConfig, listed};
use crate::ordered;
use std::ops::Range;

/// The indices of a provider by its name: several for one with tenants.
pub(super) fn named(providers: &[ProviderConfig], name: &str) -> Option<Range<usize>> {
    let first = providers.iter().position(|provider| provider.name == name)?;
    let count = providers.iter().skip(first).take_while(|provider| provider.name == name).count();
    Some(first..first.saturating_add(count))
}

/// What is said where a name is that of no provider.
pub(super) fn no_provider(providers: &[ProviderConfig]) -> String {
    let known = ordered::set(providers.iter().map(|provider| provider.name.as_str()));
    format!("names no provider of `providers`; there is {}", listed(&known))
}

/// Two providers with one name could not be told apart in metrics; two with one issuer, not by their tokens.
pub(super) fn check_names(entries: &[Vec<ProviderConfig>]) -> Result<(), Error> {
    let mut issuers = ordered::Map::new_vec();
    let mut names = ordered::Map::new_vec();
    for (index, providers) in entries.iter().enumerate() {
        for provider in providers {
            if let Some(earlier) = issuers.insert(&provider.issuer, index) {
                let problem = format!("is the issuer of providers[{earlier}], too");
                return Err(Error::at(&format!("providers[{index}].issuer"), problem));
            }
        }
        // Tenants share their name, unless that is their host.
        for name in ordered::set(providers.iter().map(|provider| &provider.name)) {
            if let Some(earlier) = names.insert(name, index) {
                let problem = format!("{name} is the name of providers[{earlier}], too; set `name`");
                return Err(Error::at(&format!("providers[{index}].name"), problem));
            }
        }
    }
    Ok(())
}
