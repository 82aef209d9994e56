//! The body of a request to an MCP server: one JSON-RPC 2.0 message, or in the version of 2025-03-26 a list of them.
//!
//! The invariant: a message that is read here has no second reading. Its members have the names of the specification to the
//! letter, since some readers (Go's `encoding/json`, .NET, Jackson) take names in any case; no name stands twice; and behind
//! it stands nothing.

use super::fault::{FaultKind, MessageFault};
use super::head::{Head, ProtocolVersion};
use super::likeness::is_variant;
use super::method::{About, Method};
use super::{Message, Operation};
use crate::json::{self, Members, Value};

/// Reads a whole body, and compares it with the head that it came with.
pub fn read(head: &Head, body: &[u8]) -> Result<Vec<Message>, MessageFault> {
    json::check(body).map_err(|_| FaultKind::Parse)?;
    let text = std::str::from_utf8(body).map_err(|_| FaultKind::Parse)?;
    let text = text.trim_matches([' ', '\t', '\n', '\r']);
    if !text.starts_with('[') {
        return bounded(vec![one(head, text)?]);
    }
    // Batches were removed in 2025-06-18.
    let elements = json::elements(text).map_err(|_| FaultKind::Parse)?;
    if head.version != ProtocolVersion::V2025_03_26
        || elements.is_empty()
        || elements.len() > MAX_BATCH
        || head.says_method()
    {
        return Err(FaultKind::Request.into());
    }
    bounded(elements.into_iter().map(|element| one(head, element)).collect::<Result<_, _>>()?)
}

/// Messages that name no more than anybody asks for at once.
fn bounded(messages: Vec<Message>) -> Result<Vec<Message>, MessageFault> {
    let operations: Vec<&Operation> = messages.iter().flat_map(|asked| &asked.operations).collect();
    let size: usize = operations.iter().filter_map(|operation| operation.name()).map(str::len).sum();
    let is_bounded = operations.len() <= MAX_OPERATIONS && size <= MAX_NAMES_SIZE;
    if is_bounded { Ok(messages) } else { Err(FaultKind::Request.into()) }
}

fn one(head: &Head, text: &str) -> Result<Message, MessageFault> {
    let members = Members::parse(text.as_bytes()).map_err(|_| FaultKind::Request)?;
    let is_error = members.one("error").is_ok_and(|error| error.is_some());
    let id = match members.one("id").ok().flatten() {
        None => Ok(None),
        // An error about what could not be read (JSON-RPC 2.0, section 5).
        Some("null") if is_error => Ok(None),
        Some(text) => identifier(text).map(Some).ok_or(()),
    };
    let told = id.clone().unwrap_or_default();
    let asked = match id {
        Ok(id) => message(head, &members, id),
        Err(()) => Err(FaultKind::Request),
    };
    asked.map_err(|kind| MessageFault { kind, id: told })
}

/// A string or a number, as it was written; not `null` (MCP, "Requests").
fn identifier(text: &str) -> Option<Box<str>> {
    let is_id = text.len() <= MAX_ID_BYTES
        && text.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit());
    is_id.then(|| text.into())
}

fn message(head: &Head, members: &Members, id: Option<Box<str>>) -> Result<Message, FaultKind> {
    if members.iter().any(|(name, _)| is_variant(name, MESSAGE_MEMBERS.iter().copied())) {
        return Err(FaultKind::Request);
    }
    let member = |name| members.one(name).map_err(|_| FaultKind::Parse);
    if member("jsonrpc")?.and_then(string).as_deref() != Some("2.0") {
        return Err(FaultKind::Request);
    }
    let is_error = member("error")?.is_some();
    let answers = [member("result")?, member("error")?].into_iter().flatten().count();
    let params = member("params")?.filter(|params| *params != NOTHING);
    let Some(method) = member("method")? else {
        // The answer to a request of the server's, which clients no longer give since 2026-07-28.
        let is_answer = answers == 1 && (id.is_some() || is_error) && params.is_none();
        if is_answer && head.version != ProtocolVersion::V2026_07_28 && !head.says_method() {
            return Ok(Message { id, method: None, operations: Vec::new() });
        }
        return Err(FaultKind::Request);
    };
    let method = string(method).filter(|method| !method.is_empty() && answers == 0).ok_or(FaultKind::Request)?;
    if Method::is_odd(&method) {
        return Err(FaultKind::Request);
    }
    let params = params.map(parameters).transpose()?;
    let operations = operations(&method, params.as_ref())?;
    let asked = Message { id, method: Some(method.into()), operations };
    compare(head, &asked, params.as_ref())?;
    Ok(asked)
}

/// The parameters, by name: MCP has none by position.
fn parameters(text: &str) -> Result<Members<'_>, FaultKind> {
    let params = Members::parse(text.as_bytes()).map_err(|_| FaultKind::Parameters)?;
    let is_odd = params.iter().any(|(name, _)| is_variant(name, PARAMETERS.iter().copied()));
    if is_odd { Err(FaultKind::Parameters) } else { Ok(params) }
}

/// What a method is about.
fn operations(method: &str, params: Option<&Members>) -> Result<Vec<Operation>, FaultKind> {
    let Some(Method { about, .. }) = Method::of(method) else { return Ok(unknown(method, params)) };
    if let Some(parameter) = about.parameter() {
        return Ok(about.named(&text_of(params, parameter)?).into_iter().collect());
    }
    match about {
        About::Reference => {
            let reference = params.and_then(|params| params.one("ref").ok().flatten()).ok_or(FaultKind::Parameters)?;
            let reference = parameters(reference)?;
            let operation = match text_of(Some(&reference), "type")?.as_str() {
                "ref/prompt" => Operation::Prompt(text_of(Some(&reference), "name")?.into()),
                "ref/resource" => Operation::Resource(text_of(Some(&reference), "uri")?.into()),
                _ => return Err(FaultKind::Parameters),
            };
            Ok(vec![operation])
        }
        About::Subscriptions => subscriptions(params),
        About::Nothing | About::Tool | About::Prompt | About::Resource => Ok(Vec::new()),
    }
}

/// What a method is about that the protocol doesn't know, with what else it names as a known one would.
fn unknown(method: &str, params: Option<&Members>) -> Vec<Operation> {
    let named = match method.split_once('/') {
        Some(("tools", _)) => text_of(params, "name").map(|name| Operation::Tool(name.into())),
        Some(("prompts", _)) => text_of(params, "name").map(|name| Operation::Prompt(name.into())),
        _ => text_of(params, "uri").map(|uri| Operation::Resource(uri.into())),
    };
    [Operation::Unknown].into_iter().chain(named.ok()).collect()
}

/// The text of a parameter that must be there.
fn text_of(params: Option<&Members>, name: &str) -> Result<String, FaultKind> {
    let text = params.and_then(|params| params.one(name).ok().flatten()).and_then(string);
    text.filter(|text| !text.is_empty()).ok_or(FaultKind::Parameters)
}

/// The resources that are to be watched (2026-07-28, `subscriptions/listen`).
fn subscriptions(params: Option<&Members>) -> Result<Vec<Operation>, FaultKind> {
    let Some(wanted) = params.and_then(|params| params.one("notifications").ok().flatten()) else {
        return Ok(Vec::new());
    };
    let wanted = parameters(wanted)?;
    let Some(uris) = wanted.one("resourceSubscriptions").map_err(|_| FaultKind::Parameters)? else {
        return Ok(Vec::new());
    };
    let uris = json::elements(uris).map_err(|_| FaultKind::Parameters)?;
    if uris.len() > MAX_OPERATIONS {
        return Err(FaultKind::Parameters);
    }
    let uris = uris.into_iter().map(|uri| string(uri).ok_or(FaultKind::Parameters));
    uris.map(|uri| uri.map(|uri| Operation::Resource(uri.into()))).collect()
}

/// Compares what the headers say with what the body says ("Server Validation").
fn compare(head: &Head, asked: &Message, params: Option<&Members>) -> Result<(), FaultKind> {
    let meta = params.and_then(|params| params.one("_meta").ok().flatten()).filter(|meta| *meta != NOTHING);
    let meta = meta.map(|meta| Members::parse(meta.as_bytes()).map_err(|_| FaultKind::Parameters)).transpose()?;
    let version = meta.and_then(|meta| meta.one(VERSION_IN_META).ok().flatten());
    if version.is_some_and(|version| string(version).as_deref() != Some(head.version.as_str())) {
        return Err(FaultKind::Headers);
    }
    if asked.operations.iter().any(|operation| operation.name().is_some_and(|name| name.contains('\0'))) {
        return Err(FaultKind::Parameters);
    }
    let is_named = asked.method.as_deref().is_some_and(Method::is_named_in_head);
    let name = asked.operations.first().filter(|_| is_named).and_then(Operation::name);
    let is_request = asked.id.is_some();
    let method_agrees = match head.method.as_deref() {
        Some(method) => Some(method) == asked.method.as_deref(),
        None => head.version != ProtocolVersion::V2026_07_28 || !is_request,
    };
    let name_agrees = match (head.name.as_deref(), name) {
        (Some(said), Some(name)) => said == name,
        (None, Some(_)) => head.version != ProtocolVersion::V2026_07_28 || !is_request,
        // What has no name to compare with: `resources/subscribe`, or a method of an extension.
        (_, None) => true,
    };
    if method_agrees && name_agrees { Ok(()) } else { Err(FaultKind::Headers) }
}

fn string(text: &str) -> Option<String> {
    match json::parse(text.as_bytes()) {
        Ok(Value::String(text)) => Some(text),
        _ => None,
    }
}

/// Of a message.
const MESSAGE_MEMBERS: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];

/// Of parameters, and of what in them tells the operation.
const PARAMETERS: &[&str] = &["name", "uri", "arguments", "ref", "type", "notifications", "resourceSubscriptions"];

/// What some clients write where they have no parameters, or no `_meta`.
const NOTHING: &str = "null";

/// Where a request of 2026-07-28 says its version.
const VERSION_IN_META: &str = "io.modelcontextprotocol/protocolVersion";

/// A client that waits for a call sends one message, or a few.
const MAX_BATCH: usize = 64;

/// A client watches what it shows. Each is held against a whole list, in all readings of its name.
const MAX_OPERATIONS: usize = 256;

/// The bytes of all these names together.
const MAX_NAMES_SIZE: usize = 64 * 1024;

/// Identifiers are numbers, or UUIDs; they are told back.
const MAX_ID_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: ProtocolVersion) -> Head {
        Head { version, method: None, name: None, is_post: true, is_json: true }
    }

    fn kind(version: ProtocolVersion, body: impl AsRef<[u8]>) -> Option<FaultKind> {
        read(&head(version), body.as_ref()).err().map(|fault| fault.kind)
    }

    const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"drop","arguments":{}}}"#;

    #[test]
    fn a_message_names_its_operation() {
        let asked = |body: &str| read(&head(ProtocolVersion::V2025_11_25), body.as_bytes()).unwrap().remove(0);
        let call = asked(CALL);
        assert_eq!((call.id.as_deref(), call.method.as_deref()), (Some("7"), Some("tools/call")));
        assert_eq!(call.operations, [Operation::Tool("drop".into())]);
        let operations = |method: &str, params: &str| {
            asked(&format!(r#"{{"jsonrpc":"2.0","id":"a","method":"{method}","params":{params}}}"#)).operations
        };
        assert_eq!(operations("prompts/get", r#"{"name":"p"}"#), [Operation::Prompt("p".into())]);
        assert_eq!(operations("resources/subscribe", r#"{"uri":"x:y"}"#), [Operation::Resource("x:y".into())]);
        let reference = r#"{"ref":{"type":"ref/resource","uri":"x:{y}"},"argument":{"name":"y","value":""}}"#;
        assert_eq!(operations("completion/complete", reference), [Operation::Resource("x:{y}".into())]);
        let wanted = r#"{"notifications":{"resourceSubscriptions":["a:1","a:2"],"toolsListChanged":true}}"#;
        let both = [Operation::Resource("a:1".into()), Operation::Resource("a:2".into())];
        assert_eq!(operations("subscriptions/listen", wanted), both);
        assert_eq!(operations("initialize", r#"{"clientInfo":{"name":"c"}}"#), []);
        assert_eq!(operations("vendor/method", "{}"), [Operation::Unknown]);
        assert_eq!(operations("tools/list", "null"), []);
        assert_eq!(operations("prompts/get", r#"{"name":"p","_meta":null}"#), [Operation::Prompt("p".into())]);
        let escaped = r#" {"jsonrpc":"2.0","m\u0065thod":"tools\/c\u0061ll","params":{"n\u0061me":"dr\u006fp"}} "#;
        assert_eq!(asked(escaped).operations, [Operation::Tool("drop".into())]);
        // Answers: an error can be about a request whose identifier could not be read (2025-11-25, `JSONRPCErrorResponse`).
        for answer in [r#""id":1,"result":{}"#, r#""id":1,"error":{}"#, r#""error":{}"#, r#""id":null,"error":{}"#] {
            assert_eq!(asked(&format!(r#"{{"jsonrpc":"2.0",{answer}}}"#)).method, None);
        }
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let version = ProtocolVersion::V2025_11_25;
        for (body, expected) in [
            ("", FaultKind::Parse),
            ("{", FaultKind::Parse),
            ("null", FaultKind::Request),
            ("\"tools/call\"", FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#, FaultKind::Parse),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":1,"METHOD":"tools/call"}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","me_thod":"tools/call"}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","method\u0000":"tools/call"}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","param\u017f":{}}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":1,"method":"Tools/Call","params":{"name":"a"}}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/LIST"}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":1,"method":" tools/call","params":{"name":"a"}}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":1,"method":["tools/call"],"params":{"name":"a"}}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":1,"method":"","params":{"name":"a"}}"#, FaultKind::Request),
            (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, FaultKind::Request),
            (r#"{"id":1,"method":"ping"}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":null,"method":"ping","error":{}}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","result":{}}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":{},"error":{}}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":1,"result":{},"__proto__":{"method":"tools/call"}}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, FaultKind::Request),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, FaultKind::Parameters),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":null}"#, FaultKind::Parameters),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["a"]}"#, FaultKind::Parameters),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#, FaultKind::Parameters),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":""}}"#, FaultKind::Parameters),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":1}}"#, FaultKind::Parameters),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}"#,
                FaultKind::Parameters,
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#, FaultKind::Parse),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a\u0000b"}}"#, FaultKind::Parameters),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"\ud800"}}"#, FaultKind::Parse),
        ] {
            assert_eq!(kind(version, body), Some(expected), "{body}");
        }
        let twice = CALL.repeat(2);
        let behind = format!("{CALL}x");
        let marked = format!("\u{feff}{CALL}");
        let deep = CALL.replace("{}}", &format!("{}{}}}", "[".repeat(65), "]".repeat(65)));
        let repeated = CALL.replace("{}}", r#"{"a":1,"a":2}}"#);
        for body in [twice, behind, marked, deep, repeated] {
            assert_eq!(kind(version, &body), Some(FaultKind::Parse), "{body:.120}");
        }
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            let wide: Vec<u8> = CALL.encode_utf16().flat_map(order).collect();
            assert_eq!(kind(version, wide), Some(FaultKind::Parse));
        }
        assert_eq!(kind(version, b"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}"), Some(FaultKind::Parse));
    }

    #[test]
    fn batches_are_for_one_version() {
        let batch = format!("[{CALL},{CALL}]");
        assert_eq!(read(&head(ProtocolVersion::V2025_03_26), batch.as_bytes()).map(|all| all.len()), Ok(2));
        for version in [
            ProtocolVersion::V2024_11_05,
            ProtocolVersion::V2025_06_18,
            ProtocolVersion::V2025_11_25,
            ProtocolVersion::V2026_07_28,
        ] {
            assert_eq!(kind(version, &batch), Some(FaultKind::Request));
        }
        let many = format!("[{}]", vec![CALL; MAX_BATCH + 1].join(","));
        let uris = vec![r#""x:y""#; MAX_OPERATIONS / 2 + 1].join(",");
        let listen = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{{"notifications":{{"resourceSubscriptions":[{uris}]}}}}}}"#
        );
        assert!(read(&head(ProtocolVersion::V2025_03_26), format!("[{listen}]").as_bytes()).is_ok());
        let wide = format!("[{listen},{listen}]");
        let long = format!("[{}]", CALL.replace("drop", &"d".repeat(MAX_NAMES_SIZE + 1)));
        for body in ["[]", "[1]", "[[]]", &many, &wide, &long] {
            assert_eq!(kind(ProtocolVersion::V2025_03_26, body), Some(FaultKind::Request), "{body:.40}");
        }
    }

    #[test]
    fn headers_and_body_agree() {
        let said = |method: Option<&str>, name: Option<&str>, body: &str| {
            let head = Head {
                version: ProtocolVersion::V2026_07_28,
                method: method.map(Into::into),
                name: name.map(Into::into),
                is_post: true,
                is_json: true,
            };
            read(&head, body.as_bytes()).err().map(|fault| (fault.kind, fault.id.as_deref().map(str::to_owned)))
        };
        let mismatch = Some((FaultKind::Headers, Some("7".to_owned())));
        assert_eq!(said(Some("tools/call"), Some("drop"), CALL), None);
        assert_eq!(said(Some("tools/call"), Some("list"), CALL), mismatch);
        assert_eq!(said(Some("tools/list"), Some("drop"), CALL), mismatch);
        assert_eq!(said(Some("tools/call"), None, CALL), mismatch);
        assert_eq!(said(None, None, CALL), mismatch);
        let versioned =
            |version: &str| CALL.replace(r#""arguments":{}"#, &format!(r#""_meta":{{"{VERSION_IN_META}":{version}}}"#));
        assert_eq!(said(Some("tools/call"), Some("drop"), &versioned("\"2026-07-28\"")), None);
        for version in ["\"2025-11-25\"", "1", "null"] {
            assert_eq!(said(Some("tools/call"), Some("drop"), &versioned(version)), mismatch, "{version}");
        }
        assert_eq!(kind(ProtocolVersion::V2025_11_25, versioned("\"2026-07-28\"")), Some(FaultKind::Headers));
        let notification = r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#;
        assert_eq!(said(None, None, notification), None);
    }
}
