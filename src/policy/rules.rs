//! Which rule a request falls under: the first in the order of the configuration that matches it.
//!
//! Thousands of rules must cost no more than tens. So each rule is a bit, and for each dimension (route, host, method,
//! path, one per header) a table gives the rules that a request's value leaves possible; the first bit that all
//! dimensions leave is the rule. Only on what is left then are regular expressions tried, and headers held against
//! prefixes, presence, or several conditions: each rule's headers once for a request. A rule without a word on a dimension
//! stays possible, whatever the value.
//!
//! The invariant: the index leaves out no rule that matches; and a request whose path, host or method two readers could read
//! differently is judged by no rule that asks for less than another one that it could fall under.

mod bits;
mod dimension;
mod host;
mod ranks;

use crate::config::{HeaderMatch, HeaderValue, PathMatch, Policy, Rule, RuleMatch};
use crate::http::path::{self, Path};
use crate::http::{Headers, Request};
use bits::Bits;
use dimension::Dimension;
pub use host::host;
use host::{Host, suffixes};
use ranks::Ranks;
use std::cell::Cell;
use std::rc::Rc;

/// The index of a list of rules.
pub struct RuleIndex {
    rules: Vec<Indexed>,
    /// A bit for each rule, all of them set: where each search begins.
    all: Bits,
    routes: Dimension,
    hosts: Dimension,
    methods: Dimension,
    paths: Dimension,
    headers: Vec<(Box<str>, Dimension)>,
    /// Whether expressions may be tried on a path.
    has_patterns: bool,
    /// Whether a path beyond ASCII is in a rule: of that, readers may know other spellings.
    has_foreign_paths: bool,
    /// The headers that expressions may be tried on.
    pattern_headers: Vec<Box<str>>,
    /// The rules that the metadata of a route may name.
    named: Bits,
    ranks: Ranks,
    /// Room to work in, kept from request to request.
    scratch: Cell<Scratch>,
}

/// What the index can't decide about a rule, whether requests need no token under it, and whether it is for tunnels.
struct Indexed {
    matching: Option<Rc<RuleMatch>>,
    is_bypass: bool,
    means_tunnels: bool,
}

/// Room to work in.
#[derive(Default)]
struct Scratch {
    /// The rules that are still possible.
    left: Bits,
    /// The rules that one dimension leaves possible.
    possible: Bits,
    tried: Tried,
}

/// Rules whose headers were held against this request's, and those whose headers fit: a request has one list of them, however
/// many readings its path has.
#[derive(Default)]
struct Tried {
    asked: Bits,
    fitting: Bits,
}

/// Why no rule is chosen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Error {
    /// Two readers of this path, host or method would find two different rules; or it takes too long to find one.
    Ambiguous,
}

impl RuleIndex {
    /// The index of these rules, in order, above the policy for what falls under none. A rule without a match is never found.
    pub fn new(rules: &[Rule], top: &Policy) -> Self {
        let count = rules.len();
        let matches: Vec<&RuleMatch> = rules.iter().filter_map(|rule| rule.matching.as_deref()).collect();
        let paths: Vec<&PathMatch> = matches.iter().filter_map(|matching| matching.path.as_ref()).collect();
        let headers = matches.iter().flat_map(|matching| &matching.headers);
        let by_pattern = headers.clone().filter(|header| matches!(header.value, HeaderValue::Pattern(_)));
        let mut index = Self {
            rules: Vec::new(),
            all: Bits::all(count),
            routes: Dimension::new(count),
            hosts: Dimension::new(count),
            methods: Dimension::new(count),
            paths: Dimension::new(count),
            headers: names(headers).into_iter().map(|name| (name, Dimension::new(count))).collect(),
            has_patterns: paths.iter().any(|path| matches!(path, PathMatch::Pattern(_))),
            has_foreign_paths: paths.iter().any(|path| path.is_foreign()),
            pattern_headers: names(by_pattern),
            named: Bits::none(count),
            ranks: Ranks::new(rules, top),
            scratch: Cell::default(),
        };
        for (number, Rule { name, matching, policy }) in rules.iter().enumerate() {
            if let Some(matching) = matching {
                index.add(number, matching);
            }
            if name.is_some() {
                index.named.insert(number);
            }
            let Policy { bypass, means_tunnels, .. } = **policy;
            index.rules.push(Indexed { matching: matching.clone(), is_bypass: bypass, means_tunnels });
        }
        index
    }

    fn add(&mut self, number: usize, matching: &RuleMatch) {
        self.routes.add(number, bytes(&matching.route_names), Vec::new());
        self.methods.add(number, bytes(&matching.methods), Vec::new());
        let (suffixes, hosts): (Vec<&str>, Vec<&str>) =
            matching.hosts.iter().map(String::as_str).partition(|host| host.starts_with('*'));
        self.hosts.add(number, bytes(&hosts), bytes(suffixes.iter().filter_map(|host| host.strip_prefix('*'))));
        match &matching.path {
            None => self.paths.add(number, Vec::new(), Vec::new()),
            Some(PathMatch::Exact(paths)) => self.paths.add(number, paths.clone(), Vec::new()),
            Some(PathMatch::Prefix(prefixes)) => self.paths.add(number, Vec::new(), prefixes.clone()),
            Some(PathMatch::Pattern(patterns)) => {
                let folders = patterns.iter().map(|pattern| pattern.folder.clone()).collect();
                self.paths.add(number, Vec::new(), folders);
            }
        }
        for (name, dimension) in &mut self.headers {
            let mut said = matching.headers.iter().filter(|header| *header.name == **name);
            // Several conditions on one header are left to the last check.
            let values = match (said.next(), said.next()) {
                (Some(HeaderMatch { value: HeaderValue::Exact(value), .. }), None) => vec![Box::from(value.as_bytes())],
                _ => Vec::new(),
            };
            dimension.add(number, values, Vec::new());
        }
    }

    /// Whether a rule may be found by a header of this name.
    pub fn reads_header(&self, name: &[u8]) -> bool {
        matches!(name, b":authority" | b":method" | b":path")
            || self.headers.iter().any(|(read, _)| read.as_bytes() == name)
    }

    /// The rule that a request falls under, the first that matches; `None` if none does.
    pub fn find(&self, request: &Request) -> Result<Option<usize>, Error> {
        let read = self.read(request);
        if read.host.text.is_none() && !self.hosts.is_indifferent() || self.has_long_headers(request) {
            return Err(Error::Ambiguous);
        }
        self.with_scratch(|scratch| {
            let found = self.find_by_method(&read, scratch)?;
            let certain = found.filter(|number| self.is_certain(*number, &read.doubts));
            if read.doubts.tunnel && certain.is_some() {
                return Ok(found);
            }
            self.if_none_asks_more(found, certain, &read, scratch)
        })
    }

    /// The rule that holds where the metadata of the route name this one: Envoy may have found the route by a path that the
    /// service reads otherwise.
    pub fn named(&self, number: usize, request: &Request) -> Result<Option<usize>, Error> {
        let read = self.read(request);
        let is_bypass = self.rules.get(number).is_some_and(|rule| rule.is_bypass);
        let found = Some(number).filter(|_| !is_bypass || read.doubts.are_none());
        self.with_scratch(|scratch| self.if_none_asks_more(found, None, &read, scratch))
    }

    /// Searches in the room that is kept for it, of which nothing of the last request is left.
    fn with_scratch<T>(&self, search: impl FnOnce(&mut Scratch) -> T) -> T {
        let mut scratch = self.scratch.take();
        scratch.tried.asked.clear();
        let found = search(&mut scratch);
        self.scratch.set(scratch);
        found
    }

    fn read<'r>(&self, request: &'r Request) -> ReadRequest<'r> {
        let target = request.path().unwrap_or_default();
        // To some readers, `#` and what stands behind it are a part of the path.
        let path = Path::read(target.split(|byte| *byte == b'?').next().unwrap_or_default());
        let host = Host::read(request.authority().unwrap_or_default());
        // Methods differ by case, but not for every service.
        let method = request.method();
        let upper = method.filter(|method| method.iter().any(u8::is_ascii_lowercase)).map(<[u8]>::to_ascii_uppercase);
        let upper = upper.filter(|_| self.reads_routes() || !self.methods.is_indifferent());
        let doubts = Doubts {
            path: !path.is_normal() || target.contains(&b'#') || self.has_foreign_paths && !path.is_composed(),
            host: !host.is_normal && (self.reads_routes() || !self.hosts.is_indifferent()),
            method: upper.is_some(),
            tunnel: request.opens_tunnel(),
        };
        ReadRequest { request, path, host, method, upper, doubts }
    }

    /// Whether rules are found by routes, which Envoy has found by the path, the host and the method.
    fn reads_routes(&self) -> bool {
        !self.routes.is_indifferent() || !self.named.is_empty()
    }

    /// Whether a header is too long for the expressions that may be tried on it.
    fn has_long_headers(&self, request: &Request) -> bool {
        self.pattern_headers
            .iter()
            .any(|name| request.headers.all(name).map(<[u8]>::len).fold(0, usize::saturating_add) > MAX_PATTERN_TEXT)
    }

    fn has_long_path(&self, path: &Path) -> bool {
        self.has_patterns && path.longest() > MAX_PATTERN_TEXT
    }

    fn find_by_method(&self, read: &ReadRequest, scratch: &mut Scratch) -> Result<Option<usize>, Error> {
        let found = self.find_by_path(read.facts(read.method), read, scratch)?;
        match &read.upper {
            Some(upper) if self.find_by_path(read.facts(Some(upper)), read, scratch)? != found => Err(Error::Ambiguous),
            _ => Ok(found),
        }
    }

    fn find_by_path(
        &self,
        facts: OneReading,
        read: &ReadRequest,
        scratch: &mut Scratch,
    ) -> Result<Option<usize>, Error> {
        let ReadRequest { path, doubts, .. } = read;
        if self.paths.is_indifferent() {
            return Ok(self.find_one(&facts, doubts, scratch));
        }
        if self.has_long_path(path) {
            return Err(Error::Ambiguous);
        }
        let mut readings = path.readings().ok_or(Error::Ambiguous)?;
        let Some(first) = readings.next() else { return Ok(self.find_one(&facts, doubts, scratch)) };
        let found = self.find_one(&facts.at(first), doubts, scratch);
        if !readings.all(|reading| self.find_one(&facts.at(reading), doubts, scratch) == found) {
            return Err(Error::Ambiguous);
        }
        let found = path.sessionless().iter().try_fold(found, |found, other| {
            let other = self.find_one(&facts.at(other), doubts, scratch);
            self.stricter(found, other)
        })?;
        path.neighbours().iter().try_fold(found, |found, neighbour| {
            let other = self.find_one(&facts.at(neighbour), doubts, scratch);
            self.with_neighbour(found, other)
        })
    }

    /// The rule for a path, given the rule that was found for it and the rule of a neighbouring path: the neighbour's, if that comes
    /// first and asks for no less.
    fn with_neighbour(&self, found: Option<usize>, neighbour: Option<usize>) -> Result<Option<usize>, Error> {
        let comes_first = self.ranks.number(neighbour) < self.ranks.number(found);
        if comes_first { self.stricter(neighbour, found) } else { Ok(found) }
    }

    /// The one of two rules that asks for whatever the other asks for; the first, if each does.
    fn stricter(&self, first: Option<usize>, second: Option<usize>) -> Result<Option<usize>, Error> {
        if self.ranks.asks_no_less(first, second) {
            Ok(first)
        } else if self.ranks.asks_no_less(second, first) {
            Ok(second)
        } else {
            Err(Error::Ambiguous)
        }
    }

    /// Whether a rule says nothing about what is in doubt, nor about routes, which Envoy has found by that: then it matches the
    /// request however that is read. What is said in a tunnel may be for any host and path: only who means tunnels means that.
    fn is_certain(&self, number: usize, doubts: &Doubts) -> bool {
        let Some(Indexed { matching: Some(matching), means_tunnels, .. }) = self.rules.get(number) else {
            return false;
        };
        if doubts.tunnel {
            return *means_tunnels;
        }
        matching.route_names.is_empty()
            && (!doubts.path || matching.path.is_none())
            && (!doubts.host || matching.hosts.is_empty())
            && (!doubts.method || matching.methods.is_empty())
    }

    /// The rule that was found, unless the request can be read in two ways and could fall under a rule that asks for more. Rules behind
    /// one that is `certain` to match don't count.
    fn if_none_asks_more(
        &self,
        found: Option<usize>,
        certain: Option<usize>,
        read: &ReadRequest,
        scratch: &mut Scratch,
    ) -> Result<Option<usize>, Error> {
        if read.doubts.are_none() {
            return Ok(found);
        }
        if self.has_long_headers(read.request) || self.has_long_path(&read.path) {
            return Err(Error::Ambiguous);
        }
        let asking = self.ranks.asking_more_than(found).ok_or(Error::Ambiguous)?;
        let is_top_possible = certain.is_none() && asking.has(self.rules.len());
        // In a tunnel, a client can say what any rule is for.
        let is_any_meant = read.doubts.tunnel && !asking.is_empty();
        if is_top_possible || is_any_meant || asking.meets(&self.named) {
            return Err(Error::Ambiguous);
        }
        let mut methods = std::iter::once(read.method).chain(read.upper.as_deref().map(Some));
        let end = certain.unwrap_or(self.rules.len());
        if methods.any(|method| self.is_any_possible(asking, end, &read.facts(method), read, scratch)) {
            return Err(Error::Ambiguous);
        }
        Ok(found)
    }

    /// Whether one of these rules, before the one at `end`, could be found if what is in doubt were otherwise. The route is always in
    /// doubt, since Envoy has found it by the path, the host and the method.
    fn is_any_possible(
        &self,
        rules: &Bits,
        end: usize,
        facts: &OneReading,
        read: &ReadRequest,
        scratch: &mut Scratch,
    ) -> bool {
        let Scratch { left, possible, tried } = scratch;
        left.copy(rules);
        let ReadRequest { doubts, .. } = read;
        let path = read.path.readings().and_then(|mut readings| readings.next()).filter(|_| !doubts.path);
        self.methods.narrow(left, possible, facts.method, []);
        if !doubts.host {
            self.hosts.narrow(left, possible, facts.host, facts.host.iter().flat_map(|host| suffixes(host)));
        }
        if !doubts.path {
            self.paths.narrow(left, possible, path, path.iter().flat_map(|path| path::prefixes(path)));
        }
        self.narrow_by_headers(left, possible, read.request);
        left.iter().take_while(|number| *number < end).any(|number| {
            let matching = self.rules.get(number).and_then(|rule| rule.matching.as_ref());
            matching
                .is_some_and(|matching| fits_path(matching, path) && tried.fit(number, matching, &read.request.headers))
        })
    }

    fn find_one(&self, facts: &OneReading, doubts: &Doubts, scratch: &mut Scratch) -> Option<usize> {
        let Scratch { left, possible, tried } = scratch;
        left.copy(&self.all);
        let OneReading { request, method, host, path } = facts;
        self.routes.narrow(left, possible, request.route.name.as_deref(), []);
        self.methods.narrow(left, possible, *method, []);
        self.hosts.narrow(left, possible, *host, host.iter().flat_map(|host| suffixes(host)));
        self.paths.narrow(left, possible, *path, path.iter().flat_map(|path| path::prefixes(path)));
        self.narrow_by_headers(left, possible, request);
        left.iter().find(|number| {
            let Some(Indexed { matching: Some(matching), is_bypass, .. }) = self.rules.get(*number) else {
                return false;
            };
            let may_open = !is_bypass || doubts.are_none() || self.is_certain(*number, doubts);
            may_open && fits_path(matching, *path) && tried.fit(*number, matching, &request.headers)
        })
    }

    fn narrow_by_headers(&self, left: &mut Bits, possible: &mut Bits, request: &Request) {
        for (name, dimension) in &self.headers {
            let value = request.headers.joined(name);
            dimension.narrow(left, possible, value.as_deref(), []);
        }
    }
}

fn bytes(texts: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Box<[u8]>> {
    texts.into_iter().map(|text| Box::from(text.as_ref().as_bytes())).collect()
}

/// The names of these headers, each once.
fn names<'r>(headers: impl Iterator<Item = &'r HeaderMatch>) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = Vec::new();
    for header in headers {
        if !names.iter().any(|name| **name == *header.name) {
            names.push(Box::from(&*header.name));
        }
    }
    names
}

/// A request as it was sent, with what rules are found by.
struct ReadRequest<'r> {
    request: &'r Request,
    path: Path<'r>,
    host: Host<'r>,
    method: Option<&'r [u8]>,
    /// The method in upper case, where it isn't, and where that matters.
    upper: Option<Vec<u8>>,
    doubts: Doubts,
}

impl ReadRequest<'_> {
    fn facts<'r>(&'r self, method: Option<&'r [u8]>) -> OneReading<'r> {
        OneReading { request: self.request, method, host: self.host.text.as_deref(), path: None }
    }
}

/// What two readers could read differently.
struct Doubts {
    path: bool,
    host: bool,
    method: bool,
    /// What goes through a tunnel may be for any of them, and have any headers.
    tunnel: bool,
}

impl Doubts {
    fn are_none(&self) -> bool {
        !(self.path || self.host || self.method || self.tunnel)
    }
}

impl Tried {
    /// Whether these headers are what this rule wants.
    fn fit(&mut self, number: usize, matching: &RuleMatch, headers: &Headers) -> bool {
        if matching.headers.is_empty() {
            return true;
        }
        self.asked.reach(number);
        self.fitting.reach(number);
        if !self.asked.has(number) {
            self.asked.insert(number);
            if fits_headers(matching, headers) {
                self.fitting.insert(number);
            } else {
                self.fitting.remove(number);
            }
        }
        self.fitting.has(number)
    }
}

/// What a request is matched by, in one reading.
#[derive(Clone, Copy)]
struct OneReading<'r> {
    request: &'r Request,
    method: Option<&'r [u8]>,
    host: Option<&'r [u8]>,
    path: Option<&'r [u8]>,
}

impl<'r> OneReading<'r> {
    /// The same with this reading of the path.
    fn at(self, path: &'r [u8]) -> Self {
        Self { path: Some(path), ..self }
    }
}

/// What the index leaves open of a path: expressions.
fn fits_path(matching: &RuleMatch, path: Option<&[u8]>) -> bool {
    match (&matching.path, path) {
        (Some(PathMatch::Pattern(patterns)), Some(path)) => {
            // Bytes that are no text must not lead around an expression.
            let path = String::from_utf8_lossy(path);
            patterns.iter().any(|pattern| pattern.regex.is_match(&path))
        }
        _ => true,
    }
}

/// What the index leaves open of headers: those that are not compared as a whole.
fn fits_headers(matching: &RuleMatch, headers: &Headers) -> bool {
    matching.headers.iter().all(|header| {
        let value = headers.joined(&header.name);
        match (&header.value, value.as_deref()) {
            (HeaderValue::Present(wanted), value) => value.is_some() == *wanted,
            (HeaderValue::Exact(wanted), Some(value)) => value == wanted.as_bytes(),
            (HeaderValue::Prefix(wanted), Some(value)) => value.starts_with(wanted.as_bytes()),
            (HeaderValue::Pattern(regex), Some(value)) => regex.is_match(&String::from_utf8_lossy(value)),
            (_, None) => false,
        }
    })
}

/// The longest path, and the longest value of a header, that expressions are tried on, at some 40 ns for each byte and
/// expression, and for a path in each of its readings; which rule a longer one has is not known.
const MAX_PATTERN_TEXT: usize = 2 * 1024;
