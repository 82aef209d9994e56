//! What the filter writes into filter state, as far as those behind it look at it.

use oidc_filter::config::{Config, Policy};

/// The words that the filter's mark may have on a request that goes on.
pub fn that_go_on(config: &Config) -> Vec<&'static str> {
    let any = |is: fn(&Policy) -> bool| config.policies().any(is);
    let mut results = vec!["allowed"];
    if any(|policy| !policy.enforce) {
        results.push("stripped");
    }
    if any(|policy| policy.bypass || policy.allow_missing || policy.allow_preflight) {
        results.push("bypassed");
    }
    results
}
