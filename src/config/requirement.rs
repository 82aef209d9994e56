//! The part of the configuration that says what a valid token must also have.

use super::fields::Fields;
use super::{Error, is_quotable, non_empty_list, regex, whole_regex};
use crate::jose::claims::Lookup;
use crate::ordered;
use regex_lite::Regex;
use std::rc::Rc;
use std::time::Duration;

/// What a valid token must also have.
#[derive(Debug, Default)]
pub struct Requirement {
    /// Each of these scopes.
    pub scopes: Vec<String>,
    /// At least one of these scopes, unless empty.
    pub scopes_any: Vec<String>,
    /// Each of these claims.
    pub claims: Vec<ClaimRequirement>,
    /// At least one of these in the claim `groups`, unless empty; `*` stands for any, or none.
    pub groups_allowlist: Vec<String>,
    /// The user was authenticated in one of these ways (`acr`; RFC 9470), unless empty.
    pub acr: Vec<String>,
    /// The user was authenticated not longer ago (`auth_time`; RFC 9470).
    pub max_age: Option<Duration>,
}

/// How a user must be authenticated (RFC 9470, section 3), as a challenge says it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StepUp {
    /// In one of these ways, separated by spaces; empty for any.
    pub acr_values: String,
    /// Not longer ago.
    pub max_age: Option<Duration>,
}

/// What one claim must hold, or that it must not be there. A list fulfils `any_of` if one of its elements does.
#[derive(Debug)]
pub struct ClaimRequirement {
    /// The claim.
    pub claim: Lookup,
    /// It must not be there.
    pub absent: bool,
    /// One of these.
    pub any_of: Vec<String>,
    /// All of these.
    pub all_of: Vec<String>,
    /// None of these.
    pub none_of: Vec<String>,
    /// A value that matches as a whole.
    pub matches: Option<Regex>,
}

impl Requirement {
    /// Whether nothing is asked of a token's groups.
    pub fn takes_any_group(&self) -> bool {
        self.groups_allowlist.is_empty() || self.groups_allowlist.iter().any(|group| group == "*")
    }

    /// Whether every valid token will do.
    pub fn is_empty(&self) -> bool {
        let Self { scopes, scopes_any, claims, groups_allowlist, acr, max_age } = self;
        scopes.is_empty()
            && scopes_any.is_empty()
            && claims.is_empty()
            && groups_allowlist.is_empty()
            && acr.is_empty()
            && max_age.is_none()
    }

    /// Every scope that it names.
    pub fn all_scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().chain(&self.scopes_any).map(String::as_str)
    }

    /// What may be said.
    pub(super) const FIELDS: &[&str] = &["scopes", "scopes_any", "claims", "groups_allowlist", "acr", "max_age"];

    pub(super) fn from_fields(mut fields: Fields) -> Result<Rc<Self>, Error> {
        fields.allow_only(Self::FIELDS)?;
        let requirement = Self::read(&mut fields)?;
        fields.finish()?;
        Ok(Rc::new(requirement))
    }

    /// Its fields, which may stand among others.
    pub(super) fn read(fields: &mut Fields) -> Result<Self, Error> {
        Ok(Self {
            scopes: scopes(fields, "scopes")?,
            scopes_any: scopes(fields, "scopes_any")?,
            claims: claim_requirements(fields)?,
            groups_allowlist: non_empty_list(fields, "groups_allowlist")?,
            acr: scopes(fields, "acr")?,
            max_age: fields.duration("max_age")?,
        })
    }
}

/// Scopes that stand for others: whoever has the one has the others too, and what those stand for.
#[derive(Debug, Default)]
pub struct ScopeImplications(ordered::Map<String, Vec<String>>);

impl ScopeImplications {
    pub(super) fn from_fields(fields: &mut Fields) -> Result<Option<Self>, Error> {
        let Some(direct) = fields.string_lists("implied_scopes")? else { return Ok(None) };
        let mut scopes = direct.iter().flat_map(|(scope, implied)| std::iter::once(scope).chain(implied));
        if !scopes.all(|scope| is_scope(scope)) || direct.values().any(Vec::is_empty) {
            return Err(fields.error("implied_scopes", format!("each needs a list of scopes; {SCOPE}")));
        }
        let closures = direct.keys().map(|scope| {
            let mut reached = Vec::new();
            let mut open = vec![scope];
            while let Some(scope) = open.pop() {
                let implied = direct.get(scope).into_iter().flatten();
                open.extend(implied.filter(|implied| ordered::insert(&mut reached, (*implied).clone())));
            }
            (scope.clone(), reached)
        });
        Ok(Some(Self(ordered::map(closures))))
    }

    /// Whether whoever has `granted` has `wanted` too.
    pub fn implies(&self, granted: &str, wanted: &str) -> bool {
        granted == wanted
            || self
                .0
                .get(granted)
                .is_some_and(|implied| implied.binary_search_by(|one| one.as_str().cmp(wanted)).is_ok())
    }
}

impl ClaimRequirement {
    fn from_fields(mut fields: Fields) -> Result<Self, Error> {
        fields.allow_only(&["claim", "path", "absent", "matches", "any_of", "all_of", "none_of"])?;
        let claim = Lookup::from_fields(&mut fields)?
            .ok_or_else(|| fields.error("claim", "required: the name of a claim, or `path` for a nested one"))?;
        let pattern = fields.string("matches")?;
        let matches = pattern.map(|pattern| regex(&fields, "matches", whole_regex(&pattern))).transpose()?;
        let requirement = Self {
            claim,
            absent: fields.boolean("absent")?.unwrap_or(false),
            any_of: non_empty_list(&mut fields, "any_of")?,
            all_of: non_empty_list(&mut fields, "all_of")?,
            none_of: non_empty_list(&mut fields, "none_of")?,
            matches,
        };
        let Self { any_of, all_of, none_of, matches, .. } = &requirement;
        if requirement.absent && !(any_of.is_empty() && all_of.is_empty() && none_of.is_empty() && matches.is_none()) {
            return Err(fields.error(
                "absent",
                "not beside any_of, all_of, none_of or matches: a claim that is not there has no value",
            ));
        }
        fields.finish()?;
        Ok(requirement)
    }
}

pub(super) fn scopes(fields: &mut Fields, field: &'static str) -> Result<Vec<String>, Error> {
    let scopes = non_empty_list(fields, field)?;
    if scopes.iter().all(|scope| is_scope(scope)) { Ok(scopes) } else { Err(fields.error(field, SCOPE)) }
}

/// Scopes, and values of `acr`, are written into challenges: RFC 6749, section 3.3, says of what they are made.
pub(super) fn is_scope(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|byte| byte != b' ' && is_quotable(byte))
}

const SCOPE: &str = "each is printable ASCII without space, quote and backslash";

fn claim_requirements(fields: &mut Fields) -> Result<Vec<ClaimRequirement>, Error> {
    match fields.objects("claims", ClaimRequirement::from_fields)? {
        Some(list) if list.is_empty() => {
            Err(fields.error("claims", "must not be empty; leave it out to demand nothing"))
        }
        list => Ok(list.unwrap_or_default()),
    }
}
