//! A filter whose configuration Envoy discovers (ECDS): a chain has its name, and another file what stands behind that.

use super::Report;
use crate::report::Level;
use crate::site::{Site, SiteKind};
use crate::yaml::{Node, Place};

/// A place in a chain that a configuration from elsewhere fills.
pub struct Gap<'n> {
    /// The file with the chain.
    pub file: &'n str,
    name: &'n str,
    /// The connection manager, and the place among its filters.
    pub manager: &'n Node,
    pub index: usize,
}

/// All such places in these documents.
pub fn gaps<'n>(documents: &[(&'n str, &'n Node)]) -> Vec<Gap<'n>> {
    let mut gaps = Vec::new();
    for (file, document) in documents {
        document.walk(&mut |manager| {
            for (index, filter) in manager.elements("http_filters").iter().enumerate() {
                if let Some(name) = filter.word("name").filter(|_| filter.get("config_discovery").is_some()) {
                    gaps.push(Gap { file, name, manager, index });
                }
            }
        });
    }
    gaps
}

impl Gap<'_> {
    /// Whether a configuration is the one of this name.
    pub fn is_filled_by(&self, site: &Site<'_>) -> bool {
        let mut named =
            site.resource.elements("resources").iter().filter(|resource| resource.word("name") == Some(self.name));
        let has_site = |resource: &Node| {
            resource.at(&["typed_config", "config"]).is_some_and(|plugin| std::ptr::eq(plugin, site.plugin))
        };
        site.kind == SiteKind::Envoy && site.chain.is_none() && named.any(has_site)
    }
}

/// Tells of a chain with a Wasm filter whose configuration nobody gave; whether there is one.
pub fn note(documents: &[Node], report: &mut Report<'_>) -> bool {
    let Some(place) = documents.iter().find_map(place) else { return false };
    let text = "the filter's configuration comes from elsewhere: give the file that Envoy reads it from beside this one, to check both";
    report.add(place, Level::Note, "discovered", "http_filters", text);
    true
}

/// Where a chain discovers a Wasm filter.
fn place(document: &Node) -> Option<Place> {
    let mut found = None;
    document.walk(&mut |node| {
        let types = node.get("config_discovery").map(|discovery| discovery.elements("type_urls")).unwrap_or_default();
        let mut names = types.iter().filter_map(Node::text);
        found = found.or(names.any(|name| name.ends_with(".filters.http.wasm.v3.Wasm")).then_some(node.place));
    });
    found
}
