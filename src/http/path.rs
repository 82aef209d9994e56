//! The path of a request as rules see it: RFC 3986, sections 3.3 and 6.2.
//!
//! A service may read a path in another way than the proxy before it: decode `%2F`, follow `..`, cut off `;v=1`. So
//! a path that can be read in more than one way is read here in each. The invariant: a path in normal form has one
//! reading, every other path says that it is not in normal form.
//!
//! Some paths in normal form stand close to another one: `/users:search` to `/users`, `/kullanıcı` to `/kullanici`, `/(S(x))/users` to
//! `/users`. They are honest, but a rule for that other one may be meant for them, too.

mod letters;
mod readings;

use crate::http::escapes::escape;
pub(crate) use letters::are_composed;
use readings::{all_readings, is_dots, is_kept, is_untrimmed, kept, segments};

/// What a path may mean.
#[derive(Debug, Eq, PartialEq)]
pub struct Path<'p> {
    readings: Readings<'p>,
    is_normal: bool,
}

#[derive(Debug, Eq, PartialEq)]
enum Readings<'p> {
    One(&'p [u8]),
    Several(Vec<Vec<u8>>),
    /// There are too many; or a control character is in it, which some drop wherever it stands.
    Unknown,
}

impl<'p> Path<'p> {
    /// Reads what stands before the query. Any bytes are a path; none at all (CONNECT) and `*` (RFC 9112, section 3.2.4)
    /// have no reading.
    pub fn read(path: &'p [u8]) -> Self {
        let is_plain = path.first() == Some(&b'/') && path.iter().copied().all(is_plain);
        if is_plain && !has_empty_segment(path) && !segments(path).any(is_dots) {
            return Self { readings: Readings::One(path), is_normal: true };
        }
        if path.is_empty() || path == b"*" {
            return Self { readings: Readings::Several(Vec::new()), is_normal: false };
        }
        let is_normal = is_normal(path);
        let readings = if is_normal { Some(vec![kept(path)]) } else { all_readings(path) };
        Self { readings: readings.map_or(Readings::Unknown, Readings::Several), is_normal }
    }

    /// The bytes of the longest way to read it.
    pub fn longest(&self) -> usize {
        self.readings().into_iter().flatten().map(<[u8]>::len).max().unwrap_or_default()
    }

    /// Every way to read it, each once; `None` if nobody can say, or if there are more than anybody writes in good faith.
    pub fn readings(&self) -> Option<impl Iterator<Item = &[u8]>> {
        let (one, several) = match &self.readings {
            Readings::One(path) => (Some(*path), &[][..]),
            Readings::Several(paths) => (None, paths.as_slice()),
            Readings::Unknown => return None,
        };
        Some(one.into_iter().chain(several.iter().map(Vec::as_slice)))
    }

    /// Whether every reader finds the same path in it. If so, there is one reading.
    pub fn is_normal(&self) -> bool {
        self.is_normal
    }

    /// Whether its text is in Unicode's composed form (NFC): what is written `é` elsewhere, and not `e` with an accent.
    pub fn is_composed(&self) -> bool {
        let mut readings = self.readings().into_iter().flatten();
        readings.all(|reading| std::str::from_utf8(reading).is_ok_and(letters::are_composed))
    }

    /// Whether each of its characters is the same to every reader, in every reading: none is taken for another one, and none could
    /// be spelled otherwise.
    pub fn has_certain_letters(&self) -> bool {
        let mut readings = self.readings().into_iter().flatten();
        readings.all(|reading| std::str::from_utf8(reading).is_ok_and(letters::are_plain)) && self.is_composed()
    }

    /// What is left to a service that looks for sessions in a path, of each reading that could hold one.
    pub fn sessionless(&self) -> Vec<Vec<u8>> {
        match &self.readings {
            Readings::Several(readings) => readings.iter().filter_map(|path| without_sessions(path)).collect(),
            Readings::One(_) | Readings::Unknown => Vec::new(),
        }
    }

    /// The paths that one in normal form stands close to: with the letters of ASCII that its letters are without regard to
    /// case, without the sessions that ASP.NET puts between slashes, and without what follows a resource in its own segment.
    pub fn neighbours(&self) -> Vec<Vec<u8>> {
        // What consists of plain ASCII has none.
        let (true, Readings::Several(readings)) = (self.is_normal, &self.readings) else { return Vec::new() };
        let texts = readings.iter().filter_map(|reading| std::str::from_utf8(reading).ok());
        let mut close: Vec<Vec<u8>> = texts.filter_map(letters::folded).map(String::into_bytes).collect();
        let sessionless = readings.iter().chain(&close).filter_map(|path| without_sessions(path));
        close.extend(sessionless.collect::<Vec<_>>());
        let resources = readings.iter().chain(&close).flat_map(|path| [without_suffixes(path), without_verb(path)]);
        let resources: Vec<_> = resources.flatten().collect();
        close.extend(resources);
        close
    }
}

/// Each segment up to its first colon or bracket: `/users:search`, and `/Users(7)/Orders` as OData writes keys.
fn without_suffixes(path: &[u8]) -> Option<Vec<u8>> {
    let names = segments(path).filter_map(|segment| segment.split(is_suffix_mark).next());
    path.iter().any(is_suffix_mark).then(|| names.collect::<Vec<_>>().join(&b'/'))
}

/// Without the brackets that segments begin with, nor the slash before each: where ASP.NET keeps sessions without cookies, it takes
/// `/(S(x))` off wherever that stands, so that `/ad/(S(x))min` is `/admin`.
fn without_sessions(path: &[u8]) -> Option<Vec<u8>> {
    let has_session = path.windows(2).any(|two| two == b"/(");
    has_session.then(|| {
        let mut left = Vec::with_capacity(path.len());
        for segment in segments(path.strip_prefix(b"/").unwrap_or(path)) {
            match segment.iter().rposition(|byte| *byte == b')').filter(|_| segment.starts_with(b"(")) {
                Some(end) => left.extend(segment.iter().skip(end.saturating_add(1))),
                None => left.extend([&b"/"[..], segment].concat()),
            }
        }
        if left.first() == Some(&b'/') { left } else { [&b"/"[..], &left].concat() }
    })
}

/// What stands before the last colon: `/users/urn:x:7` of `/users/urn:x:7:undelete`, the custom methods of Google's APIs
/// (AIP-136).
fn without_verb(path: &[u8]) -> Option<Vec<u8>> {
    let (resource, verb) = path.split_at_checked(path.iter().rposition(|byte| *byte == b':')?)?;
    let is_last = !verb.strip_suffix(b"/").unwrap_or(verb).contains(&b'/');
    is_last.then(|| resource.to_vec())
}

fn is_suffix_mark(byte: &u8) -> bool {
    matches!(byte, b':' | b'(')
}

/// A path that an operator wrote, as [`Path::readings`] has it; `None` if it is not in normal form itself.
pub fn canonical(path: &str) -> Option<Vec<u8>> {
    // What stands in a configuration may be written plainly: `/caf%C3%A9` and `/café` are one path.
    let is_clean = path.starts_with('/')
        && !path.bytes().any(|byte| byte.is_ascii_control() || matches!(byte, b'\\' | b';' | b'?' | b'#'))
        && !has_empty_segment(path.as_bytes());
    let reading = kept(path.as_bytes());
    let stays = std::str::from_utf8(&reading).is_ok() && !segments(&reading).any(is_dots);
    (is_clean && stays && !has_kept_escape(path.as_bytes())).then_some(reading)
}

/// Whether an expression holds an escape that no reading of a path has.
pub fn has_idle_escape(pattern: &str) -> bool {
    let pattern = pattern.as_bytes();
    (0..pattern.len()).filter_map(|start| pattern.get(start..)).any(|rest| {
        let is_lower = rest.iter().take(3).any(u8::is_ascii_lowercase);
        escape(rest).is_some_and(|escaped| !is_kept(escaped) || is_lower)
    })
}

/// The prefixes of a path that end with a whole segment, the longest first and the empty one last.
pub fn prefixes(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = path.strip_suffix(b"/").unwrap_or(path);
    let ends = whole.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
    std::iter::once(whole).chain(ends.filter_map(move |end| whole.get(..end)))
}

/// RFC 3986, section 6.2.2: no escape that could be left out, no dot segment; and nothing that some reader takes for a
/// slash, for the end of a segment or for the end of the path, or trims.
fn is_normal(path: &[u8]) -> bool {
    let raw = path.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b';' | b'#' | b'?'));
    path.first() == Some(&b'/')
        && raw
        && !has_empty_segment(path)
        && escapes(path).all(|escaped| {
            escaped.is_some_and(|byte| {
                !byte.is_ascii_control()
                    && !matches!(byte, b'/' | b'\\' | b';' | b'?' | b'#' | b'%' | b'-' | b'.' | b'_' | b'~')
                    && !byte.is_ascii_alphanumeric()
            })
        })
        && !segments(path).any(is_dots)
        && {
            let reading = kept(path);
            std::str::from_utf8(&reading).is_ok_and(letters::are_plain) && !segments(&reading).any(is_untrimmed)
        }
}

/// What each `%` of a path stands for; `None` for one that begins no escape.
fn escapes(path: &[u8]) -> impl Iterator<Item = Option<u8>> {
    let starts = path.iter().enumerate().filter(|(_, byte)| **byte == b'%');
    starts.map(move |(start, _)| escape(path.get(start..).unwrap_or_default()))
}

fn has_kept_escape(path: &[u8]) -> bool {
    escapes(path).any(|escaped| escaped.is_none_or(is_kept))
}

fn has_empty_segment(path: &[u8]) -> bool {
    path.windows(2).any(|pair| pair == b"//")
}

/// Whether a byte means itself to every reader, and begins nothing that stands behind a resource.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'%' | b'\\' | b';' | b'#' | b'?' | b':' | b'(')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(path: &str) -> Vec<String> {
        let path = Path::read(path.as_bytes());
        path.readings().expect("few").map(|reading| String::from_utf8_lossy(reading).into_owned()).collect()
    }

    fn is_normal(path: &[u8]) -> bool {
        Path::read(path).is_normal()
    }

    #[test]
    fn a_normal_path_has_one_reading() {
        for (path, reading) in [
            ("/", "/"),
            ("/a/b.c/d..e/...", "/a/b.c/d..e/..."),
            ("/a/", "/a/"),
            ("/a%20b/caf%C3%A9", "/a b/café"),
            ("/a%20b/caf%c3%a9", "/a b/café"),
            ("/a:b@c,d=e&f$g", "/a:b@c,d=e&f$g"),
        ] {
            assert_eq!(readings(path), [reading]);
            assert!(is_normal(path.as_bytes()), "{path}");
        }
    }

    /// PTH-01, PTH-02, PTH-03.
    #[test]
    fn what_can_be_read_twice_is_not_normal() {
        for (path, meant) in [
            ("/public/../admin", "/admin"),
            ("/public/./../admin", "/admin"),
            ("/public/..%2fadmin", "/admin"),
            ("/public/%2e%2e/admin", "/admin"),
            ("/public/.%2E/admin", "/admin"),
            ("/public/%u002e%U002E/admin", "/admin"),
            ("/public%u002f..%u005cadmin", "/admin"),
            ("/public/%25u002e%u002e/%u0061dmin", "/admin"),
            ("/public/..;/admin", "/admin"),
            ("/public/..;a=b/admin", "/admin"),
            ("/public\\..\\admin", "/admin"),
            ("/public%5c..%5cadmin", "/admin"),
            ("//public/../admin", "/admin"),
            ("/public//../admin", "/admin"),
            ("//admin", "/admin"),
            ("///admin", "/admin"),
            ("/%61dmin", "/admin"),
            ("/public/%252e%252e/admin", "/admin"),
            ("/public/%25%32%65%252e/admin", "/admin"),
            ("/public/%252e%252e%252fadmin", "/admin"),
            ("/admin%3fx=/public", "/admin"),
            ("/admin%23/public", "/admin"),
            ("/admin;jsessionid=1", "/admin"),
            ("/../../admin", "/admin"),
            ("admin", "/admin"),
        ] {
            assert!(readings(path).iter().any(|reading| reading == meant), "{path}: {:?}", readings(path));
            assert!(!is_normal(path.as_bytes()), "{path}");
        }
    }

    /// PTH-03, PTH-12.
    #[test]
    fn bytes_that_no_path_has() {
        for path in
            ["/public/%c0%ae%c0%ae/admin", "/public%00", "/public%0a", "/public%7f", "/public%", "/public%2", "/a%zz"]
        {
            assert!(!is_normal(path.as_bytes()), "{path}");
        }
        for path in [&b"/public\xff"[..], b"/public\x7f", b"/public x", b"/public\0", b"*", b"", b"https://a/b"] {
            assert!(!is_normal(path), "{path:?}");
        }
        assert!(readings("*").is_empty() && readings("").is_empty());
    }

    /// PTH-03.
    #[test]
    fn signs_that_a_service_may_take_for_dots_and_slashes() {
        for path in [
            "/public/%ef%bc%8e%ef%bc%8e/admin",
            "/public/%E2%80%A5/admin",
            "/public%e2%88%95..%E2%88%95admin",
            "/admin%ef%bc%8f",
            "/public/..%ef%bc%9b/admin",
        ] {
            assert!(!is_normal(path.as_bytes()), "{path}");
        }
        assert!(is_normal("/docs/%E3%80%82".as_bytes()), "a full stop of Chinese");
        // Three dots to some (NFKC).
        assert!(!is_normal("/docs/%e2%80%a6".as_bytes()));
    }

    /// ATK-04: Python's `urlsplit` and every WHATWG URL parser drop tabs and line breaks wherever they stand (URL
    /// standard, section 4.4), C ends at NUL: nobody can say what a path with controls is.
    #[test]
    fn a_path_with_a_control_character_has_no_reading() {
        for byte in (0..0x20).chain([0x7f]) {
            let digits: String = format!("{byte:02x}").bytes().map(|digit| format!("%{digit:02x}")).collect();
            for path in [
                format!("/ad%{byte:02x}min"),
                format!("/ad%{byte:02X}min"),
                format!("/ad%25{byte:02x}min"),
                format!("/ad%25{digits}min"),
                format!("/ad%u00{byte:02x}min"),
                format!("/ad%c{:x}%{:02x}min", byte >> 6, 0x80 | byte & 0x3f),
                format!("/ad%e0%{:02x}%{:02x}min", 0x80 | byte >> 6, 0x80 | byte & 0x3f),
                format!("/x;a%{byte:02x}/../admin"),
                format!("/x%3f%{byte:02x}"),
                format!("/ad{}min", char::from(byte)),
            ] {
                let read = Path::read(path.as_bytes());
                assert!(read.readings().is_none() && !read.is_normal(), "{path:?}");
            }
        }
    }

    /// ATK-18.
    #[test]
    fn paths_that_stand_close_to_others() {
        let of = |path: &str| -> Vec<String> {
            let neighbours = Path::read(path.as_bytes()).neighbours();
            neighbours.into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
        };
        for (path, neighbours) in [
            ("/v1/users", &[][..]),
            ("/v1/users:batchDelete", &["/v1/users", "/v1/users"]),
            ("/v1/users%3AbatchDelete/", &["/v1/users/", "/v1/users"]),
            ("/v1/urn:x:7:undelete", &["/v1/urn", "/v1/urn:x:7"]),
            ("/odata/Users(7)/Orders", &["/odata/Users/Orders"]),
            ("/(S(lit3py))/admin", &["/admin", "//admin"]),
            ("/a/(A(x)F(y))/(S(x))dmin/(X(1))", &["/admin", "/a///"]),
            ("/(S(x))", &["/", "/"]),
            (
                "/(S(x))/%C4%B1d:x",
                &[
                    "/(S(x))/id:x",
                    "/ıd:x",
                    "/id:x",
                    "//ıd",
                    "/(S(x))/ıd",
                    "//id",
                    "/(S(x))/id",
                    "/ıd",
                    "/ıd",
                    "/id",
                    "/id",
                ],
            ),
            ("/v1/u:x/y", &["/v1/u/y"]),
            ("/caf%C3%A9", &[]),
            ("/kullan%C4%B1c%C4%B1:ara", &["/kullanici:ara", "/kullanıcı", "/kullanıcı", "/kullanici", "/kullanici"]),
        ] {
            assert_eq!(of(path), neighbours, "{path}");
        }
    }

    /// PTH-01, PTH-03: Readers do the same in different orders. Following `..` makes the order matter: what one
    /// decodes, another has left behind by then.
    #[test]
    fn readers_have_orders_of_their_own() {
        for (path, meant) in [
            // Tomcat takes parameters off before it decodes.
            ("/admin;x=%2F..", "/admin"),
            ("/admin;x=%2F../users", "/admin/users"),
            ("/admin/;x", "/admin/"),
            // nginx follows dots, and knows neither backslashes nor parameters.
            ("/x/../admin/..\\", "/admin/..\\"),
            ("/x/../admin/..%5c", "/admin/..\\"),
            ("/x/../admin/..;/", "/admin/..;/"),
            ("/x/../admin//../..;/", "/..;/"),
            // WHATWG's URL follows `%2e%2e` and backslashes, and leaves `%2F` and empty segments.
            ("/x/%2e%2e/admin/..%2f", "/admin/..%2F"),
            ("/x/../admin//..", "/admin/"),
            ("/x\\..\\admin//..", "/admin/"),
            // A parser of whole URLs takes what follows two slashes for a host.
            ("//x/admin", "/admin"),
            ("///x/admin", "/admin"),
            ("/\\x/admin", "/admin"),
            ("https://x/admin", "/admin"),
            ("https://x/a/../admin", "/admin"),
            // A folder is left with its slash.
            ("/admin/.", "/admin/"),
            ("/admin/x/..", "/admin/"),
            ("/x/../admin/.", "/admin/"),
            // What stands behind a fragment's mark may be cut off, or be part of the path.
            ("/x#/../admin", "/x"),
            ("/x#/../admin", "/admin"),
            // A decoder that takes overlong UTF-8.
            ("/x/%c0%ae%c0%ae/admin", "/admin"),
            ("/x/..%c0%afadmin", "/admin"),
            ("/%c1%a1dmin", "/admin"),
            ("/a//..//b", "/a/b"),
            ("/a//..//b", "/b"),
        ] {
            assert!(readings(path).iter().any(|reading| reading == meant), "{path}: {:?}", readings(path));
        }
    }

    #[test]
    fn nobody_writes_a_path_with_so_many_readings() {
        let count = |path: &str| Path::read(path.as_bytes()).readings().map(Iterator::count);
        for honest in
            ["/a//b/c%2Fd", "/proxy/https%3A%2F%2Fx.example%2Fa%3Fb%3Dc%252F", "/a;v=1/../b;w=2", "/a%2Fb%5Cc"]
        {
            assert!(count(honest).is_some(), "{honest}");
        }
        let nested = format!("/%{}41", "25".repeat(100));
        let long = format!("/{}%2f", "a/".repeat(40_000));
        let tangled = "/a;%2f..%255c%2e%2e//%25%32%66..;\\..%3f#//b%00;c//..";
        for strange in [&nested, &long, tangled] {
            assert_eq!(count(strange), None, "{strange:.80}");
            assert!(!is_normal(strange.as_bytes()));
        }
    }

    #[test]
    fn prefixes_end_with_whole_segments() {
        let of = |path: &str| -> Vec<String> {
            prefixes(path.as_bytes()).map(|prefix| String::from_utf8(prefix.to_vec()).unwrap()).collect()
        };
        assert_eq!(of("/a/bc/d"), ["/a/bc/d", "/a/bc", "/a", ""]);
        assert_eq!(of("/a/"), ["/a", ""]);
        assert_eq!(of("/"), [""]);
    }

    #[test]
    fn a_configured_path_must_be_normal() {
        let of = |path: &str| canonical(path).map(|path| String::from_utf8(path).unwrap());
        for (written, path) in [
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("/a b", "/a b"),
            ("/a%20b", "/a b"),
            ("/café", "/café"),
            ("/caf%C3%A9", "/café"),
        ] {
            assert_eq!(of(written).as_deref(), Some(path));
        }
        for wrong in [
            "",
            "a",
            "/a//b",
            "/a/..",
            "/a/%2e%2e",
            "/a%2Fb",
            "/a;b",
            "/a?b",
            "/a#b",
            "/a\\b",
            "/a%",
            "/%00",
            "/%ff",
            "//",
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
