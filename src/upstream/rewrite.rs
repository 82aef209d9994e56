//! What changes on a request on its way to the upstream, to the byte: tokens that leave, identities that the client
//! made up and that leave always, and identities that the filter writes.
//!
//! The invariant: what is removed is removed whole, so that to no reader it gives a new meaning to what is left.

use crate::config::{TokenLocation, TokenSource};
use crate::http::cookie::{Cookie, cookies};
use crate::http::names::{ParameterOwner, ReservedNames, is_handoff, is_unproved_token};
use crate::http::query::{Parameter, QUERY_VALUE, Target, without};
use crate::http::websocket;
use crate::http::{Edit, Field, Request};
use std::borrow::Cow;
use std::rc::Rc;

/// The changes of one request, gathered.
#[derive(Default)]
pub struct Rewrite<'c> {
    stripped: Vec<&'c TokenLocation>,
    strips_unproved: bool,
    strips_proof: bool,
    headers: Vec<Field>,
    cookies: Vec<(Rc<str>, String)>,
    parameters: Vec<(Rc<str>, String)>,
}

impl<'c> Rewrite<'c> {
    /// Takes out whatever stands in these places, and what a service might take for a token that a proxy has proved.
    pub fn strip(&mut self, sources: &'c [Rc<TokenSource>]) {
        self.stripped.extend(sources.iter().map(|source| &source.location));
        self.strips_unproved = true;
    }

    /// Takes the tokens out of these places, and leaves credentials of other schemes.
    pub fn strip_tokens(&mut self, sources: &'c [Rc<TokenSource>], request: &Request) {
        let locations = sources.iter().map(|source| &source.location);
        self.stripped.extend(locations.filter(|location| match location {
            TokenLocation::Header { name, scheme: Some(scheme) } => {
                let is_bearer = scheme.eq_ignore_ascii_case("Bearer");
                request
                    .headers
                    .all(name)
                    .any(|value| has_scheme(value, scheme) || is_bearer && has_scheme(value, "DPoP"))
            }
            _ => true,
        }));
    }

    /// Takes off the proof of a bound token: it was for this filter, and was good for one request.
    pub fn strip_proof(&mut self) {
        self.strips_proof = true;
    }

    /// Takes the token out of this place.
    pub fn strip_one(&mut self, source: &'c TokenSource) {
        self.stripped.push(&source.location);
    }

    /// Writes a header.
    pub fn set_header(&mut self, name: &Rc<str>, value: impl Into<Vec<u8>>) {
        self.headers.push((name.into(), value.into()));
    }

    /// Writes headers.
    pub fn set_headers(&mut self, headers: &[Field]) {
        self.headers.extend_from_slice(headers);
    }

    /// Writes a cookie; the value must be made of cookie octets.
    pub fn add_cookie(&mut self, name: &Rc<str>, value: String) {
        self.cookies.push((Rc::clone(name), value));
    }

    /// Writes a parameter of the query; the value must be encoded.
    pub fn add_parameter(&mut self, name: &Rc<str>, value: String) {
        self.parameters.push((Rc::clone(name), value));
    }

    /// The headers that hold tokens which are taken off; of those that no place names, the ones that are there.
    pub fn stripped_headers<'r>(&self, request: &'r Request) -> impl Iterator<Item = &'r str>
    where
        'c: 'r,
    {
        let sent = request.headers.iter().map(|(name, _)| name).filter(|name| self.strips_sent(name));
        let places = self.stripped.iter().filter_map(|location| match location {
            TokenLocation::Header { name, .. } => Some(&**name),
            _ => None,
        });
        places.chain(sent.filter_map(|name| std::str::from_utf8(name).ok()))
    }

    /// The headers that were written, but for those that only Envoy's next filter is to see.
    pub fn into_headers(self) -> Vec<Field> {
        self.headers.into_iter().filter(|(name, _)| !is_handoff(name.as_bytes())).collect()
    }

    /// The edits that make it so, on a request from which everything under the filter's own names goes first.
    pub fn edits(self, request: &Request, own: &ReservedNames) -> Vec<Edit> {
        let mut edits = Vec::new();
        self.edit_headers(request, own, &mut edits);
        self.edit_cookies(request, own, &mut edits);
        self.edit_query(request, own, &mut edits);
        edits.extend(self.headers.into_iter().map(|(name, value)| Edit::Set(name, value)));
        edits
    }

    /// Whether a header is taken off that no place of tokens names.
    fn strips_sent(&self, name: &[u8]) -> bool {
        self.strips_unproved && is_unproved_token(name) || self.strips_proof && PROOF_HEADERS.contains(&name)
    }

    fn strips_header(&self, name: &[u8]) -> bool {
        self.stripped
            .iter()
            .any(|location| matches!(location, TokenLocation::Header { name: own, .. } if own.as_bytes() == name))
            || self.strips_sent(name)
    }

    fn writes_header(&self, name: &[u8]) -> bool {
        self.headers.iter().any(|(written, _)| written.as_bytes() == name)
    }

    fn edit_headers(&self, request: &Request, own: &ReservedNames, edits: &mut Vec<Edit>) {
        for (name, _) in request.headers.iter() {
            // What is written replaces every field of its name.
            if (self.strips_header(name) || own.is_own_header(name)) && !self.writes_header(name) {
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
            let TokenLocation::WebSocketProtocol { marker } = location else { continue };
            let left = match websocket::read(&request.headers, marker) {
                Ok(None) => continue,
                Ok(Some(offer)) => offer.protocols,
                Err(_) => Vec::new(),
            };
            edits.push(if left.is_empty() {
                Edit::Remove(websocket::HEADER.into())
            } else {
                Edit::Set(websocket::HEADER.into(), left.join(&b", "[..]))
            });
        }
    }

    fn strips_cookie(&self, name: &[u8]) -> bool {
        self.stripped
            .iter()
            .any(|location| matches!(location, TokenLocation::Cookie { name: own } if own.as_bytes() == name))
    }

    fn edit_cookies(&self, request: &Request, own: &ReservedNames, edits: &mut Vec<Edit>) {
        let strips = self.stripped.iter().any(|location| matches!(location, TokenLocation::Cookie { .. }));
        if self.cookies.is_empty() && !strips && !own.may_be_in_cookies(&request.headers) {
            return;
        }
        let (removed, kept): (Vec<Cookie>, Vec<Cookie>) =
            cookies(&request.headers).partition(|cookie| self.strips_cookie(cookie.name) || own.is_own_cookie(cookie));
        // To some readers, a quoted value goes on over semicolons: it must not end elsewhere without a quote that was removed.
        let has_quotes = removed.iter().any(|cookie| cookie.pair.contains(&b'"'));
        let kept = kept.iter().filter(|cookie| !has_quotes || !cookie.may_go_on()).map(|cookie| cookie.pair);
        // First, since some readers take the first of two that they read as one.
        let added: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let pairs: Vec<&[u8]> = added.iter().map(|pair| pair.as_bytes()).chain(kept).collect();
        match (!removed.is_empty() || !added.is_empty(), pairs.is_empty()) {
            (false, _) => {}
            (true, true) => edits.push(Edit::Remove(b"cookie".to_vec())),
            (true, false) => edits.push(Edit::Set("cookie".into(), pairs.join(&b"; "[..]))),
        }
    }

    /// The request target with all changes. With none of ours, it is for those who are told of a request without being its
    /// upstream.
    pub fn target<'r>(&self, request: &'r Request, own: &ReservedNames) -> Option<Cow<'r, [u8]>> {
        request.path().map(|path| self.changed(path, &self.parameters, own))
    }

    fn strips_parameter(&self, name: &[u8]) -> bool {
        self.stripped
            .iter()
            .any(|location| matches!(location, TokenLocation::Query { name: own } if own.as_bytes() == name))
    }

    fn changed<'t>(&self, sent: &'t [u8], added: &[(Rc<str>, String)], own: &ReservedNames) -> Cow<'t, [u8]> {
        let strips = self.stripped.iter().any(|location| matches!(location, TokenLocation::Query { .. }));
        let target = Target::parse(sent);
        if added.is_empty() && !strips && !own.may_be_in_query(target.query.unwrap_or_default()) {
            return Cow::Borrowed(sent);
        }
        let mut query = target.query.and_then(|query| {
            without(query, |sent| {
                self.strips_parameter(&Parameter::parse(sent).name()) || own.owner_of(sent) != ParameterOwner::Foreign
            })
        });
        for (name, value) in added {
            let name = percent_encoding::utf8_percent_encode(name, QUERY_VALUE);
            let query = query.get_or_insert_default();
            if !query.is_empty() {
                query.push(b'&');
            }
            query.extend_from_slice(format!("{name}={value}").as_bytes());
        }
        let mut rewritten = target.path.to_vec();
        // Where a fragment follows, a mark in it must not become the query's.
        if target.query.is_some() && !target.fragment.is_empty() || query.is_some() {
            rewritten.push(b'?');
            rewritten.extend(query.unwrap_or_default());
        }
        rewritten.extend_from_slice(target.fragment);
        Cow::Owned(rewritten)
    }

    fn edit_query(&self, request: &Request, own: &ReservedNames, edits: &mut Vec<Edit>) {
        if !own.has_parameters() {
            return;
        }
        // What an Envoy before this one has rewritten is the path in access logs.
        for (name, added) in [(":path", &self.parameters[..]), ("x-envoy-original-path", &[])] {
            if let Some(sent) = request.headers.first(name)
                && let Cow::Owned(rewritten) = self.changed(sent, added, own)
                && rewritten != sent
            {
                edits.push(Edit::Set(name.into(), rewritten));
            }
        }
    }
}

/// RFC 9449, sections 4.1 and 8.1.
const PROOF_HEADERS: [&[u8]; 2] = [b"dpop", b"dpop-nonce"];

/// Whether a header's value has credentials of this scheme, also as one of several that were joined.
fn has_scheme(value: &[u8], scheme: &str) -> bool {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii_start).any(|credentials| {
        let (given, rest) = credentials.split_at(credentials.len().min(scheme.len()));
        given.eq_ignore_ascii_case(scheme.as_bytes()) && rest.first().is_none_or(|byte| !byte.is_ascii_graphic())
    })
}

/// A header that `Connection` names is for the next hop only (RFC 9110, section 7.6.1): it would take an identity away
/// from the upstream behind it. Envoy passes `Connection` on with an upgrade.
fn edit_connection(request: &Request, own: &ReservedNames, edits: &mut Vec<Edit>) {
    if connection_options(request).any(|option| takes_away(option, own)) {
        let kept: Vec<&[u8]> = connection_options(request).filter(|option| !takes_away(option, own)).collect();
        edits.push(if kept.is_empty() {
            Edit::Remove(b"connection".to_vec())
        } else {
            Edit::Set("connection".into(), kept.join(&b", "[..]))
        });
    }
}

fn connection_options(request: &Request) -> impl Iterator<Item = &[u8]> {
    let options = request.headers.all("connection").flat_map(|field| field.split(|byte| *byte == b','));
    options.map(<[u8]>::trim_ascii)
}

/// Whether an option of `Connection` names what the filter writes.
fn takes_away(option: &[u8], own: &ReservedNames) -> bool {
    own.is_own_header(option) || own.writes_cookies() && option.eq_ignore_ascii_case(b"cookie")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;
    use crate::http::names::tests::names;

    fn own() -> ReservedNames {
        names(["x-auth-sub", "identity", "who"], [""; 3])
    }

    fn edits(rewrite: Rewrite, headers: &[(&str, &str)]) -> Vec<String> {
        let request = Request { headers: Headers::from_pairs(headers.iter().copied()), ..Request::default() };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let shown = |edit: Edit| match edit {
            Edit::Remove(name) => format!("-{}", text(&name)),
            Edit::Set(name, value) | Edit::Add(name, value) => format!("{name}={}", text(&value)),
        };
        rewrite.edits(&request, &own()).into_iter().map(shown).collect()
    }

    /// HDR-04.
    #[test]
    fn forgeries_go_in_every_spelling() {
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
        assert_eq!(Rewrite::default().edits(&request, &own()), [Edit::Set("cookie".into(), b"a=1".to_vec())]);
        // An own name may itself begin or end with what others pass over.
        let own = names(["", ".id+", ""], [""; 3]);
        let request = Request { headers: Headers::from_pairs([("cookie", "a=1; .id+=x")]), ..Request::default() };
        assert_eq!(Rewrite::default().edits(&request, &own), [Edit::Set("cookie".into(), b"a=1".to_vec())]);
        // PHP reads a space in a name as `_`.
        let own = names(["", "user_id", ""], [""; 3]);
        let sent =
            [("cookie", "a=1; user id=x; user.id=y; user+id=z; user%20id=v; user,id=w; id=2; user=3; b=user id")];
        let request = Request { headers: Headers::from_pairs(sent), ..Request::default() };
        let expected = [Edit::Set("cookie".into(), b"a=1; id=2; user=3".to_vec())];
        assert_eq!(Rewrite::default().edits(&request, &own), expected);
        let sent = [(
            ":path",
            "/p??who=s&a=%41&%C2%A0who=q&WHO=x&wh%6f=y&who%5B%5D=z&+who=q&a&[who]=s&]who=t&who]=u&who%00x=v&w%u0068o=t&b&whom=w",
        )];
        assert_eq!(edits(Rewrite::default(), &sent), [":path=/p?a=%41&a&b&whom=w"]);
        let sent = [("x-oidc-metadata-anything", "a"), ("x_oidc-metadata-b", "b"), ("x-oidc-metadata", "c")];
        assert_eq!(edits(Rewrite::default(), &sent), ["-x-oidc-metadata-anything", "-x_oidc-metadata-b"]);
    }

    /// EXT-11.
    #[test]
    fn a_token_s_place_is_read_by_its_name_alone() {
        let own = names([""; 3], ["x-token", "user_id", "token"]);
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
            Edit::Set("cookie".into(), b"user_id=a".to_vec()),
            Edit::Set(":path".into(), b"/?token=a".to_vec()),
        ];
        assert_eq!(edits, expected);
    }

    /// HDR-05.
    #[test]
    fn nobody_takes_an_identity_away_by_naming_it() {
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
        let expected = ["cookie=identity=me; c=d", ":path=/p?a&who=me", "x-auth-sub=me"];
        assert_eq!(edits(rewrite, &sent), expected);
        // Another spelling of its name, it doesn't replace.
        let mut rewrite = Rewrite::default();
        rewrite.set_header(&Rc::from("x-auth-sub"), "me");
        let sent = [("x-auth-sub", "x"), ("x_auth_sub", "y"), ("x-auth-sub", "z"), ("x.auth.sub", "v")];
        assert_eq!(edits(rewrite, &sent), ["-x_auth_sub", "-x.auth.sub", "x-auth-sub=me"]);
    }
}
