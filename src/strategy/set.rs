//! Some of an upstream's endpoints, by index.

/// Endpoints that need no allocation: 256 of them. 32 bytes are as quick to clear as 8.
const INLINE: usize = 4;

/// A set of endpoints, by their index in the upstream. Does not allocate for the first 256.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointSet {
    first: [u64; INLINE],
    rest: Vec<u64>,
}

// === impl EndpointSet ===

impl EndpointSet {
    /// Adds an endpoint.
    pub fn insert(&mut self, index: usize) {
        let (word, bit) = (index / 64, 1 << (index % 64));
        match self.first.get_mut(word) {
            Some(word) => *word |= bit,
            None => {
                let word = word - INLINE;
                if self.rest.len() <= word {
                    self.rest.resize(word + 1, 0);
                }
                self.rest[word] |= bit;
            }
        }
    }

    /// Whether it has the endpoint.
    pub fn contains(&self, index: usize) -> bool {
        let word = index / 64;
        let word = self.first.get(word).or_else(|| self.rest.get(word - INLINE));
        word.is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.words().all(|word| word == 0)
    }

    /// How many it has.
    pub fn len(&self) -> usize {
        self.words().map(|word| word.count_ones() as usize).sum()
    }

    /// Its endpoints, the lowest index first.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words().enumerate().flat_map(|(at, word)| Bits(word).map(move |bit| at * 64 + bit))
    }

    fn words(&self) -> impl Iterator<Item = u64> + '_ {
        self.first.iter().chain(&self.rest).copied()
    }
}

impl FromIterator<usize> for EndpointSet {
    fn from_iter<I: IntoIterator<Item = usize>>(indexes: I) -> Self {
        let mut set = Self::default();
        indexes.into_iter().for_each(|index| set.insert(index));
        set
    }
}

/// The bits that are set in a word, the lowest first.
struct Bits(u64);

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let bit = (self.0 != 0).then(|| self.0.trailing_zeros() as usize)?;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}
