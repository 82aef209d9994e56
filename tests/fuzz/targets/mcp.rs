//! Bodies for an MCP server: whatever a lax reader would call, fill in, read or watch, the filter has judged.

use super::lines;
use oidc_filter::policy::operation::head::{Head, ProtocolVersion};
use oidc_filter::policy::operation::message::read;
use oidc_filter::policy::operation::{Message, Operation};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The first octet chooses the version, the rest is the body.
pub fn run(octets: &[u8]) {
    let (choice, body) = octets.split_at(octets.len().min(1));
    let versions = [
        ProtocolVersion::V2025_03_26,
        ProtocolVersion::V2025_06_18,
        ProtocolVersion::V2025_11_25,
        ProtocolVersion::V2024_11_05,
    ];
    let version = versions[usize::from(choice.first().copied().unwrap_or(0)) % versions.len()];
    let head = Head { version, method: None, name: None, is_post: true, is_json: true };
    let Ok(asked) = read(&head, body) else { return };
    for found in found(body) {
        let mut judged = asked.iter().flat_map(|asked| &asked.operations);
        assert!(judged.any(|judged| *judged == found), "{found:?} is not judged: {asked:?}");
    }
    for Message { id, .. } in &asked {
        // It is written into the answer.
        assert!(id.as_deref().is_none_or(|id| serde_json::from_str::<serde_json::Value>(id).is_ok()));
    }
    assert!(asked.len() == 1 || version == ProtocolVersion::V2025_03_26);
}

/// What readers that forgive much would do: those that take names in any case, the first or the last of two, what stands
/// before or behind something else, or another encoding.
pub fn found(body: &[u8]) -> Vec<Operation> {
    let mut texts = vec![String::from_utf8_lossy(body).into_owned()];
    let units = |order: fn([u8; 2]) -> u16| -> Vec<u16> {
        body.chunks_exact(2).map(|pair| order([pair[0], pair[1]])).collect()
    };
    texts.push(String::from_utf16_lossy(&units(u16::from_le_bytes)));
    texts.push(String::from_utf16_lossy(&units(u16::from_be_bytes)));
    let mut operations = Vec::new();
    for text in texts {
        let text = text.trim_start_matches('\u{feff}');
        for document in serde_json::Deserializer::from_str(text).into_iter::<Node>().map_while(Result::ok) {
            find(&document, &mut operations);
        }
    }
    operations
}

/// JSON with all that stands in it.
enum Node {
    Text(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
    Other,
}

fn find(node: &Node, found: &mut Vec<Operation>) {
    match node {
        Node::Array(elements) => elements.iter().for_each(|element| find(element, found)),
        Node::Object(members) => {
            for method in texts(members, "method") {
                for params in objects(members, "params") {
                    found.extend(operations(method, params));
                }
            }
        }
        Node::Text(_) | Node::Other => {}
    }
}

fn operations(method: &str, params: &[(String, Node)]) -> Vec<Operation> {
    let named = |members, member, operation: fn(Box<str>) -> Operation| -> Vec<Operation> {
        texts(members, member).map(|text| operation(text.into())).filter(|found| found.name() != Some("")).collect()
    };
    match method {
        "tools/call" => named(params, "name", Operation::Tool),
        "prompts/get" => named(params, "name", Operation::Prompt),
        "resources/read"
        | "resources/subscribe"
        | "resources/unsubscribe"
        | "resources/directory/read"
        | "skills/get" => named(params, "uri", Operation::Resource),
        "completion/complete" => {
            let of = |reference| {
                let kinds: Vec<&str> = texts(reference, "type").collect();
                let prompts = kinds.contains(&"ref/prompt").then(|| named(reference, "name", Operation::Prompt));
                let resources = kinds.contains(&"ref/resource").then(|| named(reference, "uri", Operation::Resource));
                prompts.into_iter().chain(resources).flatten().collect::<Vec<_>>()
            };
            objects(params, "ref").flat_map(of).collect()
        }
        "subscriptions/listen" => {
            let lists = objects(params, "notifications").flat_map(|wanted| all(wanted, "resourcesubscriptions"));
            let uris = lists.flat_map(|list| if let Node::Array(uris) = list { uris.as_slice() } else { &[] });
            let uris = uris.filter_map(|uri| if let Node::Text(uri) = uri { Some(uri.as_str()) } else { None });
            uris.map(|uri| Operation::Resource(uri.into())).collect()
        }
        _ => Vec::new(),
    }
}

fn texts<'n>(members: &'n [(String, Node)], name: &'static str) -> impl Iterator<Item = &'n str> {
    all(members, name).filter_map(|node| if let Node::Text(text) = node { Some(text.as_str()) } else { None })
}

fn objects<'n>(members: &'n [(String, Node)], name: &'static str) -> impl Iterator<Item = &'n [(String, Node)]> {
    all(members, name).filter_map(|node| if let Node::Object(members) = node { Some(members.as_slice()) } else { None })
}

fn all<'n>(members: &'n [(String, Node)], name: &'static str) -> impl Iterator<Item = &'n Node> {
    members.iter().filter(move |(other, _)| folded(other) == name).map(|(_, node)| node)
}

fn folded(name: &str) -> String {
    name.to_lowercase().replace('ſ', "s").chars().filter(|letter| !"_-\0 ".contains(*letter)).collect()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(element) = elements.next_element()? {
            all.push(element);
        }
        Ok(Node::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = members.next_entry()? {
            all.push(member);
        }
        Ok(Node::Object(all))
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    lines(&[
        "\0{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"drop\",\"arguments\":{\"a\":[1.5,null]}}}",
        "\0[{\"jsonrpc\":\"2.0\",\"method\":\"tools/call\",\"params\":{\"name\":\"drop\"}},{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"result\":{}}]",
        "\u{1}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"drop\"}}",
        "\u{2}{\"jsonrpc\":\"2.0\",\"id\":1,\"m\\u0065thod\":\"tools\\/call\",\"params\":{\"na\\u006de\":\"drop\",\"Name\":\"x\"}}",
        "\u{2}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"Method\":\"tools/call\",\"params\":{\"name\":\"drop\"}}",
        "\u{1}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"method\":\"tools/call\",\"params\":{\"name\":\"drop\",\"name\":\"x\"}}",
        "\u{1}\u{feff}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"drop\"}}",
        "\u{1}{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"method\":\"completion/complete\",\"params\":{\"ref\":{\"type\":\"ref/prompt\",\"name\":\"p\"}}}",
        "\u{1}{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"method\":\"completion/complete\",\"params\":{\"ref\":{\"type\":\"ref/resource\",\"uri\":\"a:{b}\",\"Name\":\"p\"}}}",
        "\u{2}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"resources/read\",\"params\":{\"uri\":\"a:b\",\"URI\":\"a:c\"}}",
        "\u{2}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"subscriptions/listen\",\"params\":{\"notifications\":{\"resourceSubscriptions\":[\"a:b\",\"a:c\"],\"resource_subscriptions\":[\"a:d\"]}}}",
        "\u{2}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"resources/directory/read\",\"params\":{\"uri\":\"a:b\",\"name\":\"a:c\"}}",
        "\u{2}{\"jsonrpc\":\"2.0\",\"error\":{\"code\":1},\"id\":null}",
        "\u{2}{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"param\u{17f}\":{\"name\":\"drop\"},\"__proto__\":{\"method\":\"tools/call\"}}",
    ])
}
