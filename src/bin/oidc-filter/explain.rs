//! `explain`: what the filter does with a request, and why: each step, the decision with its reason, what the service would receive
//! and what the client gets, and what the token says. Never the token itself.

mod lacking;
pub mod text;
mod told;
mod why;

use crate::file::File;
use crate::site;
use crate::stage::{Answers, Ask, Played, Stage};
use clap::{Args, ValueEnum};
use oidc_filter::config::{Config, Policy, TokenLocation};
use oidc_filter::decision::{Decision, Meaning, Outcome, Tally};
use oidc_filter::jose::jws::{Form, form};
use oidc_filter::time::Timestamp;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::rc::Rc;
pub use told::Token;
pub use why::remedy;
use why::{not_bound, why, without_token};

#[derive(Args)]
pub struct Options {
    /// Where the configuration is: any file that `lint` reads. Without one, --token tells what a token is, and nothing else
    #[arg(required_unless_present = "token")]
    pub file: Option<PathBuf>,
    /// A path, such as /orders, or a URL [default: /]
    pub url: Option<String>,
    /// The filter's name in that file, where it holds several
    #[arg(long)]
    pub filter: Option<String>,
    /// The method [default: GET, or POST with --data]
    #[arg(short = 'X', long = "method", value_name = "METHOD")]
    pub method: Option<String>,
    /// A header of the request, as `Name: value`
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    pub headers: Vec<String>,
    /// The body of the request; @FILE reads one
    #[arg(short = 'd', long = "data", value_name = "BODY")]
    pub body: Option<String>,
    /// The whole request from a file, as HTTP/1.1 writes it; `-` is the standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "method", "headers", "body"])]
    pub request: Option<PathBuf>,
    /// A token for the place where the configuration looks for one first; @FILE reads one, - reads the standard input
    #[arg(long)]
    pub token: Option<String>,
    /// A DPoP proof beside the token, which then goes under the scheme DPoP; @FILE reads one
    #[arg(long, value_name = "PROOF")]
    pub dpop: Option<String>,
    /// The client's certificate on its connection: @FILE with it as PEM, or its SHA-256 in hexadecimal digits
    #[arg(long, value_name = "DIGEST")]
    pub certificate: Option<String>,
    /// The route that Envoy has chosen
    #[arg(long)]
    pub route: Option<String>,
    /// The rule that the route's metadata name
    #[arg(long)]
    pub rule: Option<String>,
    /// Dynamic metadata, as `namespace:key=value`
    #[arg(long, value_name = "METADATA")]
    pub metadata: Vec<String>,
    /// A file with the key set of every provider, or PROVIDER=FILE
    #[arg(long, value_name = "KEYS")]
    pub keys: Vec<String>,
    /// What stands at a URL that the filter calls: URL=FILE with JSON, or URL=STATUS
    #[arg(long = "answer", value_name = "ANSWER")]
    pub answers: Vec<String>,
    /// Ask the providers, with curl, where nothing is given for them: for metadata and keys; about a token that is asked about, with it
    #[arg(long)]
    pub live: bool,
    /// When the request comes: 2027-01-15T08:00:00Z, or seconds since 1970 [default: now]
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Write one JSON object
    #[arg(long)]
    pub json: bool,
    /// When words have colours
    #[arg(long, value_enum, default_value_t)]
    pub color: Color,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    #[default]
    Auto,
    Always,
    Never,
}

/// What is known of a decision: made once, written in two ways.
pub struct Story {
    config: Rc<Config>,
    now: Timestamp,
    pub played: Played,
    pub verdict: Verdict,
    pub token: Option<Token>,
}

/// What of a request's headers is other for the service.
struct Changes {
    /// Names and values.
    written: Vec<(String, String)>,
    removed: Vec<String>,
    unchanged: Vec<String>,
}

/// The decision in words.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verdict {
    /// `allowed`, `bypassed`, `denied` or `stripped`; `undecided` where there was no end.
    pub result: String,
    pub reason: Option<String>,
    /// That of the filter's own answer.
    pub status: Option<u16>,
    /// `rules[1] admin`.
    pub rule: Option<String>,
    pub provider: Option<String>,
    /// What it rests on beyond its reason.
    pub detail: Option<String>,
    /// What the candidate policy would have done, and why.
    pub candidate: Option<(String, String)>,
}

/// Reads what the options name, and plays the request.
pub fn explain(file: &Path, options: &Options, now: Timestamp) -> Result<Story, String> {
    let (config, name) = site::configured(&File::read(file)?, options.filter.as_deref())?;
    let config = Rc::new(config);
    let mut answers = Answers::default();
    options.answers.iter().try_for_each(|text| answers.add_written(text))?;
    options.keys.iter().try_for_each(|text| answers.add_written_keys(text, &config.providers))?;
    let stage = Stage { config: &config, name: &name, answers: &answers, signer: None, now, is_live: options.live };
    let played = stage.play(&ask(options)?)?;
    Ok(Story::new(Rc::clone(&config), played, now))
}

/// What the token of the options is.
pub fn token(options: &Options) -> Result<Token, String> {
    let text = options.token.as_deref().map(text_or_file).transpose()?.unwrap_or_default();
    Ok(Token::read(text.trim()))
}

fn ask(options: &Options) -> Result<Ask, String> {
    let mut ask = match &options.request {
        Some(path) => Ask::message(&File::read(path)?.text)?,
        None => Ask::line(options.url.as_deref().unwrap_or("/"))?,
    };
    options.headers.iter().try_for_each(|line| ask.add_header(line))?;
    if let Some(body) = &options.body {
        ask.body = text_or_file(body)?.into_bytes();
        ask.method = "POST".to_owned();
    }
    if let Some(method) = &options.method {
        ask.set_method(method)?;
    }
    let token = options.token.as_deref().map(text_or_file).transpose()?;
    ask.token = token.map(|token| token.trim().to_owned());
    let proof = options.dpop.as_deref().map(text_or_file).transpose()?;
    ask.headers.extend(proof.map(|proof| ("dpop".to_owned(), proof.trim().to_owned())));
    ask.certificate = options.certificate.as_deref().map(text_or_file).transpose()?;
    (ask.route, ask.rule) = (options.route.clone(), options.rule.clone());
    for text in &options.metadata {
        let (place, value) = text
            .split_once('=')
            .filter(|(place, _)| place.contains(':'))
            .ok_or("expected `namespace:key=value` for metadata")?;
        ask.metadata.push((place.to_owned(), value.to_owned()));
    }
    Ok(ask)
}

fn text_or_file(text: &str) -> Result<String, String> {
    match (text, text.strip_prefix('@')) {
        ("-", _) => File::read(Path::new("-")).map(|file| file.text),
        (_, Some(path)) => File::read(Path::new(path)).map(|file| file.text),
        _ => Ok(text.to_owned()),
    }
}

impl Story {
    pub fn new(config: Rc<Config>, played: Played, now: Timestamp) -> Self {
        let verdict = Verdict::of(&config, &played);
        let token = Token::of(&played);
        Self { config, now, played, verdict, token }
    }

    /// The policy that the request falls under.
    pub fn policy(&self) -> &Policy {
        let rule = self.played.explanation.rule.and_then(|rule| self.config.rules.get(rule));
        rule.map_or(&self.config.policy, |rule| &rule.policy)
    }

    /// Why it was refused, as far as the token and the configuration tell.
    pub fn why(&self) -> Option<String> {
        let reason = self.verdict.reason.as_deref().filter(|_| self.is_refused())?;
        if reason == "not_bound" {
            let has_certificate = self.played.request.certificate.is_some();
            return Some(not_bound(self.token.as_ref()?, self.policy(), has_certificate));
        }
        match reason {
            "missing_token" => {
                Some(format!("{}{}", without_token(&self.config), lacking::of_token(&self.played.request)))
            }
            "insufficient_claims" => {
                lacking::of_claim(self.token.as_ref()?, self.policy(), self.verdict.detail.as_deref()?)
            }
            _ => why(reason, self.token.as_ref(), &self.config, self.policy(), self.now),
        }
    }

    /// Whether the token, or the lack of one, was held against the request.
    fn is_refused(&self) -> bool {
        ["denied", "stripped"].contains(&self.verdict.result.as_str())
    }

    /// The place that the token was in.
    fn place(&self) -> Option<String> {
        let source = self.played.explanation.runs.iter().rev().find_map(|run| run.source)?;
        let location = &self.config.sources.get(source)?.location;
        let TokenLocation::Header { name, scheme: Some(_) } = location else { return Some(place(location)) };
        // A place for Bearer is one for DPoP, too (RFC 9449, section 7.1): the request says which it is.
        let given = self.played.request.headers.first(name).and_then(|value| value.split(|byte| *byte == b' ').next());
        let is_dpop = given.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"dpop"));
        Some(if is_dpop { format!("the header {name}, scheme DPoP") } else { place(location) })
    }

    /// A text without the token.
    fn hidden(&self, text: &str) -> String {
        match &self.played.token {
            Some(token) => text.replace(token.as_str(), "(the token)"),
            None => text.to_owned(),
        }
    }

    /// The value of a header without the token, and without one that was made for the service.
    fn shown(&self, name: &str, value: &str) -> String {
        let hidden = self.hidden(value);
        match hidden.split_once(' ') {
            Some((scheme, _)) if name == "authorization" && hidden == value => format!("{scheme} (another token)"),
            _ if form(&hidden) != Form::Opaque => "(another token)".to_owned(),
            _ => hidden,
        }
    }

    /// What of the request's headers is other for the service; `None` if it does not get the request.
    fn changes(&self) -> Option<Changes> {
        let service = self.played.service()?;
        let sent = self.played.sent();
        let (same, new): (Vec<_>, Vec<_>) = service.iter().cloned().partition(|field| sent.contains(field));
        let gone =
            sent.into_iter().map(|(name, _)| name).filter(|name| !service.iter().any(|(other, _)| other == name));
        Some(Changes {
            written: new.into_iter().map(|(name, value)| (name.clone(), self.shown(&name, &value))).collect(),
            removed: gone.collect(),
            unchanged: same.into_iter().map(|(name, _)| name).filter(|name| !name.starts_with(':')).collect(),
        })
    }

    /// The names of what goes into filter state.
    fn filter_state(&self) -> Vec<&str> {
        let state = match &self.played.decision {
            Decision::Forward(forward) => forward.filter_state.as_slice(),
            Decision::Answer(answered) => answered.filter_state.as_slice(),
            Decision::Wait => &[],
        };
        state.iter().map(|(key, _)| key.as_str()).collect()
    }

    pub fn to_json(&self) -> Value {
        let Verdict { result, reason, status, rule, provider, detail, candidate } = &self.verdict;
        let explanation = &self.played.explanation;
        let last = explanation.runs.last();
        let steps = last.map(|run| run.checks.as_slice()).unwrap_or_default();
        let steps = steps.iter().map(|(step, passed)| json!({"step": step, "passed": passed}));
        let calls = self.played.calls.iter().map(|call| {
            json!({
                "for": call.kind, "provider": call.provider, "method": call.method, "url": call.url,
                "cluster": call.cluster, "status": call.status.as_ref().ok(), "problem": call.status.as_ref().err(),
            })
        });
        let service = self.changes().map(|Changes { written, removed, unchanged }| {
            json!({"written": written, "removed": removed, "unchanged": unchanged})
        });
        let (_, headers) = self.played.client();
        let headers: Value = headers.iter().map(|(name, value)| json!([name, self.hidden(value)])).collect();
        let details = match &self.played.decision {
            Decision::Answer(answered) => Some(answered.meaning.to_string()),
            _ => None,
        };
        let body = match &self.played.decision {
            Decision::Answer(answered) => Some(String::from_utf8_lossy(&answered.answer.body).into_owned()),
            _ => None,
        };
        json!({
            "result": result, "reason": reason, "status": status, "rule": rule, "provider": provider, "detail": detail,
            "why": self.why(),
            "candidate": candidate.as_ref().map(|(result, reason)| json!({"result": result, "reason": reason})),
            "place": self.place(),
            "steps": steps.collect::<Value>(),
            "calls": calls.collect::<Value>(),
            "warnings": self.played.warnings,
            "token": self.token.as_ref().map(|token| token.to_json(self.now)),
            "service": service,
            "client": {"status": status, "headers": headers, "body": body, "response_code_details": details},
            "filter_state": self.filter_state(),
        })
    }
}

impl Verdict {
    pub fn of(config: &Config, played: &Played) -> Self {
        let explanation = &played.explanation;
        let rule = explanation.rule.and_then(|index| {
            let name = config.rules.get(index)?.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
            Some(format!("rules[{index}]{name}"))
        });
        let (outcome, tally): (&Outcome, &Tally) = match &played.decision {
            Decision::Forward(forward) => (&forward.outcome, &forward.tally),
            Decision::Answer(answered) => (&answered.outcome, &answered.tally),
            Decision::Wait => return Self { result: "undecided".to_owned(), rule, ..Self::default() },
        };
        let status = played.client().0;
        let candidate = tally.shadow.map(|shadow| {
            let (result, reason) = shadow.words();
            (result.to_owned(), reason.to_owned())
        });
        Self {
            result: outcome.result.as_str().to_owned(),
            reason: outcome.reason.map(|reason| reason.as_str().to_owned()),
            status,
            rule,
            provider: outcome.provider.as_deref().map(str::to_owned),
            detail: explanation.detail.clone(),
            candidate,
        }
    }
}

/// The meaning of an answer that refuses nothing.
pub fn meaning(decision: &Decision) -> Option<&'static str> {
    let Decision::Answer(answered) = decision else { return None };
    match answered.meaning {
        Meaning::Denied(_) => None,
        Meaning::Confirmed => Some("the proxy that asked is told that it may pass"),
        Meaning::Preflight => Some("the filter answers the preflight of a browser itself"),
        Meaning::Document => Some("the filter answers with a document of its own"),
    }
}

/// Where tokens are looked for, in words.
pub fn place(location: &TokenLocation) -> String {
    match location {
        TokenLocation::Header { name, scheme: Some(scheme) } => format!("the header {name}, scheme {scheme}"),
        TokenLocation::Header { name, scheme: None } => format!("the header {name}"),
        TokenLocation::Cookie { name } => format!("the cookie {name}"),
        TokenLocation::Query { name } => format!("the parameter {name} of the query"),
        TokenLocation::Metadata { namespace, key } => format!("the dynamic metadata {namespace}:{key}"),
        TokenLocation::WebSocketProtocol { marker } => format!("the WebSocket protocol behind {marker}"),
    }
}
