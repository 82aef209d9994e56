//! Reads a table.

use super::expect::Expectation;
use super::fields::Fields;
use super::{Case, Made, Table};
use crate::file::File;
use crate::site;
use crate::stage::{Answers, Ask, answer};
use crate::words;
use crate::yaml::{self, Data, Node};
use oidc_filter::config::Config;
use oidc_filter::time::Timestamp;
use serde_json::{Value, json};
use std::path::Path;
use std::rc::Rc;

/// What the cases of a table share.
struct Shared<'t> {
    file: &'t str,
    /// Where its relative paths begin.
    folder: &'t Path,
    config: &'t Config,
    answers: Answers,
}

pub fn table(path: &Path, configuration: Option<&Path>, now: Timestamp) -> Result<Table, String> {
    let file = File::read(path)?;
    let fault = |fault: yaml::Fault| format!("{}:{}: {}", file.name, fault.place, fault.problem);
    let documents = yaml::read(&file.text).map_err(fault)?;
    let [document] = documents.as_slice() else {
        return Err(format!("{}: expected one table, and nothing else", file.name));
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut fields = Fields::of(&file.name, document)?;
    let filter = fields.text("filter")?;
    let written = fields.take("configuration");
    let (config, name) = match (configuration, written) {
        (Some(path), _) => site::configured(&File::read(path)?, filter.as_deref())?,
        (None, None) => {
            return Err(fields.error(document, "`configuration` is missing: a file, or the configuration itself"));
        }
        (None, Some(node)) => match node.text() {
            Some(path) => site::configured(&File::read(&folder.join(path))?, filter.as_deref())?,
            None => inline(&fields, node)?,
        },
    };
    let now = match fields.text("now")? {
        Some(text) => words::time(&text).map_err(|problem| fields.error(document, &problem))?,
        None => now,
    };
    let mut shared = Shared { file: &file.name, folder, config: &config, answers: Answers::default() };
    shared.answers = shared.answers(&mut fields)?;
    let tests = fields.take("tests").map(Node::list).unwrap_or_default();
    let cases = tests.iter().map(|node| shared.case(Fields::of(&file.name, node)?));
    let cases = cases.collect::<Result<Vec<_>, _>>()?;
    if cases.is_empty() {
        return Err(fields.error(document, "`tests` is missing: a list of requests, each with what is expected of it"));
    }
    fields.finish()?;
    Ok(Table { file: file.name.clone(), config: Rc::new(config), name, now, cases })
}

/// A configuration that stands in the table.
fn inline(fields: &Fields<'_>, node: &Node) -> Result<(Config, String), String> {
    let environment = |name: &str| std::env::var(name).ok();
    let config = Config::read(node.to_json().to_string().as_bytes(), &environment);
    let config = config.map_err(|error| fields.error(node, &error.to_string()))?;
    Ok((config, "oidc".to_owned()))
}

impl Shared<'_> {
    fn case(&self, mut fields: Fields<'_>) -> Result<Case, String> {
        let place = fields.place();
        let told = |problem: String| format!("{}:{place}: {problem}", self.file);
        let line =
            fields.text("request")?.ok_or_else(|| told("`request` is missing, such as GET /orders".to_owned()))?;
        let mut ask = Ask::line(&line).map_err(told)?;
        let name = fields.text("name")?.unwrap_or(line);
        for (name, values) in fields.texts("headers")? {
            for value in values.unwrap_or_default() {
                ask.add_header(&format!("{name}: {value}")).map_err(told)?;
            }
        }
        ask.body = match fields.take("body") {
            Some(Node { data: Data::Text(text, _), .. }) => text.clone().into_bytes(),
            Some(node) => node.to_json().to_string().into_bytes(),
            None => Vec::new(),
        };
        ask.token = match (fields.text("token")?, fields.text("token_file")?) {
            (None, Some(path)) => Some(File::read(&self.folder.join(path))?.text.trim().to_owned()),
            (token, _) => token,
        };
        ask.certificate = fields.text("certificate")?;
        ask.route = fields.text("route")?;
        ask.rule = fields.text("rule")?;
        let metadata = fields.texts("metadata")?.into_iter();
        ask.metadata = metadata.filter_map(|(name, values)| Some((name, values?.into_iter().next()?))).collect();
        let made = self.made(&mut fields)?;
        if made.is_some() && ask.token.is_some() {
            return Err(told("`token` and `claims`: one of the two".to_owned()));
        }
        let answers = self.answers(&mut fields)?;
        let expected = fields.take("expect").ok_or_else(|| told("`expect` is missing, such as allowed".to_owned()))?;
        let expected = Expectation::read(self.file, expected)?;
        fields.finish()?;
        Ok(Case { place, name, ask, answers, made, expected })
    }

    /// The token that is to be made.
    fn made(&self, fields: &mut Fields<'_>) -> Result<Option<Made>, String> {
        let written = fields.take("claims");
        let header = fields.take("header").map_or(json!({}), Node::to_json);
        let provider = fields.text("provider")?;
        let proof = match fields.take("dpop") {
            None | Some(Node { data: Data::Boolean(false) | Data::Null, .. }) => None,
            Some(Node { data: Data::Boolean(true), .. }) => Some(json!({})),
            Some(node @ Node { data: Data::Map(_), .. }) => Some(node.to_json()),
            Some(node) => {
                return Err(fields.error(node, "`dpop` is true, or an object with other claims for the proof"));
            }
        };
        let Some(node) = written else {
            return match proof {
                Some(_) => Err(format!(
                    "{}:{}: `dpop` needs `claims`: the token is made for the proof's key",
                    self.file,
                    fields.place()
                )),
                None => Ok(None),
            };
        };
        let providers = &self.config.providers;
        let names: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
        let is_it = |wanted: &String| providers.iter().position(|one| [&one.name, &one.issuer].contains(&wanted));
        let index = match &provider {
            Some(wanted) => is_it(wanted),
            None => (providers.len() == 1).then_some(0),
        };
        let problem = || format!("`provider` must say whose token is made: {}", names.join(", "));
        let index = index.ok_or_else(|| fields.error(node, &problem()))?;
        Ok(Some(Made { provider: index, header, claims: node.to_json(), proof }))
    }

    /// What stands at URLs: a file with JSON; an object with `status` and `body`; or the JSON itself.
    fn answers(&self, fields: &mut Fields<'_>) -> Result<Answers, String> {
        let mut answers = Answers::default();
        for (url, node) in fields.take("answers").map(Node::members).unwrap_or_default() {
            let status = node.get("status").and_then(Node::number);
            let only = |(key, _): &(yaml::Key, Node)| ["status", "body"].contains(&key.name.as_str());
            answers.add(
                &url.name,
                match (node.text(), status) {
                    (Some(path), _) => answer(200, &File::read(&self.folder.join(path))?.text),
                    (None, Some(status)) if node.members().iter().all(only) => {
                        let body = node.get("body").map(Node::to_json).unwrap_or(Value::Null);
                        answer(status as u16, &if body.is_null() { String::new() } else { body.to_string() })
                    }
                    _ => answer(200, &node.to_json().to_string()),
                },
            );
        }
        if let Some(path) = fields.text("keys")? {
            answers.add_keys(&self.folder.join(path).display().to_string())?;
        }
        Ok(self.answers.and(answers))
    }
}
