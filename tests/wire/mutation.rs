//! Inputs made of others, the same for the same seed.

/// What parsers trip over.
const TOKENS: [&[u8]; 20] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b":",
    b"-",
    b"-1",
    b"0",
    b"1",
    b"65536",
    b"2147483648",
    b"4294967296",
    b"9223372036854775807",
    b"18446744073709551615",
    b"*",
    b"$",
    b"\xff",
    b"\xc3\xa9",
    b"\x1b[2J",
];
/// No input grows beyond it.
const LONGEST: usize = 2 << 10;
/// Steps from an input of the corpus at most.
const STEPS: usize = 6;

/// See the module's text.
pub struct Mutator<'a> {
    state: u64,
    corpus: &'a [Vec<u8>],
    input: Vec<u8>,
}

impl<'a> Mutator<'a> {
    /// `corpus` is not empty.
    pub fn new(seed: u64, corpus: &'a [Vec<u8>]) -> Self {
        Self { state: seed, corpus, input: Vec::new() }
    }

    /// The next input.
    pub fn next(&mut self) -> &[u8] {
        self.input = self.pick().to_vec();
        for _ in 0..=self.below(STEPS) {
            self.step();
        }
        self.input.truncate(LONGEST);
        &self.input
    }

    fn pick(&mut self) -> &'a [u8] {
        let corpus = self.corpus;
        &corpus[self.below(corpus.len())]
    }

    /// SplitMix64: one of `0..limit`, which is above 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % limit as u64) as usize
    }

    fn step(&mut self) {
        let at = self.below(self.input.len() + 1);
        let to = at + self.below(self.input.len() - at + 1);
        match self.below(9) {
            0 => self.input.truncate(at),
            1 => drop(self.input.drain(at..to.min(at + 8))),
            2 if at < self.input.len() => self.input[at] ^= 1 << self.below(8),
            3 if at < self.input.len() => self.input[at] = self.below(256) as u8,
            4 => {
                let again = self.input[at..to].to_vec();
                self.put(at, &again);
            }
            5 => {
                let other = self.pick();
                let from = self.below(other.len() + 1);
                let until = from + self.below(other.len() - from + 1);
                self.put(at, &other[from..until]);
            }
            6 => {
                let other = self.pick();
                self.input.truncate(at);
                let from = self.below(other.len() + 1);
                self.input.extend_from_slice(&other[from..]);
            }
            7 => {
                let digits = self.input[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                let token = TOKENS[self.below(TOKENS.len())];
                self.input.splice(at..at + digits, token.iter().copied());
            }
            _ => {
                let token = TOKENS[self.below(TOKENS.len())];
                self.put(at, token);
            }
        }
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if self.input.len() + bytes.len() <= LONGEST {
            self.input.splice(at..at, bytes.iter().copied());
        }
    }
}
