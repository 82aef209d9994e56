//! What stands at the URLs that the filter calls.

use crate::file::File;
use crate::urls;
use oidc_filter::config::{ProviderConfig, listed};
use oidc_filter::filter::CallPurpose;
use oidc_filter::http::{Headers, Response};
use serde_json::{Value, json};
use std::path::Path;
use std::rc::Rc;

/// Answers by their URLs, and key sets for whole providers.
#[derive(Clone, Default)]
pub struct Answers {
    by_url: Vec<(String, Response)>,
    /// Whose they are, by name or issuer; `None` for every provider.
    keys: Vec<(Option<String>, Response)>,
}

impl Answers {
    /// `URL=FILE`, where the file holds JSON; or `URL=503`, a status alone.
    pub fn add_written(&mut self, text: &str) -> Result<(), String> {
        let (url, what) = text.rsplit_once('=').ok_or("--answer: expected URL=FILE, or URL=STATUS")?;
        let answer = match what.parse::<u16>() {
            Ok(status) if is_status(status) => answer(status, ""),
            Ok(_) => return Err(format!("--answer: {A_STATUS}")),
            Err(_) => answer(200, &File::read(Path::new(what))?.text),
        };
        self.add(url, answer);
        Ok(())
    }

    /// `FILE`, a key set for every provider, or `PROVIDER=FILE` for one of these.
    pub fn add_written_keys(&mut self, text: &str, providers: &[Rc<ProviderConfig>]) -> Result<(), String> {
        let Some((whose, path)) = text.rsplit_once('=') else { return self.add_keys(None, Path::new(text)) };
        if !providers.iter().any(|provider| provider.name == whose || provider.issuer == whose) {
            let names: Vec<&String> = providers.iter().map(|provider| &provider.name).collect();
            return Err(format!("--keys: no provider is called `{whose}`; there is {}", listed(&names)));
        }
        self.add_keys(Some(whose), Path::new(path))
    }

    /// The key set in a file, for one provider or for every one.
    pub fn add_keys(&mut self, whose: Option<&str>, path: &Path) -> Result<(), String> {
        self.keys.push((whose.map(str::to_owned), answer(200, &File::read(path)?.text)));
        Ok(())
    }

    /// What stands at this URL from now on.
    pub fn add(&mut self, url: &str, answer: Response) {
        self.by_url.push((url.to_owned(), answer));
    }

    /// These, and those behind them.
    pub fn and(&self, others: Self) -> Self {
        let mut all = others;
        all.by_url.extend(self.by_url.iter().cloned());
        all.keys.extend(self.keys.iter().cloned());
        all
    }

    /// What stands at a URL.
    pub fn at(&self, url: &str) -> Option<Response> {
        self.by_url.iter().find(|(known, _)| known == url).map(|(_, answer)| answer.clone())
    }

    /// The key set that is given for a provider; and where that or one of its endpoints is, metadata that lead there.
    pub fn of(&self, purpose: &CallPurpose, provider: &ProviderConfig) -> Option<Response> {
        let names = [&provider.name, &provider.issuer];
        let own = self.keys.iter().find(|(whose, _)| whose.as_ref().is_none_or(|whose| names.contains(&whose)));
        let keys = own.map(|(_, keys)| keys.clone());
        match purpose.kind {
            "jwks" => keys,
            "metadata" if self.tells_metadata_of(provider) => None,
            "metadata" => {
                let is_there = ENDPOINTS.iter().any(|path| self.at(&below(provider, path)).is_some());
                (keys.is_some() || is_there).then(|| metadata(provider))
            }
            _ => None,
        }
    }

    /// Whether an answer is given for one of the places where a provider's metadata may be.
    pub fn tells_metadata_of(&self, provider: &ProviderConfig) -> bool {
        provider.discovery.iter().any(|endpoint| self.at(&urls::of_endpoint(endpoint)).is_some())
    }
}

fn below(provider: &ProviderConfig, path: &str) -> String {
    format!("{}/{path}", provider.issuer.trim_end_matches('/'))
}

/// Metadata of a provider whose endpoints stand below its issuer.
pub fn metadata(provider: &ProviderConfig) -> Response {
    let [keys, introspection, userinfo] = ENDPOINTS.map(|path| below(provider, path));
    let document = json!({
        "issuer": provider.issuer, "jwks_uri": keys, "introspection_endpoint": introspection, "userinfo_endpoint": userinfo,
    });
    json_answer(&document)
}

pub fn json_answer(body: &Value) -> Response {
    answer(200, &body.to_string())
}

pub fn answer(status: u16, body: &str) -> Response {
    let headers = Headers::from_pairs([("content-type", "application/json")]);
    Response { status, headers, body: body.as_bytes().to_vec() }
}

/// Whether a response can end with this.
pub fn is_status(status: u16) -> bool {
    (200..600).contains(&status)
}

/// Of a number that is none.
pub const A_STATUS: &str = "a status is a number from 200 to 599";

/// Where the endpoints of a provider are, below its issuer, if nobody says where.
const ENDPOINTS: [&str; 3] = ["jwks", "introspect", "userinfo"];
