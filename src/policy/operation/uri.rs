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
        let strict = all(vec![uri.to_owned()], STRICT_STEPS)?;
        if strict.iter().any(|reading| reading.contains('\0')) {
            return None;
        }
        let known = strict.len();
        let mut strict = all(strict, LOOSE_STEPS)?;
        let loose = strict.split_off(known);
        // The first is what it says.
        Some(Self { strict: strict.into_iter().skip(1).collect(), loose })
    }
}

/// The same with all escapes decoded, or with those that the URL standard writes: a list has one of the two.
pub fn spellings(uri: &str) -> impl Iterator<Item = String> {
    [decoded, normalized].into_iter().filter_map(move |step| step(uri))
}

/// What a reader makes of a URI; `None` where there is nothing to do.
type Step = fn(&str) -> Option<String>;

fn all(mut readings: Vec<String>, steps: &[Step]) -> Option<Vec<String>> {
    let written = readings.first().map_or(0, String::len);
    let most = written.saturating_mul(MAX_GROWTH).saturating_add(MAX_SHORT_SIZE);
    let mut size: usize = 0;
    let mut next = 0;
    while let Some(reading) = readings.get(next).cloned() {
        for step in steps {
            let Some(further) = step(&reading).filter(|further| !readings.contains(further)) else { continue };
            size = size.saturating_add(further.len());
            readings.push(further);
            if readings.len() > MAX_READINGS || size > most {
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

/// The same, but what stands in a path as a sign of its own stays in it.
fn decoded_within(uri: &str) -> Option<String> {
    let mut kept = uri.to_owned();
    for (sign, twice) in [("%23", "%2523"), ("%3f", "%253f"), ("%3F", "%253F")] {
        kept = kept.replace(sign, twice);
    }
    if kept == uri { None } else { decoded(&kept) }
}

/// Backslashes as slashes, where dots stand between them.
fn backslashed(uri: &str) -> Option<String> {
    slashed(uri).filter(|slashed| has_dots(Parts::of(slashed).path))
}

/// Backslashes as slashes.
fn slashed(uri: &str) -> Option<String> {
    uri.contains('\\').then(|| uri.replace('\\', "/"))
}

/// Without what the URL standard takes off: white space and controls around it, line ends and tabs in it.
fn trimmed(uri: &str) -> Option<String> {
    let text = uri.trim_matches(|letter| letter <= ' ').replace(['\t', '\n', '\r'], "");
    (text != uri).then_some(text)
}

/// Without what stands around a URI in a text (RFC 3986, appendix C): Java and Python take `<URL:file:///a>` for `file:///a`, or a part of
/// these signs.
fn unwrapped(uri: &str) -> Option<String> {
    let bare = uri.strip_prefix('<').and_then(|uri| uri.strip_suffix('>')).unwrap_or(uri);
    let behind = bare.split_at_checked(4).filter(|(prefix, _)| prefix.eq_ignore_ascii_case("url:"));
    let bare = behind.map_or(bare, |(_, behind)| behind);
    (bare != uri).then(|| bare.to_owned())
}

/// Without dot segments in its path.
fn followed(uri: &str) -> Option<String> {
    let Parts { start, path, rest, .. } = Parts::of(uri);
    followed_in(path).map(|path| format!("{start}{path}{rest}"))
}

/// The same by somebody who takes all for a path that stands behind the scheme and its slashes: `docs://a/../b` is `docs://b`.
fn climbed(uri: &str) -> Option<String> {
    let parts = Parts::of(uri);
    let (scheme, behind) = uri.split_at_checked(parts.scheme_length).filter(|(scheme, _)| !is_of_hosts(scheme))?;
    let path = behind.strip_prefix("//").unwrap_or(behind);
    let slashes = behind.strip_suffix(path).unwrap_or_default();
    followed_in(path).map(|path| format!("{scheme}{slashes}{path}"))
}

/// A path without its dot segments, as a file system follows them: through any number of slashes.
fn followed_in(path: &str) -> Option<String> {
    if !has_dots(path) {
        return None;
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    let root = if path.starts_with('/') { "/" } else { "" };
    let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    Some(format!("{root}{}{end}", segments.join("/")))
}

fn has_dots(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

/// `//` as `/`.
fn merged(uri: &str) -> Option<String> {
    let Parts { start, path, rest, .. } = Parts::of(uri);
    let mut shorter = path.contains("//").then(|| path.to_owned())?;
    while shorter.contains("//") {
        shorter = shorter.replace("//", "/");
    }
    Some(format!("{start}{shorter}{rest}"))
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

/// As Windows opens it: without dots and spaces at the ends of names, and without the stream of a file (`a::$DATA`).
fn opened_by_windows(uri: &str) -> Option<String> {
    let Parts { start, path, rest, .. } = Parts::of(uri);
    let opened: Vec<&str> = path.split('/').map(name_of_file).collect();
    let opened = opened.join("/");
    (opened != path).then(|| format!("{start}{opened}{rest}"))
}

fn name_of_file(segment: &str) -> &str {
    // `C:` is a drive.
    let name = segment.split_once(':').filter(|(name, stream)| !name.is_empty() && !stream.is_empty());
    let name = name.map_or(segment, |(name, _)| name);
    Some(name.trim_end_matches(['.', ' '])).filter(|trimmed| !trimmed.is_empty()).unwrap_or(name)
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

/// A host without the dot at its end, which only resolvers need, and without the colon of a port that isn't there.
fn absolute(uri: &str) -> Option<String> {
    let parts = Parts::of(uri);
    let (scheme, authority) = parts.start.split_once("//")?;
    let end = authority.rfind(':').filter(|end| authority.bytes().skip(*end).skip(1).all(|byte| byte.is_ascii_digit()));
    let (host, port) = authority.split_at_checked(end.unwrap_or(authority.len()))?;
    let shorter = format!("{}{}", host.strip_suffix('.').unwrap_or(host), if port == ":" { "" } else { port });
    (shorter != authority).then(|| format!("{scheme}//{shorter}{}{}", parts.path, parts.rest))
}

/// `docs:a`, `docs:/a` and `docs:///a`: whoever joins any of them to a folder finds the same.
fn with_slashes(uri: &str, slashes: &str) -> Option<String> {
    let (scheme, behind) = uri.split_at_checked(Parts::of(uri).scheme_length)?;
    let other = format!("{scheme}{slashes}{}", behind.trim_start_matches('/'));
    (!is_of_hosts(scheme) && !scheme.is_empty() && other != uri).then_some(other)
}

/// The file of a path, whatever host or scheme stands before that: to those who open a file, only the path counts.
fn as_file(uri: &str) -> Option<String> {
    let Parts { start, path, rest, .. } = Parts::of(uri);
    let scheme = start.split_once("//").map_or(start, |(scheme, _)| scheme);
    let is_file = scheme.is_empty() || scheme.eq_ignore_ascii_case("file:");
    (is_file && path.starts_with('/') && start != "file://").then(|| format!("file://{path}{rest}"))
}

/// Whether a host always stands behind a scheme, or its colon (URL standard, "special schemes", but for files).
fn is_of_hosts(scheme: &str) -> bool {
    ["http:", "https:", "ws:", "wss:", "ftp:"].iter().any(|known| scheme.eq_ignore_ascii_case(known))
}

/// A URI in three parts (RFC 3986, section 3).
struct Parts<'u> {
    /// The length of the scheme with its colon.
    scheme_length: usize,
    /// Scheme and authority with what ends and begins them; empty for a relative one.
    start: &'u str,
    path: &'u str,
    /// From the query on.
    rest: &'u str,
}

impl<'u> Parts<'u> {
    fn of(uri: &'u str) -> Self {
        let behind_scheme = uri.split_once(':').filter(|(scheme, _)| scheme.bytes().all(is_of_scheme));
        let behind_scheme = behind_scheme.map_or(uri, |(_, behind)| behind);
        let behind = match behind_scheme.strip_prefix("//") {
            Some(authority) => {
                let end = authority.find(['/', '?', '#']).unwrap_or(authority.len());
                authority.get(end..).unwrap_or_default()
            }
            None => behind_scheme,
        };
        let scheme_length = uri.len().saturating_sub(behind_scheme.len());
        let start = uri.strip_suffix(behind).unwrap_or_default();
        let (path, rest) = behind.split_at_checked(behind.find(['?', '#']).unwrap_or(behind.len())).unwrap_or_default();
        Self { scheme_length, start, path, rest }
    }
}

/// RFC 3986, section 3.1.
fn is_of_scheme(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

/// The steps to readings that lead elsewhere.
const STRICT_STEPS: &[Step] =
    &[normalized, trimmed, unwrapped, decoded, decoded_within, backslashed, followed, climbed];

/// The steps to loose readings.
const LOOSE_STEPS: &[Step] = &[
    merged,
    slashed,
    cut,
    closed,
    opened_by_windows,
    anonymous,
    lowered,
    absolute,
    as_file,
    |uri| with_slashes(uri, ""),
    |uri| with_slashes(uri, "/"),
    |uri| with_slashes(uri, "///"),
];

/// What is decoded twice, and has a query and another spelling of its host, has some dozens. Each is held against a whole list.
const MAX_READINGS: usize = 128;

/// A client chooses how long a URI is, and a message may hold hundreds: together, the readings of a long one have so many times its
/// bytes at most.
const MAX_GROWTH: usize = 6;

/// And those of a short one this many more.
const MAX_SHORT_SIZE: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(uri: &str) -> Readings {
        Readings::of(uri).unwrap()
    }

    #[test]
    fn what_says_one_thing_has_no_other_reading() {
        for uri in ["https://a.example/", "http://a.example:8080/b/c.html", "a/b", ""] {
            assert_eq!(readings(uri), Readings::default(), "{uri}");
        }
        for uri in [
            "https://a.example/b?c=/../d",
            "file:///public/a",
            "db://host/a/b",
            "urn:isbn:1",
            "docs:a/b",
            "notes://work",
            "win:C:\\data",
            "x:",
        ] {
            assert_eq!(readings(uri).strict, [""; 0], "{uri}");
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
            ("file:/%23%2f../secret/a", "file:/secret/a"),
            ("docs:a%3F%2f../../secret", "docs:secret"),
            ("docs://public/../secret/a", "docs://secret/a"),
            ("docs://public%2f..%2fsecret/a", "docs://secret/a"),
            ("docs:public?/../../secret", "docs:secret"),
            (" docs:se\tcret\n", "docs:secret"),
            ("FILE:///a", "file:///a"),
            ("url:file:///a", "file:///a"),
            ("<URL: file:///a>", "file:///a"),
            ("<docs:a>", "docs:a"),
            ("%75rl:docs:a", "docs:a"),
            ("https://a.example:443/b", "https://a.example/b"),
        ] {
            assert!(readings(uri).strict.iter().any(|reading| reading == expected), "{uri}: {:?}", readings(uri));
        }
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
            ("docs:///a", "docs:a"),
            ("docs:%2f/secret/a", "docs:secret/a"),
            ("docs:a", "docs:///a"),
            ("db://h/secret\\a", "db://h/secret/a"),
            ("file://:/secret/a", "file:///secret/a"),
            ("file://b.example/secret/a", "file:///secret/a"),
            ("File://u@[::1]:80/secret/a?b", "file:///secret/a"),
            ("/secret/a", "file:///secret/a"),
            ("//b.example/secret/../a", "file:///a"),
            ("file:/s%65cret/..\\@", "file:///secret/..\\@"),
            ("file:///C:/secret./a. .", "file:///C:/secret/a"),
            ("file:///secret%20/a", "file:///secret/a"),
            ("file:///secret::$INDEX_ALLOCATION/a::$DATA", "file:///secret/a"),
        ] {
            let Readings { strict, loose } = readings(uri);
            assert!(loose.iter().any(|reading| reading == expected), "{uri}: {strict:?} {loose:?}");
        }
    }

    #[test]
    fn what_has_too_many_has_none() {
        let deep = format!("x:%{}", "25".repeat(MAX_READINGS));
        for uri in ["file:///a%00b", "file:///a%2500b", "https://\u{fffe}/", "r\u{e9}sum\u{e9}", &deep] {
            assert!(Readings::of(uri).is_none(), "{uri:.40}");
        }
        assert!(Readings::of(&format!("x:/{}", "%2525".repeat(20))).is_some());
        let long = format!("data:,{}", "a".repeat(100_000));
        assert_eq!(Readings::of(&long).map(|readings| readings.strict.len()), Some(0));
        assert!(Readings::of(&format!("db://u@HOST/{}/%61/", "b/".repeat(10_000))).is_none());
    }
}
