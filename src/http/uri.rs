//! Target URIs (RFC 9110, section 7.1), in the normal form of RFC 3986 (sections 6.2.2 and 6.2.3), for telling whether two
//! texts name one resource.
//!
//! The invariant: two [`Uri`]s are equal only if every reader takes them for the same. What some readers follow and others
//! don't (dot segments, backslashes, user information, escapes in a host) has no normal form here.

use crate::http::escapes::escape;

/// A scheme, a host and a port (RFC 6454, section 4).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    scheme: Scheme,
    /// In lower case.
    host: String,
    port: u16,
}

/// What HTTP is spoken over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Scheme {
    Http,
    Https,
}

/// An absolute URI of HTTP without query and fragment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Uri {
    origin: Origin,
    path: Vec<u8>,
}

impl Origin {
    /// Reads `https://api.example.com:8443`, with nothing behind it.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = Scheme::of(text)?;
        Self::of(scheme, authority)
    }

    fn of(scheme: Scheme, authority: &str) -> Option<Self> {
        let (host, port) = host_and_port(authority)?;
        Some(Self { scheme, host, port: port.unwrap_or(scheme.port()) })
    }

    /// Whether an `:authority` names it: with the port, or without it where that is the scheme's own.
    pub fn is_named_by(&self, authority: &[u8]) -> bool {
        let authority = std::str::from_utf8(authority).ok();
        authority.and_then(|authority| Self::of(self.scheme, authority)).is_some_and(|named| named == *self)
    }

    /// The resource with this path; `None` for a path without a normal form.
    pub fn with_path(&self, path: &[u8]) -> Option<Uri> {
        Some(Uri { origin: self.clone(), path: normal_path(path)? })
    }
}

impl Uri {
    /// Reads an absolute URI, without regard to its query and its fragment.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = Scheme::of(text)?;
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let path = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(path)?;
        Origin::of(scheme, authority)?.with_path(path.as_bytes())
    }

    /// Where it is.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl Scheme {
    /// The scheme of a URI, and what follows its `//`.
    fn of(text: &str) -> Option<(Self, &str)> {
        let (scheme, rest) = text.split_once("://")?;
        match scheme {
            _ if scheme.eq_ignore_ascii_case("https") => Some((Self::Https, rest)),
            _ if scheme.eq_ignore_ascii_case("http") => Some((Self::Http, rest)),
            _ => None,
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A host in lower case, and its port if there is one (RFC 3986, section 3.2).
fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let end = match authority.strip_prefix('[') {
        Some(address) => address.find(']')?.checked_add(2)?,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at_checked(end)?;
    let is_host = match host.strip_prefix('[').and_then(|address| address.strip_suffix(']')) {
        Some(address) => {
            !address.is_empty() && address.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte))
        }
        None => !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    };
    // An empty label is a root to some readers, and a mistake to others.
    let has_empty_label = host.split('.').any(str::is_empty);
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        None => return None,
        Some(digits) => {
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
            Some(digits.parse().ok().filter(|_| is_number)?)
        }
    };
    (is_host && !has_empty_label).then(|| (host.to_ascii_lowercase(), port))
}

/// A path with the escapes of what needs none undone, and the others in upper case; `/` for none.
fn normal_path(path: &[u8]) -> Option<Vec<u8>> {
    if path.is_empty() {
        return Some(b"/".to_vec());
    }
    if path.first() != Some(&b'/') {
        return None;
    }
    let mut normal = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((byte, after)) = rest.split_first() {
        rest = match (byte, rest) {
            (b'%', [_, high, low, after @ ..]) => {
                let octet = escape(rest)?;
                if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
                    normal.push(octet)
                } else {
                    normal.extend([b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()])
                }
                after
            }
            (b'%' | b'\\' | b'?' | b'#', _) => return None,
            (byte, _) if byte.is_ascii_graphic() => {
                normal.push(*byte);
                after
            }
            _ => return None,
        };
    }
    let has_dots = normal.split(|byte| *byte == b'/').any(|segment| matches!(segment, b"." | b".."));
    (!has_dots).then_some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Option<Uri> {
        Uri::parse(text)
    }

    #[test]
    fn spellings_of_one_resource() {
        let resource = uri("https://api.example.com/a-b/~c/%2Fd").unwrap();
        for same in [
            "HTTPS://api.example.com/a-b/~c/%2Fd",
            "https://API.Example.COM/a-b/~c/%2Fd",
            "https://api.example.com:443/a-b/~c/%2Fd",
            "https://api.example.com/a%2Db/%7ec/%2fd",
            "https://api.example.com/%61-b/~c/%2Fd?query=%zz/../x#y",
            "https://api.example.com/a-b/~c/%2Fd#fragment?x",
        ] {
            assert_eq!(uri(same).as_ref(), Some(&resource), "{same}");
        }
        assert_eq!(uri("https://api.example.com"), uri("https://api.example.com/"));
        assert_eq!(uri("https://api.example.com?x"), uri("https://api.example.com/"));
        assert_eq!(uri("http://[::1]:80/"), uri("http://[::1]/"));
    }

    #[test]
    fn other_resources_and_what_is_none() {
        let resource = uri("https://api.example.com/a/b").unwrap();
        for other in [
            "http://api.example.com/a/b",
            "https://api.example.com:8443/a/b",
            "https://api.example.com:80/a/b",
            "https://api.example.com.evil.example/a/b",
            "https://evil.example/a/b",
            "https://api.example.com/a/b/",
            "https://api.example.com/a",
            "https://api.example.com/a/b/c",
            "https://api.example.com/A/b",
            "https://api.example.com/a%2Fb",
            "https://api.example.com/a//b",
            "https://api.example.com//a/b",
            "https://api.example.com/a/b%20",
            "https://api.example.com/a/b%3Fc",
        ] {
            assert!(uri(other).is_some_and(|other| other != resource), "{other}");
        }
        for none in [
            "",
            "/a/b",
            "a/b",
            "//api.example.com/a/b",
            "https:/api.example.com/a/b",
            "https:api.example.com/a/b",
            "https:///a/b",
            "https://:443/a/b",
            "https://api.example.com:/a/b",
            "https://api.example.com:0443/a/b",
            "https://api.example.com:65536/a/b",
            "https://api.example.com:+443/a/b",
            "https://api.example.com:443:443/a/b",
            "https://api.example.com./a/b",
            "https://.api.example.com/a/b",
            "https://api..example.com/a/b",
            "https://api%2Eexample.com/a/b",
            "https://user@api.example.com/a/b",
            "https://user:secret@api.example.com/a/b",
            "https://@api.example.com/a/b",
            "https://api.example.com\\@evil.example/a/b",
            "https://api.example.com/a\\b",
            "https://api.example.com/a/./b",
            "https://api.example.com/x/../a/b",
            "https://api.example.com/x/%2e%2E/a/b",
            "https://api.example.com/a/b%",
            "https://api.example.com/a/b%2",
            "https://api.example.com/a/b%zz",
            "https://api.example.com/a b",
            " https://api.example.com/a/b",
            "https://api.example.com/a/b\n",
            "https://api.example.com/\u{e4}/b",
            "https://\u{430}pi.example.com/a/b",
            "https://[::1/a/b",
            "https://[]/a/b",
            "https://[::1]x/a/b",
            "ftp://api.example.com/a/b",
            "wss://api.example.com/a/b",
            "javascript://api.example.com/a/b",
        ] {
            assert_eq!(uri(none), None, "{none}");
        }
    }

    #[test]
    fn an_authority_names_an_origin() {
        let origin = Origin::parse("https://api.example.com").unwrap();
        for name in ["api.example.com", "API.example.com", "api.example.com:443"] {
            assert!(origin.is_named_by(name.as_bytes()), "{name}");
        }
        for other in
            ["", "api.example.com:80", "api.example.com.", "example.com", "x@api.example.com", "api.example.com/"]
        {
            assert!(!origin.is_named_by(other.as_bytes()), "{other}");
        }
        for bad in
            ["https://api.example.com/", "https://api.example.com/v1", "https://api.example.com?x", "api.example.com"]
        {
            assert_eq!(Origin::parse(bad), None, "{bad}");
        }
    }
}
