//! A set of rules by their numbers: a bit for each.

/// The set. It has room for as many numbers as it was made for, and holds none beyond.
#[derive(Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// None of so many.
    pub(super) fn none(count: usize) -> Self {
        Self::of_words(count.div_ceil(WORD), 0)
    }

    /// All of so many.
    pub(super) fn all(count: usize) -> Self {
        Self::of_words(count.div_ceil(WORD), u64::MAX)
    }

    fn of_words(words: usize, word: u64) -> Self {
        Self(vec![word; words])
    }

    /// None, with the same room.
    pub(super) fn none_alike(&self) -> Self {
        Self::of_words(self.words(), 0)
    }

    /// How many machine words the set takes.
    pub(super) fn words(&self) -> usize {
        self.0.len()
    }

    /// Makes this set the same as that one, in the room that it has.
    pub(super) fn copy(&mut self, other: &Self) {
        self.0.clone_from(&other.0);
    }

    /// Takes all numbers out, and the room for them away.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Makes room for this number.
    pub(super) fn reach(&mut self, number: usize) {
        let words = (number / WORD).saturating_add(1);
        self.0.resize(words.max(self.words()), 0);
    }

    pub(super) fn insert(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / WORD) {
            *word |= 1 << (number % WORD);
        }
    }

    pub(super) fn remove(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / WORD) {
            *word &= !(1 << (number % WORD));
        }
    }

    pub(super) fn has(&self, number: usize) -> bool {
        self.0.get(number / WORD).is_some_and(|word| word & (1 << (number % WORD)) != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Whether a number is in both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(this, that)| this & that != 0)
    }

    /// Puts in what the other one holds.
    pub(super) fn unite(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(this, that)| *this |= that);
    }

    /// Takes out what the other one doesn't hold.
    pub(super) fn intersect(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(this, that)| *this &= that);
    }

    /// The numbers, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        // Most words of most requests are empty.
        self.0.iter().enumerate().filter(|(_, word)| **word != 0).flat_map(|(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = usize::try_from(rest.trailing_zeros()).ok().filter(|_| rest != 0)?;
                rest &= rest.wrapping_sub(1);
                Some(index.saturating_mul(WORD).saturating_add(bit))
            })
        })
    }
}

/// Bits of a word.
const WORD: usize = u64::BITS as usize;
