//! What a request falls under: which one it is about, and which policy holds for it.

use super::Filter;
use super::operator_log::Topic;
use crate::config::Policy;
use crate::decision::Case;
use crate::http::{Field, Request, Route, is_token_byte};
use crate::ordered;
use crate::policy::rules;
use crate::provider::ProviderId;
use crate::reply::Denial;
use crate::time::Timestamp;
use std::rc::Rc;

impl Filter {
    /// The request that is to be decided about, with its policy. An error refuses the request whatever its policy says: where no
    /// policy could be found, that of the top level says how to answer.
    pub(super) fn case(
        &self,
        request: Request,
        check: Option<Result<Request, Denial>>,
        now: Timestamp,
    ) -> (Case, Result<(), Denial>) {
        let (request, is_check) = match check {
            None => (request, false),
            Some(Ok(asked_about)) if self.hides_a_forgery(&asked_about) => {
                let case = Case { is_check: true, ..self.case_without_rule(asked_about) };
                return (case, Err(Denial::InvalidRequest));
            }
            // The certificate of the connection is that of the proxy.
            Some(Ok(asked_about)) => (Request { certificate: None, ..asked_about }, true),
            Some(Err(denial)) => {
                log::debug!(
                    "a question at verify_path doesn't tell the request that it is about: each header of verify_request \
                     must be there once; without verify_request, its path must stand behind verify_path"
                );
                return (Case { is_check: true, ..self.case_without_rule(request) }, Err(denial));
            }
        };
        let (policy, fault) = match self.policy(&request) {
            Ok(policy) => (policy, self.check_query(&request)),
            Err(denial) => {
                self.complain_of_rule(&denial, &request, now);
                (Rc::clone(&self.config.policy), Err(denial))
            }
        };
        (Case { request, policy, is_check }, fault)
    }

    /// A request for which no rule is looked for: the policy of the top level says how it is answered.
    pub(super) fn case_without_rule(&self, request: Request) -> Case {
        Case { request, policy: Rc::clone(&self.config.policy), is_check: false }
    }

    /// Refuses a query that readers take apart in two ways: nothing could be taken out of it without giving the rest a new meaning.
    fn check_query(&self, request: &Request) -> Result<(), Denial> {
        if request.path().is_some_and(|target| self.own.are_ambiguous_in(target)) {
            Err(Denial::AmbiguousTarget)
        } else {
            Ok(())
        }
    }

    fn complain_of_rule(&self, denial: &Denial, request: &Request, now: Timestamp) {
        if *denial == Denial::Misconfigured && self.complaints.is_due(ProviderId::FIRST, Topic::RuleName, now) {
            let Route { name, rule } = &request.route;
            let name = String::from_utf8_lossy(name.as_deref().unwrap_or_default());
            let rule = String::from_utf8_lossy(rule.as_deref().unwrap_or_default());
            log::warn!("the metadata of the route {name:?} name the rule {rule:?}, which is not in `rules`");
        }
    }

    /// What a proxy that asks is to take off its client's request: the headers that the filter writes, unless the answer holds
    /// them; what is stripped; and whatever of the question's own could be read as one of these, in the spelling that was
    /// sent. Each once, with commas between.
    pub(super) fn to_be_removed(&self, check: &Request, stripped: &[&str], answer: &[Field]) -> Option<String> {
        let answered: Vec<&str> = answer.iter().map(|(written, _)| &**written).collect();
        let sent = check.headers.iter().map(|(name, _)| name).filter(|name| self.own.is_own_header(name));
        let sent = ordered::set(sent.filter_map(nameable));
        let mut names: Vec<&str> = self.own.written_headers().chain(stripped.iter().copied()).collect();
        names.retain(|name| !answered.contains(name));
        let further = sent.into_iter().filter(|name| !answered.contains(name) && !names.contains(name));
        let further: Vec<&str> = further.collect();
        names.extend(further);
        (!names.is_empty()).then(|| names.join(","))
    }

    /// Whether a question carries a header that could be read as one of ours, and that no list of names can hold.
    fn hides_a_forgery(&self, check: &Request) -> bool {
        check.headers.iter().any(|(name, _)| self.own.is_own_header(name) && nameable(name).is_none())
    }

    /// The case with as much of the request as rules are found by: it is kept until the response comes.
    pub(super) fn matched(&self, case: &Case) -> Case {
        let Case { request, policy, is_check } = case;
        let rules = self.rules.as_ref();
        let request = request.with_headers(|name| rules.is_some_and(|rules| rules.reads_header(name)));
        Case { request, policy: Rc::clone(policy), is_check: *is_check }
    }

    /// Whether the policy that was decided on is that of this route, too.
    pub fn holds(&self, case: &Case, route: Route) -> bool {
        let request = Request { route, ..case.request.clone() };
        self.policy(&request).is_ok_and(|policy| Rc::ptr_eq(&policy, &case.policy))
    }

    /// A request has taken a route with another policy than the one that was decided on. The operator is told, but not more than
    /// once a second: clients may have it in their hands. It says nothing about any other request.
    pub fn complain_of_route(&self, now: Timestamp) {
        if self.complaints.is_due(ProviderId::FIRST, Topic::Reroute, now) {
            log::error!(
                "a request has taken a route with another rule than the one that was decided on: its response is withheld, \
                 but the service has seen it; no route may match on what this filter or a later one writes, and the RBAC of \
                 envoy/routes.yaml refuses such a request before the service sees it"
            );
        }
    }

    /// The policy for a request. Fails closed: a rule that isn't there, or that two readers would choose differently, is no
    /// policy.
    pub(super) fn policy(&self, request: &Request) -> Result<Rc<Policy>, Denial> {
        let Some(index) = &self.rules else { return Ok(Rc::clone(&self.config.policy)) };
        let found = match &request.route.rule {
            None => index.find(request),
            Some(name) => {
                let named = std::str::from_utf8(name).ok().and_then(|name| self.named_rules.get(name));
                index.named(*named.ok_or(Denial::Misconfigured)?, request)
            }
        };
        let found = found.map_err(|rules::Error::Ambiguous| Denial::AmbiguousTarget)?;
        let Some(number) = found else { return Ok(Rc::clone(&self.config.policy)) };
        self.config.rules.get(number).map(|rule| Rc::clone(&rule.policy)).ok_or(Denial::Misconfigured)
    }
}

/// A header's name as it can stand in a list of names (RFC 9110, section 5.1).
fn nameable(name: &[u8]) -> Option<&str> {
    let is_token = !name.is_empty() && name.iter().all(|byte| is_token_byte(*byte));
    std::str::from_utf8(name).ok().filter(|_| is_token)
}
