//! The part of the configuration that says where other proxies ask about their requests, and what they tell of these.

use super::fields::Fields;
use super::output::header_name;
use super::policy::Policy;
use super::warning::Warning;
use super::{Config, Error};
use crate::http::Edit;
use crate::http::names::{Placement, same_spelling};
use crate::http::path;
use std::rc::Rc;

/// The path at which the filter itself answers, for proxies that ask before they forward.
#[derive(Debug)]
pub struct Verify {
    /// The path, without a slash at its end. What stands behind it is the path of the request that is asked about.
    pub path: Box<[u8]>,
    /// The headers that tell the request that is asked about; `None` if no such header is believed.
    pub request: Option<VerifiedRequest>,
    /// The status of a yes.
    pub response_code: u16,
}

/// Headers of a proxy that overwrites what its clients send under their names.
#[derive(Debug)]
pub struct VerifiedRequest {
    /// Holds the method.
    pub method: Rc<str>,
    /// Holds path and query.
    pub uri: Rc<str>,
    /// Holds the host; `None` for that of the question itself.
    pub host: Option<Rc<str>>,
}

impl Verify {
    /// `verify_path`, `verify_request` and `verify_response_code`.
    pub(super) fn from_fields(top: &mut Fields) -> Result<Option<Self>, Error> {
        let written = top.string("verify_path")?;
        let request = top.object("verify_request")?.map(VerifiedRequest::from_fields).transpose()?;
        let response_code = match top.integer("verify_response_code")? {
            None => None,
            Some(200) => Some(200),
            Some(204) => Some(204),
            Some(_) => return Err(top.error("verify_response_code", "must be 204, or 200 for Envoy's ext_authz")),
        };
        let Some(written) = written else {
            let stray = request.map(|_| "verify_request").or(response_code.map(|_| "verify_response_code"));
            return stray.map_or(Ok(None), |field| Err(top.error(field, "only with `verify_path`")));
        };
        let canonical =
            path::canonical(&written).map(|path| path.strip_suffix(b"/").map(<[u8]>::to_vec).unwrap_or(path));
        match canonical {
            Some(path) if !path.is_empty() => {
                Ok(Some(Self { path: path.into_boxed_slice(), request, response_code: response_code.unwrap_or(204) }))
            }
            _ => Err(top.error("verify_path", "must be a path in normal form, such as /verify")),
        }
    }
}

impl Verify {
    /// Makes a change of the target that is asked about one of the question, which holds it in a header or behind its own path.
    pub fn put_back(&self, edit: &mut Edit) {
        let Edit::Set(name, target) = edit else { return };
        match &self.request {
            _ if **name != *":path" => {}
            Some(told) => *name = Rc::clone(&told.uri).into(),
            None if target.starts_with(b"/") => drop(target.splice(..0, self.path.iter().copied())),
            None => {}
        }
    }

    /// What is allowed, and may not be what somebody means, where requests fall under these policies.
    pub(super) fn warnings<'p>(&self, mut policies: impl Iterator<Item = &'p Policy>) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if self.request.is_none() {
            let text = "verify_path: its listener must leave paths as they are (normalize_path, merge_slashes: false, \
                 path_with_escaped_slashes_action: KEEP_UNCHANGED) and route nothing else: Envoy makes another request of \
                 /verify/../x";
            warnings.push(Warning::new("verify_paths", "verify_path", text));
        }
        if policies.any(|policy| policy.user_info.iter().any(|output| output.placement != Placement::Header)) {
            let text = "user_info: an answer at verify_path writes headers only: what has another `location` is neither written nor \
                 removed there";
            warnings.push(Warning::new("verify_outputs", "user_info", text));
        }
        warnings
    }
}

/// A proxy that tells a request in headers asks in a request of its own, whose host is whatever the proxy calls the listener
/// that it asks: where something depends on the client's host, that must be told too.
pub(super) fn check_host(config: &Config) -> Result<(), Error> {
    let told = config.verify.as_ref().and_then(|verify| verify.request.as_ref());
    if told.is_none_or(|told| told.host.is_some()) {
        return Ok(());
    }
    let mut matches = config.rules.iter().map(|rule| rule.matching.as_ref());
    let who = match matches.position(|matching| matching.is_some_and(|matching| !matching.hosts.is_empty())) {
        Some(index) => format!("`rules[{index}].match.hosts` looks"),
        None if config.judged_policies().any(|policy| policy.authorization.is_some()) => {
            "the service of `external_authorization` looks".to_owned()
        }
        None => return Ok(()),
    };
    let problem = format!(
        "required, since {who} at hosts, and the host of a question is not that of the request it is about; let the proxy \
         that asks say that in a header (nginx: `proxy_set_header x-original-host $host;`), and name it here"
    );
    Err(Error::at("verify_request.host_header", problem))
}

impl VerifiedRequest {
    fn from_fields(mut fields: Fields) -> Result<Self, Error> {
        fields.allow_only(&["method_header", "uri_header", "host_header"])?;
        let method = fields.required_string("method_header")?;
        let uri = fields.required_string("uri_header")?;
        let host = fields.string("host_header")?;
        let names = [("method_header", Some(&method)), ("uri_header", Some(&uri)), ("host_header", host.as_ref())];
        for (index, (field, name)) in names.iter().enumerate() {
            let same = names.iter().take(index).find(|(_, other)| {
                name.zip(*other).is_some_and(|(name, other)| same_spelling(name.as_bytes(), other.as_bytes()))
            });
            if let Some((other, _)) = same {
                return Err(fields.error(field, format!("is the header of `{other}`, too; each tells one thing")));
            }
        }
        let request = Self {
            method: header_name(&fields, "method_header", &method)?,
            uri: header_name(&fields, "uri_header", &uri)?,
            host: host.map(|host| header_name(&fields, "host_header", &host)).transpose()?,
        };
        fields.finish()?;
        Ok(request)
    }
}
