//! What an MCP server lists, less what the client's token may not use: tools, prompts, resources and templates of these (MCP,
//! "Listing Tools", and its kin).
//!
//! A list comes as one JSON text, or as one event among others in a stream of events, which may come again in another stream
//! that resumes it. A text is read when it is whole. Of a stream, each event goes on as soon as it is. The response to a request
//! for something else goes on as it comes, up to a list that nobody asked for: see `watch.rs`.
//!
//! The invariant: no entry of a list goes on that the token may not use. What can't be read as a list, or is longer than is read,
//! does not go on at all: an error of JSON-RPC stands in its place.

use super::head::UTF_8;
use super::method::Method;
use super::watch::Watch;
use super::{LISTS, List, Message, Operation};
use crate::config::{Mcp, Policy, ScopeImplications};
use crate::http::{Edit, Headers};
use crate::jose::jwt::AccessToken;
use crate::json::{self, BYTE_ORDER_MARK, Members, Value};
use crate::time::Timestamp;
use std::borrow::Cow;
use std::rc::Rc;

/// What the response to a request may list, and to whom.
#[derive(Clone, Debug)]
pub struct Lists {
    mcp: Rc<Mcp>,
    implied: Rc<ScopeImplications>,
    token: Option<AccessToken>,
    request: ListRequest,
}

/// The request whose response may list something.
#[derive(Clone, Debug, Eq, PartialEq)]
enum ListRequest {
    /// It asks for a list, with this `id`, if that is known.
    List(Option<Box<str>>),
    /// It opens or resumes a stream, in which the answer to an earlier request can come.
    Stream,
    /// It asks for something else, with this `id`, if that is known.
    Other(Option<Box<str>>),
}

/// Nothing but the server and the request tell two apart, and whoever compares decisions knows the token.
impl PartialEq for Lists {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.mcp, &other.mcp) && self.request == other.request
    }
}

impl Eq for Lists {}

/// What is done to a response.
#[derive(Debug)]
pub struct ListReader {
    lists: Lists,
    form: Form,
    /// Changes of the response's headers.
    pub edits: Vec<Edit>,
}

/// In which form lists come.
#[derive(Debug)]
enum Form {
    /// As one JSON text.
    Text,
    /// As events.
    Events(Events),
    /// As ones that nobody asked for, if at all.
    Unasked(Watch),
    /// In none that is read.
    Unreadable,
    /// In one that was found to be too long, or unreadable: nothing more of it goes on.
    Ended,
    /// As one that nobody asked for: all that follows goes on as so many spaces, since its length was told.
    Blanked,
}

/// The part of a stream of events that is not complete.
#[derive(Debug, Default)]
struct Events {
    /// Whether the stream is beyond the place where a byte order mark may stand.
    has_begun: bool,
    kept: Vec<u8>,
    /// So much of it went on already.
    passed: usize,
    /// So far into the rest, no event ends.
    searched: usize,
}

impl Lists {
    /// For the response to a request with these messages. What opens a stream does so whatever its body says.
    pub fn in_response(
        messages: &[Message],
        opens_stream: bool,
        policy: &Rc<Policy>,
        token: Option<&AccessToken>,
    ) -> Option<Self> {
        let mcp = policy.mcp.as_ref().filter(|mcp| mcp.filter_lists)?;
        let asks_for_list =
            |asked: &&Message| asked.method.as_deref().and_then(Method::of).is_some_and(|method| method.lists);
        let request = match messages.iter().find(asks_for_list) {
            Some(asked) => ListRequest::List(asked.id.clone()),
            None if opens_stream => ListRequest::Stream,
            None => ListRequest::Other(messages.first().and_then(|asked| asked.id.clone())),
        };
        let implied = Rc::clone(&policy.implied_scopes);
        Some(Self { mcp: Rc::clone(mcp), implied, token: token.cloned(), request })
    }

    /// How a response is read that begins with these headers; `None` for one that lists nothing.
    pub fn read(self, head: &Headers) -> Option<ListReader> {
        let status = head.first(":status")?;
        if !status.starts_with(b"2") {
            return None;
        }
        let media_type = head.media_type();
        if !self.is_readable_as(head, &media_type) && !is_partial(head) {
            return None;
        }
        let is_coded = head.all("content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity"));
        let form = match media_type.as_str() {
            _ if is_coded || is_partial(head) || says_another_charset(head) => Form::Unreadable,
            EVENT_STREAM if self.asks_for_none() => Form::Unasked(Watch::of_events()),
            _ if self.asks_for_none() && !says(head, EVENT_STREAM) => Form::Unasked(Watch::of_text()),
            EVENT_STREAM => Form::Events(Events::default()),
            JSON => Form::Text,
            _ => Form::Unreadable,
        };
        if matches!(form, Form::Unasked(_)) {
            return Some(ListReader { lists: self, form, edits: Vec::new() });
        }
        let mut edits: Vec<_> = OF_THE_BODY.iter().map(|name| Edit::Remove(name.as_bytes().to_vec())).collect();
        if matches!(form, Form::Unreadable) {
            edits.push(Edit::Remove(b"content-encoding".to_vec()));
            edits.push(Edit::Set("content-type".into(), JSON.into()));
        }
        Some(ListReader { lists: self, form, edits })
    }

    /// Whether somebody could find a list in a response of this media type, if one can come in it at all.
    fn is_readable_as(&self, head: &Headers, media_type: &str) -> bool {
        match &self.request {
            ListRequest::List(_) => true,
            ListRequest::Stream => media_type.is_empty() || says(head, EVENT_STREAM),
            ListRequest::Other(_) => media_type.is_empty() || says(head, EVENT_STREAM) || says(head, "json"),
        }
    }

    fn asks_for_none(&self) -> bool {
        matches!(self.request, ListRequest::Other(_))
    }

    fn may_use(&self, operation: &Operation, now: Timestamp) -> bool {
        self.mcp.permits_operation(operation, self.token.as_ref(), &self.implied, now).is_ok()
    }

    /// The longest text or event that is read, in bytes.
    fn longest(&self) -> usize {
        self.mcp.max_body_size
    }

    /// What stands in the place of a list that can't be read; nothing where nobody waits for it.
    fn error(&self) -> Option<String> {
        let (ListRequest::List(id) | ListRequest::Other(id)) = &self.request else { return None };
        let id = id.as_deref().unwrap_or("null");
        Some(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{INTERNAL_ERROR},"message":"{UNREADABLE}"}}}}"#))
    }

    /// An event, or what stands in its place.
    fn filtered_event<'e>(&self, event: &'e [u8], now: Timestamp) -> Cow<'e, [u8]> {
        let lines = || event.split(|byte| is_line_end(*byte)).filter(|line| !line.is_empty());
        // Some readers look for a byte order mark in each part of a stream that comes: they find other lines, and other ends of events.
        if event.contains(&b'{') && lines().any(|line| line.starts_with(BYTE_ORDER_MARK)) {
            return Cow::Owned(self.error_event());
        }
        let data: Vec<&[u8]> = lines().filter_map(data).collect();
        let data = data.join(&b'\n');
        // What is no message: a comment, or the address that the transport of 2024-11-05 begins with.
        if !data.contains(&b'{') {
            return Cow::Borrowed(event);
        }
        let text = std::str::from_utf8(&data).map_err(|_| json::Error::Malformed);
        match text.and_then(|text| self.filtered(text, now)) {
            Ok(Cow::Borrowed(_)) => Cow::Borrowed(event),
            Ok(Cow::Owned(text)) => {
                let others = lines().filter(|line| self::data(line).is_none()).flat_map(|line| [line, b"\n"]);
                let texts = text.split(['\n', '\r']).flat_map(|line| [b"data: ", line.as_bytes(), b"\n"]);
                Cow::Owned(others.chain(texts).chain([&b"\n"[..]]).collect::<Vec<_>>().concat())
            }
            Err(_) => Cow::Owned(self.error_event()),
        }
    }

    fn error_event(&self) -> Vec<u8> {
        self.error().map_or_else(Vec::new, |error| format!("data: {error}\n\n").into_bytes())
    }

    /// A text of the server's without what the token may not use. `Borrowed`: it lists nothing.
    fn filtered<'t>(&self, text: &'t str, now: Timestamp) -> Result<Cow<'t, str>, json::Error> {
        json::check(text.as_bytes())?;
        if !text.trim_start().starts_with('[') {
            return self.filtered_message(text, now);
        }
        let messages = json::elements(text)?;
        let filtered: Result<Vec<_>, _> =
            messages.into_iter().map(|message| self.filtered_message(message, now)).collect();
        let filtered = filtered?;
        if filtered.iter().all(|message| matches!(message, Cow::Borrowed(_))) {
            Ok(Cow::Borrowed(text))
        } else {
            Ok(Cow::Owned(format!("[{}]", filtered.join(","))))
        }
    }

    fn filtered_message<'t>(&self, text: &'t str, now: Timestamp) -> Result<Cow<'t, str>, json::Error> {
        let message = Members::parse(text.as_bytes())?;
        let Some(result) = message.one("result")? else { return Ok(Cow::Borrowed(text)) };
        if !result.starts_with('{') {
            return Ok(Cow::Borrowed(text));
        }
        let members = Members::parse(result.as_bytes())?;
        if !members.iter().any(|(name, _)| LISTS.iter().any(|list| list.member == name)) {
            return Ok(Cow::Borrowed(text));
        }
        let result = object(members.iter().map(|(name, value)| {
            let value = match LISTS.iter().find(|list| list.member == name) {
                Some(list) => Cow::Owned(self.filtered_list(list, value, now)?),
                // What is listed is for this token (2026-07-28, "Caching").
                None if name == "cacheScope" => Cow::Borrowed("\"private\""),
                None => Cow::Borrowed(value),
            };
            Ok((name, value))
        }))?;
        let replaced = message.iter().map(|(name, value)| match name {
            "result" => Ok((name, Cow::Borrowed(result.as_str()))),
            _ => Ok((name, Cow::Borrowed(value))),
        });
        object(replaced).map(Cow::Owned)
    }

    fn filtered_list(&self, list: &List, entries: &str, now: Timestamp) -> Result<String, json::Error> {
        // As Go writes a list without entries.
        if entries == "null" {
            return Ok(entries.to_owned());
        }
        let entries = json::elements(entries)?.into_iter();
        let usable: Vec<&str> = entries.filter(|entry| self.may_have(list, entry, now)).collect();
        Ok(format!("[{}]", usable.join(",")))
    }

    /// Whether an entry of a list is for this token. One whose name can't be read is for nobody's.
    fn may_have(&self, list: &List, entry: &str, now: Timestamp) -> bool {
        let Ok(entry) = Members::parse(entry.as_bytes()) else { return false };
        let named = entry.one(list.named_by).ok().flatten().map(|name| json::parse(name.as_bytes()));
        let Some(Ok(Value::String(name))) = named else { return false };
        self.may_use(&(list.operation)(name.into()), now)
    }
}

impl ListReader {
    /// Whether the body is to be kept until it is whole, or longer than is read. It has this many bytes now.
    pub fn waits_at(&self, size: usize) -> bool {
        matches!(self.form, Form::Text) && size <= self.lists.longest()
    }

    /// What goes on in the place of a part of the body, which is all that was kept, or what came since the last.
    pub fn pass_on(&mut self, part: &[u8], is_end: bool, now: Timestamp) -> Vec<u8> {
        let Self { lists, form, .. } = self;
        match form {
            Form::Text if part.len() <= lists.longest() => {
                let text = std::str::from_utf8(part).map_err(|_| json::Error::Malformed);
                let filtered = text.and_then(|text| lists.filtered(text, now));
                filtered.map_or_else(|_| lists.error().unwrap_or_default(), Cow::into_owned).into_bytes()
            }
            Form::Text | Form::Unreadable => {
                *form = Form::Ended;
                lists.error().unwrap_or_default().into_bytes()
            }
            Form::Events(events) => {
                let mut passed = Vec::new();
                events.take(part);
                while let Some(event) = events.next(is_end) {
                    passed.extend_from_slice(&lists.filtered_event(event, now));
                }
                events.forget_passed();
                if events.kept.len() > lists.longest() {
                    passed.extend(lists.error_event());
                    *form = Form::Ended;
                }
                passed
            }
            Form::Unasked(watch) => {
                let mut passed = part.to_vec();
                if let Some(list) = watch.list_in(part).and_then(|begin| passed.get_mut(begin..)) {
                    list.fill(b' ');
                    *form = Form::Blanked;
                }
                passed
            }
            Form::Ended => Vec::new(),
            Form::Blanked => vec![b' '; part.len()],
        }
    }
}

impl Events {
    /// Takes in a part of the stream, without the byte order mark that the whole may begin with: not every reader passes over it.
    fn take(&mut self, part: &[u8]) {
        self.kept.extend_from_slice(part);
        let may_become_one = self.kept.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&self.kept);
        if self.has_begun || may_become_one {
            return;
        }
        self.has_begun = true;
        if self.kept.starts_with(BYTE_ORDER_MARK) {
            self.kept.drain(..BYTE_ORDER_MARK.len());
        }
    }

    /// The next event with all that ends it; at the end of the stream, whatever is left.
    fn next(&mut self, is_end: bool) -> Option<&[u8]> {
        let rest = self.kept.get(self.passed..)?;
        let length = match (end_of_event(rest, self.searched), is_end) {
            (Some(end), _) => end,
            (None, true) if !rest.is_empty() => rest.len(),
            (None, _) => {
                self.searched = rest.len();
                return None;
            }
        };
        self.searched = 0;
        self.passed = self.passed.saturating_add(length);
        rest.get(..length)
    }

    /// Makes room, once for all events that a part has brought.
    fn forget_passed(&mut self) {
        self.kept.drain(..self.passed);
        self.passed = 0;
    }
}

/// Behind the first empty line (HTML standard, section 9.2.5), which is not before `searched`. Of two bytes that end it, the second
/// is an empty line more.
fn end_of_event(text: &[u8], searched: usize) -> Option<usize> {
    if text.first().copied().is_some_and(is_line_end) {
        return Some(1);
    }
    let from = searched.saturating_sub(1);
    let mut pairs = text.get(from..)?.windows(2);
    let found = pairs.position(|pair| pair.iter().copied().all(is_line_end) && pair != b"\r\n")?;
    Some(from.saturating_add(found).saturating_add(2))
}

/// Whether a response says this media type, or a part of its name. Of several media types, browsers take the last one (Fetch
/// standard, "extract a MIME type"), and others the first.
fn says(head: &Headers, media_type: &str) -> bool {
    let is_said = |text: &[u8]| text.eq_ignore_ascii_case(media_type.as_bytes());
    head.all("content-type").any(|said| said.windows(media_type.len()).any(is_said))
}

/// Whether a response is a part of one (RFC 9110, section 14). Of a stream, it can begin behind `data:`.
fn is_partial(head: &Headers) -> bool {
    head.first(":status") == Some(b"206") || head.first("content-range").is_some()
}

/// Whether a media type names a charset that is not UTF-8. Some services write in whichever a client asks for in `Accept`
/// (Spring), and in UTF-16, no line of a stream begins with `data`.
fn says_another_charset(head: &Headers) -> bool {
    let mut parameters = head.all("content-type").flat_map(|said| said.split(|byte| matches!(byte, b';' | b',')));
    parameters.any(|parameter| {
        let parts: Vec<&[u8]> = parameter.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii).collect();
        let [name, charset] = parts[..] else { return false };
        name.eq_ignore_ascii_case(b"charset") && !UTF_8.iter().any(|known| charset.eq_ignore_ascii_case(known))
    })
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// The value of a line of data (HTML standard, section 9.2.6).
fn data(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"data")?;
    if rest.is_empty() {
        return Some(rest);
    }
    let value = rest.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

/// An object of these members, each with the text of its value.
fn object<'m>(
    members: impl Iterator<Item = Result<(&'m str, Cow<'m, str>), json::Error>>,
) -> Result<String, json::Error> {
    let written: Result<Vec<String>, _> =
        members.map(|member| member.map(|(name, text)| format!("{}:{text}", Value::String(name.to_owned())))).collect();
    Ok(format!("{{{}}}", written?.join(",")))
}

/// RFC 8259, section 11.
const JSON: &str = "application/json";

/// HTML standard, section 9.2.
const EVENT_STREAM: &str = "text/event-stream";

/// Headers that are about the bytes of a body (RFC 9110, sections 8.6, 8.8 and 14.3; RFC 9530).
const OF_THE_BODY: &[&str] = &[
    "content-length",
    "etag",
    "last-modified",
    "accept-ranges",
    "content-md5",
    "digest",
    "content-digest",
    "repr-digest",
];

/// JSON-RPC 2.0, section 5.1.
const INTERNAL_ERROR: i32 = -32603;

const UNREADABLE: &str = "what the server lists can't be read, or is longer than is read, and is withheld";
