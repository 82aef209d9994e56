//! Whether a file can be read in one way only: as JSON where its name says so, or as YAML that Envoy and Kubernetes read alike.

use super::Report;
use crate::file::File;
use crate::packed::{is_envoys, unpacked};
use crate::report::Level;
use crate::yaml::{self, Documents, Place};
use oidc_filter::json;

/// The documents of a file; or where it can't be read, and why.
pub fn read(file: &File) -> Result<Documents, (Place, String)> {
    let is_json = file.name.to_ascii_lowercase().ends_with(".json");
    match yaml::documents(&file.text) {
        Ok(documents) => {
            // YAML has comments, and more. Envoy reads what is called JSON as nothing else.
            if is_json && let Some(fault) = json_fault(&file.text) {
                return Err(fault);
            }
            Ok(Documents { nodes: unpacked(documents.nodes), ..documents })
        }
        Err(fault) => {
            let broken = if is_json { json_fault(&file.text) } else { hidden_fault(file) };
            Err(broken.unwrap_or((fault.place, fault.problem)))
        }
    }
}

/// What is wrong with a file that looks like JSON: a comment may have hidden it from those who read it as YAML.
pub fn hidden_fault(file: &File) -> Option<(Place, String)> {
    json_fault(&file.text).filter(|_| looks_like_json(&file.text))
}

/// Kubernetes merges by `<<`; Envoy takes it for the name of a field, which it does not know.
pub fn merges(documents: &Documents, report: &mut Report<'_>) {
    if documents.nodes.iter().any(|node| node.get("apiVersion").is_none() && is_envoys(node)) {
        for place in &documents.merges {
            let text = "Envoy knows no merge keys, and refuses `<<` as an unknown field: write the members out; aliases (`*name`) of \
                        whole values it follows";
            report.add(*place, Level::Error, "merge_key", "<<", text);
        }
    }
}

/// Manifests of no kind, which nobody would look at here.
pub fn kinds(documents: &Documents, report: &mut Report<'_>) {
    for (key, kind) in
        documents.nodes.iter().filter(|node| node.get("apiVersion").is_some()).filter_map(|node| node.entry("kind"))
    {
        let is_meant =
            |known: &&&str| kind.text().is_some_and(|kind| (1..=3).contains(&strsim::osa_distance(kind, known)));
        let meant = KINDS.iter().find(is_meant);
        if let Some(meant) = meant {
            report.add(
                key.place,
                Level::Error,
                "kind",
                "kind",
                format!("there is no such kind: did you mean `{meant}`?"),
            );
        }
    }
}

/// The kinds that are looked at.
const KINDS: [&str; 7] = [
    "WasmPlugin",
    "TrafficExtension",
    "EnvoyExtensionPolicy",
    "EnvoyPatchPolicy",
    "EnvoyFilter",
    "ServiceEntry",
    "DestinationRule",
];

/// Names that Kubernetes reads as booleans: the filter gets `true` in the place of `y`.
pub fn words(documents: &Documents, report: &mut Report<'_>) {
    if documents.nodes.iter().any(|node| node.get("apiVersion").is_some()) {
        for place in &documents.words {
            let text = "Kubernetes reads this name as true or false: write it in quotes";
            report.add(*place, Level::Warning, "boolean_name", "", text);
        }
    }
}

/// What is wrong with the syntax of JSON, as the filter tells it. That a name is there twice YAML tells better: with both places.
fn json_fault(text: &str) -> Option<(Place, String)> {
    let fault = json::find_fault(text.as_bytes())?;
    if fault.error == json::Error::DuplicateMember {
        return yaml::documents(text).err().map(|fault| (fault.place, fault.problem));
    }
    let place = yaml::place_of_byte(text, fault.line, fault.column);
    Some((place, format!("{}{}", fault.error, fault.detail().map(|detail| format!(": {detail}")).unwrap_or_default())))
}

/// Whether a text begins as JSON does, and not as YAML in braces.
fn looks_like_json(text: &str) -> bool {
    let inner = text.trim_start_matches('\u{feff}').trim_start().strip_prefix('{');
    inner.is_some_and(|inner| inner.trim_start().starts_with(['"', '/', '}']))
}
