//! What requests a rule of `jwt_authn` is for.

use super::{Theirs, quoted, texts};
use crate::yaml::Node;

/// What requests a rule is for.
pub struct Matching<'n> {
    pub theirs: Theirs<'n>,
    /// Whether the rule lets requests pass without a valid token: then it must be for no more than theirs.
    pub opens: bool,
    /// Whether later rules ask the same of all others.
    pub is_covered: bool,
}

impl Matching<'_> {
    /// That, and whether all of their conditions carry over: without one, the rule is for more requests.
    pub fn read(self) -> (Node, bool) {
        let theirs = &self.theirs;
        let mut matching = Node::object::<&str>([]);
        self.path(&mut matching);
        let mut is_whole = true;
        for header in theirs.elements("headers") {
            is_whole &= self.header(header, &mut matching);
        }
        for field in ["query_parameters", "runtime_fraction", "connect_matcher", "path_match_policy"] {
            is_whole &= theirs.node.get(field).is_none();
            theirs.lose(field, "no counterpart: without it the rule is for more requests");
        }
        // A condition that nobody knows here is one, too.
        is_whole &= self.theirs.finish();
        (matching, is_whole)
    }

    fn path(&self, matching: &mut Node) {
        let theirs = &self.theirs;
        let ignores_case = theirs.take("case_sensitive").is_some_and(Node::is_false);
        let begin = if ignores_case { "(?i)" } else { "" };
        if let Some(path) = theirs.word("path_separated_prefix") {
            if ignores_case {
                matching.put("path_pattern", format!("(?i){}(/.*)?", quoted(path)));
            } else {
                matching.put("path_prefix", path.strip_suffix('/').filter(|bare| !bare.is_empty()).unwrap_or(path));
            }
        }
        if let Some(path) = theirs.word("prefix") {
            let bare = path.strip_suffix('/').unwrap_or(path);
            // `/api` is for `/apis` there, too, and `/api/` not for `/api`.
            let is_exact = if self.opens { bare.len() < path.len() } else { bare == path && !self.is_covered };
            if path == "/" {
                matching.put("path_prefix", path);
            } else if ignores_case || is_exact {
                matching.put("path_pattern", format!("{begin}{}.*", quoted(path)));
            } else {
                matching.put("path_prefix", bare);
                if bare != path {
                    theirs
                        .notes
                        .add(format!("{}: {path} is not for {bare} there; `path_prefix` is", theirs.at("prefix")));
                } else {
                    theirs.notes.add(format!(
                        "{}: {path} is for all that begins so there; `path_prefix` is for whole segments, and other paths fall under later \
                         rules",
                        theirs.at("prefix")
                    ));
                }
            }
        }
        match theirs.word("path") {
            Some(path) if ignores_case => matching.put("path_pattern", format!("(?i){}", quoted(path))),
            Some(path) => matching.put("path", path),
            None => {}
        }
        if let Some(pattern) = theirs.take("safe_regex").and_then(|node| node.word("regex")) {
            matching.put("path_pattern", pattern);
        }
    }

    /// Whether the condition on a header carries over.
    fn header(&self, header: &Node, matching: &mut Node) -> bool {
        let matcher = header.get("string_match");
        let exact = matcher.and_then(|matcher| matcher.word("exact")).or_else(|| header.word("exact_match"));
        let is_plain = !header.get("invert_match").is_some_and(Node::is_true)
            && !matcher.and_then(|matcher| matcher.get("ignore_case")).is_some_and(Node::is_true);
        match (header.word("name"), exact.filter(|_| is_plain)) {
            (Some(":method"), Some(method)) => matching.put("methods", texts([method])),
            (Some(":authority" | "host"), Some(host)) if !host.contains(':') => matching.put("hosts", texts([host])),
            (Some(name), Some(value)) if !name.starts_with(':') => {
                let mut headers = matching.get("headers").cloned().unwrap_or_else(|| Node::object::<&str>([]));
                headers.put(name, value);
                matching.put("headers", headers);
            }
            (name, _) => {
                let name = name.unwrap_or("a header");
                self.theirs.notes.add(format!(
                    "{}: only exact values carry over; write the match of {name} by hand",
                    self.theirs.at("headers")
                ));
                return false;
            }
        }
        true
    }
}
