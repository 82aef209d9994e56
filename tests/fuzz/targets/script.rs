//! Octets as a list of choices, so that a fuzzer that changes some of them changes some choices.

/// What is left of the octets. When they are used up, every choice is the first.
pub struct Script<'o>(&'o [u8]);

impl<'o> Script<'o> {
    pub fn of(octets: &'o [u8]) -> Self {
        Self(octets)
    }

    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// A number below `bound`, which is at most 256.
    pub fn below(&mut self, bound: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % bound
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    pub fn one_of<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[self.below(list.len())]
    }

    /// At most `most` octets as they are.
    pub fn octets(&mut self, most: usize) -> &'o [u8] {
        let wanted = self.below(most + 1).min(self.0.len());
        let (octets, rest) = self.0.split_at(wanted);
        self.0 = rest;
        octets
    }

    /// `text` with some damage.
    pub fn damage(&mut self, text: &[u8]) -> Vec<u8> {
        let mut damaged = text.to_vec();
        for _ in 0..=self.below(3) {
            let length = damaged.len();
            if length == 0 {
                break;
            }
            let at = (self.below(256) * 256 + self.below(256)) % length;
            match self.below(6) {
                0 => damaged[at] = self.below(256) as u8,
                1 => damaged[at] ^= 1 << self.below(8),
                2 => damaged.insert(at, self.below(256) as u8),
                3 => drop(damaged.remove(at)),
                4 => damaged.swap(at, length - 1),
                _ => damaged.truncate(at),
            }
        }
        damaged
    }
}
