//! What may stand in a manifest in the place of an option.

use super::{Options, Reach, Target};
use crate::render::envoy::UPSTREAM;

/// A name that marks, manifests and Envoy's expressions have in them as it is.
pub fn name(text: &str) -> Result<String, String> {
    let is_name = text.starts_with(|sign: char| sign.is_ascii_alphanumeric())
        && text.ends_with(|sign: char| sign.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if is_name && text.len() <= MAX_NAME {
        return Ok(text.to_owned());
    }
    Err(format!("expected letters, digits, and - _ . between them, {MAX_NAME} at most"))
}

/// Host and port.
pub fn authority(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or(AUTHORITY)?;
    let host = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .or(Some(host).filter(|host| !host.contains(':')));
    let is_host = host.is_some_and(|host| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    });
    if is_host && port.parse::<u16>().is_ok_and(|port| port > 0) {
        Ok(text.to_owned())
    } else {
        Err(AUTHORITY.to_owned())
    }
}

/// A reference to an image.
pub fn image(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err("expected an image, such as registry.example.com/oidc-filter:0.1.0".to_owned())
}

/// A SHA-256.
pub fn digest(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digits.to_ascii_lowercase());
    }
    Err("expected 64 hexadecimal digits, as `sha256sum` prints them".to_owned())
}

/// A label of Kubernetes, and its value.
pub fn label(text: &str) -> Result<String, String> {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
    };
    let is_label = text.split_once('=').is_some_and(|(label, value)| is_part(label) && is_part(value));
    if is_label { Ok(text.to_owned()) } else { Err("expected one label and its value, such as app=shop".to_owned()) }
}

/// What depends on more than one of them.
pub fn check(options: &Options, reaches: &[Reach]) -> Result<(), String> {
    let is_lower = |name: &str| !name.contains('_') && !name.bytes().any(|byte| byte.is_ascii_uppercase());
    let names = [Some(options.name.as_str()), options.namespace.as_deref()];
    let odd = names.into_iter().flatten().find(|name| !is_lower(name));
    match odd.filter(|_| options.target != Target::Envoy) {
        Some(name) => {
            return Err(format!(
                "Kubernetes takes no `{name}` for a name: write it in lower case, with - in the place of _"
            ));
        }
        None if options.target != Target::Envoy => return Ok(()),
        None => {}
    }
    if reaches.iter().any(|reach| reach.cluster == UPSTREAM) {
        return Err(format!("the cluster `{UPSTREAM}` is that of the service behind: call the provider's otherwise"));
    }
    Ok(())
}

const AUTHORITY: &str = "expected host and port, such as 127.0.0.1:8080 or [::1]:8080";

/// As long as a name in Kubernetes may be.
const MAX_NAME: usize = 63;
