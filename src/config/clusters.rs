//! Which Envoy cluster a call goes to. A URL that only the provider named reaches no host that the operator has not.

use super::Error;
use super::fields::Fields;
use crate::http::Endpoint;
use url::Url;

/// Which Envoy cluster reaches which host.
#[derive(Debug)]
pub struct Clusters {
    pub(super) issuer_authority: String,
    pub(super) issuer_cluster: String,
    pub(super) named: bool,
    pub(super) others: Vec<(String, String)>,
}

impl Clusters {
    /// Hosts other than the issuer's, and their clusters.
    pub fn others(&self) -> &[(String, String)] {
        &self.others
    }

    /// The endpoint for a URL that the provider named: its host must be the issuer's, or have a cluster.
    pub fn discovered(&self, url: &str) -> Result<Endpoint, UnreachableUrl> {
        let url = parse_url(url).ok_or(UnreachableUrl::NotAUrl)?;
        let cluster = self.cluster(&url).ok_or_else(|| UnreachableUrl::NoCluster(authority(&url)))?;
        Ok(endpoint(&url, cluster))
    }

    /// The endpoint for a URL that the operator wrote: beyond that, `cluster` or one named after the host serves.
    pub(super) fn configured(&self, url: &Url) -> Endpoint {
        let fallback = if self.named { &self.issuer_cluster } else { url.host_str().unwrap_or_default() };
        endpoint(url, self.cluster(url).unwrap_or(fallback))
    }

    fn cluster(&self, url: &Url) -> Option<&str> {
        let host = url.host_str()?;
        let port = url.port_or_known_default().unwrap_or_default();
        self.mapped(&format!("{host}:{port}"))
            .or_else(|| self.mapped(host))
            .or_else(|| (authority(url) == self.issuer_authority).then_some(&self.issuer_cluster))
    }

    fn mapped(&self, name: &str) -> Option<&str> {
        let found = self.others.iter().find(|(host, _)| host.eq_ignore_ascii_case(name));
        found.map(|(_, cluster)| cluster.as_str())
    }
}

/// Where calls of one kind go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Endpoints {
    /// To what the issuer's metadata say.
    Discovered,
    /// To these, in order.
    Configured(Vec<Endpoint>),
}

impl Endpoints {
    /// The operator's own list.
    pub(super) fn configured(
        clusters: &Clusters,
        fields: &Fields,
        field: &str,
        urls: &[String],
    ) -> Result<Self, Error> {
        if urls.is_empty() {
            return Err(fields.error(field, "must not be empty; leave it out to discover it"));
        }
        let endpoints = urls.iter().map(|url| {
            let url = parse_url(url).ok_or_else(|| fields.error(field, "must be an absolute http or https URL"))?;
            Ok(clusters.configured(&url))
        });
        Ok(Self::Configured(endpoints.collect::<Result<_, _>>()?))
    }
}

/// Why a URL from a provider's metadata is not called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum UnreachableUrl {
    /// It is no absolute http or https URL.
    NotAUrl,
    /// No cluster is configured for this host.
    NoCluster(String),
}

/// An absolute http or https URL without user name and password.
///
/// In the letters of RFC 3986, and with a host as it is called: what else the parser would forgive (one slash or three, a
/// tab, a host in Unicode or percent-encoded) others read differently, or not at all.
pub(super) fn parse_url(text: &str) -> Option<Url> {
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let is_spelled_out = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_called_so = !authority.is_empty() && !authority.contains('%');
    if !is_spelled_out || !is_called_so || !["https", "http"].iter().any(|s| scheme.eq_ignore_ascii_case(s)) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let plain = url.username().is_empty() && url.password().is_none();
    (matches!(url.scheme(), "https" | "http") && url.has_host() && plain).then_some(url)
}

/// The endpoint of a service of the operator's own, whose URL stands in this field: `cluster` reaches it, or one called as its host.
pub(super) fn own_endpoint(fields: &mut Fields, field: &str, url: &str) -> Result<Endpoint, Error> {
    let url = parse_url(url).ok_or_else(|| fields.error(field, "must be an absolute http or https URL"))?;
    let cluster = fields.string("cluster")?.unwrap_or_else(|| url.host_str().unwrap_or_default().to_owned());
    if cluster.is_empty() {
        return Err(fields.error("cluster", "must not be empty"));
    }
    Ok(endpoint(&url, &cluster))
}

/// The endpoint of a URL behind a cluster.
pub(super) fn endpoint(url: &Url, cluster: &str) -> Endpoint {
    let path = match url.query() {
        None => url.path().to_owned(),
        Some(query) => format!("{}?{query}", url.path()),
    };
    let scheme = if url.scheme() == "http" { "http" } else { "https" };
    Endpoint { cluster: cluster.to_owned(), scheme, authority: authority(url), path }
}

/// Host, with the port unless it is the scheme's own.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        None => host.to_owned(),
        Some(port) => format!("{host}:{port}"),
    }
}
