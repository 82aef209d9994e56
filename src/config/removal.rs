//! The part of the configuration that names what never goes on to the service, although the filter neither reads nor writes it.

use super::fields::Fields;
use super::output::header_name;
use super::{Error, is_token_byte};
use crate::http::names::Placement;
use std::rc::Rc;

/// Names of what is removed from every request.
#[derive(Debug, Default)]
pub struct Removal {
    /// Headers, in lower case.
    pub headers: Vec<Rc<str>>,
    /// Cookies.
    pub cookies: Vec<Rc<str>>,
    /// Parameters of the query.
    pub parameters: Vec<Rc<str>>,
}

impl Removal {
    /// All the names, each with the kind of place.
    pub fn names(&self) -> impl Iterator<Item = (Placement, &str)> {
        let headers = self.headers.iter().map(|name| (Placement::Header, &**name));
        let cookies = self.cookies.iter().map(|name| (Placement::Cookie, &**name));
        headers.chain(cookies).chain(self.parameters.iter().map(|name| (Placement::QueryString, &**name)))
    }

    /// `remove`.
    pub(super) fn from_fields(top: &mut Fields) -> Result<Self, Error> {
        let Some(mut fields) = top.object("remove")? else { return Ok(Self::default()) };
        fields.allow_only(&["header", "cookie", "query_string"])?;
        let names = fields.strings("header")?.unwrap_or_default();
        let headers = names.iter().map(|name| header_name(&fields, "header", name));
        let headers: Vec<Rc<str>> = headers.collect::<Result<_, _>>()?;
        if headers.iter().any(|name| FRAMING_HEADERS.contains(&&**name)) {
            return Err(fields.error("header", "names a header that frames the message: without it, there is none"));
        }
        let cookies = fields.strings("cookie")?.unwrap_or_default();
        if !cookies.iter().all(|name| !name.is_empty() && name.bytes().all(is_token_byte)) {
            return Err(fields.error("cookie", "names no cookie (RFC 6265, section 4.1.1)"));
        }
        let parameters = fields.strings("query_string")?.unwrap_or_default();
        if parameters.contains(&String::new()) {
            return Err(fields.error("query_string", "must not hold an empty name"));
        }
        let count = [headers.len(), cookies.len(), parameters.len()].into_iter().fold(0, usize::saturating_add);
        if count == 0 || count > MAX_NAMES {
            return Err(top.error("remove", format!("must hold from 1 to {MAX_NAMES} names")));
        }
        fields.finish()?;
        let cookies = cookies.into_iter().map(Rc::from).collect();
        let parameters = parameters.into_iter().map(Rc::from).collect();
        Ok(Self { headers, cookies, parameters })
    }
}

/// RFC 9110, sections 7.2, 7.6.1 and 8.6; RFC 9112, section 6.1.
const FRAMING_HEADERS: [&str; 6] = ["connection", "content-length", "host", "te", "transfer-encoding", "upgrade"];

/// Every header, cookie and parameter of every request is compared with each of these names.
const MAX_NAMES: usize = 64;
