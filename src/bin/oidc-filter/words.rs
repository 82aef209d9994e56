//! Times in words, words in colours, and words that others have chosen.

use oidc_filter::time::Timestamp;
use std::io::IsTerminal as _;
use std::time::{Duration, SystemTime};

/// A point in time as people write it: RFC 3339, or seconds since 1970.
pub fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Timestamp::from_unix_seconds(seconds));
    }
    let time = humantime::parse_rfc3339(text).ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    let time =
        time.ok_or_else(|| format!("{text:?} is no time: expected 2027-01-15T08:00:00Z, or seconds since 1970"))?;
    Ok(Timestamp::from_unix_seconds(time.as_secs()))
}

/// `2027-01-15T08:00:00Z, an hour ago`.
pub fn when(time: Timestamp, now: Timestamp) -> String {
    let (ahead, behind) = (time.saturating_since(now), now.saturating_since(time));
    let distance = match (ahead.as_secs(), behind.as_secs()) {
        (0, 0) => "now".to_owned(),
        (0, _) => format!("{} ago", span(behind)),
        _ => format!("in {}", span(ahead)),
    };
    format!("{}, {distance}", time.to_rfc3339())
}

/// `an hour`, `59 minutes`: in the largest unit of which there is one.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let years = seconds.checked_div(31_557_600).unwrap_or(0);
    // Of one year, the days tell more.
    if years > 1 {
        return format!("{years} years");
    }
    for (unit, name) in [(86_400, "day"), (3600, "hour"), (60, "minute")] {
        match seconds.checked_div(unit).unwrap_or(0) {
            0 => {}
            1 => return format!("{} {name}", if name == "hour" { "an" } else { "a" }),
            count => return format!("{count} {name}s"),
        }
    }
    if seconds == 1 { "a second".to_owned() } else { format!("{seconds} seconds") }
}

/// Writes words in colours, or as they are.
#[derive(Clone, Copy)]
pub struct Paint(bool);

impl Paint {
    pub fn always() -> Self {
        Self(true)
    }

    pub fn never() -> Self {
        Self(false)
    }

    /// Where somebody looks who can see them (https://no-color.org).
    pub fn on_terminals() -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self(std::io::stdout().is_terminal() && !is_unwanted && !is_dumb)
    }

    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    pub fn head(self, text: &str) -> String {
        self.with("1", text)
    }

    pub fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        let text = plain(text);
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text }
    }
}

/// A text as it may stand on a line of a terminal or in a comment. Whoever has made a token, an answer or a file may have put signs in
/// it that move the cursor, end the line, or turn the direction of what follows: they stand by their numbers.
pub fn plain(text: &str) -> String {
    without_active(text, |sign| sign.escape_default().to_string())
}

/// JSON without such signs, in which only strings can have them.
pub fn plain_json(json: &str) -> String {
    without_active(json, |sign| match sign {
        '\n' => sign.to_string(),
        _ => format!("\\u{:04x}", u32::from(sign)),
    })
}

fn without_active(text: &str, told: impl Fn(char) -> String) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut plain, sign| {
        if is_active(sign) {
            plain.push_str(&told(sign))
        } else {
            plain.push(sign)
        }
        plain
    })
}

/// Control characters, what ends lines to some readers, and what changes the direction of writing (Unicode's UAX #9).
fn is_active(sign: char) -> bool {
    let turns = matches!(sign, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    sign.is_control() || turns || matches!(sign, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// The word that was probably meant, if one is near.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let distances = known.iter().map(|known| (strsim::osa_distance(word, known), *known));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance > 0 && distance <= nearest.len().div_ceil(3)).then_some(nearest)
}
