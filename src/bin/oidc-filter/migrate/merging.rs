//! Several providers of theirs with one issuer, such as one for each place or audience: here they are one.

use super::{Notes, push_new, texts};
use crate::yaml::{Data, Node};

/// What became of providers.
#[derive(Default)]
pub struct Merged {
    pub providers: Vec<Node>,
    /// Each name of theirs, and what it is now.
    names: Vec<(String, usize, Audiences)>,
}

/// Whom tokens must be for; nobody by name where any audience will do.
type Audiences = Option<Vec<String>>;

impl Merged {
    /// Makes one provider of those that differ in nothing but their names, audiences and timeouts.
    pub fn of(providers: Vec<Node>, notes: &Notes) -> Self {
        let mut merged = Self::default();
        for (index, provider) in providers.into_iter().enumerate() {
            let name = provider.word("name").map_or_else(|| format!("providers[{index}]"), str::to_owned);
            let same =
                merged.providers.iter().position(|other| issuer(other).is_some() && issuer(other) == issuer(&provider));
            let Some(at) = same else {
                merged.names.push((name, merged.providers.len(), audiences(&provider)));
                merged.providers.push(provider);
                continue;
            };
            let Some(other) = merged.providers.get_mut(at).filter(|other| is_like(other, &provider)) else {
                notes.add(format!(
                    "{name}: its issuer is that of another provider, with other keys or times: one provider here; write what holds for both"
                ));
                merged.names.push((name, merged.providers.len(), audiences(&provider)));
                merged.providers.push(provider);
                continue;
            };
            notes.add(format!(
                "{name}: is one provider with {} here, since they have one issuer",
                other.word("name").unwrap_or("the one before it")
            ));
            merged.names.push((name, at, audiences(&provider)));
            unite(other, &provider);
        }
        merged
    }

    /// The name of the provider that one of theirs has become.
    pub fn name(&self, theirs: &str) -> Option<&str> {
        let (_, at, _) = self.names.iter().find(|(name, ..)| name == theirs)?;
        self.providers.get(*at)?.word("name")
    }

    /// Whether audiences were put together.
    pub fn has_united_audiences(&self) -> bool {
        self.names
            .iter()
            .any(|(_, at, wanted)| self.providers.get(*at).is_some_and(|provider| audiences(provider) != *wanted))
    }

    /// What a rule for these of theirs asks of audiences, where it is not all that their providers have: `None` if nothing; and whether
    /// one list can say it.
    pub fn audiences(&self, theirs: &[&str]) -> (Audiences, bool) {
        let named: Vec<_> = self.names.iter().filter(|(name, ..)| theirs.contains(&name.as_str())).collect();
        let mut narrowed: Vec<usize> = Vec::new();
        let mut all: Vec<String> = Vec::new();
        let mut touched: Vec<usize> = named.iter().map(|(_, at, _)| *at).collect();
        touched.sort_unstable();
        touched.dedup();
        for at in &touched {
            let of_it: Vec<&Audiences> =
                named.iter().filter(|(_, other, _)| other == at).map(|(_, _, wanted)| wanted).collect();
            let has = self.providers.get(*at).and_then(audiences);
            let mut wanted: Vec<String> = Vec::new();
            of_it.iter().filter_map(|one| one.as_ref()).flatten().for_each(|one| {
                if !wanted.contains(one) {
                    wanted.push(one.clone());
                }
            });
            let takes_any = of_it.iter().any(|one| one.is_none());
            let is_all = takes_any || has.as_ref().is_some_and(|has| has.iter().all(|one| wanted.contains(one)));
            if !is_all {
                narrowed.push(*at);
                all.extend(wanted);
            }
        }
        match (narrowed.as_slice(), touched.as_slice()) {
            ([], _) => (None, true),
            ([_], [_]) => (Some(all), true),
            _ => (Some(all), false),
        }
    }
}

fn issuer(provider: &Node) -> Option<&str> {
    provider.word("issuer")
}

fn audiences(provider: &Node) -> Audiences {
    if provider.get("any_audience").is_some_and(Node::is_true) {
        return None;
    }
    Some(provider.elements("audiences").iter().filter_map(Node::text).map(str::to_owned).collect())
}

/// Whether two providers differ in nothing but what can be put together.
fn is_like(one: &Node, other: &Node) -> bool {
    let rest = |node: &Node| {
        let mut json = node.to_json();
        if let Some(members) = json.as_object_mut() {
            ["name", "audiences", "any_audience", "timeout"].iter().for_each(|name| drop(members.remove(*name)));
        }
        json
    };
    rest(one) == rest(other)
}

/// Takes the audiences of another provider in.
fn unite(provider: &mut Node, other: &Node) {
    let both = match (audiences(provider), audiences(other)) {
        (Some(own), Some(others)) => {
            let mut both: Vec<Node> = Vec::new();
            own.iter().chain(&others).for_each(|one| push_new(&mut both, one.as_str().into()));
            Some(texts(both.iter().filter_map(Node::text)))
        }
        _ => None,
    };
    let Data::Map(members) = &mut provider.data else { return };
    if let Some((key, node)) = members.iter_mut().find(|(key, _)| key.name == "audiences" || key.name == "any_audience")
    {
        match both {
            Some(both) => *node = both,
            None => {
                key.name = "any_audience".to_owned();
                *node = true.into();
            }
        }
    }
}
