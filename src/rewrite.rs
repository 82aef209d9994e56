//! What changes on a request on its way to the upstream, to the byte: tokens that leave, identities that the client
//! made up and that leave always, and identities that the filter writes.

use crate::config::{Placement, Policy, Removal, Source, SourceLocation};
use crate::cookie::{Cookie, cookies};
use crate::http::{Edit, Request};
use crate::identity::QUERY_VALUE;
use crate::path::without_unit_escapes;
use crate::query::{Target, without};
use crate::websocket;
use percent_encoding::percent_decode;
use std::borrow::Cow;
use std::rc::Rc;

/// The names that a client must not use: every one that the filter can write to a request, under any policy, and every
/// misspelling of one that a token is read from. What is sent under them is a forgery, or would be read as a token that
/// was proved.
#[derive(Debug, Default)]
pub struct OwnNames {
    headers: Vec<Name>,
    cookies: Vec<Name>,
    parameters: Vec<Name>,
}

/// A name, and whether the filter alone may write it; if not, it is a token's place, and its exact spelling is good.
#[derive(Debug)]
struct Name {
    text: Rc<str>,
    is_written: bool,
}

impl OwnNames {
    /// The names of all outputs of these policies, and of all places of tokens.
    pub fn of<'p>(policies: impl IntoIterator<Item = &'p Policy>, sources: &[Source]) -> Self {
        let mut names = Self::default();
        for policy in policies {
            for output in policy.user_info.iter() {
                match output.placement {
                    Placement::Header => add_written(&mut names.headers, &output.key),
                    Placement::Cookie => add_written(&mut names.cookies, &output.key),
                    Placement::QueryString => add_written(&mut names.parameters, &output.key),
                    // Its header is one of those that `is_own_header` knows by their beginning.
                    Placement::Metadata => {}
                }
            }
            for output in policy.claim_headers.iter() {
                add_written(&mut names.headers, &output.header);
            }
        }
        for source in sources {
            let read = |text: &str| Name { text: Rc::from(text), is_written: false };
            match &source.location {
                SourceLocation::Header { name, .. } => names.headers.push(read(name)),
                SourceLocation::Cookie { name } => names.cookies.push(read(name)),
                SourceLocation::Query { name } => names.parameters.push(read(name)),
                SourceLocation::WebSocketProtocol { .. } => names.headers.push(read(websocket::HEADER)),
                SourceLocation::Metadata { .. } => {}
            }
        }
        names
    }

    /// These, and the names of what goes from every request, for which nothing is written.
    pub fn and(mut self, removal: &Removal) -> Self {
        removal.headers.iter().for_each(|name| add_written(&mut self.headers, name));
        removal.cookies.iter().for_each(|name| add_written(&mut self.cookies, name));
        removal.parameters.iter().for_each(|name| add_written(&mut self.parameters, name));
        self
    }

    /// The headers that the filter alone may write.
    pub fn written_headers(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(|own| own.is_written).map(|own| &*own.text)
    }

    /// Whether a header of this name is removed from every request.
    pub fn is_own_header(&self, name: &[u8]) -> bool {
        let is = |own: &Name| own.forbids(name) && same_spelling(own.text.as_bytes(), name);
        is_handoff(name) || self.headers.iter().any(is)
    }

    /// Whether a trailer of this name is removed: an upstream that merges trailers into headers would read an identity,
    /// a token or cookies that nobody looked at.
    pub fn is_own_trailer(&self, name: &[u8]) -> bool {
        let is = |own: &Name| same_spelling(own.text.as_bytes(), name);
        is_handoff(name) || name == b"cookie" || self.headers.iter().any(is)
    }

    /// For one pair of a `Cookie` header. Some readers begin another cookie at white space or a comma; to others (PHP) these
    /// are part of the name.
    fn is_own_cookie(&self, cookie: &Cookie) -> bool {
        let separates = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
        let is_exact = self.cookies.iter().any(|own| own.text.as_bytes() == cookie.name);
        let is_own = |part: &[u8], is_exact: bool| {
            let sent = part.split(|byte| *byte == b'=').next().unwrap_or_default();
            let sent: Vec<u8> = percent_decode(sent).collect();
            self.cookies.iter().any(|own| own.is_alike(&sent) && (own.is_written || !is_exact))
        };
        let mut parts = cookie.pair.split(separates).enumerate();
        let has_several = cookie.name.iter().any(separates);
        has_several && is_own(cookie.name, false) || parts.any(|(index, part)| is_own(part, is_exact && index == 0))
    }

    /// For a parameter's decoded name, and whether it stands where a parameter begins, not behind a `;`.
    fn is_own_parameter(&self, sent: &[u8], is_first: bool) -> bool {
        let is_exact = is_first && self.parameters.iter().any(|own| own.text.as_bytes() == sent);
        let is_own =
            |sent: &[u8]| self.parameters.iter().any(|own| own.is_alike(sent) && (own.is_written || !is_exact));
        is_own(sent) || without_unit_escapes(sent).is_some_and(|sent| is_own(&sent))
    }
}

impl Name {
    fn forbids(&self, sent: &[u8]) -> bool {
        self.is_written || self.text.as_bytes() != sent
    }

    /// Whether an upstream could read the name of a cookie or a parameter as this one. Rack and qs take brackets around
    /// it for nothing, PHP takes one that is not closed for `_`; both end the name at an index, PHP at a NUL too. Python and
    /// JavaScript trim what Unicode calls white space, also where it is one byte of Latin-1; PHP 7 decodes `+` in a
    /// cookie's name, `URLSearchParams` passes over a second `?`, and qs over a dot if told to read dots.
    ///
    /// Few take upper case for lower case. An identity is not risked on that; but where a token may be, the same name
    /// in another case is somebody else's.
    fn is_alike(&self, sent: &[u8]) -> bool {
        let is_edge = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b'[' | b']' | b'+' | b'?' | b'.');
        let start = sent.iter().position(|byte| !is_edge(byte)).unwrap_or(sent.len());
        let end = sent.iter().rposition(|byte| !is_edge(byte)).map_or(start, |last| last.saturating_add(1));
        let whole = sent.get(start..end).unwrap_or_default();
        // PHP passes over spaces only, and makes `_` of a dot behind them.
        let spaces = sent.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != b'+').unwrap_or(sent.len());
        let behind_spaces = sent.get(spaces..).unwrap_or_default();
        let own = self.text.as_bytes();
        let is_same_case = |name: &[u8]| own.iter().zip(name).all(|(o, n)| o == n || !o.eq_ignore_ascii_case(n));
        [sent, whole, before_index(whole), behind_spaces, before_index(behind_spaces)]
            .iter()
            .any(|name| same_spelling(own, name) && (self.is_written || is_same_case(name)))
    }
}

/// The name of a list or an object of which one element is named.
fn before_index(name: &[u8]) -> &[u8] {
    name.split(|byte| matches!(byte, b'[' | b']' | 0)).next().unwrap_or_default()
}

/// Adds a name that is not there yet: many policies write under the same ones.
fn add_written(names: &mut Vec<Name>, text: &Rc<str>) {
    if !names.iter().any(|name| name.is_written && name.text == *text) {
        names.push(Name { text: Rc::clone(text), is_written: true });
    }
}

/// The changes of one request, gathered.
#[derive(Default)]
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

    /// The headers that hold tokens which are taken off.
    pub fn stripped_headers(&self) -> impl Iterator<Item = &'c str> {
        self.stripped.iter().filter_map(|location| match location {
            SourceLocation::Header { name, .. } => Some(&**name),
            _ => None,
        })
    }

    /// The headers that were written, but for those that only Envoy's next filter is to see.
    pub fn into_headers(self) -> Vec<(Rc<str>, Vec<u8>)> {
        self.headers.into_iter().filter(|(name, _)| !is_handoff(name.as_bytes())).collect()
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
        self.edit_protocols(request, edits);
        edit_connection(request, own, edits);
    }

    /// Takes the token out of the protocols that a WebSocket handshake offers; if it is not clear which that is, all of them.
    fn edit_protocols(&self, request: &Request, edits: &mut Vec<Edit>) {
        for location in &self.stripped {
            let SourceLocation::WebSocketProtocol { marker } = location else { continue };
            let left = match websocket::read(&request.headers, marker) {
                Ok(None) => continue,
                Ok(Some(offer)) => offer.protocols,
                Err(_) => Vec::new(),
            };
            edits.push(match left.is_empty() {
                true => Edit::Remove(websocket::HEADER.into()),
                false => Edit::Set(Rc::from(websocket::HEADER), left.join(&b", "[..])),
            });
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
            match stripped(cookie.name) || own.is_own_cookie(&cookie) {
                true => removed = true,
                false => kept.push(cookie.pair),
            }
        }
        // First, since some readers take the first of two that they read as one.
        let added: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        kept.splice(..0, added.iter().map(|pair| pair.as_bytes()));
        match (removed || !added.is_empty(), kept.is_empty()) {
            (false, _) => {}
            (true, true) => edits.push(Edit::Remove(b"cookie".to_vec())),
            (true, false) => edits.push(Edit::Set(Rc::from("cookie"), kept.join(&b"; "[..]))),
        }
    }

    /// The request target with all changes. With none of ours, it is for those who are told of a request without being its
    /// upstream.
    pub fn target<'r>(&self, request: &'r Request, own: &OwnNames) -> Option<Cow<'r, [u8]>> {
        let stripped = |name: &[u8]| {
            let is = |l: &&SourceLocation| matches!(l, SourceLocation::Query { name: own } if own.as_bytes() == name);
            self.stripped.iter().any(is)
        };
        let strips = self.stripped.iter().any(|location| matches!(location, SourceLocation::Query { .. }));
        let path = request.path()?;
        if self.parameters.is_empty() && !strips && own.parameters.is_empty() {
            return Some(Cow::Borrowed(path));
        }
        let target = Target::parse(path);
        let mut query = match target.query {
            None => None,
            Some(query) => without(query, |name, is_first| stripped(name) || own.is_own_parameter(name, is_first)),
        };
        for (name, value) in &self.parameters {
            let name = percent_encoding::utf8_percent_encode(name, QUERY_VALUE);
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
        Some(Cow::Owned(rewritten))
    }

    fn edit_query(&self, request: &Request, own: &OwnNames, edits: &mut Vec<Edit>) {
        if let Some(Cow::Owned(rewritten)) = self.target(request, own)
            && Some(rewritten.as_slice()) != request.path()
        {
            edits.push(Edit::Set(Rc::from(":path"), rewritten));
        }
    }
}

/// Whether an upstream could read two names as one: CGI and its heirs upper-case letters and make one sign of
/// everything that is neither letter nor digit (RFC 3875, section 4.1.18).
pub fn same_spelling(one: &[u8], other: &[u8]) -> bool {
    let folded = |byte: &u8| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'_' };
    one.len() == other.len() && one.iter().zip(other).all(|(o, n)| o == n || folded(o) == folded(n))
}

/// Whether this is a header that Envoy's `header_to_metadata` filter may read, for whichever key.
fn is_handoff(name: &[u8]) -> bool {
    let beginning = name.get(..HANDOFF_PREFIX.len());
    beginning.is_some_and(|beginning| same_spelling(HANDOFF_PREFIX.as_bytes(), beginning))
}

/// A header that `Connection` names is for the next hop only (RFC 9110, section 7.6.1): it would take an identity away
/// from the upstream behind it. Envoy passes `Connection` on with an upgrade.
fn edit_connection(request: &Request, own: &OwnNames, edits: &mut Vec<Edit>) {
    let options = || request.headers.all("connection").flat_map(|field| field.split(|byte| *byte == b','));
    let writes_cookies = own.cookies.iter().any(|cookie| cookie.is_written);
    let is_own = |option: &&[u8]| {
        let option = option.trim_ascii();
        own.is_own_header(option) || writes_cookies && option.eq_ignore_ascii_case(b"cookie")
    };
    if options().any(|option| is_own(&option)) {
        let kept: Vec<&[u8]> = options().filter(|option| !is_own(option)).map(<[u8]>::trim_ascii).collect();
        edits.push(match kept.is_empty() {
            true => Edit::Remove(b"connection".to_vec()),
            false => Edit::Set(Rc::from("connection"), kept.join(&b", "[..])),
        });
    }
}

/// The header that hands metadata over is this and the key.
pub const HANDOFF_PREFIX: &str = "x-oidc-metadata-";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    fn own() -> OwnNames {
        let written = |text| vec![Name { text: Rc::from(text), is_written: true }];
        OwnNames { headers: written("x-auth-sub"), cookies: written("identity"), parameters: written("who") }
    }

    fn edits(rewrite: Rewrite, headers: &[(&str, &str)]) -> Vec<String> {
        let request = Request { headers: Headers::from_pairs(headers.iter().copied()), ..Request::default() };
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
        let sent = [("cookie", "a=1; Identity=x; ident%69ty=y; identity[0]=z; c=3 identity=v; d=4,identity=w; b=2")];
        assert_eq!(edits(Rewrite::default(), &sent), ["cookie=a=1; b=2"]);
        let sent: [(&str, &[u8]); 1] = [(
            "cookie",
            b"a=1; \xa0identity=x; \xc2\xa0identity\xe3\x80\x80=y; identity\x85=z; +identity=v; \x0bidentity=w",
        )];
        let request = Request { headers: Headers::from_pairs(sent), ..Request::default() };
        assert_eq!(Rewrite::default().edits(&request, &own()), [Edit::Set(Rc::from("cookie"), b"a=1".to_vec())]);
        // An own name may itself begin or end with what others pass over.
        let own = OwnNames { cookies: vec![Name { text: Rc::from(".id+"), is_written: true }], ..OwnNames::default() };
        let request = Request { headers: Headers::from_pairs([("cookie", "a=1; .id+=x")]), ..Request::default() };
        assert_eq!(Rewrite::default().edits(&request, &own), [Edit::Set(Rc::from("cookie"), b"a=1".to_vec())]);
        // PHP reads a space in a name as `_`.
        let own =
            OwnNames { cookies: vec![Name { text: Rc::from("user_id"), is_written: true }], ..OwnNames::default() };
        let sent =
            [("cookie", "a=1; user id=x; user.id=y; user+id=z; user%20id=v; user,id=w; id=2; user=3; b=user id")];
        let request = Request { headers: Headers::from_pairs(sent), ..Request::default() };
        let expected = [Edit::Set(Rc::from("cookie"), b"a=1; id=2; user=3; b=user id".to_vec())];
        assert_eq!(Rewrite::default().edits(&request, &own), expected);
        let sent = [(
            ":path",
            "/p??who=s&a=%41&%C2%A0who=q&WHO=x&wh%6f=y&who%5B%5D=z&+who=q&a;who=r&[who]=s&]who=t&who]=u&who%00x=v&w%u0068o=t&b&whom=w",
        )];
        assert_eq!(edits(Rewrite::default(), &sent), [":path=/p?a=%41&a&b&whom=w"]);
        let sent = [("x-oidc-metadata-anything", "a"), ("x_oidc-metadata-b", "b"), ("x-oidc-metadata", "c")];
        assert_eq!(edits(Rewrite::default(), &sent), ["-x-oidc-metadata-anything", "-x_oidc-metadata-b"]);
    }

    #[test]
    fn ext_11_a_token_s_place_is_read_by_its_name_alone() {
        let read = |text| vec![Name { text: Rc::from(text), is_written: false }];
        let own = OwnNames { headers: read("x-token"), cookies: read("user_id"), parameters: read("token") };
        let sent = [
            (":path", "/?token=a&a;token=b&Token=c&token[]=d"),
            ("x-token", "a"),
            ("x_token", "b"),
            ("cookie", "user_id=a; user[id=b; user%5Fid=c; user id=d"),
        ];
        let request = Request { headers: Headers::from_pairs(sent), ..Request::default() };
        let edits = Rewrite::default().edits(&request, &own);
        let expected = [
            Edit::Remove(b"x_token".to_vec()),
            Edit::Set(Rc::from("cookie"), b"user_id=a".to_vec()),
            Edit::Set(Rc::from(":path"), b"/?token=a&a&Token=c".to_vec()),
        ];
        assert_eq!(edits, expected);
    }

    #[test]
    fn hdr_05_nobody_takes_an_identity_away_by_naming_it() {
        let sent = [("connection", "Upgrade, x-auth-sub"), ("upgrade", "websocket")];
        assert_eq!(edits(Rewrite::default(), &sent), ["connection=Upgrade"]);
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
        let expected = ["-x-auth-sub", "cookie=identity=me; c=d", ":path=/p?a&who=me", "x-auth-sub=me"];
        assert_eq!(edits(rewrite, &sent), expected);
    }
}
