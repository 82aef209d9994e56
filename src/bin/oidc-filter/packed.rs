//! Documents within documents: the items of a List, as `kubectl get` prints one, and Envoy's files in a ConfigMap.

use crate::yaml::{self, Data, Node};

/// Each document, or what is packed in it.
pub fn unpacked(documents: Vec<Node>) -> Vec<Node> {
    documents.into_iter().flat_map(unpack).collect()
}

fn unpack(document: Node) -> Vec<Node> {
    match document.word("kind") {
        Some(kind) if kind.ends_with("List") && !document.elements("items").is_empty() => {
            unpacked(document.elements("items").to_vec())
        }
        Some("ConfigMap") => {
            let files = document.get("data").map(Node::members).unwrap_or_default();
            let found: Vec<Node> = files.iter().flat_map(|(_, file)| envoys(file)).collect();
            if found.is_empty() { vec![document] } else { found }
        }
        _ => vec![document],
    }
}

/// Whether a document is one of Envoy's own files.
pub fn is_envoys(document: &Node) -> bool {
    ["static_resources", "resources", "@type"].iter().any(|field| document.get(field).is_some())
}

/// The documents in a text that are Envoy's. Others may have names that mean something else to them.
fn envoys(file: &Node) -> Vec<Node> {
    let Data::Text(text, _) = &file.data else { return Vec::new() };
    let mut documents = yaml::read(text).unwrap_or_default();
    documents.retain(is_envoys);
    documents.iter_mut().for_each(|document| document.shift(&|inner| yaml::within(file, inner)));
    documents
}
