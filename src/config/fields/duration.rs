//! Durations, as people write them.

use std::time::Duration;

/// A number of seconds: whether it is negative, and its size.
pub(super) fn seconds(number: Option<f64>) -> Option<(bool, Duration)> {
    let number = number.filter(|seconds| seconds.is_finite() && seconds.abs() <= MAX_SECONDS)?;
    Some((number.is_sign_negative() && number != 0.0, Duration::try_from_secs_f64(number.abs()).ok()?))
}

/// One or more numbers with a unit each, as in Go: `1h30m`, `1.5s`, `-2m`. A bare number is seconds.
pub(super) fn duration(text: &str) -> Option<(bool, Duration)> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if rest.is_empty() {
        return None;
    }
    if let Ok(number) = rest.parse::<f64>() {
        return seconds(Some(number)).map(|(_, duration)| (negative, duration));
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        let (_, part) = seconds(Some(number.parse::<f64>().ok()? * unit))?;
        total = total.checked_add(part)?;
        rest = after;
    }
    Some((negative, total))
}

/// Three hundred years: more than any setting means, little enough that sums of it cannot overflow.
pub(super) const MAX_SECONDS: f64 = 1e10;
