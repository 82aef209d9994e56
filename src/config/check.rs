//! What no part of the configuration can see by itself: whether the parts go together.

use super::enrichment::Enrichment;
use super::policy::Policy;
use super::requirement::{ClaimRequirement, Requirement};
use super::{Config, Error};
use crate::http::cookie::Cookie;
use crate::http::names::{ParameterOwner, Placement, ReservedNames, same_spelling};
use crate::http::query::QUERY_VALUE;
use crate::jose::claims::Lookup;
use crate::ordered;
use std::rc::Rc;

/// Whose metadata are served beside those of a resource: that must be clear, and they must be there.
pub(super) fn check_published(config: &Config) -> Result<(), Error> {
    for (path, policy) in config.policies_with_paths() {
        if !policy.mcp.as_ref().is_some_and(|mcp| mcp.authorization_server_metadata) {
            continue;
        }
        let provider = policy.published_provider(config.providers.len()).and_then(|index| config.providers.get(index));
        if !provider.is_some_and(|provider| !provider.discovery.is_empty() && !provider.on_demand) {
            let problem = "needs exactly one provider whose tokens are good there, with an `issuer` that is a URL without a \
                           tenant: its metadata are what is served";
            return Err(Error::at(&format!("{path}mcp.authorization_server_metadata"), problem));
        }
    }
    Ok(())
}

/// A place that a token or an output has, and the field that says so.
struct Taken {
    placement: Placement,
    name: String,
    by: String,
}

impl Taken {
    fn new(placement: Placement, name: &str, by: String) -> Self {
        Self { placement, name: name.to_owned(), by }
    }

    fn is_at(&self, other: &Self) -> bool {
        self.placement == other.placement
            && (same_spelling(self.name.as_bytes(), other.name.as_bytes())
                || self.is_found_in(&other.name)
                || other.is_found_in(&self.name))
    }

    /// Whether a reader could take another name in the same kind of place for this one, or for a part of it: `x.y` for `x[y]`.
    fn is_found_in(&self, name: &str) -> bool {
        let own = ReservedNames::new([(self.placement, &*self.name)], []);
        match self.placement {
            Placement::Cookie => {
                own.is_own_cookie(&Cookie { pair: name.as_bytes(), name: name.as_bytes(), value: b"" })
            }
            Placement::QueryString => {
                let sent = percent_encoding::utf8_percent_encode(name, QUERY_VALUE).to_string();
                own.owner_of(sent.as_bytes()) != ParameterOwner::Foreign
            }
            Placement::Header | Placement::Metadata => false,
        }
    }
}

/// No two outputs of one policy, nor an output and a token, share a place: one would take the other away.
pub(super) fn check_collisions(config: &Config) -> Result<(), Error> {
    let sources = config.sources.iter().enumerate().filter_map(|(index, source)| {
        let (placement, name) = source.location.in_request()?;
        Some(Taken::new(placement, name, format!("access_token[{index}]")))
    });
    let sources: Vec<Taken> = sources.collect();
    let mut checked: Vec<&Policy> = Vec::new();
    let mut names = Vec::new();
    for (path, policy) in config.policies_with_paths() {
        // Most rules write what the top level says.
        if checked.iter().take(CHECKED_POLICIES).any(|other| write_the_same(other, policy)) {
            continue;
        }
        checked.push(policy);
        let taken = check_policy(&path, policy, &sources)?;
        for taken in taken {
            ordered::insert(&mut names, taken.name.to_ascii_lowercase());
        }
        if names.len() > MAX_OUTPUT_NAMES {
            let problem = format!("all policies together write under more than {MAX_OUTPUT_NAMES} names");
            return Err(Error::at(path.trim_end_matches('.'), problem));
        }
    }
    Ok(())
}

fn write_the_same(one: &Policy, other: &Policy) -> bool {
    Rc::ptr_eq(&one.user_info, &other.user_info)
        && Rc::ptr_eq(&one.claim_headers, &other.claim_headers)
        && Rc::ptr_eq(&one.assertions, &other.assertions)
        && one.token_exchange.as_ref().map(Rc::as_ptr) == other.token_exchange.as_ref().map(Rc::as_ptr)
}

fn check_policy(base: &str, policy: &Policy, sources: &[Taken]) -> Result<Vec<Taken>, Error> {
    // Filter state joins namespace and key with a dot, which both may hold.
    let mut states: ordered::Map<String, usize> = ordered::Map::new_vec();
    let all = policy.user_info.iter().enumerate();
    for (index, output) in all.filter(|(_, output)| output.placement == Placement::Metadata) {
        if let Some(earlier) = states.insert(output.filter_state_key(""), index) {
            let problem =
                format!("has the same place in filter state as {base}user_info[{earlier}]; choose another key");
            return Err(Error::at(&format!("{base}user_info[{index}].key"), problem));
        }
    }
    let mut taken = Vec::new();
    for output in outputs(base, policy) {
        // An assertion, or an exchanged token, may take the place of the token that is taken off: see `publishing::check`.
        let takes_place = output.placement == Placement::Header && output.name == "authorization";
        let sources = if takes_place { &[] } else { sources };
        if let Some(other) = sources.iter().chain(&taken).find(|other| output.is_at(other)) {
            let what = if other.by.starts_with("access_token") { "a token" } else { "another output" };
            let problem = format!("is a place where {what} already is, by {}", other.by);
            return Err(Error::at(&output.by, problem));
        }
        taken.push(output);
    }
    Ok(taken)
}

/// The places that a policy's outputs have on a request, those on the way into metadata among them.
fn outputs(base: &str, policy: &Policy) -> impl Iterator<Item = Taken> {
    let user_info = policy.user_info.iter().enumerate().map(move |(index, output)| {
        let by = format!("{base}user_info[{index}].key");
        match output.placement {
            Placement::Metadata => Taken::new(Placement::Header, &output.handoff_header(), by),
            placement => Taken::new(placement, &output.key, by),
        }
    });
    let claim_headers = policy.claim_headers.iter().enumerate().map(move |(index, output)| {
        Taken::new(Placement::Header, &output.header, format!("{base}claim_headers[{index}].header"))
    });
    let assertions = policy.assertions.iter().enumerate().map(move |(index, assertion)| {
        Taken::new(Placement::Header, &assertion.header, format!("{base}assertion[{index}].header"))
    });
    let exchange = policy
        .token_exchange
        .iter()
        .map(move |exchange| Taken::new(Placement::Header, &exchange.header, format!("{base}token_exchange.header")));
    user_info.chain(claim_headers).chain(assertions).chain(exchange)
}

/// The field by which the filter writes a header of this name, if one does.
fn writer_of(config: &Config, header: &str) -> Option<String> {
    let wanted = Taken::new(Placement::Header, header, String::new());
    config
        .policies_with_paths()
        .find_map(|(base, policy)| outputs(&base, policy).find(|output| output.is_at(&wanted)).map(|output| output.by))
}

/// The silence of a source must not be a yes.
pub(super) fn check_enrichments(config: &Config) -> Result<(), Error> {
    for (base, policy) in config.judged_policies_with_paths() {
        let optional: Vec<&Rc<Enrichment>> = policy.enrich.iter().filter(|enrichment| enrichment.optional).collect();
        let may_be_silent = |claim: &ClaimRequirement| {
            let name = match &claim.claim {
                Lookup::Claim(name) => Some(name),
                Lookup::Path(path) => path.first(),
            };
            claim.absent && name.is_some_and(|name| optional.iter().any(|enrichment| enrichment.brings(name)))
        };
        for (place, requirement) in requirements(policy) {
            if let Some(index) = requirement.claims.iter().position(may_be_silent) {
                let problem = "must not be there, and comes from an `optional` source of `enrich`: who is silent would let everybody pass";
                return Err(Error::at(&format!("{base}{place}.claims[{index}]"), problem));
            }
        }
    }
    Ok(())
}

/// What a policy requires of tokens, for every request and for operations, each with the field that says so.
fn requirements(policy: &Policy) -> impl Iterator<Item = (String, &Requirement)> {
    let of_operations = policy.mcp.iter().flat_map(|mcp| mcp.operations.requirements());
    let of_operations = of_operations.map(|(field, index, requirement)| {
        let index = index.map(|index| format!("[{index}]")).unwrap_or_default();
        (format!("mcp.{field}{index}"), requirement)
    });
    std::iter::once(("require".to_owned(), &*policy.require)).chain(of_operations)
}

/// A header that the filter writes is removed first, so that what a client sends under its name can't choose a rule.
pub(super) fn check_headers(config: &Config) -> Result<(), Error> {
    let own = config.own_names();
    for (index, rule) in config.rules.iter().enumerate() {
        let headers = rule.matching.iter().flat_map(|matching| &matching.headers);
        if let Some(header) = headers.into_iter().find(|header| own.is_own_header(header.name.as_bytes())) {
            let by = writer_of(config, &header.name).unwrap_or_else(|| "access_token, or for metadata".to_owned());
            let problem = format!(
                "{} is a header that the filter writes or takes away, by {by}; a client must not choose a rule by it",
                header.name
            );
            return Err(Error::at(&format!("rules[{index}].match.headers"), problem));
        }
    }
    Ok(())
}

/// Every header of every request is compared with each of these names.
const MAX_OUTPUT_NAMES: usize = 128;

/// How many policies are compared with the next, to leave out a check that was made before.
const CHECKED_POLICIES: usize = 16;
