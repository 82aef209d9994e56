//! What a token is, and what it says: read, not believed, until somebody vouched for it.

use crate::stage::Played;
use crate::words;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use oidc_filter::jose::jws::{Form, form, unsupported};
use oidc_filter::json::{self, Object};
use oidc_filter::time::Timestamp;
use serde_json::{Value, json};

/// A token without its text.
pub struct Token {
    /// `JWT`, `encrypted JWT` or `opaque`.
    pub form: &'static str,
    /// `alg`, `kid` and `typ` of a JWT.
    pub algorithm: Option<String>,
    pub key_id: Option<String>,
    pub token_type: Option<String>,
    /// What of its header changes what the rest means, and is not taken.
    pub changes: Vec<&'static str>,
    /// What keeps a JWT from being read.
    pub fault: Option<String>,
    /// What it says, or what its provider says about it.
    pub claims: Object,
    /// Who vouched for that: a signature with this algorithm, or a provider's answer.
    pub vouched_for: Option<String>,
}

impl Token {
    /// That of a request.
    pub fn of(played: &Played) -> Option<Self> {
        let mut token = Self::read(played.token.as_deref()?);
        let runs = &played.explanation.runs;
        for run in runs {
            let by = run.signature.map(|algorithm| format!("a good signature, {algorithm}"));
            let by = by.or_else(|| run.answer.map(|answer| format!("its provider's answer, {answer}")));
            token.vouched_for = by.or(token.vouched_for.take());
            token.claims = run.claims.clone().unwrap_or(std::mem::take(&mut token.claims));
        }
        Some(token)
    }

    /// What a text is, whoever has made it.
    pub fn read(text: &str) -> Self {
        let form = match form(text) {
            Form::Jwe => "encrypted JWT",
            Form::Jws => "JWT",
            Form::Opaque => "opaque",
        };
        // Also of a JWT that the filter does not read to its end, such as one of an unknown algorithm.
        let mut parts = text.split('.').filter(|_| form == "JWT").map(|part| {
            let octets = BASE64_URL_SAFE_NO_PAD.decode(part).unwrap_or_default();
            json::parse_object(&octets).unwrap_or_default()
        });
        let header = parts.next().unwrap_or_default();
        let member = |name| json::text_of(&header, name).map(str::to_owned);
        Self {
            form,
            algorithm: member("alg"),
            key_id: member("kid"),
            token_type: member("typ"),
            changes: unsupported(&header).collect(),
            fault: fault(text).filter(|_| form == "JWT"),
            claims: parts.next().unwrap_or_default(),
            vouched_for: None,
        }
    }

    /// The value of a claim, for a sentence.
    pub fn said(&self, claim: &str) -> String {
        self.claims.get(claim).map_or_else(|| "nothing".to_owned(), Value::to_string)
    }

    /// One of its times (RFC 7519, section 4.1).
    pub fn time(&self, claim: &str) -> Option<Timestamp> {
        let seconds = self.claims.get(claim)?.as_f64().filter(|seconds| (0.0..1e11).contains(seconds))?;
        Some(Timestamp::from_unix_seconds(seconds as u64))
    }

    /// A claim as it is shown: a time in words, too.
    fn shown(&self, claim: &str, value: &Value, now: Timestamp) -> String {
        match self.time(claim).filter(|_| TIMES.contains(&claim)) {
            Some(time) => words::when(time, now),
            None => match value {
                Value::String(text) => text.escape_debug().to_string(),
                value => value.to_string(),
            },
        }
    }

    /// What it is and says, a line for each.
    pub fn lines(&self, now: Timestamp) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        let header =
            [("alg", self.algorithm.as_deref()), ("kid", self.key_id.as_deref()), ("typ", self.token_type.as_deref())];
        let header =
            header.iter().filter_map(|(name, value)| Some(format!("{name} {}", value.as_ref()?.escape_debug())));
        let header: Vec<String> = std::iter::once(self.form.to_owned()).chain(header).collect();
        lines.push(("form".to_owned(), header.join(", ")));
        let vouched = self.vouched_for.as_deref().unwrap_or("nothing: what it says is not proved");
        lines.push(("proved by".to_owned(), vouched.to_owned()));
        let mut claims: Vec<(&String, &Value)> = self.claims.iter().collect();
        claims.sort_by_key(|(claim, _)| (rank(claim), claim.as_str()));
        lines.extend(
            claims.into_iter().map(|(claim, value)| (claim.escape_debug().to_string(), self.shown(claim, value, now))),
        );
        lines
    }

    pub fn to_json(&self, now: Timestamp) -> Value {
        let times =
            TIMES.iter().filter_map(|claim| Some(((*claim).to_owned(), words::when(self.time(claim)?, now).into())));
        json!({
            "form": self.form, "alg": self.algorithm, "kid": self.key_id, "typ": self.token_type,
            "proved_by": self.vouched_for, "claims": self.claims, "times": times.collect::<Object>(),
        })
    }
}

/// What of a text is not in the compact form of RFC 7515 (section 7.1), read as strictly as the filter does.
fn fault(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('.').collect();
    if parts.len() != PARTS.len() {
        let count = parts.len();
        return Some(format!("it is cut in {count} by its dots, and a signed JWT in three"));
    }
    let mut named = PARTS.into_iter().zip(parts);
    named.find_map(|(part, text)| {
        let octets = BASE64_URL_SAFE_NO_PAD.decode(text).ok().filter(|octets| !octets.is_empty());
        let Some(octets) = octets else {
            return Some(format!("its {part} is empty, or not base64url without padding"));
        };
        if part == SIGNATURE {
            return None;
        }
        let object = match json::parse_object(&octets) {
            Ok(object) => object,
            Err(error) => return Some(format!("its {part} can't be read: {error}")),
        };
        let odd = TEXTS.into_iter().filter(|_| part == HEADER).find(|name| match object.get(*name) {
            None => *name == "alg",
            Some(value) => !value.is_string(),
        });
        odd.map(|name| format!("`{name}` in its header is missing or no text"))
    })
}

/// How far in front a claim is shown.
fn rank(claim: &str) -> usize {
    FIRST.iter().position(|first| *first == claim).unwrap_or(FIRST.len())
}

const HEADER: &str = "header";
const SIGNATURE: &str = "signature";

/// What the dots of a signed JWT part.
const PARTS: [&str; 3] = [HEADER, "payload", SIGNATURE];

/// Members of a header that are texts, of which the first must be there (RFC 7515, section 4.1).
const TEXTS: [&str; 4] = ["alg", "kid", "typ", "cty"];

/// Claims that are times.
const TIMES: [&str; 4] = ["iat", "nbf", "exp", "auth_time"];

/// What people look for first.
const FIRST: [&str; 9] = ["iss", "sub", "aud", "client_id", "azp", "scope", "iat", "nbf", "exp"];
