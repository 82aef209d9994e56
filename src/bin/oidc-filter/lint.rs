//! `lint`: what Envoy or the filter would refuse, and what is legal and unwise, with the line that it is in.
//!
//! The configuration is read by the filter's own readers, so that what passes here is what the filter takes. What stands around it
//! (the chain of filters, clusters, the manifests of meshes) is looked at as far as the files that are given show it.

pub mod breakers;
mod chain;
mod clusters;
mod discovery;
mod gateway;
mod istio;
mod net;
mod plugin;
mod policy;
mod syntax;

use crate::file::File;
use crate::report::{Finding, Level};
use crate::site::{self, Site, SiteKind, Variables};
use crate::yaml::{Documents, Node, Place};
use oidc_filter::config::Config;

/// All that is found in these files, which belong together: clusters of one serve filters of another.
pub fn lint(files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut read: Vec<(&File, Documents)> = Vec::new();
    for file in files {
        match syntax::read(file) {
            Ok(documents) => read.push((file, documents)),
            Err((place, problem)) => {
                findings.push(finding(&file.name, place, Level::Error, "syntax", "", problem));
            }
        }
    }
    let all: Vec<(&str, &Node)> = read
        .iter()
        .flat_map(|(file, documents)| documents.nodes.iter().map(|document| (file.name.as_str(), document)))
        .collect();
    let gaps = discovery::gaps(&all);
    let beside = Beside {
        clusters: clusters::Known::of(&all),
        mesh: istio::Mesh::of(&all),
        workers: breakers::workers(&all),
        early: gateway::early(&all),
        patches: chain::patches(&all),
        routes: chain::routes(&all),
    };
    let sites: Vec<Vec<Site<'_>>> =
        read.iter().map(|(_, documents)| documents.nodes.iter().flat_map(site::sites).collect()).collect();
    let is_somewhere = sites.iter().any(|sites| !sites.is_empty());
    for ((file, documents), sites) in read.iter().zip(sites) {
        let mut report = Report { file: &file.name, around: None, findings: Vec::new() };
        syntax::merges(documents, &mut report);
        if sites.is_empty() {
            lacking(file, documents, is_somewhere, &mut report);
        } else {
            syntax::words(documents, &mut report);
        }
        syntax::kinds(documents, &mut report);
        for mut site in sites {
            let fitting: Vec<_> = gaps.iter().filter(|gap| gap.is_filled_by(&site)).collect();
            if fitting.is_empty() {
                check(&site, &beside, &mut report);
            }
            for gap in fitting {
                site.chain = Some((gap.manager, gap.index));
                report.around = Some(gap.file);
                check(&site, &beside, &mut report);
            }
            report.around = None;
        }
        findings.extend(report.findings);
    }
    findings.sort();
    findings.dedup();
    findings
}

/// Of a file without a configuration of the filter: whether that is what somebody means.
fn lacking(file: &File, documents: &Documents, is_somewhere: bool, report: &mut Report<'_>) {
    let begin = Place { line: 1, column: 1 };
    let is_beside =
        documents.nodes.iter().any(clusters::is_of_clusters) || is_somewhere && documents.nodes.iter().any(is_known);
    if is_beside {
        return;
    }
    if discovery::note(&documents.nodes, report) {
        return;
    }
    match syntax::hidden_fault(file) {
        Some((place, problem)) => report.add(place, Level::Error, "syntax", "", problem),
        None => report.add(begin, Level::Error, "no_configuration", "", site::LACKING),
    }
}

/// Whether a document is a bootstrap, which may name other files, an answer of a discovery service, or a manifest such as a Gateway.
fn is_known(node: &Node) -> bool {
    ["static_resources", "dynamic_resources", "resources"].iter().any(|field| node.get(field).is_some())
        || node.get("apiVersion").is_some() && node.get("kind").is_some()
}

/// Where the findings of one file go.
struct Report<'f> {
    file: &'f str,
    /// The file with the filters around this one, if that is another.
    around: Option<&'f str>,
    findings: Vec<Finding>,
}

impl Report<'_> {
    /// Adds a finding about the file itself.
    fn add(&mut self, place: Place, level: Level, code: &str, path: &str, text: impl Into<String>) {
        self.findings.push(finding(self.file, place, level, code, path, text));
    }

    /// Adds a finding about another file.
    fn add_in(&mut self, file: &str, place: Place, level: Level, code: &str, path: &str, text: impl Into<String>) {
        self.findings.push(finding(file, place, level, code, path, text));
    }

    /// Adds a warning about another file.
    fn warn_in(&mut self, file: &str, place: Place, code: &str, path: &str, text: impl Into<String>) {
        self.add_in(file, place, Level::Warning, code, path, text);
    }

    /// Adds a warning about this file, or else about the one with the chain around the filter.
    fn warn_at(&mut self, file: Option<&str>, place: Place, code: &str, path: &str, text: impl Into<String>) {
        self.warn_in(file.or(self.around).unwrap_or(self.file), place, code, path, text);
    }

    /// Adds a warning about the chain around the filter.
    fn warn_around(&mut self, place: Place, code: &str, path: &str, text: impl Into<String>) {
        self.warn_at(None, place, code, path, text);
    }
}

/// What the files say beside the configurations of the filter.
struct Beside<'n> {
    clusters: clusters::Known<'n>,
    mesh: istio::Mesh<'n>,
    /// How many workers an Envoy has.
    workers: Option<f64>,
    /// What Envoy Gateway puts before the module.
    early: Vec<gateway::Early<'n>>,
    patches: Vec<chain::Entry<'n>>,
    routes: Vec<chain::Entry<'n>>,
}

fn finding(file: &str, place: Place, level: Level, code: &str, path: &str, text: impl Into<String>) -> Finding {
    Finding { file: file.to_owned(), place, level, code: code.to_owned(), path: path.to_owned(), text: text.into() }
}

fn check<'n>(site: &Site<'n>, beside: &Beside<'n>, report: &mut Report<'_>) {
    plugin::check(site, report);
    let Some(config) = read(site, report) else { return };
    policy::check(site, &config, report);
    plugin::lists(site, &config, report);
    let chain = chain::Chain::of(site, &beside.patches);
    for warning in &config.warnings {
        let is_met = match warning.code {
            "rerouted" => chain.as_ref().is_some_and(|chain| net::has_route_check(site, chain)),
            "verify_paths" => chain::leaves_paths(site),
            _ => false,
        };
        if is_met {
            continue;
        }
        report.add(site.place(&warning.path), Level::Warning, warning.code, &warning.path, &warning.text);
    }
    clusters::check(site, &config, &beside.clusters, beside.workers, report);
    istio::check(site, &config, &beside.mesh, beside.workers, report);
    let is_of_gateway = site.kind == SiteKind::EnvoyExtensionPolicy;
    for early in beside.early.iter().filter(|early| is_of_gateway && early.is_beside(site.resource)) {
        report.warn_in(early.file, early.key.place, "order", &early.key.name, early.told());
    }
    if let Some(chain) = chain {
        chain::check(site, &chain, &beside.routes, &config, report);
        net::check(site, &chain, &beside.routes, &config, report);
    }
}

/// The configuration by the filter's own readers. Of several mistakes all are told that can be looked past: a field that is
/// unknown changes nothing of what the others mean.
fn read(site: &Site<'_>, report: &mut Report<'_>) -> Option<Config> {
    let Some(mut bytes) = site.bytes() else {
        let problem = "the filter has no configuration: it needs `providers`, or `provider`";
        report.add(site.plugin.place, Level::Error, "configuration", "", problem);
        return None;
    };
    let mut variables = Variables::of(site);
    let mut unchecked: Vec<String> = Vec::new();
    let mut told = 0_usize;
    while told < MAX_ERRORS {
        let error = match Config::read(&bytes, &variables) {
            Ok(config) => {
                for path in unchecked {
                    let text = "holds a variable that is not set here: what it makes of this field could not be checked; set it \
                                for this command to check it";
                    report.add(site.place(&path), Level::Note, "unchecked_variable", &path, text);
                }
                return (told == 0).then_some(config);
            }
            Err(error) => error,
        };
        // A value that is known to nobody here can't be wrong here: something else may fit.
        if variables.try_another(&site.variables_behind(&error)) {
            unchecked.extend((!unchecked.iter().any(|path| path == error.path())).then(|| error.path().to_owned()));
            continue;
        }
        // Nothing that was tried fits: what it makes of the rest can't be known, either.
        if site.variables_behind(&error).iter().any(|name| variables.is_unknown(name)) {
            let text = "holds a variable that is not set here, and nothing that was tried in its place fits: set it for this \
                        command to check this configuration";
            report.add(site.place(error.path()), Level::Note, "unchecked_variable", error.path(), text);
            break;
        }
        // What was misspelled is missing under its name.
        if told > 0 && error.problem().starts_with("required") {
            break;
        }
        let place = site.syntax_fault().unwrap_or_else(|| site.place(error.path()));
        let remedy = match (site.is_yaml_text(), site.has_comments()) {
            (true, _) => YAML_IN_TEXT,
            (_, true) => "; JSON has no comments",
            _ => "",
        };
        report.add(place, Level::Error, "configuration", error.path(), format!("{}{remedy}", error.problem()));
        told = told.saturating_add(1);
        let is_unknown = error.problem().starts_with("unknown field");
        match is_unknown.then(|| site::without(&bytes, error.path())).flatten() {
            Some(rest) => bytes = rest,
            None => break,
        }
    }
    None
}

const YAML_IN_TEXT: &str = "; it looks like YAML, of which Envoy makes nothing in a text: write google.protobuf.Struct in place of \
                            google.protobuf.StringValue, and the same as an object in `value`";

/// Whoever has more has taken another file for a configuration.
const MAX_ERRORS: usize = 32;
