//! What any policy of a configuration makes use of. It is found out once, when the filter is made: there may be thousands of rules.

use crate::config::{Config, Policy, Rule};

/// What any policy makes use of.
pub(super) struct Uses {
    /// Some requests lose the token that was good.
    pub(super) takes_tokens_off: bool,
    /// A rule looks at the route that Envoy has chosen: at its name, or at its metadata.
    pub(super) reads_routes: bool,
    /// An operation is taken from the metadata of Envoy's own filter for MCP.
    pub(super) reads_mcp_metadata: bool,
    /// Tokens that are bound to keys are taken, if only by a candidate.
    pub(super) takes_dpop: bool,
    /// The certificate of Envoy's own connection is looked at, if only by a candidate.
    pub(super) reads_certificates: bool,
    /// Something is signed about tokens.
    pub(super) signs: bool,
    /// Claims are written.
    pub(super) writes: bool,
}

impl Uses {
    pub(super) fn of(config: &Config) -> Self {
        let any = |is_so: fn(&Policy) -> bool| config.policies().any(is_so);
        Self {
            takes_tokens_off: any(|policy| !policy.forward),
            reads_routes: config.rules.iter().any(Rule::reads_route),
            reads_mcp_metadata: any(Policy::reads_mcp_metadata),
            takes_dpop: config.judged_policies().any(Policy::takes_dpop),
            reads_certificates: config.judged_policies().any(Policy::reads_certificates),
            signs: any(|policy| !policy.assertions.is_empty()),
            writes: any(|policy| !policy.claim_headers.is_empty() || !policy.user_info.is_empty()),
        }
    }
}
