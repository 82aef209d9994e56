//! Which rules ask for more than which, decided when the configuration is read: policies that ask for the same share a rank,
//! and each rank knows the rules that ask for something that it doesn't.

use super::bits::Bits;
use crate::config::{Policy, Rule};

/// The ranks of a list of rules. No rule (`None`) is the top level.
pub(super) struct Ranks {
    /// The rank of each rule, and last that of the top level; `None` for those beyond [`MAX_RANKS`].
    of: Vec<Option<usize>>,
    /// For each rank, those who ask for something that it doesn't.
    asking_more: Vec<Bits>,
}

impl Ranks {
    pub(super) fn new(rules: &[Rule], top: &Policy) -> Self {
        let mut ranks: Vec<&Policy> = Vec::new();
        let mut of = Vec::new();
        for policy in rules.iter().map(|rule| &*rule.policy).chain([top]) {
            let known = ranks.iter().position(|rank| ask_the_same(rank, policy));
            let rank = known.or_else(|| (ranks.len() < MAX_RANKS).then_some(ranks.len()));
            if rank == Some(ranks.len()) {
                ranks.push(policy);
            }
            of.push(rank);
        }
        let asking_more = ranks.iter().map(|rank| {
            let by_rank: Vec<bool> = ranks.iter().map(|other| !rank.asks_no_less_than(other)).collect();
            let mut asking = Bits::none(of.len());
            for (number, other) in of.iter().enumerate() {
                if other.and_then(|other| by_rank.get(other).copied()).unwrap_or(true) {
                    asking.insert(number);
                }
            }
            asking
        });
        Self { asking_more: asking_more.collect(), of }
    }

    /// Whether this rule asks for whatever that one asks for.
    pub(super) fn asks_no_less(&self, this: Option<usize>, that: Option<usize>) -> bool {
        this == that || self.asking_more_than(this).is_some_and(|asking| !asking.has(self.number(that)))
    }

    /// Those who ask for something that this rule doesn't; `None` if nobody can say.
    pub(super) fn asking_more_than(&self, rule: Option<usize>) -> Option<&Bits> {
        self.asking_more.get((*self.of.get(self.number(rule))?)?)
    }

    /// The place of the top level is behind all rules.
    pub(super) fn number(&self, rule: Option<usize>) -> usize {
        rule.unwrap_or(self.of.len().saturating_sub(1))
    }
}

fn ask_the_same(this: &Policy, that: &Policy) -> bool {
    this.asks_no_less_than(that) && that.asks_no_less_than(this)
}

/// More kinds of policies are not compared with each other, so that reading ten thousand rules takes no time: a path that
/// can be read in two ways is then refused under each.
const MAX_RANKS: usize = 64;
