//! What changes on a request on its way to the upstream, to the byte: tokens that leave, identities that the client
//! made up and that leave always, and identities that the filter writes.

use crate::config::{Placement, Policy, Source, SourceLocation};
use crate::cookie::cookies;
use crate::http::{Edit, Request};
use crate::query::{Target, without};
use percent_encoding::percent_decode;
use std::rc::Rc;

/// Every name that the filter can write to a request, under any policy: what a client sends under one of them is
/// a forgery.
#[derive(Debug, Default)]
pub struct OwnNames {
    headers: Vec<Rc<str>>,
    cookies: Vec<Rc<str>>,
    parameters: Vec<Rc<str>>,
}

impl OwnNames {
    /// The names of all outputs of these policies.
    pub fn of<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> Self {
        let mut names = Self::default();
        for policy in policies {
            for output in &policy.user_info {
                match output.placement {
                    Placement::Header => names.headers.push(Rc::clone(&output.key)),
                    Placement::Cookie => names.cookies.push(Rc::clone(&output.key)),
                    Placement::QueryString => names.parameters.push(Rc::clone(&output.key)),
                    Placement::Metadata => names.headers.push(Rc::from(output.handoff_header())),
                }
            }
            names.headers.extend(policy.claim_headers.iter().map(|output| Rc::clone(&output.header)));
        }
        names
    }

    /// Whether an upstream could read this header's name as one of ours.
    pub fn is_own_header(&self, name: &[u8]) -> bool {
        self.headers.iter().any(|own| same_spelling(own.as_bytes(), name))
    }

    fn is_own_cookie(&self, name: &[u8]) -> bool {
        self.cookies.iter().any(|own| same_spelling(own.as_bytes(), &as_read(name)))
    }

    /// For a parameter's decoded name.
    fn is_own_parameter(&self, name: &[u8]) -> bool {
        self.parameters.iter().any(|own| same_spelling(own.as_bytes(), plain_name(name)))
    }
}

/// The changes of one request, gathered.
#[derive(Debug, Default)]
pub struct Rewrite<'c> {
    stripped: Vec<&'c SourceLocation>,
    headers: Vec<(Rc<str>, Vec<u8>)>,
    cookies: Vec<(Rc<str>, String)>,
    parameters: Vec<(Rc<str>, String)>,
}

impl<'c> Rewrite<'c> {
    /// Takes the tokens out of these places, all of them.
    pub fn strip(&mut self, sources: &'c [Source]) {
        self.stripped.extend(sources.iter().map(|source| &source.location));
    }

    /// Takes the token out of this place.
    pub fn strip_one(&mut self, source: &'c Source) {
        self.stripped.push(&source.location);
    }

    /// Writes a header.
    pub fn set_header(&mut self, name: &Rc<str>, value: impl Into<Vec<u8>>) {
        self.headers.push((Rc::clone(name), value.into()));
    }

    /// Writes a cookie; the value must be made of cookie octets.
    pub fn add_cookie(&mut self, name: &Rc<str>, value: String) {
        self.cookies.push((Rc::clone(name), value));
    }

    /// Writes a parameter of the query; the value must be encoded.
    pub fn add_parameter(&mut self, name: &Rc<str>, value: String) {
        self.parameters.push((Rc::clone(name), value));
    }

    /// The edits that make it so, on a request from which everything under the filter's own names goes first.
    pub fn edits(self, request: &Request, own: &OwnNames) -> Vec<Edit> {
        let mut edits = Vec::new();
        self.edit_headers(request, own, &mut edits);
        self.edit_cookies(request, own, &mut edits);
        self.edit_query(request, own, &mut edits);
        edits.extend(self.headers.into_iter().map(|(name, value)| Edit::Set(name, value)));
        edits
    }

    fn edit_headers(&self, request: &Request, own: &OwnNames, edits: &mut Vec<Edit>) {
        let stripped = |name: &[u8]| {
            let is = |location: &&SourceLocation| matches!(location, SourceLocation::Header { name: own, .. } if own.as_bytes() == name);
            self.stripped.iter().any(is)
        };
        for (name, _) in request.headers.iter() {
            if stripped(name) || own.is_own_header(name) {
                let edit = Edit::Remove(name.to_vec());
                if !edits.contains(&edit) {
                    edits.push(edit);
                }
            }
        }
    }

    fn edit_cookies(&self, request: &Request, own: &OwnNames, edits: &mut Vec<Edit>) {
        let stripped = |name: &[u8]| {
            let is = |l: &&SourceLocation| matches!(l, SourceLocation::Cookie { name: own } if own.as_bytes() == name);
            self.stripped.iter().any(is)
        };
        let strips = self.stripped.iter().any(|location| matches!(location, SourceLocation::Cookie { .. }));
        if self.cookies.is_empty() && !strips && own.cookies.is_empty() {
            return;
        }
        let mut removed = false;
        let mut kept: Vec<&[u8]> = Vec::new();
        for cookie in cookies(&request.headers) {
            match stripped(cookie.name) || own.is_own_cookie(cookie.name) {
                true => removed = true,
                false => kept.push(cookie.pair),
            }
        }
        let added: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        kept.extend(added.iter().map(|pair| pair.as_bytes()));
        match (removed || !added.is_empty(), kept.is_empty()) {
            (false, _) => {}
            (true, true) => edits.push(Edit::Remove(b"cookie".to_vec())),
            (true, false) => edits.push(Edit::Set(Rc::from("cookie"), kept.join(&b"; "[..]))),
        }
    }

    fn edit_query(&self, request: &Request, own: &OwnNames, edits: &mut Vec<Edit>) {
        let stripped = |name: &[u8]| {
            let is = |l: &&SourceLocation| matches!(l, SourceLocation::Query { name: own } if own.as_bytes() == name);
            self.stripped.iter().any(is)
        };
        let strips = self.stripped.iter().any(|location| matches!(location, SourceLocation::Query { .. }));
        let Some(path) = request.path() else { return };
        if self.parameters.is_empty() && !strips && own.parameters.is_empty() {
            return;
        }
        let target = Target::parse(path);
        let mut query = match target.query {
            None => None,
            Some(query) => without(query, |name| stripped(name) || own.is_own_parameter(name)),
        };
        for (name, value) in &self.parameters {
            let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
            let query = query.get_or_insert_default();
            if !query.is_empty() {
                query.push(b'&');
            }
            query.extend_from_slice(format!("{name}={value}").as_bytes());
        }
        let mut rewritten = target.path.to_vec();
        if let Some(query) = query {
            rewritten.push(b'?');
            rewritten.extend(query);
        }
        rewritten.extend_from_slice(target.fragment);
        if rewritten != path {
            edits.push(Edit::Set(Rc::from(":path"), rewritten));
        }
    }
}

/// Whether an upstream could read two names as one: CGI and its heirs upper-case letters and make one sign of
/// everything that is neither letter nor digit (RFC 3875, section 4.1.18).
pub fn same_spelling(one: &[u8], other: &[u8]) -> bool {
    let folded = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'_' };
    one.len() == other.len() && one.iter().map(folded).eq(other.iter().map(folded))
}

/// A cookie's name as an upstream may read it, which may decode it.
fn as_read(name: &[u8]) -> Vec<u8> {
    let decoded: Vec<u8> = percent_decode(name).collect();
    plain_name(&decoded).to_vec()
}

/// A name without what PHP leaves out: white space before it, an index behind it, and all from a NUL on.
fn plain_name(name: &[u8]) -> &[u8] {
    let name = name.trim_ascii_start();
    let end = name.iter().position(|byte| matches!(byte, b'[' | 0)).unwrap_or(name.len());
    name.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    fn own() -> OwnNames {
        OwnNames {
            headers: vec![Rc::from("x-auth-sub")],
            cookies: vec![Rc::from("identity")],
            parameters: vec![Rc::from("who")],
        }
    }

    fn edits(rewrite: Rewrite, headers: &[(&str, &str)]) -> Vec<String> {
        let request = Request { headers: Headers::from_pairs(headers.iter().copied()), metadata: vec![] };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let shown = |edit: Edit| match edit {
            Edit::Remove(name) => format!("-{}", text(&name)),
            Edit::Set(name, value) => format!("{name}={}", text(&value)),
        };
        rewrite.edits(&request, &own()).into_iter().map(shown).collect()
    }

    #[test]
    fn hdr_04_forgeries_go_in_every_spelling() {
        let sent =
            [("x-auth-sub", "a"), ("x_auth_sub", "b"), ("x.auth-sub", "c"), ("x-auth-sub", "d"), ("x-auth-subs", "e")];
        assert_eq!(edits(Rewrite::default(), &sent), ["-x-auth-sub", "-x_auth_sub", "-x.auth-sub"]);
        let sent = [("cookie", "a=1; Identity=x; ident%69ty=y; identity[0]=z; b=2")];
        assert_eq!(edits(Rewrite::default(), &sent), ["cookie=a=1; b=2"]);
        let sent = [(":path", "/p?a=%41&WHO=x&wh%6f=y&who%5B%5D=z&+who=q&a;who=r&b")];
        assert_eq!(edits(Rewrite::default(), &sent), [":path=/p?a=%41&a&b"]);
    }

    #[test]
    fn nothing_to_do_changes_nothing() {
        let sent = [(":path", "/p?"), ("cookie", "a=1;b=2"), ("x", "y")];
        assert!(edits(Rewrite::default(), &sent).is_empty());
        assert!(edits(Rewrite::default(), &[]).is_empty());
    }

    #[test]
    fn the_only_cookie_and_parameter_leave_nothing_behind() {
        let sent = [(":path", "/p?who=x"), ("cookie", "identity=x")];
        assert_eq!(edits(Rewrite::default(), &sent), ["-cookie", ":path=/p"]);
    }

    #[test]
    fn outputs_replace_what_was_there() {
        let mut rewrite = Rewrite::default();
        rewrite.set_header(&Rc::from("x-auth-sub"), "me");
        rewrite.add_cookie(&Rc::from("identity"), "me".to_owned());
        rewrite.add_parameter(&Rc::from("who"), "me".to_owned());
        let sent = [(":path", "/p?who=x&a"), ("cookie", "identity=x; c=d"), ("x-auth-sub", "x")];
        let expected = ["-x-auth-sub", "cookie=c=d; identity=me", ":path=/p?a&who=me", "x-auth-sub=me"];
        assert_eq!(edits(rewrite, &sent), expected);
    }
}
