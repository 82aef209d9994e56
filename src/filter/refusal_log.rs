//! Which refusals are told at info level, one line for each, and what such a line says.
//!
//! Clients decide how often there is cause, so lines are rationed: by reason, since most reasons can be brought about only by who
//! has a token that was good once, and no stranger's noise (`missing_token`, `bad_signature`) takes away from those; and within a
//! reason by who asks, or else by what is asked for, mixed anew each second, so that nobody shares a lot with the same noise for long.
//! What is held back is counted, and the count is told.
//!
//! The invariant: never a token, nor the value of a claim; one refusal is one line, whatever bytes a client sends.

use crate::config::RefusalLog;
use crate::json::{self, Value};
use crate::ordered;
use crate::reply::Reason;
use crate::time::Timestamp;
use std::cell::{Cell, RefCell};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// The ration of one worker.
#[derive(Default)]
pub(super) struct RefusalRations {
    /// When the last event was.
    now: Cell<Timestamp>,
    /// As many as there are reasons at most.
    rations: RefCell<ordered::Map<Reason, Ration>>,
}

/// What may be told for one reason.
#[derive(Default)]
struct Ration {
    /// When each of the lots was last drawn.
    drawn: [Option<Timestamp>; LOTS as usize],
    /// When a line was last told.
    told_at: Timestamp,
    /// How many have not been told since.
    held_back: u64,
}

impl RefusalRations {
    /// An event has come at this time.
    pub(super) fn time_is(&self, now: Timestamp) {
        self.now.set(now);
    }

    /// Whether a refusal for this reason may be told: if so, how many for the same reason were held back since the last one.
    pub(super) fn admit(&self, reason: Reason, by: impl Hash) -> Option<u64> {
        let now = self.now.get();
        let mut rations = self.rations.borrow_mut();
        let ration = rations.entry(reason).or_default();
        let mut hasher = DefaultHasher::new();
        (now.unix_nanos() / 1_000_000_000, by).hash(&mut hasher);
        let lot = usize::try_from(hasher.finish() % LOTS).unwrap_or_default();
        let drawn = ration.drawn.get_mut(lot)?;
        if drawn.is_some_and(|drawn| now >= drawn && now.saturating_since(drawn) < INTERVAL) {
            return None;
        }
        *drawn = Some(now);
        ration.told_at = now;
        Some(std::mem::take(&mut ration.held_back))
    }

    /// One more was not told.
    pub(super) fn hold_back(&self, reason: Reason) {
        let mut rations = self.rations.borrow_mut();
        let held_back = &mut rations.entry(reason).or_default().held_back;
        *held_back = held_back.saturating_add(1);
    }

    /// The counts that no line has told for so long that they are due.
    pub(super) fn due(&self) -> Vec<(Reason, u64)> {
        let now = self.now.get();
        let mut rations = self.rations.borrow_mut();
        let waiting = rations.iter_mut().filter(|(_, ration)| {
            ration.held_back > 0 && (now < ration.told_at || now.saturating_since(ration.told_at) >= LONGEST_SILENCE)
        });
        let told = waiting.map(|(reason, ration)| {
            ration.told_at = now;
            (*reason, std::mem::take(&mut ration.held_back))
        });
        told.collect()
    }
}

/// What a line says of a refusal. The texts hold no byte that ends a line, or a string of JSON: see `shown` in `operator_log`.
pub(super) struct RefusalLine<'l> {
    pub(super) request_id: Option<&'l str>,
    pub(super) method: &'l str,
    pub(super) path: &'l str,
    pub(super) is_check: bool,
    pub(super) status: u16,
    pub(super) reason: Reason,
    pub(super) provider: Option<&'l str>,
    pub(super) rule: Option<&'l str>,
    pub(super) requirement: Option<&'l str>,
    pub(super) held_back: u64,
}

impl RefusalLine<'_> {
    pub(super) fn json(&self) -> String {
        let members = [
            ("event", Some(Value::from("oidc_denied"))),
            ("request_id", self.request_id.map(Value::from)),
            ("method", Some(Value::from(self.method))),
            ("path", Some(Value::from(self.path))),
            ("check", self.is_check.then_some(Value::Bool(true))),
            ("status", Some(Value::from(self.status))),
            ("reason", Some(Value::from(self.reason.as_str()))),
            ("provider", self.provider.map(Value::from)),
            ("rule", self.rule.map(Value::from)),
            ("requirement", self.requirement.map(Value::from)),
            ("held_back", (self.held_back > 0).then(|| Value::from(self.held_back))),
        ];
        object(members)
    }
}

/// Tells how many refusals for a reason had no line of their own.
pub(super) fn held_back(form: RefusalLog, reason: Reason, count: u64) -> String {
    match form {
        RefusalLog::Json => object([
            ("event", Some(Value::from("oidc_denied"))),
            ("reason", Some(Value::from(reason.as_str()))),
            ("held_back", Some(Value::from(count))),
        ]),
        RefusalLog::Text | RefusalLog::None => format!("denied: {}: {count} refusals were not told", reason.as_str()),
    }
}

fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> String {
    let known = members.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Value::Object(json::object(known)).to_string()
}

/// How many lines a second a reason has: enough that one client that goes on and on mostly leaves the others theirs, and few
/// enough that all reasons at once fill no disk.
const LOTS: u64 = 4;

const INTERVAL: Duration = Duration::from_secs(1);

/// No count is kept from the operator for longer, give or take a tick.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> RefusalRations {
        let refusals = RefusalRations::default();
        refusals.time_is(Timestamp::from_unix_seconds(1_800_000_000 + seconds));
        refusals
    }

    /// As `Filter::tell` does it.
    fn refuse(refusals: &RefusalRations, reason: Reason, by: &str) -> Option<u64> {
        let admitted = refusals.admit(reason, by);
        if admitted.is_none() {
            refusals.hold_back(reason);
        }
        admitted
    }

    #[test]
    fn a_flood_fills_no_log_and_every_refusal_is_counted() {
        let refusals = at(0);
        let (mut lines, mut told) = (0, 0);
        for second in 0..30 {
            refusals.time_is(Timestamp::from_unix_seconds(1_800_000_000 + second));
            for number in 0..1000 {
                if let Some(held_back) = refuse(&refusals, Reason::MissingToken, &format!("/{number}")) {
                    lines += 1;
                    told += 1 + held_back;
                }
            }
            assert_eq!(refusals.due(), [], "the next line tells it");
        }
        assert_eq!(lines, 30 * LOTS);
        refusals.time_is(Timestamp::from_unix_seconds(1_800_000_040));
        let due = refusals.due();
        assert_eq!(due.len(), 1);
        assert_eq!(told + due[0].1, 30_000, "none is lost");
        assert_eq!(refusals.due(), [], "none is told twice");
    }

    #[test]
    fn a_flood_for_one_reason_silences_no_other() {
        let refusals = at(0);
        for number in 0..1000 {
            refuse(&refusals, Reason::MissingToken, &format!("/{number}"));
        }
        assert_eq!(refuse(&refusals, Reason::Expired, "/"), Some(0));
    }

    /// Two share a lot only by chance, and not for long.
    #[test]
    fn one_client_does_not_silence_another() {
        let refusals = at(0);
        let (mut silent, mut longest) = (0, 0);
        for second in 0..200 {
            refusals.time_is(Timestamp::from_unix_seconds(1_800_000_000 + second));
            for _ in 0..100 {
                refuse(&refusals, Reason::Expired, "203.0.113.1");
            }
            silent = if refuse(&refusals, Reason::Expired, "203.0.113.2").is_some() { 0 } else { silent + 1 };
            longest = longest.max(silent);
        }
        assert!((1..8).contains(&longest), "{longest} seconds without a line");
    }

    #[test]
    fn a_clock_that_is_set_back_silences_nobody() {
        let refusals = at(1000);
        for number in 0..100 {
            refuse(&refusals, Reason::Expired, &format!("/{number}"));
        }
        refusals.time_is(Timestamp::from_unix_seconds(1_800_000_000));
        assert!(refuse(&refusals, Reason::Expired, "/").is_some());
    }
}
