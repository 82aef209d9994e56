//! What a rule asks of a valid token beyond being valid: RFC 6750's scopes, and claims.

use crate::config::{ClaimRequirement, Requirement, ScopeImplications, StepUp};
use crate::jose::claims::{look_up, text};
use crate::jose::jwt::{AccessToken, Claims};
use crate::json::Value;
use crate::time::Timestamp;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// What a valid token lacks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unmet {
    /// These scopes, separated by spaces as a challenge names them (RFC 6750, section 3).
    Scopes(String, RequirementField),
    /// A claim, or a value in it.
    Claims(RequirementField),
    /// An authentication of the user that is recent enough, or of the right kind (RFC 9470, section 3).
    Authentication(StepUp, RequirementField),
}

/// The field of the requirement that is not fulfilled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RequirementField {
    /// `scopes`.
    Scopes,
    /// `scopes_any`.
    ScopesAny,
    /// `claims`, by its place in the list.
    Claim(usize),
    /// `groups_allowlist`.
    Groups,
    /// `acr`.
    Acr,
    /// `max_age`.
    MaxAge,
}

impl fmt::Display for RequirementField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scopes => f.write_str("scopes"),
            Self::ScopesAny => f.write_str("scopes_any"),
            Self::Claim(index) => write!(f, "claims[{index}]"),
            Self::Groups => f.write_str("groups_allowlist"),
            Self::Acr => f.write_str("acr"),
            Self::MaxAge => f.write_str("max_age"),
        }
    }
}

impl Unmet {
    /// Which field it is about.
    pub fn field(&self) -> RequirementField {
        match self {
            Self::Scopes(_, unmet) | Self::Claims(unmet) | Self::Authentication(_, unmet) => *unmet,
        }
    }
}

impl Requirement {
    /// Checks a valid token.
    pub fn check(&self, token: &AccessToken, implied: &ScopeImplications, now: Timestamp) -> Result<(), Unmet> {
        let claims = token.claims();
        self.check_authentication(claims, now)?;
        self.check_scopes(claims, implied)?;
        if !self.takes_any_group() {
            let mut groups = claims.object().get("groups").into_iter().flat_map(values);
            if !groups.any(|group| self.groups_allowlist.iter().any(|allowed| **allowed == *group)) {
                return Err(Unmet::Claims(RequirementField::Groups));
            }
        }
        match self.claims.iter().position(|claim| !claim.is_fulfilled(claims)) {
            None => Ok(()),
            Some(index) => Err(Unmet::Claims(RequirementField::Claim(index))),
        }
    }

    /// RFC 9470, section 3: a token that doesn't tell is as one that tells of too little.
    fn check_authentication(&self, claims: &Claims, now: Timestamp) -> Result<(), Unmet> {
        if !self.acr.is_empty() {
            let acr = claims.object().get("acr").and_then(Value::as_str);
            if acr.is_none_or(|acr| !self.acr.iter().any(|wanted| wanted == acr)) {
                return Err(Unmet::Authentication(self.step_up(), RequirementField::Acr));
            }
        }
        let Some(max_age) = self.max_age else { return Ok(()) };
        match claims.authenticated_at() {
            // What is still to come tells of no time that has passed.
            Some(at) if at <= now.saturating_add(CLOCK_SKEW) && now.saturating_since(at) <= max_age => Ok(()),
            _ => Err(Unmet::Authentication(self.step_up(), RequirementField::MaxAge)),
        }
    }

    fn step_up(&self) -> StepUp {
        StepUp { acr_values: self.acr.join(" "), max_age: self.max_age }
    }

    /// The scopes that a client should ask for, as `scope` in a challenge.
    pub fn scope_hint(&self) -> Option<String> {
        let all = [self.scopes.as_slice(), self.scopes_any.as_slice()].concat();
        (!all.is_empty()).then(|| all.join(" "))
    }

    fn check_scopes(&self, claims: &Claims, implied: &ScopeImplications) -> Result<(), Unmet> {
        if self.scopes.is_empty() && self.scopes_any.is_empty() {
            return Ok(());
        }
        let lacks = |wanted: &&String| !claims.scopes().any(|granted| implied.implies(granted, wanted));
        let mut missing: Vec<&str> = self.scopes.iter().filter(lacks).map(String::as_str).collect();
        let unmet = if missing.is_empty() { RequirementField::ScopesAny } else { RequirementField::Scopes };
        if self.scopes_any.iter().all(|wanted| lacks(&wanted)) {
            missing.extend(self.scopes_any.iter().map(String::as_str));
        }
        if missing.is_empty() { Ok(()) } else { Err(Unmet::Scopes(missing.join(" "), unmet)) }
    }
}

impl ClaimRequirement {
    fn is_fulfilled(&self, claims: &Claims) -> bool {
        let Some(value) = look_up(claims.object(), &self.claim) else { return self.absent };
        if self.absent {
            return false;
        }
        let holds = |wanted: &String| values(value).any(|value| value == wanted.as_str());
        (self.any_of.is_empty() || self.any_of.iter().any(holds))
            && self.all_of.iter().all(holds)
            && !self.none_of.iter().any(holds)
            && self.matches.as_ref().is_none_or(|pattern| values(value).any(|value| pattern.is_match(&value)))
    }
}

/// The values that a claim holds: those of its elements if it is a list.
fn values(value: &Value) -> impl Iterator<Item = Cow<'_, str>> {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice).iter().map(text)
}

/// How far a provider's clock may be before ours when it says that its user was authenticated just now.
const CLOCK_SKEW: Duration = Duration::from_secs(60);
