//! Reads a table.

use super::expect::Expectation;
use super::fields::Fields;
use super::{Case, Made, Table};
use crate::file::File;
use crate::site;
use crate::stage::{A_STATUS, Answers, Ask, answer, is_status};
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
    let documents = yaml::read(&file.text).map_err(|fault| fault.told(&file.name))?;
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
            Some(path) => {
                let named = File::read(&folder.join(path)).map_err(|problem| fields.error(node, &problem))?;
                site::configured(&named, filter.as_deref())?
            }
            None => inline(&fields, node)?,
        },
    };
    let written = document.get("now").unwrap_or(document);
    let now = match fields.text("now")? {
        Some(text) => words::time(&text).map_err(|problem| fields.error(written, &problem))?,
        None => now,
    };
    let mut shared = Shared { file: &file.name, folder, config: &config, answers: Answers::default() };
    shared.answers = shared.answers(&mut fields)?;
    let tests = match fields.take("tests") {
        Some(node) if !matches!(node.data, Data::List(_)) => return Err(fields.error(node, "`tests` must be a list")),
        tests => tests.map(Node::list).unwrap_or_default(),
    };
    if fields.has("tests") && tests.is_empty() {
        return Err(
            fields.error(document, "`tests` is empty: write a list of requests, each with what is expected of it")
        );
    }
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
    let config = Config::read(node.to_json().to_string().as_bytes(), &|name: &str| std::env::var(name).ok());
    let config = config.map_err(|error| fields.error(node, &error.to_string()))?;
    Ok((config, "oidc".to_owned()))
}

impl Shared<'_> {
    fn case(&self, mut fields: Fields<'_>) -> Result<Case, String> {
        let place = fields.place();
        let told = |problem: &str| place.told(self.file, problem);
        fields.only(&CASE)?;
        let line = fields.text("request")?.ok_or_else(|| told("`request` is missing, such as GET /orders"))?;
        let mut ask = Ask::line(&line).map_err(|problem| told(&problem))?;
        let name = fields.text("name")?.unwrap_or(line);
        for (name, values) in fields.texts("headers")? {
            for value in values.unwrap_or_default() {
                ask.add_header(&format!("{name}: {value}")).map_err(|problem| told(&problem))?;
            }
        }
        ask.body = match fields.take("body") {
            Some(Node { data: Data::Text(text, _), .. }) => text.clone().into_bytes(),
            Some(node) => node.to_json().to_string().into_bytes(),
            None => Vec::new(),
        };
        ask.token = match (fields.text("token")?, fields.text("token_file")?) {
            (None, Some(path)) => {
                let file = File::read(&self.folder.join(path)).map_err(|problem| told(&problem))?;
                Some(file.text.trim().to_owned())
            }
            (token, _) => token,
        };
        ask.certificate = fields.text("certificate")?;
        ask.route = fields.text("route")?;
        ask.rule = fields.text("rule")?;
        let metadata = fields.texts("metadata")?.into_iter();
        ask.metadata = metadata.filter_map(|(name, values)| Some((name, values?.into_iter().next()?))).collect();
        let made = self.made(&mut fields)?;
        if made.is_some() && ask.token.is_some() {
            return Err(told("`token` and `claims`: one of the two"));
        }
        let answers = self.answers(&mut fields)?;
        let expected = fields.take("expect").ok_or_else(|| told("`expect` is missing, such as allowed"))?;
        let expected = Expectation::read(self.file, expected)?;
        fields.finish()?;
        Ok(Case { place, name, ask, answers, made, expected })
    }

    /// The token that is to be made.
    fn made(&self, fields: &mut Fields<'_>) -> Result<Option<Made>, String> {
        let written = fields.object("claims")?;
        let header = fields.object("header")?.map_or(json!({}), Node::to_json);
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
                Some(_) => {
                    Err(fields.place().told(self.file, "`dpop` needs `claims`: the token is made for the proof's key"))
                }
                None => Ok(None),
            };
        };
        let providers = &self.config.providers;
        let index = match &provider {
            Some(wanted) => providers.iter().position(|one| [&one.name, &one.issuer].contains(&wanted)),
            None => (providers.len() == 1).then_some(0),
        };
        let Some(provider) = index else {
            let names: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
            let problem = format!("`provider` must say whose token is made: {}", names.join(", "));
            return Err(fields.error(node, &problem));
        };
        Ok(Some(Made { provider, header, claims: node.to_json(), proof }))
    }

    /// What stands at URLs: a file with JSON; an object with `status` and `body`; or the JSON itself.
    fn answers(&self, fields: &mut Fields<'_>) -> Result<Answers, String> {
        let mut answers = Answers::default();
        for (url, node) in fields.object("answers")?.map(Node::members).unwrap_or_default() {
            let given = match (node.text(), status_of(node)) {
                (Some(path), _) => {
                    let file = File::read(&self.folder.join(path)).map_err(|problem| fields.error(node, &problem))?;
                    answer(200, &file.text)
                }
                (None, Some(status)) if !is_status(status) => {
                    return Err(fields.error(node, A_STATUS));
                }
                (None, Some(status)) => {
                    let body = node.get("body").map(Node::to_json).unwrap_or(Value::Null);
                    answer(status, &if body.is_null() { String::new() } else { body.to_string() })
                }
                (None, None) => answer(200, &node.to_json().to_string()),
            };
            answers.add(&url.name, given);
        }
        if let Some(path) = fields.text("keys")? {
            let added = answers.add_keys(None, &self.folder.join(path));
            added.map_err(|problem| fields.place().told(self.file, &problem))?;
        }
        Ok(self.answers.and(answers))
    }
}

/// The status of an object with nothing but `status` and `body`. What else there is may be JSON with a member of that name.
fn status_of(node: &Node) -> Option<u16> {
    let status = node.get("status").and_then(Node::number)?;
    let is_answer = node.members().iter().all(|(key, _)| ["status", "body"].contains(&key.name.as_str()));
    is_answer.then_some(status as u16)
}

/// What a case may say.
const CASE: [&str; 17] = [
    "answers",
    "body",
    "certificate",
    "claims",
    "dpop",
    "expect",
    "header",
    "headers",
    "keys",
    "metadata",
    "name",
    "provider",
    "request",
    "route",
    "rule",
    "token",
    "token_file",
];
