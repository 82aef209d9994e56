//! What of a URL is asked for by itself.

use oidc_filter::http::Endpoint;

/// The URL that an endpoint is called at.
pub fn of_endpoint(endpoint: &Endpoint) -> String {
    format!("{}://{}{}", endpoint.scheme, endpoint.authority, endpoint.path)
}

/// Without the query, which may hold a token.
pub fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or_default()
}

/// The host of an absolute URL.
pub fn host(url: &str) -> Option<String> {
    url::Url::parse(url).ok()?.host_str().map(str::to_owned)
}

/// Host and port of an authority. An address of IPv6 loses its brackets, within which colons begin no port.
pub fn host_and_port(authority: &str, standard: u16) -> (String, u16) {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    (host.to_owned(), port.and_then(|port| port.parse().ok()).unwrap_or(standard))
}
