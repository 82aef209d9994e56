//! The names in a request that are the filter's own: every one that it can write, under any policy, and every place that a
//! token is read from.
//!
//! Services read requests in many ways, and some search where others parse. So a name is searched for here, in every
//! spelling, and only then is asked what it is part of. The invariant: what goes on holds none of these names where a reader
//! could find it, but for the filter's own writing and the places of tokens as the operator spells them.

mod search;
mod spelling;

use crate::http::cookie::{Cookie, cookies};
use crate::http::query::{Parameter, Target};
use crate::http::{Headers, Request};
use search::{Name, Names, is_bracket};
use spelling::any_reading;
pub use spelling::{letters, same_spelling};

/// The filter's own names. What a client sends under one that the filter writes is a forgery; what it sends under another
/// spelling of a token's place is a token that nobody proved.
#[derive(Debug)]
pub struct ReservedNames {
    headers: Names,
    cookies: Names,
    parameters: Names,
}

/// Whose a parameter of the query is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ParameterOwner {
    /// Somebody else's.
    Foreign,
    /// The filter's: it has one of its names, and is removed.
    Own,
    /// Somebody else's to some readers, while others find one of the filter's names in it.
    Mixed,
}

/// Where something stands: the four locations of the configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Placement {
    /// A header.
    Header,
    /// A cookie.
    Cookie,
    /// A parameter of the query.
    QueryString,
    /// Envoy's dynamic metadata.
    Metadata,
}

impl ReservedNames {
    /// The names that the filter writes under, and those of the places that tokens are read from.
    pub fn new<'n>(
        written: impl IntoIterator<Item = (Placement, &'n str)>,
        read: impl IntoIterator<Item = (Placement, &'n str)>,
    ) -> Self {
        // Rack, qs and PHP begin an index at a bracket, PHP ends a name at a NUL; for parameters, qs and picoquery can be told
        // to begin one at a dot, and query-string at a colon.
        let mut own =
            Self { headers: Names::new(b""), cookies: Names::new(b"[]\0"), parameters: Names::new(b"[].:\0") };
        written.into_iter().for_each(|(placement, name)| own.add(placement, Name::written(name)));
        read.into_iter().for_each(|(placement, name)| own.add(placement, Name::of_place(name)));
        own
    }

    fn add(&mut self, placement: Placement, name: Name) {
        match placement {
            Placement::Header => self.headers.add(name),
            Placement::Cookie => self.cookies.add(name),
            Placement::QueryString => self.parameters.add(name),
            // Its header is one of those that `is_own_header` knows by their beginning.
            Placement::Metadata => {}
        }
    }

    /// These, and the names of what goes from every request, for which nothing is written.
    pub fn and<'n>(mut self, removed: impl IntoIterator<Item = (Placement, &'n str)>) -> Self {
        removed.into_iter().for_each(|(placement, name)| self.add(placement, Name::written(name)));
        self
    }

    /// The headers that the filter alone may write.
    pub fn written_headers(&self) -> impl Iterator<Item = &str> {
        self.headers.all.iter().filter(|own| own.is_written).map(|own| &*own.text)
    }

    /// Whether the filter writes cookies to requests.
    pub fn writes_cookies(&self) -> bool {
        self.cookies.all.iter().any(|own| own.is_written)
    }

    /// Whether a header of this name is removed from every request.
    pub fn is_own_header(&self, name: &[u8]) -> bool {
        self.headers.like(name).any(|own| own.is_written || !self.headers.is_place(name)) || self.has_own_prefix(name)
    }

    /// Whether the beginning of a name makes a header one of the filter's. Every header of every request comes by here, and almost
    /// all are told apart by their first letter.
    fn has_own_prefix(&self, name: &[u8]) -> bool {
        match name.first() {
            Some(b'x' | b'X') => is_handoff(name),
            Some(b'g' | b'G') => self.is_relayed_as_own(name),
            _ => false,
        }
    }

    /// Whether the service behind a gateway to gRPC could find one of the names, or cookies with some: what stands behind the
    /// gateway's prefix becomes the name.
    fn is_relayed_as_own(&self, name: &[u8]) -> bool {
        let relayed = relayed(name);
        relayed != name
            && (self.headers.like(relayed).next().is_some()
                || !self.cookies.all.is_empty() && same_spelling(b"cookie", relayed))
    }

    /// Whether a trailer of this name is removed: an upstream that merges trailers into headers would read an identity,
    /// a token, cookies or an operation that nobody looked at.
    pub fn is_own_trailer(&self, name: &[u8]) -> bool {
        self.has_own_prefix(name)
            || name == b"cookie"
            || is_unproved_token(name)
            || tells_operation(name)
            || self.headers.like(name).next().is_some()
    }

    /// Whether any cookie may have to be removed. Cheap: nothing is parsed.
    pub fn may_be_in_cookies(&self, headers: &Headers) -> bool {
        !self.cookies.all.is_empty() && headers.all("cookie").any(|field| self.cookies.may_be_in(field))
    }

    /// Whether a pair of a `Cookie` header is removed from every request.
    ///
    /// A pair of RFC 6265 is its name's; but a value with one of the filter's names before a `=` is one to a reader that
    /// searches. Anything else is read by each in his own way: WebOb's expression begins a name behind any sign that no name
    /// has (`a"identity=x`), .NET at a comma, Python at white space.
    pub fn is_own_cookie(&self, cookie: &Cookie) -> bool {
        let own = &self.cookies;
        if !own.may_be_in(cookie.pair) {
            return false;
        }
        let is_place = own.is_place(cookie.name);
        let meant = |name: &Name| name.is_written || !is_place;
        own.are_alike_in_cookie(cookie, &meant)
            || own.are_behind_encoded_semicolons(cookie, &meant)
            || if cookie.is_well_formed() {
                own.names_a_part_of(cookie.value)
            } else {
                own.are_held_by(if is_place { cookie.value } else { cookie.pair })
            }
    }

    /// Whether any of them is a parameter's.
    pub fn has_parameters(&self) -> bool {
        !self.parameters.all.is_empty()
    }

    /// Whether any parameter of a query may have to be removed. Cheap: nothing is parsed.
    pub fn may_be_in_query(&self, query: &[u8]) -> bool {
        self.has_parameters() && self.parameters.may_be_in(query)
    }

    /// Whose a parameter is, as it was sent.
    pub fn owner_of(&self, sent: &[u8]) -> ParameterOwner {
        let own = &self.parameters;
        if !own.may_be_in(sent) {
            return ParameterOwner::Foreign;
        }
        if sent.contains(&b';') {
            // To some readers, each part is a parameter; to others, one of the names may hold the semicolon.
            let is_whole = own.are_alike(Parameter::parse(sent).raw_name(), &|_| true);
            let mut parts = sent.split(|byte| *byte == b';');
            let is_mixed = is_whole || parts.any(|part| self.could_be_own(part) || self.are_behind_commas(part));
            return if is_mixed { ParameterOwner::Mixed } else { ParameterOwner::Foreign };
        }
        let parameter = Parameter::parse(sent);
        if self.are_behind_commas(sent) {
            return ParameterOwner::Mixed;
        }
        let is_place = own.is_place(&parameter.name());
        if own.are_alike(parameter.raw_name(), &|name| name.is_written || !is_place) {
            ParameterOwner::Own
        } else if self.are_hidden_in(&parameter) {
            ParameterOwner::Mixed
        } else {
            ParameterOwner::Foreign
        }
    }

    /// Whether some reader could find a parameter with one of these names in a request target.
    pub fn are_in(&self, target: &[u8]) -> bool {
        let mut sent = Target::parse(target).query.unwrap_or_default().split(|byte| *byte == b'&');
        sent.any(|sent| self.owner_of(sent) != ParameterOwner::Foreign) || self.are_ambiguous_in(target)
    }

    /// Whether two readers could find different parameters in a request target, of which one has a name of the filter's.
    pub fn are_ambiguous_in(&self, target: &[u8]) -> bool {
        if !self.has_parameters() {
            return false;
        }
        let Target { path, query, fragment } = Target::parse(target);
        // To Fastify 4, the first semicolon begins the query. RFC 9112, section 3.2: no target has a fragment; to most services, its
        // parameters are the query's, and where there is none, its mark begins one to Netty.
        let behind_mark = if query.is_some() { beginning_with(b'&', fragment) } else { fragment };
        query.is_some_and(|query| self.may_be_in_query(query) && self.are_mixed_into(query))
            || [beginning_with(b';', path), behind_mark].into_iter().any(|text| self.name_a_part_of(text))
    }

    /// Whether one of them names what stands behind some sign that begins a parameter to somebody.
    fn name_a_part_of(&self, text: &[u8]) -> bool {
        text.split(|byte| matches!(byte, b'#' | b'?' | b';' | b'&')).any(|part| self.could_be_own(part))
    }

    fn are_mixed_into(&self, query: &[u8]) -> bool {
        query.split(|byte| *byte == b'&').any(|sent| self.owner_of(sent) == ParameterOwner::Mixed)
    }

    /// Whether a comma parts one of the names from the rest of a parameter: qs can be told that parameters end there. A list of
    /// words is everybody's, and none in a value names anything without a `=`.
    fn are_behind_commas(&self, sent: &[u8]) -> bool {
        let length_of_name = Parameter::parse(sent).raw_name().len();
        let mut start = 0_usize;
        sent.contains(&b',')
            && sent.split(|byte| *byte == b',').enumerate().any(|(index, part)| {
                let end = start.saturating_add(part.len());
                let is_of_name = end < length_of_name || index > 0 && start <= length_of_name;
                let is_parameter = is_of_name || index > 0 && part.contains(&b'=');
                start = end.saturating_add(1);
                is_parameter && self.could_be_own(part)
            })
    }

    /// Whether a reader could find one of the names in what is no parameter by itself.
    fn could_be_own(&self, part: &[u8]) -> bool {
        let parameter = Parameter::parse(part);
        self.parameters.are_alike(parameter.raw_name(), &|_| true) || self.are_hidden_in(&parameter)
    }

    /// Whether one of the names stands in a parameter that is none of RFC 3986.
    fn are_hidden_in(&self, parameter: &Parameter) -> bool {
        let (name, value) = (parameter.raw_name(), parameter.raw_value());
        // What has no name of its own may get that of its value.
        let signs = value.iter().position(|byte| *byte != b'=').unwrap_or(value.len());
        let behind = value.get(signs..).filter(|behind| name.is_empty() && !behind.is_empty());
        !is_plain_name(name) && self.parameters.are_held_by(name)
            || !value.iter().all(is_query_byte) && self.parameters.are_held_by(value)
            || behind.is_some_and(|behind| self.could_be_own(behind))
            || any_reading(name, &mut |name| name.first().is_some_and(is_bracket)) && self.are_named_by(value)
    }

    /// Whether one of them is a value, or stands in one before a `=`, whose own name can come to nothing: of `]=x`, qs 4 makes a
    /// parameter `x` that is true, and of `[a=1[x]=y` one that is `y`.
    fn are_named_by(&self, value: &[u8]) -> bool {
        let before_comma = value.split(|byte| *byte == b',').next().unwrap_or_default();
        [value, before_comma].iter().any(|value| self.parameters.are_alike(value, &|_| true))
            || value.contains(&b'=') && self.parameters.are_held_by(value)
    }

    /// Whether something stands under another spelling of a token's place: a token, to services that take one for the other.
    pub fn hold_a_misspelled_token(&self, request: &Request) -> bool {
        self.misspell_a_header(&request.headers)
            || self.cookies.reads() && self.misspell_a_cookie(&request.headers)
            || self.parameters.reads() && self.misspell_a_parameter(&Target::parse(request.path().unwrap_or_default()))
    }

    fn misspell_a_header(&self, headers: &Headers) -> bool {
        self.headers.all.iter().filter(|own| !own.is_written && own.has_spellings()).any(|own| {
            headers.iter().any(|(name, _)| same_spelling(own.text.as_bytes(), name) && !self.headers.is_place(name))
        })
    }

    fn misspell_a_cookie(&self, headers: &Headers) -> bool {
        self.may_be_in_cookies(headers)
            && cookies(headers).any(|cookie| {
                !self.cookies.is_place(cookie.name)
                    && self.cookies.are_alike_in_cookie(&cookie, &|name| !name.is_written)
            })
    }

    fn misspell_a_parameter(&self, target: &Target) -> bool {
        self.may_be_in_query(target.query.unwrap_or_default())
            && target.parameters().any(|parameter| {
                !self.parameters.is_place(&parameter.name())
                    && self.parameters.are_alike(parameter.raw_name(), &|name| !name.is_written)
            })
    }
}

/// Whether a header is one in which proxies hand on a token that they have proved, or that is for them: a service may
/// believe it unproved.
pub fn is_unproved_token(header: &[u8]) -> bool {
    let header = relayed(header);
    UNPROVED_TOKENS.iter().any(|name| same_spelling(name.as_bytes(), header))
}

/// The name of a header as a service behind grpc-gateway has it.
fn relayed(name: &[u8]) -> &[u8] {
    let relayed = behind(GRPC_GATEWAY_PREFIX, name);
    relayed.map_or(name, |relayed| behind(GRPC_GATEWAY_OWN_PREFIX, relayed).unwrap_or(relayed))
}

/// RFC 9110, section 11.7.2; mod_auth_openidc's; those of the plugins of Kong and APISIX; oauth2-proxy's; those of Amazon's load
/// balancer and of Azure's App Service; and where API gateways (Google's) and proxies put a client's `Authorization`.
const UNPROVED_TOKENS: [&str; 17] = [
    "proxy-authorization",
    "oidc-access-token",
    "oidc-id-token",
    "oidc-refresh-token",
    "x-access-token",
    "x-amzn-oidc-accesstoken",
    "x-auth-request-access-token",
    "x-auth-request-id-token",
    "x-forwarded-access-token",
    "x-forwarded-id-token",
    "x-id-token",
    "x-ms-token-aad-access-token",
    "x-ms-token-aad-id-token",
    "x-ms-token-aad-refresh-token",
    "x-refresh-token",
    "x-forwarded-authorization",
    "x-original-authorization",
];

/// RFC 3986, section 3.4, and the brackets that everybody sends.
fn is_query_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?[]%".contains(byte)
}

/// Whether a parameter's name is one to every reader: no byte in it that ends one, even when it is decoded twice, and no bracket that
/// has no other.
fn is_plain_name(name: &[u8]) -> bool {
    name.iter().all(is_query_byte)
        && !any_reading(name, &mut |name| name.iter().any(is_separator) || !has_pairs_of_brackets(name))
}

fn is_separator(byte: &u8) -> bool {
    byte.is_ascii_control() || b"&;=?#\"\\<>{}|^`".contains(byte)
}

fn has_pairs_of_brackets(name: &[u8]) -> bool {
    let mut brackets = name.iter().filter(|byte| is_bracket(byte));
    while let Some(bracket) = brackets.next() {
        if *bracket != b'[' || brackets.next() != Some(&b']') {
            return false;
        }
    }
    true
}

/// Whether a header of this name tells an operation of MCP, in whatever spelling: CGI and its heirs know no difference between a
/// dash and an underscore.
pub fn tells_operation(name: &[u8]) -> bool {
    ["mcpmethod", "mcpname", "mcpprotocolversion"].iter().any(|known| letters(name).eq(known.bytes()))
}

/// Whether this is a header that Envoy's `header_to_metadata` filter may read, for whichever key.
pub fn is_handoff(name: &[u8]) -> bool {
    behind(HANDOFF_PREFIX, name).is_some()
}

/// What begins with the first of these signs; nothing if there is none.
fn beginning_with(sign: u8, text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| *byte == sign);
    start.and_then(|start| text.get(start..)).unwrap_or_default()
}

/// What stands behind a prefix in some spelling.
fn behind<'n>(prefix: &str, name: &'n [u8]) -> Option<&'n [u8]> {
    let (beginning, rest) = name.split_at_checked(prefix.len())?;
    same_spelling(prefix.as_bytes(), beginning).then_some(rest)
}

/// The header that hands metadata over is this and the key.
pub const HANDOFF_PREFIX: &str = "x-oidc-metadata-";

/// What grpc-gateway takes off a header's name before it is a key of metadata (`runtime.MetadataHeaderPrefix`): `Grpc-Metadata-X-User`
/// is `x-user`.
const GRPC_GATEWAY_PREFIX: &str = "grpc-metadata-";

/// What it puts before the names of HTTP's own headers, by which its services look for a cookie or a token
/// (`runtime.MetadataPrefix`): `Grpc-Metadata-Grpcgateway-Cookie` is a second `grpcgateway-cookie`.
const GRPC_GATEWAY_OWN_PREFIX: &str = "grpcgateway-";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A header, a cookie and a parameter that are written, and as many that tokens are read from; empty for none.
    pub(crate) fn names(written: [&str; 3], read: [&str; 3]) -> ReservedNames {
        let placed = |names| {
            let placements = [Placement::Header, Placement::Cookie, Placement::QueryString];
            placements.into_iter().zip(names).filter(|(_, name): &(Placement, &str)| !name.is_empty())
        };
        ReservedNames::new(placed(written), placed(read))
    }

    /// HDR-17: grpc-gateway makes `x-user` of `Grpc-Metadata-X-User`, and `grpcgateway-authorization`, as it calls what HTTP
    /// calls so, of the like.
    #[test]
    fn a_name_behind_the_prefix_of_a_gateway() {
        let in_headers = names(["x-user", "", ""], ["authorization", "", ""]);
        for sent in [
            "grpc-metadata-x-user",
            "Grpc-Metadata-X_User",
            "grpc_metadata_x.user",
            "grpc-metadata-authorization",
            "grpc-metadata-grpcgateway-authorization",
            "Grpc_Metadata_GrpcGateway_Authorization",
        ] {
            assert!(in_headers.is_own_header(sent.as_bytes()) && in_headers.is_own_trailer(sent.as_bytes()), "{sent}");
        }
        for sent in ["grpc-metadata-cookie", "Grpc-Metadata-Grpcgateway-Cookie"] {
            for own in [names(["", "identity", ""], [""; 3]), names([""; 3], ["", "session", ""])] {
                assert!(own.is_own_header(sent.as_bytes()) && own.is_own_trailer(sent.as_bytes()), "{sent}");
            }
            assert!(!in_headers.is_own_header(sent.as_bytes()), "{sent}");
        }
        for token in ["grpc-metadata-x-id-token", "grpc-metadata-grpcgateway-proxy-authorization"] {
            assert!(is_unproved_token(token.as_bytes()), "{token}");
        }
        for other in [
            "authorization",
            "grpc-metadata-",
            "grpc-metadata-x-users",
            "grpc-metadata-x",
            "grpc-timeout",
            "x-grpc-metadata-x-user",
            "grpcgateway-authorization",
            "grpc-metadata-grpcgateway-",
        ] {
            assert!(!in_headers.is_own_header(other.as_bytes()), "{other}");
        }
    }

    /// HDR-04: what rules most names out at a glance rules out none that is one.
    #[test]
    fn a_name_is_known_whatever_its_length() {
        let long = "x-".repeat(300);
        for own in ["a", "x-user", "X-User", "-x-", &long[..62], &long[..63], &long[..64], &long[..65], &long] {
            let names = names([own, "", ""], [""; 3]);
            for sent in [own.to_owned(), own.to_uppercase(), own.to_lowercase(), own.replace('-', "_")] {
                assert!(names.is_own_header(sent.as_bytes()) && names.is_own_trailer(sent.as_bytes()), "{sent}");
            }
            for other in [String::new(), "y".repeat(own.len()), format!("{own}x"), own[..own.len() - 1].to_owned()] {
                assert!(!names.is_own_header(other.as_bytes()), "{own}: {other}");
            }
        }
    }
}
