//! What one filter tells of its verdicts beside its answers, so that it is told from others in the same chain: its metrics,
//! its response code details, and its marks in filter state.
//!
//! The invariant: a mark bears the name of the filter whose verdict it is, and what is told of a verdict is of that one alone.

use super::DEFAULT_NAME;
use super::abi::{self, Failed};
use super::metrics::Metrics;
use crate::decision::{Meaning, Outcome, Shadow, Tally};
use std::cell::Cell;

/// One filter of Envoy's configuration, as others see it.
#[derive(Default)]
pub(super) struct Instance {
    /// What it counts.
    pub metrics: Metrics,
    marks: Option<Marks>,
    /// What response code details and metrics have behind them; nothing for the filter called `oidc`, or without a name.
    suffix: String,
}

/// The keys of filter state that Envoy's other filters can read, as `wasm.oidc.result` and so on.
struct Marks {
    result: String,
    reason: String,
    route: String,
    shadow_result: String,
    shadow_reason: String,
    /// A second filter of this name was seen in a chain.
    is_shared: Cell<bool>,
    /// How many requests were marked since the start.
    marked: Cell<u32>,
}

impl Instance {
    /// The filter of this name, and whether it leaves marks.
    pub(super) fn named(name: &str, marks: bool) -> Self {
        let suffix = match name {
            DEFAULT_NAME => String::new(),
            _ => format!(";filter={}", label(name)),
        };
        Self { metrics: Metrics::of(&suffix), marks: marks.then(|| Marks::of(name)), suffix }
    }

    /// This filter with the counts of the one before it, if that has the same name.
    pub(super) fn configured(self, earlier: Self) -> Self {
        let metrics = if self.suffix == earlier.suffix { earlier.metrics } else { self.metrics };
        Self { metrics, ..self }
    }

    /// The mark that holds the name of a route, if there are marks.
    pub(super) fn route_mark(&self) -> Option<&str> {
        self.marks.as_ref().map(|marks| marks.route.as_str())
    }

    /// Counts a decision.
    pub(super) fn count(&mut self, outcome: &Outcome, tally: Tally) {
        self.metrics.request(outcome);
        self.metrics.tally(tally);
        let Some(shadow) = tally.shadow else { return };
        self.metrics.shadow(outcome.provider.as_ref(), shadow);
        // For those who read logs and metadata only: a request must not be lost for it.
        if self.marks.as_ref().is_some_and(|marks| marks.tell_shadow(shadow).is_err()) {
            log::warn!("what the candidate policy would have done could not be told as filter state");
        }
    }

    /// Marks a request that goes on.
    pub(super) fn mark(&self, outcome: &Outcome, route: Option<&[u8]>) -> Result<(), Failed> {
        self.marks.as_ref().map_or(Ok(()), |marks| marks.tell(outcome, route))
    }

    /// The response code details of an answer.
    pub(super) fn details(&self, meaning: Meaning) -> String {
        format!("{meaning}{}", self.suffix)
    }
}

impl Marks {
    fn of(name: &str) -> Self {
        let key = |word: &str| format!("{name}.{word}");
        Self {
            result: key("result"),
            reason: key("reason"),
            route: key("route"),
            shadow_result: key("shadow_result"),
            shadow_reason: key("shadow_reason"),
            is_shared: Cell::new(false),
            marked: Cell::new(0),
        }
    }

    /// Whether to look for what another filter of this name has told of a request. A look costs a thirtieth of a warm request, and
    /// who else is in a chain is the same for all of its requests, but where routes turn filters off: so once it was seen to be
    /// alone, a filter looks at a few.
    fn looks(&self) -> bool {
        let marked = self.marked.get();
        self.marked.set(marked.wrapping_add(1));
        self.is_shared.get() || marked < FIRST_LOOKS || marked.is_multiple_of(LOOK_INTERVAL)
    }

    fn tell(&self, outcome: &Outcome, route: Option<&[u8]>) -> Result<(), Failed> {
        // No host call removes filter state. What cannot be read may be there.
        if self.looks() && !matches!(abi::property(&[&self.result]), Ok(None)) {
            for key in [&self.reason, &self.shadow_result, &self.shadow_reason] {
                if !matches!(abi::property(&[key]), Ok(None)) {
                    abi::set_filter_state(key, b"")?;
                }
            }
            if !self.is_shared.replace(true) {
                log::warn!(
                    "another filter has marked a request under the name of this one: its mark is overwritten, so that a rule behind \
                     them reads the last verdict only; give each filter a `name` of its own, in the `config` of its typed_config"
                );
            }
        }
        if let Some(name) = route {
            abi::set_filter_state(&self.route, name)?;
        }
        if let Some(reason) = outcome.reason {
            abi::set_filter_state(&self.reason, reason.as_str().as_bytes())?;
        }
        abi::set_filter_state(&self.result, outcome.result.as_str().as_bytes())
    }

    fn tell_shadow(&self, shadow: Shadow) -> Result<(), Failed> {
        let (result, reason) = shadow.words();
        abi::set_filter_state(&self.shadow_result, result.as_bytes())?;
        abi::set_filter_state(&self.shadow_reason, reason.as_bytes())
    }
}

/// How many requests are looked at before a filter takes itself for the only one of its name.
const FIRST_LOOKS: u32 = 1024;

/// Of later requests, one in so many is looked at.
const LOOK_INTERVAL: u32 = 64;

/// A filter's name as a label of a metric, in which a semicolon would begin another label.
fn label(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '_' | '/'), "_")
}
