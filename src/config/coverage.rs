//! Which rules no request reaches, since an earlier one matches whatever they match.
//!
//! Sound, not complete: what is told here is so; what two earlier rules take together is not found. Each rule is held only
//! against those earlier ones that are for its path or its host, and against so many in all that thousands of rules cost
//! no more than some milliseconds.

use super::rule::{HeaderMatch, HeaderValue, PathMatch, Rule, RuleMatch};
use crate::http::path;
use crate::table::Table;

/// The rules that are never found, each with the earlier one that is found in its place.
pub(super) fn unreachable(rules: &[Rule]) -> Vec<(usize, usize)> {
    let mut earlier = Earlier::default();
    let mut left = MAX_COMPARISONS;
    let mut found = Vec::new();
    for (number, rule) in rules.iter().enumerate() {
        let Some(matching) = rule.matching.as_deref() else { continue };
        let mut first = None;
        for (other, by) in earlier.candidates(matching).take(left) {
            left = left.saturating_sub(1);
            if first.is_none_or(|first| other < first) && by.covers(matching) {
                first = Some(other);
            }
        }
        found.extend(first.map(|by| (number, by)));
        earlier.add(number, matching);
    }
    found
}

/// Earlier rules by what a request must have that one of them is for.
#[derive(Default)]
struct Earlier<'r> {
    by_path: Table<&'r [u8], Vec<(usize, &'r RuleMatch)>>,
    by_host: Table<&'r [u8], Vec<(usize, &'r RuleMatch)>>,
    others: Vec<(usize, &'r RuleMatch)>,
}

impl<'r> Earlier<'r> {
    fn add(&mut self, number: usize, matching: &'r RuleMatch) {
        let paths = matching.path.as_ref().map(beginnings).unwrap_or_default();
        // What is for every path is told apart by its hosts, if by anything.
        if !paths.is_empty() && paths.iter().all(|path| !path.is_empty()) {
            paths.into_iter().for_each(|path| self.by_path.entry(path).or_default().push((number, matching)));
        } else if matching.hosts.is_empty() {
            self.others.push((number, matching));
        } else {
            let hosts = matching.hosts.iter().map(|host| host.strip_prefix('*').unwrap_or(host));
            hosts.for_each(|host| self.by_host.entry(host.as_bytes()).or_default().push((number, matching)));
        }
    }

    /// Those that may cover this one: whoever covers it covers its first path and its first host.
    fn candidates(&self, matching: &'r RuleMatch) -> impl Iterator<Item = (usize, &'r RuleMatch)> {
        let path = matching.path.as_ref().and_then(|path| beginnings(path).first().copied());
        let by_path = path.into_iter().flat_map(path::prefixes).filter_map(|prefix| self.by_path.get(prefix));
        let host = matching.hosts.first().map(|host| host.strip_prefix('*').unwrap_or(host));
        let ends = host
            .into_iter()
            .flat_map(|host| std::iter::once(host).chain(domains(host).filter(move |end| *end != host)));
        let by_host = ends.filter_map(|end| self.by_host.get(end.as_bytes()));
        by_path.chain(by_host).chain([&self.others]).flatten().copied()
    }
}

/// Each end of a host that begins with a dot, the longest first.
fn domains(host: &str) -> impl Iterator<Item = &str> {
    host.match_indices('.').filter_map(|(dot, _)| host.get(dot..))
}

/// What each path begins with that this is for: whole segments without the last slash.
fn beginnings(path: &PathMatch) -> Vec<&[u8]> {
    match path {
        PathMatch::Exact(paths) | PathMatch::Prefix(paths) => {
            paths.iter().map(|path| path.strip_suffix(b"/").unwrap_or(path)).collect()
        }
        PathMatch::Pattern(patterns) => patterns.iter().map(|pattern| &*pattern.folder).collect(),
    }
}

impl RuleMatch {
    /// Whether whatever matches `other` matches this, too.
    fn covers(&self, other: &Self) -> bool {
        covers_list(&self.methods, &other.methods, |wide, narrow| wide == narrow)
            && covers_list(&self.route_names, &other.route_names, |wide, narrow| wide == narrow)
            && covers_list(&self.hosts, &other.hosts, covers_host)
            && self.path.as_ref().is_none_or(|path| other.path.as_ref().is_some_and(|other| path.covers(other)))
            && self.headers.iter().all(|header| other.headers.iter().any(|other| header.covers(other)))
    }
}

/// A list of alternatives, of which an empty one is for all.
fn covers_list<T>(wide: &[T], narrow: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    wide.is_empty() || !narrow.is_empty() && narrow.iter().all(|narrow| wide.iter().any(|wide| covers(wide, narrow)))
}

fn covers_host(wide: &String, narrow: &String) -> bool {
    wide == narrow || wide.strip_prefix('*').is_some_and(|end| narrow.len() > end.len() && narrow.ends_with(end))
}

impl PathMatch {
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(wide), Self::Exact(narrow)) => narrow.iter().all(|path| wide.contains(path)),
            (Self::Prefix(wide), _) => beginnings(other)
                .iter()
                .all(|path| path::prefixes(path).any(|prefix| wide.iter().any(|wide| **wide == *prefix))),
            (Self::Pattern(wide), Self::Exact(narrow)) => narrow.iter().all(|path| {
                let path = String::from_utf8_lossy(path);
                wide.iter().any(|wide| wide.regex.is_match(&path))
            }),
            (Self::Pattern(wide), Self::Pattern(narrow)) => {
                narrow.iter().all(|narrow| wide.iter().any(|wide| wide.regex.as_str() == narrow.regex.as_str()))
            }
            (Self::Exact(_), _) | (Self::Pattern(_), Self::Prefix(_)) => false,
        }
    }
}

impl HeaderMatch {
    fn covers(&self, other: &Self) -> bool {
        self.name == other.name
            && match (&self.value, &other.value) {
                (HeaderValue::Present(wanted), HeaderValue::Present(other)) => wanted == other,
                (HeaderValue::Present(wanted), _) => *wanted,
                (HeaderValue::Exact(wide), HeaderValue::Exact(narrow)) => wide == narrow,
                (HeaderValue::Prefix(wide), HeaderValue::Exact(narrow) | HeaderValue::Prefix(narrow)) => {
                    narrow.starts_with(wide.as_str())
                }
                (HeaderValue::Pattern(wide), HeaderValue::Exact(narrow)) => wide.is_match(narrow),
                (HeaderValue::Pattern(wide), HeaderValue::Pattern(narrow)) => wide.as_str() == narrow.as_str(),
                (HeaderValue::Exact(_) | HeaderValue::Prefix(_) | HeaderValue::Pattern(_), _) => false,
            }
    }
}

/// Some fifty milliseconds in the module.
const MAX_COMPARISONS: usize = 1 << 20;
