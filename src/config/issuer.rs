//! What an issuer is called (RFC 8414, section 2; RFC 7519, section 4.1.1), and where its metadata may be.

use super::clusters::{Clusters, parse_url};
use crate::http::Endpoint;
use url::Url;

/// RFC 8414, section 2: no query and no fragment. `http` is allowed, since TLS is the cluster's business.
pub(super) fn issuer_url(issuer: &str) -> Result<Url, &'static str> {
    let url = parse_url(issuer).ok_or("must be an absolute https URL without user name and password")?;
    if url.query().is_some() || url.fragment().is_some() {
        Err("must not have a query or a fragment (RFC 8414, section 2)")
    } else {
        Ok(url)
    }
}

/// Whether this may be an issuer that has no address, such as `accounts.google.com` or the mail address of a service account
/// (RFC 7519, section 4.1.1). What looks like a URL is none: it has a mistake in it.
pub(super) fn is_name(issuer: &str) -> bool {
    let scheme = issuer.split(':').next().unwrap_or_default();
    let is_url = ["https", "http"].iter().any(|url| scheme.eq_ignore_ascii_case(url)) || issuer.contains("://");
    !issuer.is_empty() && !is_url && issuer.bytes().all(|byte| byte.is_ascii_graphic())
}

/// OpenID Connect Discovery, section 4; then RFC 8414, section 3.1, for servers that know only OAuth.
pub(super) fn discovery(issuer: &Url, clusters: &Clusters) -> Vec<Endpoint> {
    let base = clusters.configured(issuer);
    let path = issuer.path().trim_end_matches('/');
    vec![
        Endpoint { path: format!("{path}/.well-known/openid-configuration"), ..base.clone() },
        Endpoint { path: format!("/.well-known/oauth-authorization-server{path}"), ..base },
    ]
}
