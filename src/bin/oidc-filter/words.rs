//! Times in words, and words in colours.

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
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The word that was probably meant, if one is near.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let distances = known.iter().map(|known| (strsim::osa_distance(word, known), *known));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance > 0 && distance <= nearest.len().div_ceil(3)).then_some(nearest)
}
