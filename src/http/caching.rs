//! What a cache between Envoy and the client may keep of a response: RFC 9111, section 5.2.2, and RFC 9213.
//!
//! The invariant: no cache that serves several users keeps a response that sets one user's cookie.

use crate::http::{Edit, Headers};

/// The changes that make a response its reader's own. What the upstream has said to browsers stays.
pub fn private(response: &Headers) -> Vec<Edit> {
    let targeted = response.iter().map(|(name, _)| name).filter(|name| is_for_shared_caches(name));
    let mut edits: Vec<Edit> = targeted.map(|name| Edit::Remove(name.to_vec())).collect();
    edits.push(Edit::Set("cache-control".into(), private_directives(response)));
    edits
}

/// `private`, and every directive beside it that lets no shared cache keep the response all the same.
fn private_directives(response: &Headers) -> Vec<u8> {
    let mut kept: Vec<&[u8]> = vec![b"private"];
    for field in response.all("cache-control") {
        // Whoever leaves a quote open may be read in several ways; none of them keeps anything.
        let Some(directives) = directives(field) else { return b"private, no-store".to_vec() };
        kept.extend(directives.into_iter().filter(|directive| !directive.is_empty() && !shares(directive)));
    }
    kept.join(&b", "[..])
}

/// The members of a list, some of which may have quoted commas: `no-cache="set-cookie, x"` (RFC 9110, section 5.6.1).
fn directives(field: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = field.split(|byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            b'\\' if is_quoted && !was_escaped => is_escaped = true,
            b'"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        *byte == b',' && !is_quoted
    });
    let parts = parts.map(<[u8]>::trim_ascii).collect();
    (!is_quoted).then_some(parts)
}

/// Whether a directive lets a shared cache keep a response, or says over again who may: `must-understand` lifts a
/// `no-store`, and `private="x-a"` is about that field alone.
fn shares(directive: &[u8]) -> bool {
    let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
    [&b"private"[..], b"public", b"s-maxage", b"proxy-revalidate", b"must-understand"]
        .iter()
        .any(|sharing| sharing.eq_ignore_ascii_case(name))
}

/// Whether a field (in lower case) is an order to shared caches that goes before `Cache-Control`: `CDN-Cache-Control`, each
/// maker's own as RFC 9213, section 2.2, lets them be called, and what Varnish's heirs, nginx and Akamai read.
fn is_for_shared_caches(name: &[u8]) -> bool {
    name.ends_with(b"-cache-control")
        || [&b"surrogate-control"[..], b"x-accel-expires", b"edge-control"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_private(fields: &[(&str, &str)]) -> Vec<String> {
        let edits = private(&Headers::from_pairs(fields.iter().copied())).into_iter().map(|edit| match edit {
            Edit::Remove(name) => format!("-{}", String::from_utf8(name).unwrap()),
            Edit::Set(name, value) | Edit::Add(name, value) => {
                format!("{name}: {}", String::from_utf8(value).unwrap())
            }
        });
        edits.collect()
    }

    /// ATK-19.
    #[test]
    fn no_shared_cache_keeps_a_cookie() {
        for (sent, made) in [
            ("public", "private"),
            ("Public, max-age=60", "private, max-age=60"),
            ("public,s-maxage=600 , max-age=60,immutable", "private, max-age=60, immutable"),
            ("S-MaxAge=\"600\"", "private"),
            ("s-maxage = 600", "private"),
            ("private", "private"),
            ("private=\"x-a, x-b\", no-cache=\"set-cookie, x\"", "private, no-cache=\"set-cookie, x\""),
            ("no-store", "private, no-store"),
            ("no-store, must-understand", "private, no-store"),
            ("no-cache, max-age=0, must-revalidate", "private, no-cache, max-age=0, must-revalidate"),
            ("proxy-revalidate", "private"),
            ("", "private"),
            (" ,, ", "private"),
            ("ext=\"a\\\", public\", public", "private, ext=\"a\\\", public\""),
            ("no-cache=\"x, public", "private, no-store"),
        ] {
            assert_eq!(made_private(&[("cache-control", sent)]), [format!("cache-control: {made}")], "{sent}");
        }
        assert_eq!(made_private(&[]), ["cache-control: private"]);
    }

    /// ATK-19.
    #[test]
    fn cache_control_in_several_fields_becomes_one() {
        let several = [("cache-control", "max-age=60"), ("x", "y"), ("cache-control", "public")];
        assert_eq!(made_private(&several), ["cache-control: private, max-age=60"]);
        let targeted = [
            ("cdn-cache-control", "max-age=600"),
            ("cache-control", "no-store"),
            ("cloudflare-cdn-cache-control", "public"),
            ("surrogate-control", "max-age=600"),
            ("x-accel-expires", "600"),
        ];
        let expected = [
            "-cdn-cache-control",
            "-cloudflare-cdn-cache-control",
            "-surrogate-control",
            "-x-accel-expires",
            "cache-control: private, no-store",
        ];
        assert_eq!(made_private(&targeted), expected);
    }
}
