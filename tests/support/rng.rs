//! Pseudo-random test input, reproducible by its seed.

/// SplitMix64.
pub struct Rng(u64);

impl Rng {
    /// The environment variable `ONEACCESS_SEED` replaces the seed.
    pub fn new(seed: u64) -> Rng {
        let chosen = std::env::var("ONEACCESS_SEED").ok().and_then(|text| text.parse().ok());
        Rng(chosen.unwrap_or(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// Changes some bytes: inserts words, replaces or duplicates ranges, flips bits.
    pub fn mutated(&mut self, seed: &[u8], words: &[&[u8]]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len() + 1);
            let end = at + self.below((bytes.len() - at).min(12) + 1);
            match self.below(4) {
                0 => drop(bytes.splice(at..at, self.pick(words).iter().copied())),
                1 => drop(bytes.splice(at..end, self.pick(words).iter().copied())),
                2 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
                _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                _ => {}
            }
        }
        bytes
    }
}
