//! How the filter is, for metrics and for whoever reads the log.

use super::Filter;
use crate::config::listed;
use crate::ordered;
use crate::provider::CallKind;
use crate::time::Timestamp;
use std::rc::Rc;
use std::time::Duration;

impl Filter {
    /// Each provider's name with the number of its keys, all tenants together, and the age of the oldest.
    pub fn key_facts(&self, now: Timestamp) -> ordered::Map<&str, (usize, Duration)> {
        let mut facts: ordered::Map<&str, (usize, Duration)> = ordered::Map::new_vec();
        for provider in self.facts.providers() {
            let Some((count, fetched)) = provider.key_facts() else { continue };
            let age = fetched.map(|fetched| now.saturating_since(fetched)).unwrap_or_default();
            let (keys, oldest) = facts.entry(&provider.label).or_default();
            *keys = keys.saturating_add(count);
            *oldest = age.max(*oldest);
        }
        facts
    }

    /// Who vouches for tokens here, by which keys, and under which rules: once all keys are there that are fetched without
    /// a token.
    pub fn summary(&self, now: Timestamp) -> Option<String> {
        self.facts.providers().all(|provider| provider.awaits_no_keys(now)).then(|| {
            let keys = self.key_facts(now);
            let mut providers: Vec<String> = Vec::new();
            for provider in self.facts.providers() {
                let said = match keys.get(&*provider.label) {
                    Some((1, _)) => format!("{} (1 key)", provider.label),
                    Some((count, _)) => format!("{} ({count} keys)", provider.label),
                    None => format!("{} (no keys)", provider.label),
                };
                // Tenants have one name.
                if providers.last() != Some(&said) {
                    providers.push(said);
                }
            }
            let rules = self.config.rules.iter().enumerate().map(|(index, rule)| match &rule.name {
                Some(name) => name.escape_default().to_string(),
                None => format!("rules[{index}]"),
            });
            let rules: Vec<String> = rules.collect();
            let (count, providers) = (providers.len(), listed(&providers));
            let rules = if rules.is_empty() {
                "no rules".to_owned()
            } else {
                format!("rules, {}: {}", rules.len(), listed(&rules))
            };
            format!("providers, {count}: {providers}; {rules}{}", self.signers())
        })
    }

    /// By which keys assertions are signed.
    fn signers(&self) -> String {
        let assertions = self.config.policies().flat_map(|policy| policy.assertions.iter());
        let signers = assertions.map(|assertion| {
            let key = &assertion.keys.signing;
            format!("{} ({})", key.kid().unwrap_or("a shared secret").escape_default(), key.algorithm().name())
        });
        let signers = ordered::set(signers);
        if signers.is_empty() { String::new() } else { format!("; assertions signed by {}", listed(&signers)) }
    }

    /// The names of all providers, in order.
    pub fn provider_names(&self) -> Vec<Rc<str>> {
        ordered::set(self.facts.providers().map(|provider| Rc::clone(&provider.label)))
    }

    /// Of each endpoint that is one of several: its provider's name, the kind of call, its place in the list, and whether it
    /// is in use.
    pub fn endpoint_facts(&self) -> impl Iterator<Item = (&str, CallKind, usize, bool)> {
        self.facts.providers().flat_map(|provider| {
            let facts = provider.endpoint_facts().into_iter();
            facts.map(|(kind, index, is_up)| (&*provider.label, kind, index, is_up))
        })
    }
}
