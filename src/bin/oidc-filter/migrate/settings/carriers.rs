//! What settings are handed over in: TOML, lines of an environment or of flags, and YAML of Kubernetes, of compose and of Helm's values.
//!
//! Of a file with several containers, those of the program count and no others: a client of another service is no audience here.

use super::{Settings, canonical};
use crate::file::File;
use crate::packed::unpacked;
use crate::yaml::{self, Data, Node};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use toml::de::{DeTable, DeValue};

impl Settings<'_> {
    /// Reads one file, in whatever of these it is.
    pub(super) fn read_text(&mut self, file: &File) -> Result<(), String> {
        let text = file.text.trim_start_matches('\u{feff}');
        match DeTable::parse(text) {
            Ok(table) => self.of_table(table.get_ref()),
            Err(_) if is_yaml(text) => {
                let documents = yaml::read(text).map_err(|fault| fault.told(&file.name))?;
                unpacked(documents).iter().for_each(|document| self.of_document(document));
            }
            Err(error) if looks_like_toml(text) => {
                let at = error.span().map_or(0, |span| span.start);
                let before = text.get(..at).unwrap_or_default();
                let line = before.matches('\n').count().saturating_add(1);
                let column = before.chars().rev().take_while(|letter| *letter != '\n').count().saturating_add(1);
                return Err(format!("{}:{line}:{column}: is no TOML: {}", file.name, error.message()));
            }
            Err(_) if looks_like_lines(text) => self.of_lines(text),
            Err(_) => {
                let fault = yaml::read(text).err().map(|fault| fault.told(&file.name));
                return Err(fault.unwrap_or_else(|| {
                    format!("{}: expected settings: TOML, an environment, flags or YAML", file.name)
                }));
            }
        }
        Ok(())
    }

    fn of_table(&mut self, table: &DeTable<'_>) {
        for (name, value) in table {
            let values = match value.get_ref() {
                DeValue::Array(values) => values.iter().map(|value| plain(value.get_ref())).collect(),
                value => vec![plain(value)],
            };
            self.add(name.get_ref(), values);
        }
    }

    /// `NAME=value`, with `export` or without, and flags.
    fn of_lines(&mut self, text: &str) {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let line = line.strip_prefix("export ").unwrap_or(line).trim_end_matches('\\').trim();
            self.of_line(line);
        }
    }

    fn of_line(&mut self, line: &str) {
        let Some((name, value)) = line.split_once('=') else {
            // A flag by itself.
            let flags = line.split_whitespace().filter(|word| word.starts_with('-'));
            flags.for_each(|flag| self.add(flag, vec!["true".to_owned()]));
            return;
        };
        // The program itself may stand before its first flag.
        let name = name.split_whitespace().last().unwrap_or(name);
        self.add_text(name, value);
    }

    fn of_document(&mut self, document: &Node) {
        let kind = document.word("kind").filter(|_| document.get("apiVersion").is_some());
        match kind {
            Some("ConfigMap" | "Secret") => {
                let is_secret = kind == Some("Secret");
                for (key, value) in document.get("data").map_or(&[][..], Node::members) {
                    let decoded = value.text().filter(|_| is_secret).and_then(|text| BASE64.decode(text.trim()).ok());
                    match decoded.and_then(|octets| String::from_utf8(octets).ok()) {
                        Some(text) => self.of_entry(&key.name, &text),
                        None => self.of_member(&key.name, value),
                    }
                }
                let members = document.get("stringData").map_or(&[][..], Node::members);
                members.iter().for_each(|(key, value)| self.of_member(&key.name, value));
            }
            Some("Kustomization") => self.of_kustomization(document),
            Some("KfDef") => self.of_parameters(document),
            Some(_) => self.of_workloads(document),
            None if document.word("kind") == Some("Kustomization") => self.of_kustomization(document),
            None if is_alpha(document) => self.alpha.push(document.clone()),
            None if document.get("services").is_some() => {
                let services: Vec<(&str, &Node)> = document
                    .get("services")
                    .map_or(&[][..], Node::members)
                    .iter()
                    .map(|(key, node)| (key.name.as_str(), node))
                    .collect();
                self.of_containers(services);
            }
            None if ["containers", "env", "args"].iter().any(|field| document.get(field).is_some()) => {
                self.of_workloads(document);
                self.of_container(document);
            }
            None => self.of_values(document),
        }
    }

    /// A value of a ConfigMap: a setting, or a file.
    fn of_member(&mut self, name: &str, value: &Node) {
        match &value.data {
            Data::Text(text, _) => self.of_entry(name, text),
            Data::Boolean(_) | Data::Number(_) => self.put(&canonical(name, self.prefix), value),
            _ => {}
        }
    }

    fn of_entry(&mut self, name: &str, text: &str) {
        let is_file =
            text.contains('\n') || [".cfg", ".toml", ".env", ".yaml", ".yml"].iter().any(|end| name.ends_with(end));
        if !is_file {
            self.add_text(name, text);
            return;
        }
        let file = File { name: name.to_owned(), text: text.to_owned() };
        if let Err(problem) = self.read_text(&file) {
            self.notes.widen(format!("{problem}: this part could not be read, and is not here"));
        }
    }

    fn of_kustomization(&mut self, document: &Node) {
        for generator in ["configMapGenerator", "secretGenerator"] {
            for one in document.elements(generator) {
                one.elements("literals").iter().filter_map(Node::text).for_each(|line| self.of_line(line));
                let files = ["envs", "files", "env"].iter().filter_map(|field| one.get(field));
                for file in files.flat_map(|node| node.list().iter().chain([node])).filter_map(Node::text) {
                    self.notes.add(format!("{generator}: {file} has settings, too: give it together with this file"));
                }
            }
        }
        for patch in document.elements("patches") {
            let inner = patch.word("patch").and_then(|text| yaml::read(text).ok()).unwrap_or_default();
            inner.iter().for_each(|document| self.of_document(document));
        }
    }

    /// `name` and `value`, wherever they stand in a list of parameters.
    fn of_parameters(&mut self, document: &Node) {
        document.walk(&mut |node| node.elements("parameters").iter().for_each(|one| self.of_pair(one)));
    }

    /// The containers of a Deployment and its like.
    fn of_workloads(&mut self, document: &Node) {
        let mut containers: Vec<(&str, &Node)> = Vec::new();
        document.walk(&mut |node| {
            containers
                .extend(node.elements("containers").iter().map(|one| (one.word("name").unwrap_or_default(), one)));
        });
        self.of_containers(containers);
    }

    fn of_containers(&mut self, containers: Vec<(&str, &Node)>) {
        let is_ours = |(name, node): &&(&str, &Node)| {
            let image = node.word("image").unwrap_or_default();
            PROGRAMS.iter().any(|program| image.contains(program) || name.contains(program))
        };
        let ours: Vec<&(&str, &Node)> = containers.iter().filter(is_ours).collect();
        let read = if ours.is_empty() { containers.iter().collect() } else { ours };
        if read.len() > 1 {
            let names: Vec<&str> = read.iter().map(|(name, _)| *name).collect();
            self.notes.widen(format!(
                "these are {} containers, and what one of them lets pass would pass for all here: give each in a file of its own: {}",
                names.len(),
                names.join(", ")
            ));
        }
        read.iter().for_each(|(_, node)| self.of_container(node));
    }

    fn of_container(&mut self, container: &Node) {
        for field in ["env", "environment", "extraEnv"] {
            let Some(node) = container.get(field) else { continue };
            node.list().iter().for_each(|one| match one.text() {
                Some(line) => self.of_line(line),
                None => self.of_pair(one),
            });
            node.members().iter().for_each(|(key, value)| self.of_member(&key.name, value));
        }
        for field in ["command", "args"] {
            let Some(node) = container.get(field) else { continue };
            self.of_words(node.list().iter().filter_map(Node::text).map(str::to_owned).collect());
            self.of_words(node.text().unwrap_or_default().split_whitespace().map(str::to_owned).collect());
        }
        for field in ["envFrom", "env_file"] {
            if container.get(field).is_some() {
                self.notes.add(format!("{field}: has settings, too: give that file together with this one"));
            }
        }
    }

    /// Flags, of which one may have its value in the next word.
    fn of_words(&mut self, words: Vec<String>) {
        let mut words = words.into_iter().peekable();
        while let Some(word) = words.next() {
            if !word.starts_with('-') || word.contains('=') {
                // A shell's script may have them all in one word.
                word.lines()
                    .filter(|line| line.trim_start().starts_with("--"))
                    .for_each(|line| self.of_line(line.trim()));
                continue;
            }
            match words.next_if(|next| !next.starts_with('-')) {
                Some(value) => self.add_text(&word, &value),
                None => self.add(&word, vec!["true".to_owned()]),
            }
        }
    }

    /// `{ name: NAME, value: … }`; what a Secret has is a variable here, too.
    fn of_pair(&mut self, node: &Node) {
        let Some(name) = node.word("name") else { return };
        match node.get("value") {
            Some(value) => self.of_member(name, value),
            None if node.get("valueFrom").is_some() => self.add(name, vec![format!("${{{name}}}")]),
            None => {}
        }
    }

    /// Settings by their names; or the values of oauth2-proxy's chart, which may stand below its name.
    fn of_values(&mut self, document: &Node) {
        let chart = document.get("oauth2-proxy").filter(|chart| chart.get("config").is_some()).unwrap_or(document);
        let is_chart = ["config", "extraArgs", "alphaConfig"].iter().any(|field| chart.get(field).is_some());
        if !is_chart {
            for (key, value) in document.members() {
                match &value.data {
                    Data::List(nodes) => {
                        let texts = nodes.iter().filter_map(Node::text).map(str::to_owned).collect();
                        self.add(&key.name, texts);
                    }
                    // A list of services by name, of which one may be this one.
                    Data::Map(_) => self.of_values(value),
                    _ => self.of_member(&key.name, value),
                }
            }
            return;
        }
        let config = chart.get("config");
        for (field, name) in [("clientID", "client_id"), ("configFile", "oauth2_proxy.cfg")] {
            if let Some(value) = config.and_then(|config| config.get(field)) {
                self.of_member(name, value);
            }
        }
        if let Some(arguments) = chart.get("extraArgs") {
            arguments.members().iter().for_each(|(key, value)| self.of_member(&key.name, value));
            self.of_words(arguments.list().iter().filter_map(Node::text).map(str::to_owned).collect());
        }
        self.of_container(chart);
        if let Some(alpha) = chart.at(&["alphaConfig", "configData"]).filter(|data| is_alpha(data)) {
            self.alpha.push(alpha.clone());
        }
        if chart.at(&["alphaConfig", "configFile"]).and_then(Node::text).is_some_and(|text| !text.is_empty()) {
            let text = chart.at(&["alphaConfig", "configFile"]).and_then(Node::text).unwrap_or_default();
            self.of_entry("alphaConfig.yaml", text);
        }
    }
}

/// What images and containers of these programs are called.
const PROGRAMS: [&str; 4] = ["oauth2-proxy", "oauth2_proxy", "oauth-proxy", "authservice"];

/// Whether a document is the newer form of oauth2-proxy's configuration.
fn is_alpha(document: &Node) -> bool {
    let has_provider = document
        .elements("providers")
        .iter()
        .any(|one| one.get("oidcConfig").is_some() || one.get("clientID").is_some());
    has_provider || document.get("injectRequestHeaders").is_some() || document.get("upstreamConfig").is_some()
}

/// Whether a text is YAML that says something: an object, or a list. In a key there, no line has its `=`.
fn is_yaml(text: &str) -> bool {
    let is_so = |node: &Node| match &node.data {
        Data::List(_) => true,
        Data::Map(members) => members.iter().all(|(key, _)| !key.name.contains('=')),
        _ => false,
    };
    yaml::read(text).is_ok_and(|documents| documents.iter().any(is_so))
}

/// Whether a text that is no TOML was meant to be: no environment has spaces around its `=`, nor a list that goes on in the next line.
fn looks_like_toml(text: &str) -> bool {
    text.lines().map(str::trim).filter(|line| !line.starts_with('#')).any(|line| {
        let Some((name, value)) = line.split_once('=') else { return false };
        let is_name =
            !name.trim().is_empty() && name.trim().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        is_name && (name.ends_with(' ') || value.trim() == "[" || value.starts_with(['"', '[']))
    })
}

/// Whether a text is an environment, or flags: its first line that says something is one.
fn looks_like_lines(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
    let first = first.strip_prefix("export ").unwrap_or(first);
    let is_assignment = first.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
    });
    first.starts_with("--") && first != "---" || is_assignment
}

/// A value of TOML as text; nothing for an object, which no setting is.
fn plain(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) | DeValue::Table(_) => String::new(),
    }
}
