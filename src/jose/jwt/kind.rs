//! Which kind a JWT is of: what is signed by the same keys as access tokens, and is none (RFC 8725, section 3.12).
//!
//! The invariant: what says of itself that it is a refresh token, a logout token or an event is no access token, whatever else it
//! says.

use crate::json::{Object, Value};

/// Whether claims are those of a JWT that is never an access token, whatever its `typ`.
pub(super) fn is_of_another_kind(claims: &Object) -> bool {
    is_called_another_kind(claims) || claims.iter().any(|(name, value)| is_for_want_of_others(name, value, claims))
}

/// Whether claims, or an answer that repeats them, say that the token is none for resources. What a JWT is told by because it lacks
/// claims tells nothing about an answer: some hold the token that was asked about, or a `code` for how it went, and no more.
pub(crate) fn is_called_another_kind(claims: &Object) -> bool {
    claims.iter().any(|(name, value)| is_of_another_kind_only(name, value, claims))
        // RFC 6749, section 1.5: a refresh token is for the authorization server only. Those who sign both kinds with one key and
        // for one audience say which is which by a claim.
        || told_kinds(claims).any(|(name, word)| says_another_kind(name, word))
}

/// Whether no access token has such a claim. Not all of these JWTs say in their `typ` what they are.
fn is_of_another_kind_only(name: &str, value: &Value, claims: &Object) -> bool {
    match name {
        // RFC 8417, section 2.2: what makes a security event of a JWT, a logout token among them.
        "events" => are_events(value),
        // RFC 9701, section 5: what a provider has answered about a token, for a resource server and by the keys of its tokens.
        "token_introspection" => value.is_object(),
        // Verifiable Credentials Data Model 1.1, section 6.3.1: what an issuer says of somebody, and who shows it.
        "vc" | "vp" => value.is_object(),
        // RFC 9901, section 4.2.4, and SD-JWT VC, section 2.2.2.1: the same, of which its holder discloses what they want.
        "_sd_alg" | "vct" => value.is_string(),
        // Token Status List, section 5.1: which tokens are good, for everybody.
        "status_list" => value.get("lst").is_some(),
        "typ" => words(value).any(is_never_access_token),
        // Gravitee's, which notes the resources that others may be had for (RFC 8707).
        "orig_resources" => value.is_array(),
        // Spring Security OAuth names in a refresh token the access token that it came with.
        "ati" => value.is_string(),
        // LibreGraph Connect, in OpenCloud and ownCloud; its access tokens say 1.
        "lg.t" => value == "2",
        "tt" => is_kind_of_gitea(value, claims),
        "jti" => is_id_of_uaa(value, claims),
        _ => *value == true && is_flag_of_refresh_tokens(name),
    }
}

/// Whether what is said is that the token is a refresh token: Kopano Konnect's `kc.isRefreshToken`, and others' without their own
/// beginning, or without the `is`.
fn is_flag_of_refresh_tokens(name: &str) -> bool {
    let own = name.rsplit(['.', ':', '/']).next().unwrap_or_default();
    ["isrefreshtoken", "isrefresh", "refreshtoken", "refresh"].iter().any(|flag| is_word(own, flag))
}

/// An object by RFC 8417; the text of one in what Apple tells of its users, by the keys of their ID tokens.
fn are_events(events: &Value) -> bool {
    match events {
        Value::Object(_) => true,
        Value::String(text) => text.trim_start().starts_with('{'),
        _ => false,
    }
}

/// Whether a claim says that the token is for getting others, or for a client.
fn says_another_kind(name: &str, word: &str) -> bool {
    // SimpleJWT, Keycloak, OpenIddict, ForgeRock, Casdoor, Flask-JWT-Extended, Curity.
    if is_word(word, "refresh") || is_word(word, "refreshtoken") {
        return telling(name).is_some();
    }
    if ["rt", "offline", "authorizationcode", "devicecode", "logout", "logouttoken"]
        .iter()
        .any(|kind| is_word(word, kind))
    {
        return matches!(telling(name), Some(Telling::OfToken | Telling::Typ));
    }
    // Descope calls its session tokens DS, and oidcop its access tokens T, where A is a code.
    matches!((name, word), ("drn", "DSR") | ("ttype", "R" | "A"))
}

/// How a claim's name tells that it says what a token is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Telling {
    /// `token_use`, `tokenType`, `tok_type`, `jwt-kind`.
    OfToken,
    /// `typ`.
    Typ,
    /// `type`, `kind`, `purpose`: it may be about something else, too.
    OfAnything,
}

fn telling(name: &str) -> Option<Telling> {
    let letters: String = letters(name).map(char::from).collect();
    let of_token = TOKEN.iter().find_map(|token| letters.strip_prefix(token));
    match (of_token, letters.as_str()) {
        (Some(word), _) if KIND_OF_TOKEN.contains(&word) => Some(Telling::OfToken),
        (_, "typ") => Some(Telling::Typ),
        (_, word) if KIND.contains(&word) => Some(Telling::OfAnything),
        _ => None,
    }
}

/// The words of the claims that may tell a kind, each with the name of its claim.
fn told_kinds(claims: &Object) -> impl Iterator<Item = (&str, &str)> {
    let telling = claims.iter().filter(|(name, _)| may_tell_kind(name));
    telling.flat_map(|(name, value)| words(value).map(move |word| (name.as_str(), word)))
}

/// Whether a name begins as all of those do that tell a kind. Almost no claim's does, and all others are passed over.
fn may_tell_kind(name: &str) -> bool {
    let first = name.bytes().find(|byte| !matches!(byte, b'-' | b'_' | b' '));
    first.is_some_and(|first| matches!(first.to_ascii_lowercase(), b'd' | b'j' | b'k' | b'p' | b't' | b'u'))
}

/// The words that a claim may tell a kind by: one, or a list; those of RFC 8693, section 3, by their ends.
fn words(value: &Value) -> impl Iterator<Item = &str> {
    let all = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    all.iter().filter_map(Value::as_str).map(|word| word.strip_prefix(TOKEN_TYPE_URN).unwrap_or(word))
}

/// Gitea's and Forgejo's: the kind is a number, beside the number of the grant. Their introspection calls both kinds active.
fn is_kind_of_gitea(kind: &Value, claims: &Object) -> bool {
    kind.as_u64() == Some(1) && claims.contains_key("gnt")
}

/// Cloud Foundry's, and XSUAA's: `-r` behind a UUID without hyphens. Those of old releases have the `scope` of the access token.
fn is_id_of_uaa(id: &Value, claims: &Object) -> bool {
    let id = id.as_str().and_then(|id| id.strip_suffix("-r"));
    id.is_some_and(|id| {
        let is_uuid = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_uuid || claims.contains_key("granted_scopes") && !claims.contains_key("scope")
    })
}

/// Whether a claim makes another kind of JWT of one that lacks other claims.
///
/// JWT Secured Authorization Response Mode for OAuth 2.0, sections 2.1 and 2.3: what a browser brings back to the client, for the
/// client and by the keys of its access tokens: a code, an error, or tokens with their scope. It names nobody. Janssen writes a
/// `code` into access tokens, too, beside whose they are.
///
/// RFC 7591, section 2.3: what an authorization server, or somebody else, says of a client's software, for its registration. It names
/// no client yet, and nobody else.
fn is_for_want_of_others(name: &str, value: &Value, claims: &Object) -> bool {
    let lacks = |names: &[&str]| value.is_string() && !names.iter().any(|name| claims.contains_key(*name));
    match name {
        "access_token" | "id_token" => lacks(&["sub", "client_id", "azp", "jti"]),
        "code" | "error" => lacks(&["sub", "client_id", "azp", "jti", "scope", "scp"]),
        "software_id" => lacks(&["sub", "client_id", "azp"]),
        _ => false,
    }
}

/// Whether claims have what only an ID token has (OpenID Connect Core, sections 2 and 3.3.2.11), or say that they are those
/// of one, in the words of those who do.
pub(super) fn is_id_token(claims: &Object) -> bool {
    claims.iter().any(|(name, value)| is_of_id_token_only(name, value) && !says_nothing(value))
        || told_kinds(claims).any(|(name, word)| says_id_token(name, word))
}

fn is_of_id_token_only(name: &str, value: &Value) -> bool {
    // SuperTokens tells its kinds by a number: 1 is for access tokens.
    matches!(name, "nonce" | "at_hash" | "c_hash" | "s_hash") || name == "stt" && *value == 2
}

/// CAS writes an empty `nonce` into access tokens that were asked for without one.
fn says_nothing(value: &Value) -> bool {
    value.is_null() || value == ""
}

fn says_id_token(name: &str, word: &str) -> bool {
    if is_word(word, "idtoken") {
        return telling(name).is_some();
    }
    if is_word(word, "id") {
        return matches!(telling(name), Some(Telling::OfToken | Telling::Typ))
            || ["purpose", "tokenname"].iter().any(|known| is_word(name, known));
    }
    // Oracle's, and oidcop's.
    matches!((name, word), ("tok_type", "IT") | ("ttype", "I"))
}

/// Compares with a word in lower case, without regard to case, hyphens, underscores and spaces.
pub(crate) fn is_word(text: &str, word: &str) -> bool {
    letters(text).eq(word.bytes())
}

fn letters(text: &str) -> impl Iterator<Item = u8> {
    text.bytes().filter(|byte| !matches!(byte, b'-' | b'_' | b' ')).map(|byte| byte.to_ascii_lowercase())
}

/// Whether a `typ` is that of a JWT that is never an access token: a type that is registered for another end, or a word for one.
///
/// Keycloak signs ID and logout tokens with the keys of its access tokens, and says in the claim `typ` which is which.
pub(super) fn is_never_access_token(token_type: &str) -> bool {
    let word = without_application(token_type);
    let word = word.split_once('+').map_or(word, |(word, _)| word);
    is_one_of(token_type, NEVER_ACCESS_TOKENS)
        || says_another_kind("typ", word)
        || ["id", "idtoken", "serializedid", "logout"].iter().any(|known| is_word(word, known))
}

/// Compares media types without regard to case, and to `application/` before them (RFC 7515, section 4.1.9).
pub(super) fn is_one_of<S: AsRef<str>>(token_type: &str, list: &[S]) -> bool {
    let token_type = without_application(token_type);
    list.iter().any(|listed| token_type.eq_ignore_ascii_case(without_application(listed.as_ref())))
}

fn without_application(media_type: &str) -> &str {
    match media_type.split_once('/') {
        Some((r#type, subtype)) if r#type.eq_ignore_ascii_case("application") => subtype,
        _ => media_type,
    }
}

/// What a token is called in the names of claims that say what it is, the longest first.
const TOKEN: [&str; 4] = ["token", "tok", "tkn", "jwt"];

/// What stands behind one of these.
const KIND_OF_TOKEN: [&str; 7] = ["type", "typ", "use", "usage", "kind", "class", "purpose"];

/// What may be about something else, too; ForgeRock's `tokenName` is with others the name that a user has given to a token. Volkswagen's
/// `jtt` is short.
const KIND: [&str; 7] = ["type", "kind", "use", "usage", "purpose", "tokenname", "jtt"];

/// How the kinds of tokens of RFC 8693, section 3, begin.
const TOKEN_TYPE_URN: &str = "urn:ietf:params:oauth:token-type:";

/// JWTs that are proofs, requests, grants, events, answers, credentials or statements: no configuration makes them access tokens.
/// Some come from the same issuers and verify with the same keys (RFC 9449, section 4.2; OpenID Connect Back-Channel Logout 1.0,
/// section 2.4; RFC 8417, section 2.3; RFC 9701, section 5; OpenID Federation 1.0; the securing of verifiable credentials; RFC 9901;
/// token status lists), others are for the provider alone (RFC 9101, section 10.8; the drafts of RFC 7523bis, of identity assertions
/// as grants and of attested clients; OpenID for Verifiable Credential Issuance).
const NEVER_ACCESS_TOKENS: &[&str] = &[
    "client-authentication+jwt",
    "dc+sd-jwt",
    "dpop+jwt",
    "entity-statement+jwt",
    "explicit-registration-response+jwt",
    "jwk-set+jwt",
    "kb+jwt",
    "key-attestation+jwt",
    "logout+jwt",
    "oauth-authz-req+jwt",
    "oauth-client-attestation+jwt",
    "oauth-client-attestation-pop+jwt",
    "oauth-id-jag+jwt",
    "openid4vci-proof+jwt",
    "resolve-response+jwt",
    "secevent+jwt",
    "statuslist+jwt",
    "token-introspection+jwt",
    "trust-mark+jwt",
    "vc+jwt",
    "vc+sd-jwt",
    "vp+jwt",
    "wallet-attestation+jwt",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    /// No name that tells a kind is passed over, however it is written.
    #[test]
    fn each_name_that_tells_a_kind_is_looked_at() {
        let of_token = TOKEN.iter().flat_map(|token| KIND_OF_TOKEN.map(|kind| format!("{token}{kind}")));
        let of_token: Vec<String> = of_token.chain(["typ".to_owned()]).collect();
        for name in of_token.iter().cloned().chain(KIND.map(str::to_owned)) {
            for spelling in
                [name.clone(), name.to_uppercase(), format!("_-{name}"), format!("-{}", name.to_uppercase())]
            {
                assert!(may_tell_kind(&spelling), "{spelling}");
                let says = |word: &str| json::object([(spelling.as_str(), Value::from(word))]);
                assert!(is_of_another_kind(&says("Refresh-Token")), "{spelling}");
                assert!(is_id_token(&says("id_token")), "{spelling}");
                let is_clear = of_token.contains(&name);
                for word in ["RT", "offline", "Authorization Code", "device_code", "logout_token"] {
                    assert_eq!(is_of_another_kind(&says(word)), is_clear, "{spelling}: {word}");
                }
            }
        }
        assert!(is_of_another_kind(&json::object([("drn", Value::from("DSR"))])));
        assert!(is_id_token(&json::object([("tok_type", Value::from("IT"))])));
        assert!(!is_of_another_kind(&json::object([("scope", Value::from("refresh"))])));
    }
}
