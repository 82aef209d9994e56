//! Tokens among the protocols that a WebSocket handshake offers (RFC 6455, section 11.3.4): the only header that a page can
//! choose there. Two forms are about: `bearer, <token>`, and what Kubernetes' API server takes,
//! `base64url.bearer.authorization.k8s.io.<token in base64url>`.
//!
//! The invariant: what is no list of protocols, and holds one of the two forms all the same, is not clear; and what is not
//! clear leaves as a whole.

use crate::http::{Headers, is_token_byte};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::borrow::Cow;

/// A token, and what a client offers beside it.
#[derive(Debug, Eq, PartialEq)]
pub struct Offer<'h> {
    /// The token's text.
    pub token: Cow<'h, [u8]>,
    /// The protocols that the service can choose from.
    pub protocols: Vec<&'h [u8]>,
}

/// Why there is no one token although there is something of one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unclear {
    /// More than one token, or more than one header.
    Several,
    /// A form without its token, or in no list of protocols.
    Malformed,
}

/// Finds the one token; `None` if none is offered. `marker` is what stands before it in the first form.
pub fn read<'h>(headers: &'h Headers, marker: &str) -> Result<Option<Offer<'h>>, Unclear> {
    let mut token = None;
    let mut protocols = Vec::new();
    let mut lone_marker = None;
    let offered = headers.all(HEADER).flat_map(|field| field.split(|byte| *byte == b','));
    let mut offered = offered.map(<[u8]>::trim_ascii);
    while let Some(protocol) = offered.next() {
        let found = if protocol.eq_ignore_ascii_case(marker.as_bytes()) {
            lone_marker = Some(protocol);
            let behind = offered.next().unwrap_or_default();
            if behind.is_empty() || !behind.iter().copied().all(is_of_token) || is_marked(behind, marker) {
                return Err(if is_marked(behind, marker) { Unclear::Several } else { Unclear::Malformed });
            }
            Cow::Borrowed(behind)
        } else if let Some(encoded) = behind_prefix(protocol) {
            let decoded = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Unclear::Malformed)?;
            Cow::Owned(Some(decoded).filter(|decoded| !decoded.is_empty()).ok_or(Unclear::Malformed)?)
        } else if !protocol.iter().copied().all(is_token_byte) {
            // Some split at more than commas.
            if protocol.split(|byte| !is_token_byte(*byte)).any(|part| is_marked(part, marker)) {
                return Err(Unclear::Malformed);
            }
            continue;
        } else {
            protocols.extend(Some(protocol).filter(|protocol| !protocol.is_empty()));
            continue;
        };
        if token.replace(found).is_some() {
            return Err(Unclear::Several);
        }
    }
    let Some(token) = token else { return Ok(None) };
    if headers.all(HEADER).count() > 1 {
        return Err(Unclear::Several);
    }
    // A browser ends a connection for which none of the protocols that it offered is chosen.
    if protocols.is_empty() {
        protocols.extend(lone_marker);
    }
    Ok(Some(Offer { token, protocols }))
}

/// Whether a protocol is one of the forms, or begins as one.
fn is_marked(protocol: &[u8], marker: &str) -> bool {
    protocol.eq_ignore_ascii_case(marker.as_bytes()) || behind_prefix(protocol).is_some()
}

fn behind_prefix(protocol: &[u8]) -> Option<&[u8]> {
    let (prefix, encoded) = protocol.split_at_checked(KUBERNETES_PREFIX.len())?;
    prefix.eq_ignore_ascii_case(KUBERNETES_PREFIX).then_some(encoded)
}

/// What a protocol is made of (RFC 6455, section 4.1), and what the token of RFC 6750, section 2.1, has beyond it.
fn is_of_token(byte: u8) -> bool {
    is_token_byte(byte) || matches!(byte, b'/' | b'=')
}

/// The header.
pub const HEADER: &str = "sec-websocket-protocol";

/// k8s.io/apiserver, `pkg/authentication/request/websocket`.
const KUBERNETES_PREFIX: &[u8] = b"base64url.bearer.authorization.k8s.io.";

#[cfg(test)]
mod tests {
    use super::*;

    const K8S: &str = "base64url.bearer.authorization.k8s.io.";

    fn seen(fields: &[&str]) -> Result<Option<(String, Vec<String>)>, Unclear> {
        let headers = Headers::from_pairs(fields.iter().map(|field| (HEADER, *field)));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let offer = read(&headers, "bearer")?;
        Ok(offer.map(|offer| (text(&offer.token), offer.protocols.iter().map(|one| text(one)).collect())))
    }

    /// EXT-13.
    #[test]
    fn both_forms_of_a_protocol_token_are_read() {
        for (field, token, protocols) in [
            ("bearer, a.b-c", "a.b-c", &["bearer"][..]),
            ("bearer,a.b-c", "a.b-c", &["bearer"]),
            ("Bearer, a.b-c, chat", "a.b-c", &["chat"]),
            ("chat, bearer, ab/+==,  superchat", "ab/+==", &["chat", "superchat"]),
            ("chat, , bearer, a,", "a", &["chat"]),
            (&format!("{K8S}YS5iLWM, chat"), "a.b-c", &["chat"]),
            (&format!("v4.channel.k8s.io, {}YS5iLWM", K8S.to_uppercase()), "a.b-c", &["v4.channel.k8s.io"]),
            (&format!("{K8S}YS5iLWM"), "a.b-c", &[]),
        ] {
            let protocols = protocols.iter().map(|protocol| (*protocol).to_owned()).collect();
            assert_eq!(seen(&[field]), Ok(Some((token.to_owned(), protocols))), "{field}");
        }
    }

    /// EXT-13.
    #[test]
    fn protocols_without_a_token_hold_none() {
        for fields in [&[][..], &[""], &["chat, superchat"], &["chat", "superchat"], &["bearerx, a"], &["a b, c"]] {
            assert_eq!(seen(fields), Ok(None), "{fields:?}");
        }
    }

    /// EXT-13.
    #[test]
    fn a_doubtful_list_of_protocols_is_refused() {
        for malformed in [
            "bearer",
            "chat, bearer",
            "bearer,",
            "bearer, , a",
            "bearer, a b",
            "bearer, \"a\"",
            "bearer a",
            "chat bearer, a",
            "chat;bearer, a",
            "\"bearer\", a",
            "bearer=a",
            K8S,
            &format!("{K8S}YQ=="),
            &format!("{K8S}YR"),
            &format!("{K8S}a b"),
            &format!("chat {K8S}YQ"),
        ] {
            assert_eq!(seen(&[malformed]), Err(Unclear::Malformed), "{malformed}");
        }
        for several in [
            &["bearer, a, bearer, b"][..],
            &["bearer, bearer, a"],
            &["bearer, BEARER"],
            &[&format!("bearer, a, {K8S}YQ")],
            &[&format!("{K8S}YQ, {K8S}YQ")],
            &[&format!("bearer, {K8S}YQ")],
            &["bearer, a", "chat"],
            &["chat", "bearer, a"],
            &["bearer", "a"],
        ] {
            assert_eq!(seen(several), Err(Unclear::Several), "{several:?}");
        }
    }
}
