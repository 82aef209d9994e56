//! From claims to what the upstream reads: a header, a cookie, a parameter of the query, Envoy's metadata.
//!
//! The invariant: nothing that a claim holds can end the value that it is written into, begin another, or be read as
//! a different identity. What doesn't fit is an error, never cut.

use crate::config::{Attribute, ClaimHeader, ClaimSource, CookieOptions, Encoding, Policy, SameSite, UserInfoOutput};
use crate::http::names::Placement;
use crate::http::query::{PATH_SEGMENT, QUERY_VALUE};
use crate::http::{Edit, FieldName};
use crate::jose::claims::{look_up_first, text};
use crate::jose::jwt::Claims;
use crate::json::{self, Object, Value};
use crate::protobuf;
use crate::upstream::outputs::Outputs;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, utf8_percent_encode};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::rc::Rc;

/// Whose a request is.
#[derive(Clone, Copy)]
pub struct Identity<'c> {
    /// What the token says.
    pub claims: &'c Claims,
    /// The name of its provider.
    pub provider: &'c str,
    /// Its provider's issuer.
    pub issuer: &'c str,
    /// Where it was.
    pub location: &'static str,
}

/// Why the claims could not be written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Error {
    /// The token lacks the claim that this header requires.
    Missing(Rc<str>),
    /// The value for this key is longer than what its place holds, or nested deeper.
    TooLarge(Rc<str>),
}

/// What the policy says is to be written. `filter_name` is the default namespace of metadata.
pub fn write(policy: &Policy, identity: Identity, filter_name: &str) -> Result<Outputs, Error> {
    let mut outputs = Outputs::default();
    for output in policy.claim_headers.iter() {
        match header_value(output, identity) {
            // An empty claim is none, whatever stands before it.
            value if output.required && value.as_ref().is_none_or(|value| value.len() <= output.prefix.len()) => {
                return Err(Error::Missing(Rc::clone(&output.header)));
            }
            None => {}
            Some(value) if value.len() > MAX_VALUE_BYTES => return Err(Error::TooLarge(Rc::clone(&output.header))),
            Some(value) => outputs.headers.push((FieldName::from(&output.header), value.into_bytes())),
        }
    }
    for output in policy.user_info.iter() {
        let selected = selected(output, identity.claims.object());
        match output.placement {
            Placement::Header => {
                let value = fitting(output, encoded(output, &selected, PATH_SEGMENT))?;
                outputs.headers.push((FieldName::from(&output.key), value.into_bytes()));
            }
            Placement::Cookie => {
                let value = fitting(output, encoded(output, &selected, COOKIE_VALUE))?;
                let cookie = set_cookie(&output.key, &value, &output.cookie_options);
                outputs.aside.response_edits.push(Edit::Add("set-cookie".into(), cookie.into_bytes()));
                outputs.cookies.push((Rc::clone(&output.key), value));
            }
            Placement::QueryString => {
                let value = fitting(output, encoded(output, &selected, QUERY_VALUE))?;
                outputs.parameters.push((Rc::clone(&output.key), value));
            }
            // Envoy's header_to_metadata drops what is nested deeper, without a word.
            Placement::Metadata if !protobuf::is_shallow(&selected) => {
                return Err(Error::TooLarge(Rc::clone(&output.key)));
            }
            Placement::Metadata => {
                let handoff = fitting(output, STANDARD.encode(protobuf::write_struct_value(&selected)))?;
                outputs.headers.push((Rc::<str>::from(output.handoff_header()).into(), handoff.into_bytes()));
                let state = (output.filter_state_key(filter_name), protobuf::write_struct(&selected));
                outputs.aside.filter_state.push(state);
            }
        }
    }
    Ok(outputs)
}

fn selected(output: &UserInfoOutput, claims: &Object) -> Object {
    if output.claims.is_empty() {
        claims.clone()
    } else {
        json::object(output.claims.iter().filter_map(|name| Some((name.clone(), claims.get(name)?.clone()))))
    }
}

fn encoded(output: &UserInfoOutput, claims: &Object, percent: &'static AsciiSet) -> String {
    // serde_json's map is ordered by name.
    let json = Value::Object(claims.clone()).to_string();
    match output.encoding {
        Encoding::Uri => utf8_percent_encode(&json, percent).to_string(),
        Encoding::Base64Url => URL_SAFE_NO_PAD.encode(json),
        Encoding::Json => ascii(&json),
    }
}

fn fitting(output: &UserInfoOutput, value: String) -> Result<String, Error> {
    let most = match output.placement {
        Placement::Cookie => MAX_COOKIE_BYTES,
        Placement::Header | Placement::QueryString | Placement::Metadata => MAX_VALUE_BYTES,
    };
    if value.len() <= most { Ok(value) } else { Err(Error::TooLarge(Rc::clone(&output.key))) }
}

/// JSON text in ASCII: what is beyond it can only stand in strings, where an escape says the same.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            ' '..='~' => text.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a String can't fail.
                    let _ = write!(text, "\\u{unit:04x}");
                }
            }
        }
    }
    text
}

fn header_value(output: &ClaimHeader, identity: Identity) -> Option<String> {
    let claims = identity.claims.object();
    let found = match &output.source {
        ClaimSource::Claims(lookups) => look_up_first(claims, lookups).map(Cow::Borrowed),
        ClaimSource::Attribute(Attribute::Location) => Some(Cow::Owned(identity.location.into())),
        ClaimSource::Attribute(Attribute::Provider) => Some(Cow::Owned(identity.provider.into())),
    };
    let Some(value) = found else { return output.default.clone() };
    let mut written = output.prefix.clone();
    match &*value {
        Value::Array(elements) => {
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    written.push_str(&output.separator);
                }
                written.push_str(&unseparated(output, header_text(&transformed(output, &text(element)))));
            }
        }
        Value::String(claim) if output.text => written.push_str(&header_text(&transformed(output, claim))),
        value => written.push_str(&unseparated(output, header_text(&transformed(output, &text(value))))),
    }
    // White space at the ends is cut off on the way, or makes the header invalid. That of a claim is encoded: this is
    // what a prefix ends with, or a separator beside an element that is empty.
    match written.trim_matches(' ') {
        whole if whole.len() == written.len() => Some(written),
        trimmed => Some(trimmed.to_owned()),
    }
}

/// A header's text in which nothing looks like the separator, nor like a part of it: whoever splits the header finds the
/// elements that were claimed, and no string is taken for a list.
fn unseparated<'t>(output: &ClaimHeader, text: Cow<'t, str>) -> Cow<'t, str> {
    // Spaces are a mark only where they are all that there is: readers trim what stands beside another mark.
    let only_spaces = output.separator.bytes().all(|byte| byte == b' ');
    let marks = output.separator.chars().filter(|mark| only_spaces || *mark != ' ');
    marks.fold(text, |text, mark| {
        if text.contains(mark) { Cow::Owned(text.replace(mark, &format!("%{:02X}", u32::from(mark)))) } else { text }
    })
}

fn transformed<'v>(output: &ClaimHeader, value: &'v str) -> Cow<'v, str> {
    match output.transformers.iter().find(|transformer| transformer.matches.is_match(value)) {
        None => Cow::Borrowed(value),
        Some(transformer) => transformer.matches.replace_all(value, transformer.replaces.as_str()),
    }
}

/// A text as a header's value. What can't stand there is percent-encoded, and so is `%`, so that decoding always
/// gives the claim back; white space at the ends, which servers cut off, likewise.
fn header_text(text: &str) -> Cow<'_, str> {
    let encoded = Cow::from(utf8_percent_encode(text, HEADER_VALUE));
    let inner = encoded.trim_matches(' ');
    if inner.len() == encoded.len() {
        return encoded;
    }
    let before = encoded.len().saturating_sub(encoded.trim_start_matches(' ').len());
    let after = encoded.len().saturating_sub(encoded.trim_end_matches(' ').len());
    Cow::Owned(if inner.is_empty() {
        "%20".repeat(encoded.len())
    } else {
        format!("{}{inner}{}", "%20".repeat(before), "%20".repeat(after))
    })
}

/// RFC 6265, section 4.1.1.
fn set_cookie(name: &str, value: &str, options: &CookieOptions) -> String {
    let mut cookie = format!("{name}={value}");
    if !options.path.is_empty() {
        cookie.push_str("; Path=");
        cookie.push_str(&options.path);
    }
    if let Some(domain) = &options.domain {
        cookie.push_str("; Domain=");
        cookie.push_str(domain);
    }
    if let Some(age) = options.max_age {
        cookie.push_str(&format!("; Max-Age={}", age.max(0)));
    }
    if options.http_only {
        cookie.push_str("; HttpOnly");
    }
    if options.secure {
        cookie.push_str("; Secure");
    }
    cookie.push_str(match options.same_site {
        SameSite::Lax => "; SameSite=Lax",
        SameSite::Strict => "; SameSite=Strict",
        SameSite::None => "; SameSite=None",
    });
    cookie
}

/// Those of a path segment without what PHP and its kin decode to a space in a cookie.
const COOKIE_VALUE: &AsciiSet = &PATH_SEGMENT.add(b'+');

/// RFC 9110, section 5.5, without obs-text, which upstreams read in different character sets.
const HEADER_VALUE: &AsciiSet = &percent_encoding::CONTROLS.add(b'%');

/// Envoy's `header_to_metadata` drops a value of 8 KiB in silence, and many upstreams refuse one.
pub(super) const MAX_VALUE_BYTES: usize = 8 * 1024 - 64;

/// Browsers drop a cookie that is longer than 4096 bytes with its name and attributes (RFC 6265bis, section 5.6).
const MAX_COOKIE_BYTES: usize = 4096 - 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn the_contract_s_example() {
        let claims = json::parse_object(br#"{"name":"Ann Lee","email":"a@b.c"}"#).unwrap();
        let json = Value::Object(claims).to_string();
        let expected = "%7B%22email%22:%22a@b.c%22%2C%22name%22:%22Ann%20Lee%22%7D";
        assert_eq!(utf8_percent_encode(&json, PATH_SEGMENT).to_string(), expected);
        assert_eq!(utf8_percent_encode("a&b=c+d#e", QUERY_VALUE).to_string(), "a%26b%3Dc%2Bd%23e");
    }

    /// HDR-06, HDR-07, HDR-10.
    #[test]
    fn header_text_can_be_decoded_to_itself() {
        for (text, written) in [
            ("plain, text=1;", "plain, text=1;"),
            ("a\r\nx: y", "a%0D%0Ax: y"),
            ("Zoë", "Zo%C3%AB"),
            (" admin ", "%20admin%20"),
            ("  ", "%20%20"),
            ("100%", "100%25"),
            ("\u{7f}\u{0}\t", "%7F%00%09"),
            ("", ""),
        ] {
            assert_eq!(header_text(text), written);
            let decoded: Vec<u8> = percent_encoding::percent_decode(written.as_bytes()).collect();
            assert_eq!(decoded, text.as_bytes());
        }
    }

    #[test]
    fn json_in_ascii() {
        assert_eq!(ascii(r#"{"a":"Zoë 😀"}"#), r#"{"a":"Zo\u00eb \ud83d\ude00"}"#);
    }
}
