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

mod ranks;

use crate::config::{HeaderMatch, HeaderValue, PathMatch, Policy, Rule, RuleMatch};
use crate::http::path::{self, Path};
use crate::http::{Headers, Request};
use ranks::Ranks;
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
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

/// What the index can't decide about a rule, and whether it opens a door.
struct Indexed {
    matching: Option<Rc<RuleMatch>>,
    is_bypass: bool,
}

#[derive(Default)]
struct Scratch {
    left: Bits,
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

type Bits = Vec<u64>;

/// The rules that a value of one kind leaves possible.
#[derive(Default)]
struct Dimension {
    /// Those that say nothing about it.
    indifferent: Bits,
    exact: HashMap<Box<[u8]>, Members>,
    /// Hosts: what stands behind `*`, with its dot. Paths: whole segments without the last slash.
    partial: HashMap<Box<[u8]>, Members>,
    /// The length of the longest of these. A client chooses how many parts its path and its host have: those that are longer
    /// are not looked up.
    longest: usize,
}

/// The rules that name one value: one by one while they are few, as bits when that is less to go through.
enum Members {
    Few(Vec<usize>),
    Many(Bits),
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
        let matches = || rules.iter().filter_map(|rule| rule.matching.as_deref());
        let headers = || matches().flat_map(|matching| &matching.headers);
        let by_pattern = headers().filter(|header| matches!(header.value, HeaderValue::Pattern(_)));
        let dimension = || Dimension { indifferent: vec![0; count.div_ceil(WORD)], ..Dimension::default() };
        let mut index = Self {
            rules: Vec::new(),
            all: vec![u64::MAX; count.div_ceil(WORD)],
            routes: dimension(),
            hosts: dimension(),
            methods: dimension(),
            paths: dimension(),
            headers: names(headers()).into_iter().map(|name| (name, dimension())).collect(),
            has_patterns: matches().any(|matching| matches!(matching.path, Some(PathMatch::Pattern(_)))),
            has_foreign_paths: matches().any(|matching| matching.path.as_ref().is_some_and(PathMatch::is_foreign)),
            pattern_headers: names(by_pattern),
            named: vec![0; count.div_ceil(WORD)],
            ranks: Ranks::new(rules, top),
            scratch: Cell::default(),
        };
        for (number, Rule { name, matching, policy }) in rules.iter().enumerate() {
            if let Some(matching) = matching {
                index.add(number, matching);
            }
            if name.is_some() {
                set_bit(&mut index.named, number);
            }
            index.rules.push(Indexed { matching: matching.clone(), is_bypass: policy.bypass });
        }
        index
    }

    fn add(&mut self, number: usize, matching: &RuleMatch) {
        let bytes =
            |texts: &[String]| -> Vec<Box<[u8]>> { texts.iter().map(|text| Box::from(text.as_bytes())).collect() };
        self.routes.add(number, bytes(&matching.route_names), Vec::new());
        self.methods.add(number, bytes(&matching.methods), Vec::new());
        let is_suffix = |host: &&String| host.starts_with('*');
        let (suffixes, hosts): (Vec<_>, Vec<_>) = matching.hosts.iter().partition(is_suffix);
        let suffixes = suffixes.into_iter().map(|host| Box::from(host.as_bytes().get(1..).unwrap_or_default()));
        let hosts = hosts.into_iter().map(|host| Box::from(host.as_bytes()));
        self.hosts.add(number, hosts.collect(), suffixes.collect());
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
            // More than one word about one header is left to the last check.
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
        let mut scratch = self.scratch.take();
        scratch.tried.asked.clear();
        let found = self.find_by_method(&read, &mut scratch);
        let found = found.and_then(|found| {
            let certain = found.filter(|number| self.is_certain(*number, &read.doubts));
            self.if_none_asks_more(found, certain, &read, &mut scratch)
        });
        self.scratch.set(scratch);
        found
    }

    /// The rule that holds where the metadata of the route name this one: Envoy may have found the route by a path that the
    /// service reads otherwise.
    pub fn named(&self, number: usize, request: &Request) -> Result<Option<usize>, Error> {
        let read = self.read(request);
        let is_bypass = self.rules.get(number).is_some_and(|rule| rule.is_bypass);
        let found = Some(number).filter(|_| !is_bypass || read.doubts.are_none());
        let mut scratch = self.scratch.take();
        scratch.tried.asked.clear();
        let found = self.if_none_asks_more(found, None, &read, &mut scratch);
        self.scratch.set(scratch);
        found
    }

    fn read<'r>(&self, request: &'r Request) -> Read<'r> {
        let target = request.path().unwrap_or_default();
        // A mark that begins a fragment is part of the path to some.
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
        };
        Read { request, path, host, method, upper, doubts }
    }

    /// Whether rules are found by routes, which Envoy has found by the path, the host and the method.
    fn reads_routes(&self) -> bool {
        !self.routes.is_indifferent() || self.named.iter().any(|word| *word != 0)
    }

    /// Whether a header is too long for the expressions that may be tried on it.
    fn has_long_headers(&self, request: &Request) -> bool {
        let is_long =
            |name: &str| request.headers.all(name).map(<[u8]>::len).fold(0, usize::saturating_add) > MAX_PATTERN_TEXT;
        self.pattern_headers.iter().any(|name| is_long(name))
    }

    fn has_long_path(&self, path: &Path) -> bool {
        self.has_patterns && path.longest() > MAX_PATTERN_TEXT
    }

    fn find_by_method(&self, read: &Read, scratch: &mut Scratch) -> Result<Option<usize>, Error> {
        let found = self.find_by_path(read.facts(read.method), read, scratch)?;
        match &read.upper {
            Some(upper) if self.find_by_path(read.facts(Some(upper)), read, scratch)? != found => Err(Error::Ambiguous),
            _ => Ok(found),
        }
    }

    fn find_by_path(&self, facts: Facts, read: &Read, scratch: &mut Scratch) -> Result<Option<usize>, Error> {
        let Read { path, doubts, .. } = read;
        if self.paths.is_indifferent() {
            return Ok(self.find_one(&facts, doubts, scratch));
        }
        if self.has_long_path(path) {
            return Err(Error::Ambiguous);
        }
        let mut readings = path.readings().ok_or(Error::Ambiguous)?;
        let Some(first) = readings.next() else { return Ok(self.find_one(&facts, doubts, scratch)) };
        let mut find = |reading: &[u8]| self.find_one(&Facts { path: Some(reading), ..facts }, doubts, scratch);
        let found = find(first);
        if !readings.all(|reading| find(reading) == found) {
            return Err(Error::Ambiguous);
        }
        let neighbours = path.neighbours();
        neighbours.iter().try_fold(found, |found, neighbour| self.with_neighbour(found, find(neighbour)))
    }

    /// The rule for a path of which the one rule is found, and for a path that it stands close to the other: that one, if it
    /// comes first and asks for no less.
    fn with_neighbour(&self, found: Option<usize>, neighbour: Option<usize>) -> Result<Option<usize>, Error> {
        let comes_first = self.ranks.number(neighbour) < self.ranks.number(found);
        if !comes_first {
            Ok(found)
        } else if self.ranks.asks_no_less(neighbour, found) {
            Ok(neighbour)
        } else if self.ranks.asks_no_less(found, neighbour) {
            Ok(found)
        } else {
            Err(Error::Ambiguous)
        }
    }

    /// Whether a rule says nothing about what is in doubt, nor about routes, which Envoy has found by that: then it matches the
    /// request however that is read.
    fn is_certain(&self, number: usize, doubts: &Doubts) -> bool {
        let matching = self.rules.get(number).and_then(|rule| rule.matching.as_ref());
        matching.is_some_and(|matching| {
            matching.route_names.is_empty()
                && (!doubts.path || matching.path.is_none())
                && (!doubts.host || matching.hosts.is_empty())
                && (!doubts.method || matching.methods.is_empty())
        })
    }

    /// The rule that was found; unless the request can be read in two ways, and could fall under a rule that asks for more. One
    /// that is `certain` to match leaves nothing to those behind it.
    fn if_none_asks_more(
        &self,
        found: Option<usize>,
        certain: Option<usize>,
        read: &Read,
        scratch: &mut Scratch,
    ) -> Result<Option<usize>, Error> {
        if read.doubts.are_none() {
            return Ok(found);
        }
        if self.has_long_headers(read.request) || self.has_long_path(&read.path) {
            return Err(Error::Ambiguous);
        }
        let asking = self.ranks.asking_more_than(found).ok_or(Error::Ambiguous)?;
        let is_named = asking.iter().zip(&self.named).any(|(asking, named)| asking & named != 0);
        let mut methods = std::iter::once(read.method).chain(read.upper.as_deref().map(Some));
        let end = certain.unwrap_or(self.rules.len());
        let mut is_possible =
            || methods.any(|method| self.is_any_possible(asking, end, &read.facts(method), read, scratch));
        let is_top_possible = certain.is_none() && has_bit(asking, self.rules.len());
        if is_top_possible || is_named || is_possible() { Err(Error::Ambiguous) } else { Ok(found) }
    }

    /// Whether one of these rules, before the one at `end`, could be found if what is in doubt were otherwise. Routes are, with all
    /// that Envoy finds them by.
    fn is_any_possible(&self, rules: &Bits, end: usize, facts: &Facts, read: &Read, scratch: &mut Scratch) -> bool {
        let Scratch { left, possible, tried } = scratch;
        left.clone_from(rules);
        let Read { doubts, .. } = read;
        let path = read.path.readings().and_then(|mut readings| readings.next()).filter(|_| !doubts.path);
        self.methods.narrow(left, possible, facts.method, []);
        if !doubts.host {
            self.hosts.narrow(left, possible, facts.host, facts.host.iter().flat_map(|host| suffixes(host)));
        }
        if !doubts.path {
            self.paths.narrow(left, possible, path, path.iter().flat_map(|path| path::prefixes(path)));
        }
        self.narrow_by_headers(left, possible, read.request);
        set_bits(left).take_while(|number| *number < end).any(|number| {
            let matching = self.rules.get(number).and_then(|rule| rule.matching.as_ref());
            matching
                .is_some_and(|matching| fits_path(matching, path) && tried.fit(number, matching, &read.request.headers))
        })
    }

    fn find_one(&self, facts: &Facts, doubts: &Doubts, scratch: &mut Scratch) -> Option<usize> {
        let Scratch { left, possible, tried } = scratch;
        left.clone_from(&self.all);
        let Facts { request, method, host, path } = facts;
        self.routes.narrow(left, possible, request.route.name.as_deref(), []);
        self.methods.narrow(left, possible, *method, []);
        self.hosts.narrow(left, possible, *host, host.iter().flat_map(|host| suffixes(host)));
        self.paths.narrow(left, possible, *path, path.iter().flat_map(|path| path::prefixes(path)));
        self.narrow_by_headers(left, possible, request);
        set_bits(left).find(|number| {
            let Some(Indexed { matching: Some(matching), is_bypass }) = self.rules.get(*number) else { return false };
            let may_open = !is_bypass || doubts.are_none() || self.is_certain(*number, doubts);
            may_open && fits_path(matching, *path) && tried.fit(*number, matching, &request.headers)
        })
    }

    fn narrow_by_headers(&self, left: &mut Bits, possible: &mut Bits, request: &Request) {
        for (name, dimension) in &self.headers {
            let value = combined(&request.headers, name);
            dimension.narrow(left, possible, value.as_deref(), []);
        }
    }
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

/// What rules are found by, as it was sent.
struct Read<'r> {
    request: &'r Request,
    path: Path<'r>,
    host: Host<'r>,
    method: Option<&'r [u8]>,
    /// The method in upper case, where it isn't, and where that matters.
    upper: Option<Vec<u8>>,
    doubts: Doubts,
}

impl Read<'_> {
    fn facts<'r>(&'r self, method: Option<&'r [u8]>) -> Facts<'r> {
        Facts { request: self.request, method, host: self.host.text.as_deref(), path: None }
    }
}

/// What two readers could read differently.
struct Doubts {
    path: bool,
    host: bool,
    method: bool,
}

impl Doubts {
    fn are_none(&self) -> bool {
        !(self.path || self.host || self.method)
    }
}

impl Tried {
    /// Whether these headers are what this rule wants.
    fn fit(&mut self, number: usize, matching: &RuleMatch, headers: &Headers) -> bool {
        if matching.headers.is_empty() {
            return true;
        }
        let words = (number / WORD).saturating_add(1);
        self.asked.resize(words.max(self.asked.len()), 0);
        self.fitting.resize(words.max(self.fitting.len()), 0);
        if !has_bit(&self.asked, number) {
            set_bit(&mut self.asked, number);
            put_bit(&mut self.fitting, number, fits_headers(matching, headers));
        }
        has_bit(&self.fitting, number)
    }
}

/// What a request is matched by, in one reading.
#[derive(Clone, Copy)]
struct Facts<'r> {
    request: &'r Request,
    method: Option<&'r [u8]>,
    host: Option<&'r [u8]>,
    path: Option<&'r [u8]>,
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
        let value = combined(headers, &header.name);
        match (&header.value, value.as_deref()) {
            (HeaderValue::Present(wanted), value) => value.is_some() == *wanted,
            (HeaderValue::Exact(wanted), Some(value)) => value == wanted.as_bytes(),
            (HeaderValue::Prefix(wanted), Some(value)) => value.starts_with(wanted.as_bytes()),
            (HeaderValue::Pattern(regex), Some(value)) => regex.is_match(&String::from_utf8_lossy(value)),
            (_, None) => false,
        }
    })
}

impl Dimension {
    fn add(&mut self, number: usize, exact: Vec<Box<[u8]>>, partial: Vec<Box<[u8]>>) {
        if exact.is_empty() && partial.is_empty() {
            set_bit(&mut self.indifferent, number);
        }
        self.longest = partial.iter().map(|part| part.len()).max().unwrap_or_default().max(self.longest);
        for (keys, map) in [(exact, &mut self.exact), (partial, &mut self.partial)] {
            for key in keys {
                map.entry(key).or_insert(Members::Few(Vec::new())).add(number, self.indifferent.len());
            }
        }
    }

    fn is_indifferent(&self) -> bool {
        self.exact.is_empty() && self.partial.is_empty()
    }

    /// Takes from `left` the rules that this value rules out.
    fn narrow<'v>(
        &self,
        left: &mut Bits,
        possible: &mut Bits,
        value: Option<&[u8]>,
        parts: impl IntoIterator<Item = &'v [u8]>,
    ) {
        if self.is_indifferent() {
            return;
        }
        possible.clone_from(&self.indifferent);
        let exact = value.and_then(|value| self.exact.get(value));
        let parts = parts.into_iter().filter(|part| part.len() <= self.longest);
        let partial = parts.filter_map(|part| self.partial.get(part));
        exact.into_iter().chain(partial).for_each(|members| members.add_to(possible));
        left.iter_mut().zip(possible.iter()).for_each(|(left, possible)| *left &= possible);
    }
}

impl Members {
    fn add(&mut self, number: usize, words: usize) {
        match self {
            Self::Few(numbers) if numbers.len() < words => numbers.push(number),
            Self::Few(numbers) => {
                let mut bits = vec![0; words];
                numbers.iter().chain([&number]).for_each(|number| set_bit(&mut bits, *number));
                *self = Self::Many(bits);
            }
            Self::Many(bits) => set_bit(bits, number),
        }
    }

    fn add_to(&self, possible: &mut Bits) {
        match self {
            Self::Few(numbers) => numbers.iter().for_each(|number| set_bit(possible, *number)),
            Self::Many(bits) => possible.iter_mut().zip(bits).for_each(|(possible, bits)| *possible |= bits),
        }
    }
}

/// The host of an authority as rules see it: in lower case, without its port and a final dot. `None` if it is no host.
pub fn host(authority: &[u8]) -> Option<Cow<'_, [u8]>> {
    Host::read(authority).text
}

/// The host that a request is for: RFC 9110, section 7.2.
struct Host<'r> {
    /// In lower case, without the port. `None` if it is no host.
    text: Option<Cow<'r, [u8]>>,
    /// Whether it has no final dot, which some readers leave out.
    is_normal: bool,
}

impl<'r> Host<'r> {
    fn read(authority: &'r [u8]) -> Self {
        let port = authority.iter().rposition(|byte| *byte == b':').filter(|colon| {
            let digits = authority.get(colon.saturating_add(1)..).unwrap_or_default();
            digits.iter().all(u8::is_ascii_digit) && !authority.ends_with(b"]")
        });
        let host = port.and_then(|colon| authority.get(..colon)).unwrap_or(authority);
        let dotless = host.strip_suffix(b".").unwrap_or(host);
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let is_literal =
            |inner: &[u8]| inner.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
        let literal = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]"));
        let is_host = literal.is_some_and(is_literal) || dotless.iter().all(is_name) && !dotless.ends_with(b".");
        if !is_host || dotless.is_empty() {
            return Self { text: None, is_normal: false };
        }
        let text = if dotless.iter().any(u8::is_ascii_uppercase) {
            Cow::Owned(dotless.to_ascii_lowercase())
        } else {
            Cow::Borrowed(dotless)
        };
        Self { text: Some(text), is_normal: dotless.len() == host.len() }
    }
}

/// Each end of a host that begins with a dot, the longest first.
fn suffixes(host: &[u8]) -> impl Iterator<Item = &[u8]> {
    let dots = host.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(dot, _)| dot);
    dots.filter(|dot| *dot > 0).filter_map(|dot| host.get(dot..))
}

/// The value of a header, as Envoy sees one that was sent more than once: joined by commas.
fn combined<'r>(headers: &'r Headers, name: &'r str) -> Option<Cow<'r, [u8]>> {
    let mut values = headers.all(name);
    let first = values.next()?;
    let mut combined = Cow::Borrowed(first);
    for value in values {
        let joined = combined.to_mut();
        joined.push(b',');
        joined.extend_from_slice(value);
    }
    Some(combined)
}

fn set_bit(bits: &mut Bits, number: usize) {
    if let Some(word) = bits.get_mut(number / WORD) {
        *word |= 1 << (number % WORD);
    }
}

fn put_bit(bits: &mut Bits, number: usize, is_set: bool) {
    if let Some(word) = bits.get_mut(number / WORD) {
        let bit = 1 << (number % WORD);
        *word = if is_set { *word | bit } else { *word & !bit };
    }
}

fn has_bit(bits: &Bits, number: usize) -> bool {
    bits.get(number / WORD).is_some_and(|word| word & (1 << (number % WORD)) != 0)
}

fn set_bits(bits: &Bits) -> impl Iterator<Item = usize> {
    // Most words of most requests are empty.
    bits.iter().enumerate().filter(|(_, word)| **word != 0).flat_map(|(index, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            let bit = usize::try_from(rest.trailing_zeros()).ok().filter(|_| rest != 0)?;
            rest &= rest.wrapping_sub(1);
            Some(index.saturating_mul(WORD).saturating_add(bit))
        })
    })
}

/// The longest path, and the longest value of a header, that expressions are tried on, at some 40 ns for each byte and
/// expression, and for a path in each of its readings; which rule a longer one has is not known.
const MAX_PATTERN_TEXT: usize = 2 * 1024;

/// Bits of a word.
const WORD: usize = u64::BITS as usize;
