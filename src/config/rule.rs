//! The part of the configuration that says which requests are treated otherwise than the others.

use super::fields::Fields;
use super::output::header_name;
use super::policy::Policy;
use super::provider::ProviderConfig;
use super::warning::Warning;
use super::{Config, Error, is_token_byte, regex, whole_regex};
use crate::http::{TUNNEL_METHOD, is_tunnel_protocol, path};
use crate::ordered;
use crate::table::Table;
use regex_lite::Regex;
use std::rc::Rc;

/// Requests, and the policy for them.
#[derive(Debug)]
pub struct Rule {
    /// What Envoy's route metadata may call it.
    pub name: Option<String>,
    /// The requests that it is for; `None` if only route metadata lead to it.
    pub matching: Option<Rc<RuleMatch>>,
    /// What holds for them.
    pub policy: Rc<Policy>,
}

/// What a request must be like. An empty list says nothing about it.
#[derive(Clone, Debug)]
pub struct RuleMatch {
    /// Its path.
    pub path: Option<PathMatch>,
    /// Its method, one of these.
    pub methods: Vec<String>,
    /// Its host, one of these: in lower case, `*.` before it for all below it.
    pub hosts: Vec<String>,
    /// The name of the Envoy route that it takes, one of these.
    pub route_names: Vec<String>,
    /// Its headers, all of these.
    pub headers: Vec<HeaderMatch>,
}

/// A path, as [`path::Path`] reads it.
#[derive(Clone, Debug)]
pub enum PathMatch {
    /// One of these.
    Exact(Vec<Box<[u8]>>),
    /// One that begins with the segments of one of these.
    Prefix(Vec<Box<[u8]>>),
    /// One that one of these matches as a whole.
    Pattern(Vec<PathPattern>),
}

/// A regular expression for a path.
#[derive(Clone, Debug)]
pub struct PathPattern {
    /// With anchors.
    pub regex: Regex,
    /// The segments that every match begins with.
    pub folder: Box<[u8]>,
}

/// What one header must be like.
#[derive(Clone, Debug)]
pub struct HeaderMatch {
    /// In lower case.
    pub name: Rc<str>,
    /// Its value.
    pub value: HeaderValue,
}

/// The value of a header; sent more than once, its values with commas between them.
#[derive(Clone, Debug)]
pub enum HeaderValue {
    /// This.
    Exact(String),
    /// One that begins with this.
    Prefix(String),
    /// One that this matches as a whole.
    Pattern(Regex),
    /// Any, or none at all.
    Present(bool),
}

impl Rule {
    /// Whether the route that Envoy has chosen says if a request falls under it: by its name, or by its metadata.
    pub fn reads_route(&self) -> bool {
        self.name.is_some() || self.matching.as_ref().is_some_and(|matching| !matching.route_names.is_empty())
    }

    /// `rules: [...]`.
    pub(super) fn list(top: &mut Fields, base: &Policy, providers: &[ProviderConfig]) -> Result<Vec<Self>, Error> {
        let rules = top.objects("rules", |fields| Self::from_fields(fields, base, providers))?.unwrap_or_default();
        if rules.len() > MAX_RULES {
            return Err(top.error("rules", format!("at most {MAX_RULES}")));
        }
        let mut names: Table<&String, usize> = Table::default();
        for (index, rule) in rules.iter().enumerate() {
            if let Some(earlier) = rule.name.as_ref().and_then(|name| names.insert(name, index)) {
                let problem = format!("is the name of rules[{earlier}], too");
                return Err(Error::at(&format!("rules[{index}].name"), problem));
            }
        }
        check_patterns(&rules)?;
        Ok(rules)
    }

    fn from_fields(mut fields: Fields, base: &Policy, providers: &[ProviderConfig]) -> Result<Self, Error> {
        fields.allow_only(&[&["name", "match"], Policy::NARROWING_FIELDS, Policy::FIELDS].concat())?;
        let name = fields.string("name")?;
        if name.as_deref() == Some("") {
            return Err(fields.error("name", "must not be empty"));
        }
        let matching = fields.object("match")?.map(RuleMatch::from_fields).transpose()?.map(Rc::new);
        if matching.is_none() && name.is_none() {
            let problem = "required: the requests that the rule is for; or `name`, for a rule that route metadata name";
            return Err(fields.error("match", problem));
        }
        let means_tunnels = matching.as_ref().is_some_and(|matching| matching.names_tunnels());
        let policy = Rc::new(base.of_rule(means_tunnels, &mut fields, providers)?);
        fields.finish()?;
        Ok(Self { name, matching, policy })
    }
}

impl RuleMatch {
    /// Whether it names the method that opens tunnels, or a protocol that is one.
    fn names_tunnels(&self) -> bool {
        let names_protocol = |header: &HeaderMatch| match &header.value {
            HeaderValue::Exact(protocol) => &*header.name == "upgrade" && is_tunnel_protocol(protocol.as_bytes()),
            _ => false,
        };
        self.methods.iter().any(|method| method == TUNNEL_METHOD) || self.headers.iter().any(names_protocol)
    }

    fn from_fields(mut fields: Fields) -> Result<Self, Error> {
        if fields.is_empty() {
            let problem = "must not be empty: what holds for every request stands at the top level";
            return Err(fields.error("", problem));
        }
        fields.allow_only(&["path", "path_prefix", "path_pattern", "methods", "hosts", "route_name", "headers"])?;
        let matching = Self {
            path: PathMatch::from_fields(&mut fields)?,
            methods: list(&mut fields, "methods", method)?,
            hosts: list(&mut fields, "hosts", host)?,
            route_names: list(&mut fields, "route_name", |name| (!name.is_empty()).then_some(name).ok_or(EMPTY))?,
            headers: headers(&mut fields)?,
        };
        fields.finish()?;
        Ok(matching)
    }
}

impl PathMatch {
    /// Whether a path beyond ASCII is in it, which somebody may spell otherwise.
    pub fn is_foreign(&self) -> bool {
        match self {
            Self::Exact(paths) | Self::Prefix(paths) => !paths.iter().all(|path| path.is_ascii()),
            Self::Pattern(patterns) => patterns.iter().any(|pattern| is_foreign(pattern.regex.as_str())),
        }
    }

    fn from_fields(fields: &mut Fields) -> Result<Option<Self>, Error> {
        let given: Vec<&str> =
            ["path", "path_prefix", "path_pattern"].into_iter().filter(|field| fields.has(field)).collect();
        if let [_, second, ..] = given.as_slice() {
            return Err(fields.error(second, "only one of path, path_prefix and path_pattern; each may be a list"));
        }
        let exact = list(fields, "path", |path| literal(&path))?;
        let prefixes = list(fields, "path_prefix", |path| literal(&path))?;
        let patterns = list(fields, "path_pattern", |pattern| PathPattern::new(&pattern))?;
        Ok(match (exact.is_empty(), prefixes.is_empty(), patterns.is_empty()) {
            (false, _, _) => Some(Self::Exact(exact.into_iter().map(Vec::into_boxed_slice).collect())),
            (_, false, _) => {
                let bare = prefixes.iter().map(|path| Box::from(path.strip_suffix(b"/").unwrap_or(path)));
                Some(Self::Prefix(bare.collect()))
            }
            (_, _, false) => Some(Self::Pattern(patterns)),
            (true, true, true) => None,
        })
    }
}

/// A path that stands for itself. In other systems `/admin/*` is all of `/admin`; taken literally, it would protect nothing.
fn literal(path: &str) -> Result<Vec<u8>, &'static str> {
    match path::canonical(path) {
        Some(_) if path.contains('*') => Err(NO_WILDCARD),
        Some(path) => Ok(path),
        None => Err(NOT_NORMAL),
    }
}

impl PathPattern {
    fn new(pattern: &str) -> Result<Self, &'static str> {
        if path::has_idle_escape(pattern) {
            return Err("holds an escape; paths are compared with theirs decoded, so write what it stands for");
        }
        if !pattern.starts_with(['/', '(']) {
            return Err("must begin with / or (; it is for the whole path, so leave ^ and $ out");
        }
        if is_foreign(pattern) && ignores_case(pattern) {
            return Err(
                "has (?i), which holds for letters of ASCII only, and others beside; write these in both cases: [éÉ]",
            );
        }
        let regex =
            whole_regex(pattern).map_err(|_| "is no regular expression of regex-lite: no look-around, no \\p{…}")?;
        // An alternative at the top has beginnings of its own.
        let literal = if pattern.contains('|') {
            0
        } else {
            pattern.find(|c: char| !c.is_ascii_alphanumeric() && !"/-_~".contains(c)).unwrap_or(pattern.len())
        };
        // What stands before a quantifier may be left out of a match.
        let is_certain = !pattern.get(literal..).is_some_and(|rest| rest.starts_with(['?', '*', '+', '{']));
        let certain = if is_certain { literal } else { literal.saturating_sub(1) };
        let beginning = pattern.get(..certain).unwrap_or_default();
        let folder = beginning.rfind('/').and_then(|end| beginning.get(..end)).unwrap_or_default();
        Ok(Self { regex, folder: Box::from(folder.as_bytes()) })
    }
}

/// Whether an expression speaks of characters beyond ASCII: as they are, or by their number.
fn is_foreign(pattern: &str) -> bool {
    !pattern.is_ascii() || ["\\x", "\\u", "\\U"].into_iter().any(|escape| pattern.contains(escape))
}

fn ignores_case(pattern: &str) -> bool {
    let mut flags = pattern.split("(?").skip(1).flat_map(|text| text.chars().take_while(char::is_ascii_alphabetic));
    flags.any(|flag| flag == 'i')
}

impl HeaderMatch {
    /// `name`, and one of `exact`, `prefix`, `pattern` and `present`.
    fn from_fields(mut fields: Fields) -> Result<Self, Error> {
        fields.allow_only(&["name", "exact", "prefix", "pattern", "present"])?;
        let name = fields.required_string("name")?;
        Self::value(fields, &name)
    }

    fn value(mut fields: Fields, name: &str) -> Result<Self, Error> {
        // Its name stands outside where `headers` is an object.
        fields.allow_only(&["exact", "prefix", "pattern", "present"])?;
        let name = rule_header(&fields, "name", name)?;
        let exact = fields.string("exact")?;
        let prefix = fields.string("prefix")?;
        let pattern = fields.string("pattern")?;
        let present = fields.boolean("present")?;
        let value = match (exact, prefix, pattern, present) {
            (Some(exact), None, None, None) => HeaderValue::Exact(exact),
            (None, Some(prefix), None, None) if !prefix.is_empty() => HeaderValue::Prefix(prefix),
            (None, None, Some(pattern), None) => {
                HeaderValue::Pattern(regex(&fields, "pattern", whole_regex(&pattern))?)
            }
            (None, None, None, Some(present)) => HeaderValue::Present(present),
            _ => return Err(fields.error("exact", "expected one of exact, prefix, pattern and present")),
        };
        fields.finish()?;
        Ok(Self { name, value })
    }
}

/// A header that a request can have. Envoy makes `:authority` of `host`: a rule about that would be for no request.
fn rule_header(fields: &Fields, field: &str, name: &str) -> Result<Rc<str>, Error> {
    let name = header_name(fields, field, name)?;
    match &*name {
        "host" => Err(fields.error(field, "is told by `hosts`")),
        _ => Ok(name),
    }
}

/// A list of matchers; or an object of names with exact values, or with matchers.
fn headers(fields: &mut Fields) -> Result<Vec<HeaderMatch>, Error> {
    if fields.is_map("headers") {
        return fields.each_member("headers", |name, value, inner| match value {
            Some(exact) => {
                let name = rule_header(&inner, "", name)?;
                Ok(HeaderMatch { name, value: HeaderValue::Exact(exact) })
            }
            None => HeaderMatch::value(inner, name),
        });
    }
    match fields.objects("headers", HeaderMatch::from_fields)? {
        Some(list) if list.is_empty() => Err(fields.error("headers", EMPTY)),
        list => Ok(list.unwrap_or_default()),
    }
}

/// A list that, where it is given, has elements.
fn list<T>(
    fields: &mut Fields,
    field: &'static str,
    read: impl Fn(String) -> Result<T, &'static str>,
) -> Result<Vec<T>, Error> {
    match fields.strings(field)? {
        None => Ok(Vec::new()),
        Some(list) if list.is_empty() => Err(fields.error(field, EMPTY)),
        Some(list) => list.into_iter().map(|text| read(text).map_err(|problem| fields.error(field, problem))).collect(),
    }
}

/// RFC 9110, section 9.1: methods differ by case. All that people use are in upper case.
fn method(method: String) -> Result<String, &'static str> {
    if !method.is_empty() && method.bytes().all(|byte| is_token_byte(byte) && !byte.is_ascii_lowercase()) {
        Ok(method)
    } else {
        Err("must be methods in upper case, such as GET")
    }
}

/// A host without a port, or one with `*.` before it.
fn host(host: String) -> Result<String, &'static str> {
    let name = host.strip_prefix("*.").unwrap_or(&host);
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_literal = literal.is_some_and(|inner| inner.bytes().all(|b| b.is_ascii_hexdigit() || b":.".contains(&b)));
    if is_literal || name.split('.').all(is_label) {
        Ok(host.to_ascii_lowercase())
    } else {
        Err("must be hosts without port, such as api.example.com or *.example.com")
    }
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// What is allowed, and may not be what somebody means.
pub(super) fn warnings(config: &Config) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let asks_blindly = config.verify.as_ref().is_some_and(|verify| verify.request.is_none());
    let base = &config.policy;
    let asks_something = !base.require.is_empty() || base.authorization.is_some();
    if asks_something && lets_others_pass(base) {
        let path = if base.require.is_empty() { "external_authorization" } else { "require" };
        let text = format!("require, external_authorization: what they ask {OTHERS_PASS}");
        warnings.push(Warning::new("others_pass", path, text));
    }
    if config.rules.iter().any(Rule::reads_route) {
        let text = if config.marks {
            format!("rules: they look at routes, and {MAY_BE_REROUTED}; {ROUTE_CHECK}")
        } else {
            format!(
                "rules, marks: the rules look at routes, and {MAY_BE_REROUTED}; with `marks: false` nothing can refuse it \
                 before the service has seen it"
            )
        };
        warnings.push(Warning::new("rerouted", "rules", text));
    }
    for (index, rule) in config.rules.iter().enumerate() {
        let Rule { matching, policy, .. } = rule;
        if config.verify.is_some() && rule.reads_route() {
            let text = format!(
                "rules[{index}]: a question at verify_path takes a route of its own, not that of the request it is about; find the \
                 rule by paths or hosts"
            );
            warnings.push(Warning::new("verify_route", format!("rules[{index}]"), text));
        }
        let asks_more = !Rc::ptr_eq(&policy.require, &base.require)
            || policy.authorization.is_some() && base.authorization.is_none();
        if asks_more && lets_others_pass(policy) {
            let text = format!("rules[{index}]: what it asks {OTHERS_PASS}");
            warnings.push(Warning::new("others_pass", format!("rules[{index}]"), text));
        }
        let Some(matching) = matching else { continue };
        let by_header = !matching.headers.is_empty();
        let by_nothing_else = matching.path.is_none() && matching.hosts.is_empty() && matching.route_names.is_empty();
        if policy.bypass && by_header && by_nothing_else {
            let text = format!("rules[{index}]: whoever sends this header needs no token");
            warnings.push(Warning::new("bypass_by_header", format!("rules[{index}].match.headers"), text));
        }
        if asks_blindly && !matching.methods.is_empty() {
            let text = format!(
                "rules[{index}]: a question at verify_path has the method of the proxy that asks; verify_request tells that \
                 of its client"
            );
            warnings.push(Warning::new("verify_method", format!("rules[{index}].match.methods"), text));
        }
    }
    warnings
}

/// Whether requests without a valid token pass.
fn lets_others_pass(policy: &Policy) -> bool {
    !policy.bypass && (policy.allow_missing || !policy.enforce)
}

/// Expressions are tried one after the other: few of them may begin alike, and few may be for headers.
fn check_patterns(rules: &[Rule]) -> Result<(), Error> {
    let mut counts = ordered::Map::new_vec();
    let mut header_patterns: usize = 0;
    for (index, rule) in rules.iter().enumerate() {
        let headers = rule.matching.iter().flat_map(|matching| &matching.headers).enumerate();
        for (number, _) in headers.filter(|(_, header)| matches!(header.value, HeaderValue::Pattern(_))) {
            header_patterns = header_patterns.saturating_add(1);
            if header_patterns > MAX_PATTERNS {
                let problem =
                    format!("at most {MAX_PATTERNS} patterns for headers in all; use exact values or prefixes");
                return Err(Error::at(&format!("rules[{index}].match.headers[{number}].pattern"), problem));
            }
        }
        let Some(PathMatch::Pattern(patterns)) = rule.matching.as_ref().and_then(|matching| matching.path.as_ref())
        else {
            continue;
        };
        for pattern in patterns {
            let count: &mut usize = counts.entry(&pattern.folder).or_default();
            *count = count.saturating_add(1);
            if *count > MAX_PATTERNS {
                let problem = format!(
                    "at most {MAX_PATTERNS} patterns may begin with the same plain segments; begin with more of them, or use path_prefix"
                );
                return Err(Error::at(&format!("rules[{index}].match.path_pattern"), problem));
            }
        }
    }
    Ok(())
}

const OTHERS_PASS: &str =
    "of a token holds for requests with a valid one only: others pass, by enforce or allow_missing";

const MAY_BE_REROUTED: &str =
    "Envoy may choose another route for a request after the decision, by what this filter or a later one writes";

const ROUTE_CHECK: &str =
    "put the RBAC of envoy/routes.yaml behind all filters that change headers: it refuses what takes another route";

const EMPTY: &str = "must not be empty; leave it out to say nothing about it";

const NO_WILDCARD: &str =
    "`*` is no wildcard here: `path_prefix: /admin` is for all of /admin; `path_pattern` takes a regular expression";

const NOT_NORMAL: &str =
    "must begin with / and be in normal form: no dot segments, no //, no encoded slash, none of \\ ; ? #";

/// Far beyond what anybody maintains by hand, and a megabyte of index.
const MAX_RULES: usize = 10_000;

/// Each costs up to 80 µs for each reading of a path (`MAX_PATTERN_TEXT`), and a client chooses path and headers.
const MAX_PATTERNS: usize = 64;
