//! What the URI of a resource is to those who open it: RFC 3986, section 6.2; URL standard.
//!
//! A service takes a URI apart and writes it anew, as the SDKs do, decodes it, or hands what it finds in it to a file system. Each
//! takes some of these steps, in an order of its own, so all are tried on all that comes out of them. The invariant: a URI with
//! more readings than anybody writes in good faith has none that could be permitted.
//!
//! What leads elsewhere must be permitted there. What names the same thing in other words, to some, is a loose reading: see
//! [`Readings::loose`].

use percent_encoding::percent_decode_str;
use url::Url;

/// What a URI may mean, beside what it says.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Readings {
    /// Normalised, decoded, and with all dots followed: each must be permitted.
    pub strict: Vec<String>,
    /// With another spelling of the host, or without a part that some leave out. Who permits a URI with its query does not permit
    /// it without: these count for what is listed before that alone.
    pub loose: Vec<String>,
}

impl Readings {
    /// All of them; `None` if there are more than can be told.
    pub fn of(uri: &str) -> Option<Self> {
        // A host beyond ASCII is another in every version of Unicode.
        if !uri.is_ascii() && Url::parse(uri).is_err() {
            return None;
        }
        let strict = all(vec![uri.to_owned()], &[normalized, decoded, backslashed, followed])?;
        if strict.iter().any(|reading| reading.contains('\0')) {
            return None;
        }
        let known = strict.len();
        let mut strict = all(strict, &[merged, cut, closed, anonymous, lowered, absolute, rootless])?;
        let loose = strict.split_off(known);
        strict.remove(0);
        Some(Self { strict, loose })
    }
}

/// What a reader makes of a URI; `None` where there is nothing to do.
type Step = fn(&str) -> Option<String>;

fn all(mut readings: Vec<String>, steps: &[Step]) -> Option<Vec<String>> {
    let mut size: usize = 0;
    let mut next = 0;
    while let Some(reading) = readings.get(next).cloned() {
        for step in steps {
            let Some(further) = step(&reading).filter(|further| !readings.contains(further)) else { continue };
            size = size.saturating_add(further.len());
            readings.push(further);
            if readings.len() > MAX_READINGS || size > MAX_READINGS_SIZE {
                return None;
            }
        }
        next = next.saturating_add(1);
    }
    Some(readings)
}

/// As the URL standard writes it.
fn normalized(uri: &str) -> Option<String> {
    Url::parse(uri).ok().map(String::from)
}

/// All escapes, once.
fn decoded(uri: &str) -> Option<String> {
    uri.contains('%').then(|| percent_decode_str(uri).decode_utf8_lossy().into_owned())
}

/// Backslashes as slashes, where dots stand between them.
fn backslashed(uri: &str) -> Option<String> {
    let slashed = uri.contains('\\').then(|| uri.replace('\\', "/"))?;
    has_dots(Parts::of(&slashed).path).then_some(slashed)
}

/// Without dot segments, as a file system follows them: through any number of slashes.
fn followed(uri: &str) -> Option<String> {
    let parts = Parts::of(uri);
    if !has_dots(parts.path) {
        return None;
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in parts.path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    let root = if parts.path.starts_with('/') { "/" } else { "" };
    let end = if parts.path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    Some(format!("{}{root}{}{end}{}", parts.start, segments.join("/"), parts.rest))
}

fn has_dots(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// `//` as `/`.
fn merged(uri: &str) -> Option<String> {
    let parts = Parts::of(uri);
    let mut path: Vec<char> = parts.path.chars().collect();
    path.dedup_by(|letter, before| (*letter, *before) == ('/', '/'));
    let path: String = path.into_iter().collect();
    (path != parts.path).then(|| format!("{}{path}{}", parts.start, parts.rest))
}

/// Without fragment, or else without query.
fn cut(uri: &str) -> Option<String> {
    let end = uri.rfind('#').or_else(|| uri.find('?'))?;
    uri.get(..end).map(str::to_owned)
}

/// Without the slash at its end.
fn closed(uri: &str) -> Option<String> {
    let parts = Parts::of(uri);
    let path = parts.path.strip_suffix('/').filter(|path| !path.is_empty())?;
    Some(format!("{}{path}{}", parts.start, parts.rest))
}

/// Without the name of a user.
fn anonymous(uri: &str) -> Option<String> {
    let parts = Parts::of(uri);
    let (scheme, authority) = parts.start.split_once("//")?;
    let (_, host) = authority.rsplit_once('@')?;
    Some(format!("{scheme}//{host}{}{}", parts.path, parts.rest))
}

/// With scheme and host in lower case, which the URL standard leaves as it is where it doesn't know the scheme.
fn lowered(uri: &str) -> Option<String> {
    let parts = Parts::of(uri);
    let start = parts.start.to_ascii_lowercase();
    (start != parts.start).then(|| format!("{start}{}{}", parts.path, parts.rest))
}

/// A host without the dot at its end, which only resolvers need.
fn absolute(uri: &str) -> Option<String> {
    let parts = Parts::of(uri);
    let (scheme, authority) = parts.start.split_once("//")?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, format!(":{port}")),
        _ => (authority, String::new()),
    };
    let host = host.strip_suffix('.').filter(|host| !host.is_empty())?;
    Some(format!("{scheme}//{host}{port}{}{}", parts.path, parts.rest))
}

/// `docs:a` of `docs:/a`: whoever joins either to a folder finds the same.
fn rootless(uri: &str) -> Option<String> {
    let parts = Parts::of(uri);
    let path = parts.path.strip_prefix('/').filter(|_| !parts.start.contains('/'))?;
    Some(format!("{}{path}{}", parts.start, parts.rest))
}

/// A URI in three parts (RFC 3986, section 3).
struct Parts<'u> {
    /// Scheme and authority with what ends and begins them; empty for a relative one.
    start: &'u str,
    path: &'u str,
    /// From the query on.
    rest: &'u str,
}

impl<'u> Parts<'u> {
    fn of(uri: &'u str) -> Self {
        let is_of_scheme = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.');
        let behind_scheme = uri.split_once(':').filter(|(scheme, _)| scheme.chars().all(is_of_scheme));
        let behind_scheme = behind_scheme.map_or(uri, |(_, behind)| behind);
        let behind = match behind_scheme.strip_prefix("//") {
            Some(authority) => {
                let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
                authority.get(end..).unwrap_or_default()
            }
            None => behind_scheme,
        };
        let start = uri.strip_suffix(behind).unwrap_or_default();
        let (path, rest) = behind.split_at_checked(behind.find(['?', '#']).unwrap_or(behind.len())).unwrap_or_default();
        Self { start, path, rest }
    }
}

/// What is decoded twice and has another spelling of its host has a dozen. Each is held against a whole list.
const MAX_READINGS: usize = 48;

/// The bytes of all that are made in one go.
const MAX_READINGS_SIZE: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(uri: &str) -> Readings {
        Readings::of(uri).unwrap()
    }

    #[test]
    fn what_says_one_thing_has_no_other_reading() {
        for uri in [
            "file:///public/a",
            "db://host/a/b",
            "https://a.example/",
            "urn:isbn:1",
            "docs:a/b",
            "a/b",
            "notes://work",
            "ui://widget/a.html",
            "x:",
            "",
        ] {
            assert_eq!(readings(uri), Readings::default(), "{uri}");
        }
    }

    #[test]
    fn what_leads_elsewhere_is_strict() {
        for (uri, expected) in [
            ("file:///public/../secret/a", "file:///secret/a"),
            ("file:///public/a//..//../../secret/a", "file:///secret/a"),
            ("file:///public/..%252fsecret/a", "file:///secret/a"),
            ("file:///public/..%5Csecret", "file:///secret"),
            ("db://host/public/..\\secret\\a", "db://host/secret/a"),
            ("docs:public/../secret/a", "docs:secret/a"),
            ("docs:public/%2e%2e/", "docs:"),
            ("docs:/../a", "docs:/a"),
            ("public/./../secret/", "secret/"),
            ("file:///a%3fb", "file:///a?b"),
            ("FILE:///a", "file:///a"),
            ("https://a.example:443/b", "https://a.example/b"),
        ] {
            assert!(readings(uri).strict.iter().any(|reading| reading == expected), "{uri}: {:?}", readings(uri));
        }
        // A file system's names may hold backslashes.
        assert_eq!(readings("win:C:\\data"), Readings::default());
    }

    #[test]
    fn what_names_the_same_is_loose() {
        for (uri, expected) in [
            ("db://host//secret/a", "db://host/secret/a"),
            ("file:///a?b#c", "file:///a?b"),
            ("file:///a?b#c", "file:///a"),
            ("file:///a%23b", "file:///a"),
            ("file:///a/", "file:///a"),
            ("db://user:word@HOST/a", "db://host/a"),
            ("https://a.example.:8443/b", "https://a.example:8443/b"),
            ("https://a.example./b", "https://a.example/b"),
            ("docs:/a", "docs:a"),
        ] {
            let Readings { strict, loose } = readings(uri);
            assert!(loose.iter().any(|reading| reading == expected), "{uri}: {strict:?} {loose:?}");
        }
    }

    #[test]
    fn what_has_too_many_has_none() {
        let (deep, wide) = (format!("x:%{}", "25".repeat(MAX_READINGS)), format!("x:{}", "%2525".repeat(100_000)));
        for uri in ["file:///a%00b", "file:///a%2500b", "https://\u{fffe}/", "r\u{e9}sum\u{e9}", &deep, &wide] {
            assert!(Readings::of(uri).is_none(), "{uri:.40}");
        }
        assert!(Readings::of(&format!("x:/{}", "%2525".repeat(20))).is_some());
        let long = format!("data:,{}", "a".repeat(1 << 20));
        assert!(Readings::of(&long) == Some(Readings::default()));
    }
}
