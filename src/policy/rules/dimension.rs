//! One thing that rules are found by (route, host, method, path, a header): which rules a value of it leaves possible.

use super::bits::Bits;
use crate::table::Table;

/// The rules that a value of one kind leaves possible.
#[derive(Default)]
pub(super) struct Dimension {
    /// Those that say nothing about it.
    indifferent: Bits,
    exact: Table<Box<[u8]>, Members>,
    /// Hosts: what stands behind `*`, with its dot. Paths: whole segments without the last slash.
    partial: Table<Box<[u8]>, Members>,
    /// The length of the longest of these. A client chooses how many parts its path and its host have: those that are longer
    /// are not looked up.
    longest: usize,
}

/// The rules that name one value: one by one while they are few, as bits when that is less to go through.
enum Members {
    Few(Vec<usize>),
    Many(Bits),
}

impl Dimension {
    /// A dimension of so many rules, none of which is added yet.
    pub(super) fn new(rules: usize) -> Self {
        Self { indifferent: Bits::none(rules), ..Self::default() }
    }

    /// Adds what the rule of this number says: nothing, or values, whole or in part.
    pub(super) fn add(&mut self, number: usize, exact: Vec<Box<[u8]>>, partial: Vec<Box<[u8]>>) {
        if exact.is_empty() && partial.is_empty() {
            self.indifferent.insert(number);
        }
        self.longest = partial.iter().map(|part| part.len()).max().unwrap_or_default().max(self.longest);
        for (keys, map) in [(exact, &mut self.exact), (partial, &mut self.partial)] {
            for key in keys {
                map.entry(key).or_insert(Members::Few(Vec::new())).add(number, &self.indifferent);
            }
        }
    }

    /// Whether no rule says anything about it.
    pub(super) fn is_indifferent(&self) -> bool {
        self.exact.is_empty() && self.partial.is_empty()
    }

    /// Takes from `left` the rules that this value rules out. `possible` is room to work in.
    pub(super) fn narrow<'v>(
        &self,
        left: &mut Bits,
        possible: &mut Bits,
        value: Option<&[u8]>,
        parts: impl IntoIterator<Item = &'v [u8]>,
    ) {
        if self.is_indifferent() {
            return;
        }
        possible.copy(&self.indifferent);
        let exact = value.and_then(|value| self.exact.get(value));
        let parts = parts.into_iter().filter(|part| part.len() <= self.longest);
        let partial = parts.filter_map(|part| self.partial.get(part));
        exact.into_iter().chain(partial).for_each(|members| members.add_to(possible));
        left.intersect(possible);
    }
}

impl Members {
    /// Adds a rule; `alike` is a set with room for all of them.
    fn add(&mut self, number: usize, alike: &Bits) {
        match self {
            Self::Few(numbers) if numbers.len() < alike.words() => numbers.push(number),
            Self::Few(numbers) => {
                let mut bits = alike.none_alike();
                numbers.iter().chain([&number]).for_each(|number| bits.insert(*number));
                *self = Self::Many(bits);
            }
            Self::Many(bits) => bits.insert(number),
        }
    }

    fn add_to(&self, possible: &mut Bits) {
        match self {
            Self::Few(numbers) => numbers.iter().for_each(|number| possible.insert(*number)),
            Self::Many(bits) => possible.unite(bits),
        }
    }
}
