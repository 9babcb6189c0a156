//! Counter-based random numbers: Philox 4x32 with 10 rounds.
//!
//! Each number is a function of (seed, call, draw, index) only. Results therefore do not depend on
//! the order of threads, and the backward pass can regenerate a mask instead of storing it.
//! Source: Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3,
//! <https://doi.org/10.1145/2063384.2063405>.

use crate::host::parallel::{for_each_piece, PIECE};

/// Philox rounds per block.
const ROUNDS: usize = 10;

/// Number of blocks that [`Stream::blocks`] computes at once.
pub const LANES: usize = 16;

/// Identifies one array of random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stream {
    /// The seed of the generator.
    pub seed: u64,
    /// Index of the user's call.
    pub call: u64,
    /// Index of the draw within that call.
    pub draw: u32,
}

impl Stream {
    /// The four 32-bit words of block `index`.
    #[inline(always)]
    pub fn block(&self, index: u32) -> [u32; 4] {
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        philox4x32([index, self.draw, self.call as u32, (self.call >> 32) as u32], key)
    }

    /// Writes the words of [`LANES`] blocks, from block `first` on, in order. The blocks are
    /// computed in parallel lanes, so that the loops compile to vector instructions of the CPU that
    /// the calling function targets.
    #[inline(always)]
    pub fn blocks(&self, first: u32, words: &mut [u32; 4 * LANES]) {
        let mut key = [self.seed as u32, (self.seed >> 32) as u32];
        let mut counter = [
            [0; LANES],
            [self.draw; LANES],
            [self.call as u32; LANES],
            [(self.call >> 32) as u32; LANES],
        ];
        counter[0]
            .iter_mut()
            .enumerate()
            .for_each(|(lane, index)| *index = first.wrapping_add(lane as u32));
        for _ in 0..ROUNDS {
            let [a, b, c, d] = &mut counter;
            for lane in 0..LANES {
                [a[lane], b[lane], c[lane], d[lane]] =
                    round([a[lane], b[lane], c[lane], d[lane]], key);
            }
            key = next_key(key);
        }
        for (lane, block) in words.chunks_exact_mut(4).enumerate() {
            (0..4).for_each(|i| block[i] = counter[i][lane]);
        }
    }

    /// The 32-bit word with this index in the stream.
    #[inline(always)]
    pub fn word(&self, index: usize) -> u32 {
        self.block((index / 4) as u32)[index % 4]
    }

    /// `count` uniform random numbers in [0, 1), multiples of 2^-24 (exact in f32).
    pub fn uniform(&self, count: usize) -> Vec<f64> {
        self.by_block(count, |words| words.map(|word| f64::from(word >> 8) * (1.0 / 16_777_216.0)))
    }

    /// `count` standard normal random numbers, by the Box-Muller transform in f64.
    pub fn normal(&self, count: usize) -> Vec<f64> {
        let pair = |a: u32, b: u32| {
            // u is never 0, so that the logarithm is finite
            let u = (f64::from(a) + 0.5) * (1.0 / 4_294_967_296.0);
            let v = f64::from(b) * (std::f64::consts::TAU / 4_294_967_296.0);
            let radius = (-2.0 * u.ln()).sqrt();
            [radius * v.cos(), radius * v.sin()]
        };
        self.by_block(count, |[a, b, c, d]| {
            let ([w, x], [y, z]) = (pair(a, b), pair(c, d));
            [w, x, y, z]
        })
    }

    /// `count` numbers; `f` turns the four words of a block into four numbers.
    fn by_block(&self, count: usize, f: impl Fn([u32; 4]) -> [f64; 4] + Sync) -> Vec<f64> {
        let mut numbers = vec![0.0; count];
        for_each_piece(&mut numbers, PIECE, |piece, numbers| {
            for (i, four) in numbers.chunks_mut(4).enumerate() {
                let made = f(self.block((piece * (PIECE / 4) + i) as u32));
                four.copy_from_slice(&made[..four.len()]);
            }
        });
        numbers
    }

    /// `count` integers from 0 to `bound` - 1; `bound` must be positive. Each uses two 32-bit
    /// words, so that the bias stays below 2^-32 for a `bound` of up to 2^32.
    pub fn below(&self, bound: u64, count: usize) -> Vec<u64> {
        let number = |i: usize| {
            let block = self.block((i / 2) as u32);
            let (hi, lo) =
                if i.is_multiple_of(2) { (block[0], block[1]) } else { (block[2], block[3]) };
            let wide = (u64::from(hi) << 32) | u64::from(lo);
            ((u128::from(wide) * u128::from(bound)) >> 64) as u64
        };
        (0..count).map(number).collect()
    }
}

/// One block of Philox 4x32-10.
#[inline(always)]
fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..ROUNDS {
        counter = round(counter, key);
        key = next_key(key);
    }
    counter
}

/// One round of Philox 4x32.
#[inline(always)]
fn round(c: [u32; 4], k: [u32; 2]) -> [u32; 4] {
    let x = u64::from(c[0]) * 0xD251_1F53;
    let y = u64::from(c[2]) * 0xCD9E_8D57;
    [(y >> 32) as u32 ^ c[1] ^ k[0], y as u32, (x >> 32) as u32 ^ c[3] ^ k[1], x as u32]
}

/// The key of the next round: the key plus the Weyl constants of Philox.
#[inline(always)]
fn next_key(k: [u32; 2]) -> [u32; 2] {
    [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_side_by_side_are_those_one_by_one() {
        let stream = Stream { seed: u64::MAX - 5, call: (7 << 32) | 9, draw: 3 };
        for first in [0, 5, u32::MAX - 3] {
            let mut words = [0; 4 * LANES];
            stream.blocks(first, &mut words);
            let blocks = words.chunks_exact(4).zip(0..);
            assert!(blocks
                .into_iter()
                .all(|(words, i)| words == stream.block(first.wrapping_add(i))));
        }
    }

    /// Known answers of the Random123 library for philox4x32-10.
    #[test]
    fn known_answers() {
        assert_eq!(
            philox4x32([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn moments() {
        let s = Stream { seed: 7, call: 3, draw: 1 };
        let n = 100_000;
        let mean = |xs: &[f64]| xs.iter().sum::<f64>() / xs.len() as f64;
        let u = s.uniform(n);
        assert!((mean(&u) - 0.5).abs() < 0.005 && u.iter().all(|x| (0.0..1.0).contains(x)));
        let z = s.normal(n);
        let square = mean(&z.iter().map(|x| x * x).collect::<Vec<_>>());
        assert!(mean(&z).abs() < 0.01 && (square - 1.0).abs() < 0.02);
        let b = s.below(10, n);
        assert!(
            b.iter().all(|x| *x < 10)
                && (0..10).all(|d| b.iter().filter(|x| **x == d).count() > 9_500)
        );
    }

    #[test]
    fn streams_differ() {
        let s = Stream { seed: 7, call: 3, draw: 1 };
        assert_ne!(s.block(0), Stream { draw: 2, ..s }.block(0));
        assert_ne!(s.block(0), Stream { call: 4, ..s }.block(0));
        assert_ne!(s.block(0), Stream { seed: 8, ..s }.block(0));
        assert_eq!(s.word(5), s.block(1)[1]);
    }
}
