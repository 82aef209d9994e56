//! A story for people: a few lines for each part, in colours where they are seen.

use super::{Changes, Story, Token, Verdict, meaning, why};
use crate::stage::Called;
use crate::words::{Paint, plain};
use oidc_filter::decision::Decision;
use oidc_filter::time::Timestamp;
use std::fmt::Write as _;

/// The whole story.
pub fn written(story: &Story, paint: Paint) -> String {
    let mut text = String::new();
    head(story, paint, &mut text);
    steps(story, paint, &mut text);
    verdict(story, paint, &mut text);
    if let Some(token) = &story.token {
        part("The token", token.lines(story.now), paint, &mut text);
    }
    service(story, paint, &mut text);
    client(story, paint, &mut text);
    text
}

/// What a token is, and nothing else.
pub fn token(token: &Token, now: Timestamp, paint: Paint) -> String {
    let mut text = String::new();
    part("The token", token.lines(now), paint, &mut text);
    text
}

/// Which request it is, without its query, which may hold a token; and which rule it falls under.
fn head(story: &Story, paint: Paint, text: &mut String) {
    let request = &story.played.request;
    let method = request.method().unwrap_or_default();
    let path = request.path().and_then(|path| path.split(|byte| b"?#".contains(byte)).next()).unwrap_or_default();
    let line = format!("{} {}", method.escape_ascii(), path.escape_ascii());
    let rule = story.verdict.rule.as_deref().unwrap_or("no rule: the policy of the top level");
    say(text, format_args!("{}  {}\n", paint.head(&line), plain(rule)));
}

fn steps(story: &Story, paint: Paint, text: &mut String) {
    let played = &story.played;
    let last = played.explanation.runs.last();
    for (check, passed) in last.map(|run| run.checks.as_slice()).unwrap_or_default() {
        let mark = if *passed { paint.good("✓") } else { paint.bad("✗") };
        let line = format!("{mark} {check:<14}{}", plain(&about(check, story)));
        say(text, format_args!("  {}", line.trim_end()));
        calls(check, story, paint, text);
    }
    calls(OUTPUTS, story, paint, text);
    if last.is_some_and(|run| run.checks.is_empty()) {
        say(text, format_args!("  {} nothing is looked at: the rule lets pass without a token", paint.good("✓")));
    }
    for warning in &played.warnings {
        say(text, format_args!("  {} {}", paint.bad("!"), plain(&story.hidden(warning))));
    }
    text.push('\n');
}

/// What there is to say about a check.
fn about(check: &str, story: &Story) -> String {
    let proved = story.token.as_ref().and_then(|token| token.vouched_for.clone());
    match check {
        "credentials" => story.place().map(|place| format!("a token is in {place}")).unwrap_or_default(),
        "validation" => proved.unwrap_or_default(),
        "claims" => "issuer, audience, type and times".to_owned(),
        "binding" => "whether the sender has what the token is bound to".to_owned(),
        "requirements" => "scopes and claims that the policy asks for".to_owned(),
        "authorization" => "the external authorizer's word".to_owned(),
        _ => String::new(),
    }
}

/// The calls that were made for a check.
fn calls(check: &str, story: &Story, paint: Paint, text: &mut String) {
    for call in story.played.calls.iter().filter(|call| check_of(call) == check) {
        let answer = match &call.status {
            Ok(status) => status.to_string(),
            Err(problem) => paint.bad(&story.hidden(problem)),
        };
        let line =
            format!("{} {} for {} of {}, cluster {}", call.method, call.url, call.kind, call.provider, call.cluster);
        say(text, format_args!("                  {}: {answer}", paint.faint(&line)));
    }
}

/// The check that a call was made for.
fn check_of(call: &Called) -> &'static str {
    match call.kind {
        "authorization" => "authorization",
        "enrichment" | "token_exchange" => OUTPUTS,
        _ => "validation",
    }
}

fn verdict(story: &Story, paint: Paint, text: &mut String) {
    let Verdict { result, reason, status, detail, candidate, .. } = &story.verdict;
    let word = match result.as_str() {
        "allowed" | "bypassed" => paint.good(result),
        _ => paint.bad(result),
    };
    let status = status.map(|status| format!(" with {status}")).unwrap_or_default();
    let reason_text = reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    say(text, format_args!("{word}{status}{reason_text}"));
    let remedy = reason
        .as_deref()
        .filter(|_| story.is_refused())
        .and_then(why::remedy)
        .map(|remedy| format!("What to do: {remedy}"));
    let meaning = meaning(&story.played.decision).map(str::to_owned);
    for line in [story.why(), detail.clone(), meaning, remedy].into_iter().flatten() {
        say(text, format_args!("  {}", plain(&story.hidden(&line))));
    }
    if let Some((result, reason)) = candidate {
        say(text, format_args!("  The candidate policy: {result} ({reason})"));
    }
    text.push('\n');
}

fn service(story: &Story, paint: Paint, text: &mut String) {
    let Some(Changes { written, removed, unchanged }) = story.changes() else {
        say(text, format_args!("{}\n  nothing\n", paint.head("The service gets")));
        return;
    };
    let mut lines = written;
    lines.extend(removed.into_iter().map(|name| (name, "(removed)".to_owned())));
    if !unchanged.is_empty() {
        lines.push(("as it came".to_owned(), unchanged.join(", ")));
    }
    if !story.filter_state().is_empty() {
        lines.push(("filter state".to_owned(), story.filter_state().join(", ")));
    }
    if lines.is_empty() {
        lines.push(("the request".to_owned(), "as it came".to_owned()));
    }
    part("The service gets", lines, paint, text);
}

fn client(story: &Story, paint: Paint, text: &mut String) {
    let (status, headers) = story.played.client();
    let mut lines: Vec<(String, String)> = Vec::new();
    lines.push(("status".to_owned(), status.map_or_else(|| "the service's".to_owned(), |status| status.to_string())));
    lines.extend(headers.into_iter().map(|(name, value)| (name, story.hidden(&value))));
    if let Decision::Answer(answered) = &story.played.decision {
        let body = String::from_utf8_lossy(&answered.answer.body).into_owned();
        lines.extend((!body.is_empty()).then(|| ("body".to_owned(), body)));
    }
    part("The client gets", lines, paint, text);
}

/// A heading, and a line for each of these.
fn part(heading: &str, lines: Vec<(String, String)>, paint: Paint, text: &mut String) {
    say(text, format_args!("{}", paint.head(heading)));
    let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default().min(WIDEST);
    for (name, value) in lines {
        say(text, format_args!("  {:<width$}  {}", plain(&name), plain(&value)));
    }
    text.push('\n');
}

/// Writing to a text can't fail.
fn say(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{line}");
}

/// What comes after all checks: further claims, a token for the service.
const OUTPUTS: &str = "outputs";

/// The longest name that the others are lined up with.
const WIDEST: usize = 20;
