//! `--live`: the providers themselves are asked, by `curl`.
//!
//! This command links no TLS: curl is on every operator's machine, knows its certificates, proxies and names, and checks who answers.
//! It is told everything on its standard input, since anybody can read the list of processes; reads no settings of its user, which could
//! turn its checks off; follows no redirect, as Envoy doesn't; and what comes is bounded in time and length.

use oidc_filter::http::{Endpoint, Fetch, Headers, MAX_ANSWER_BYTES, Response};
use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;

/// Asks, or says why there is no answer.
pub fn ask(fetch: &Fetch) -> Result<Response, String> {
    let mut command = Command::new("curl");
    // `-q` must come first: it leaves ~/.curlrc alone.
    command.args(["-q", "--config", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut curl = command.spawn().map_err(|error| format!("curl could not be started: {error}"))?;
    let told = curl.stdin.take().map(|mut input: ChildStdin| input.write_all(config(fetch).as_bytes()));
    let read = read(&mut curl);
    // Whoever sends too much is heard no further.
    let _ = curl.kill();
    let ended = curl.wait().map_err(failed)?;
    let (body, said) = read?;
    if body.len() > MAX_ANSWER_BYTES {
        return Err(format!("the answer is longer than {MAX_ANSWER_BYTES} bytes"));
    }
    let mut lines = said.lines().rev();
    let status = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
    if status == 0 || !ended.success() || told.is_none_or(|told| told.is_err()) {
        let problem = said.lines().find(|line| line.starts_with("curl: "));
        return Err(problem.unwrap_or("curl: no answer").to_owned());
    }
    let kind = lines.next().unwrap_or_default();
    Ok(Response { status, headers: Headers::from_pairs([("content-type", kind)]), body })
}

/// What comes on both ways out, up to the longest answer and a byte.
fn read(curl: &mut Child) -> Result<(Vec<u8>, String), String> {
    let (out, err) = curl.stdout.take().zip(curl.stderr.take()).ok_or("curl: has no output")?;
    let said = thread::spawn(move || {
        let mut said = String::new();
        err.take(MAX_SAID).read_to_string(&mut said).map(|_| said)
    });
    let mut body = Vec::new();
    let longest = u64::try_from(MAX_ANSWER_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    out.take(longest).read_to_end(&mut body).map_err(failed)?;
    // One that sends too much may not end by itself.
    if body.len() > MAX_ANSWER_BYTES {
        let _ = curl.kill();
    }
    let said = said.join().map_err(|_| "curl: could not be heard".to_owned())?.map_err(failed)?;
    Ok((body, said))
}

fn failed(error: std::io::Error) -> String {
    format!("curl: {error}")
}

/// The settings of one call, a line each.
fn config(fetch: &Fetch) -> String {
    let Endpoint { scheme, authority, path, .. } = &fetch.endpoint;
    let mut lines = vec![
        setting("url", &format!("{scheme}://{authority}{path}")),
        setting("request", fetch.method),
        setting("proto", &format!("={scheme}")),
        setting("max-time", &fetch.timeout.as_secs_f64().to_string()),
        setting("max-filesize", &MAX_ANSWER_BYTES.to_string()),
        // The answer is what comes on standard output; these lines, and what goes wrong, come beside it.
        setting("write-out", "%{stderr}%{content_type}\n%{http_code}\n"),
        "silent".to_owned(),
        "show-error".to_owned(),
        // As they are written: no path is made shorter, no brackets are a pattern.
        "path-as-is".to_owned(),
        "globoff".to_owned(),
    ];
    lines.extend(fetch.headers.iter().map(|(name, value)| setting("header", &format!("{name}: {value}"))));
    if !fetch.body.is_empty() {
        // A form, or JSON: both are text.
        lines.push(setting("data-raw", &String::from_utf8_lossy(&fetch.body)));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// A value in quotes as curl reads them. What begins with `@` is no file.
fn setting(name: &str, value: &str) -> String {
    format!("{name} = \"{}\"", value.chars().map(escaped).collect::<String>())
}

fn escaped(sign: char) -> String {
    match sign {
        '\\' => "\\\\".to_owned(),
        '"' => "\\\"".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        sign => sign.to_string(),
    }
}

/// What curl has to say is short.
const MAX_SAID: u64 = 64 << 10;
